//! What may be shown of a URI that a user typed, whether it could be understood or not.
//!
//! What it refuses: to show a login, whatever else is wrong with the URI; values of options that are not
//! known to be harmless, since a misspelled `?pasword=` is one of them; and the name of an unknown option
//! that may be the rest of a password with `&` in it.

use super::{Uri, decode, is_scheme};
use crate::error::printable;

/// Schemes whose rest is a path of this machine, where `@` and `:` are characters like others.
pub(super) const LOCAL: [&str; 6] = ["tar", "file", "dir", "directory", "oci-layout", "mounts"];

/// Options of sources and built-in outputs that hold no secret. A plugin's own options are shown
/// where its description was read ([`Uri::display_with`]).
const HARMLESS: [&str; 13] = [
    "arch",
    "architecture",
    "checksums",
    "chunk_size",
    "compression",
    "expand",
    "image",
    "insecure",
    "max_workers",
    "os",
    "socket",
    "unique_names",
    "variant",
];

/// Parts of an option's name that say that its value is secret, whatever stands around them.
const SECRET_PARTS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "signature",
    "username",
];

/// The same, as whole words of a name such as `api_key`.
const SECRET_WORDS: [&str; 11] =
    ["pass", "pwd", "pw", "key", "auth", "login", "user", "sig", "pin", "cookie", "bearer"];

/// Characters of the longest option name that is repeated in an error.
const LONGEST_NAME: usize = 24;

/// Whether the name of an option says that its value is a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || name.split(['_', '-', '.']).any(|word| SECRET_WORDS.contains(&word))
}

/// How an error names an option that is not known: by its name where that looks like one, and no
/// option before it in the query is a secret, whose rest it may be.
#[must_use]
pub fn option_name<'a>(query: &[(String, String)], name: &'a str) -> &'a str {
    let mut before = query.iter().take_while(|(known, _)| known != name);
    let is_name = name.len() <= LONGEST_NAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    match is_name && !before.any(|(name, _)| is_secret_name(name)) {
        true => name,
        false => "...",
    }
}

/// Where the login at the start of a URI's rest ends: at its last `@`, unless that begins a digest.
/// A login that holds `/` or `@` counts as well, which makes the URI one that cannot be read.
pub(super) fn login_end(scheme: &str, rest: &str) -> Option<usize> {
    let ends =
        || rest.match_indices('@').map(|(at, _)| at).filter(|at| !is_digest(&rest[at + 1..]));
    let (first, at) = (ends().next()?, ends().next_back()?);
    let authority = rest.split('/').next().unwrap_or(rest);
    let is_login = match scheme {
        _ if LOCAL.contains(&scheme) => {
            !authority.starts_with(['.', '~']) && authority.contains(':')
        }
        // What follows a name's '@' is a digest or a mistake.
        "docker" | "registry" | "oci" => true,
        // `h:8080/a@b` has a port.
        _ => first < authority.len() || has_odd_port(authority),
    };
    is_login.then_some(at)
}

/// Whether what follows the host's colon is no port.
fn has_odd_port(authority: &str) -> bool {
    // The colons of an IPv6 address are in brackets.
    let after_brackets = authority.rsplit(']').next().unwrap_or(authority);
    after_brackets
        .split_once(':')
        .is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `sha256:...` to the end.
fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        matches!(algorithm, "sha256" | "sha384" | "sha512")
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether a login with `?` in it was cut in two: `me:PASS?WORD@host` has its host in the query.
pub(super) fn is_cut(scheme: &str, rest: &str, query: &str) -> bool {
    let holds_end = |pair: &str| {
        let name = pair.split_once('=').map_or("", |(name, _)| name);
        !is_harmless(name) && pair.match_indices('@').any(|(at, _)| !is_digest(&pair[at + 1..]))
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    !LOCAL.contains(&scheme) && has_odd_port(authority) && query.split('&').any(holds_end)
}

/// The rest without its login.
pub(super) fn rest_without_login(scheme: &str, rest: &str) -> String {
    match login_end(scheme, rest) {
        Some(at) => format!("...{}", &rest[at..]),
        None => rest.to_owned(),
    }
}

/// The query with those options that `is_shown` lets through, without any login in their values.
pub(super) fn query<'a>(
    options: impl Iterator<Item = (&'a str, &'a str)>,
    is_shown: impl Fn(&str) -> bool,
) -> String {
    let shown = options.filter(|(name, _)| is_shown(name) && !is_secret_name(name));
    joined(shown.map(|(name, value)| format!("{name}={}", value_without_login(value))))
}

/// The query for a command that does the same: every option as it is, but for those with a secret.
pub(super) fn query_of_command<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let open = options.filter(|(name, value)| !is_secret_name(name) && logins_in(value).is_empty());
    joined(open.map(|(name, value)| format!("{name}={value}")))
}

fn joined(options: impl Iterator<Item = String>) -> String {
    let options: Vec<String> = options.collect();
    if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) }
}

/// Whether an option of this program's own may be shown.
pub(super) fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(&name)
}

fn value_without_login(value: &str) -> String {
    match parts(value) {
        // The end of a login with '&' in it is in another option.
        Some((scheme, rest, _)) if has_odd_port(rest.split('/').next().unwrap_or(rest)) => {
            match rest.contains('@') {
                true => hide(value),
                false => format!("{scheme}://..."),
            }
        }
        Some(_) => hide(value),
        None => value.to_owned(),
    }
}

/// What the user typed, a URI or not, without logins and what could be one.
pub(super) fn hide(text: &str) -> String {
    if let Ok(uri) = Uri::parse(text) {
        return printable(&uri.display());
    }
    let Some((scheme, rest, query)) = parts(text) else { return printable(&plain(text)) };
    if is_cut(&scheme.to_ascii_lowercase(), rest, query) {
        return printable(&format!("{scheme}://..."));
    }
    let rest = rest_without_login(&scheme.to_ascii_lowercase(), rest);
    // Of a query that was not understood, nothing can be told from a password.
    let options = super::parse_query(query).unwrap_or_default();
    let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    printable(&format!("{scheme}://{}{}", decode(&rest), self::query(options, is_harmless)))
}

/// Text without a scheme, without a login.
pub(super) fn plain(text: &str) -> String {
    match text.rmatch_indices('@').find(|(at, _)| !is_digest(&text[at + 1..])) {
        Some((at, _)) if text.contains(':') => format!("...{}", &text[at..]),
        _ => text.to_owned(),
    }
}

/// Scheme, rest and query of what looks like a URI.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some((scheme, rest, query))
}

/// The options of a query that have a value.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

/// The secrets in what was typed as a URI or like one: passwords of logins, and values of options whose names
/// say so, also in a URI that is the value of an option.
#[must_use]
pub fn logins_in(text: &str) -> Vec<String> {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let starts = text.match_indices("://").map(|(colon, _)| {
        let scheme = text[..colon].rsplit(|c| !is_of_scheme(c)).next().unwrap_or_default();
        colon - scheme.len()
    });
    // One URI may stand in another, or in the value of an option.
    let mut found: Vec<String> = starts.flat_map(|start| logins_of(&text[start..])).collect();
    if !text.contains("://") && !text.starts_with(['/', '.', '~', '-']) {
        found.extend(logins_of(text));
    }
    found.retain(|secret| !secret.is_empty());
    found
}

/// As [`logins_in`], for text that begins with the scheme, or with the login where there is none.
fn logins_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (scheme, rest, query) = match parts(text) {
        Some((scheme, rest, query)) => (scheme.to_ascii_lowercase(), rest, query),
        // A login at the start, in front of a host.
        None if text.contains(':') => {
            let (rest, query) = text.split_once('?').unwrap_or((text, ""));
            (String::new(), rest, query)
        }
        None => return found,
    };
    if is_cut(&scheme, rest, query) {
        let whole = text.split_once("://").map_or(text, |(_, whole)| whole);
        let login = whole.rsplit_once('@').map_or(whole, |(login, _)| login);
        found.extend(login.split_once(':').map(|(_, password)| password.to_owned()));
    }
    if let Some(login) = login_end(&scheme, rest).map(|at| &rest[..at]) {
        match login.split_once([':', '@']) {
            Some((_, password)) => {
                found.push(password.to_owned());
                // It is shorter where the path has an '@' as well.
                found.extend(password.rsplit_once('@').and_then(|(_, after)| {
                    let whole = password.len() - after.len() - 1;
                    after.contains('/').then(|| password[..whole].to_owned())
                }));
            }
            // A token may stand in a user's place.
            None if login.len() >= SHORTEST_TOKEN => found.push(login.to_owned()),
            None => {}
        }
    }
    for (name, value) in pairs(query) {
        match is_secret_name(&name) && !matches!(name.as_str(), "username" | "user" | "login") {
            true => found.push(value),
            false if value.contains("://") => found.extend(logins_in(&value)),
            false => {}
        }
    }
    found.iter().map(|secret| decode(secret)).collect()
}

/// Bytes of the shortest text that is taken for a token where a user's name may stand.
const SHORTEST_TOKEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_login_is_shown_however_it_was_typed() {
        let digest = "a".repeat(64);
        for (text, expected) in [
            ("registry://me:Hunter2@h:1/x:1?arch=arm64", "registry://h:1/x:1?arch=arm64"),
            ("registry://me:Hunter2/+@h/x", "registry://...@h/x"),
            ("registry://me@Hunter2@h/x", "registry://...@h/x"),
            ("registry://me@Hunter2/+@h/x", "registry://...@h/x"),
            ("registry://Hunter2/+@h/x", "registry://...@h/x"),
            ("registry://me:Hunter2?x@h/y", "registry://..."),
            ("registry://me:Hunter2/+?&@h/y", "registry://..."),
            ("webdav://me:Hunter2/+@h/x", "webdav://...@h/x"),
            ("https://me:Hunter2/+@h/x:1", "https://...@h/x:1"),
            ("tcp://me:Hunter2@h:1", "tcp://h:1"),
            ("dir://me:Hunter2/+@h/x", "dir://...@h/x"),
            ("me:Hunter2@h/x", "...@h/x"),
            ("registry:me:Hunter2@h/x", "...@h/x"),
            ("registry://h/x?pass=Hunter2", "registry://h/x"),
            ("registry://h/x?pwd=Hunter2&os=linux", "registry://h/x?os=linux"),
            ("registry://h/x?apikey=Hunter2", "registry://h/x"),
            ("registry://h/x?pasword=Hunter2", "registry://h/x"),
            ("registry://h/x?Hunter2", "registry://h/x"),
            ("registry://h/x?arch=a&arch=b&password=Hunter2", "registry://h/x"),
            ("docker://x?socket=tcp://me:Hunter2&os=@h:1", "docker://x?socket=tcp://...&os=@h:1"),
            ("docker://x?socket=tcp://me:Hunter2/=&@h:1", "docker://x"),
            ("docker://x?socket=tcp://me:Hunter2@h:1", "docker://x?socket=tcp://h:1"),
            ("docker://me:Hunter2@h/x", "docker://...@h/x"),
        ] {
            assert_eq!(hide(text), expected, "{text}");
        }
        // What is no login stays.
        for text in [
            "dir:///srv/a:b@c/d".to_owned(),
            "webdav://h:8080/a@b/c".to_owned(),
            "webdav://[::1]:80/a@b".to_owned(),
            format!("registry://h/x@sha256:{digest}"),
            format!("registry://h:5000/x:1@sha256:{digest}"),
            format!("busybox@sha256:{digest}"),
            "/srv/a@b".to_owned(),
            "docker://x?socket=/run/a@b:1".to_owned(),
            "docker://x:latest?socket=/run/a@b".to_owned(),
        ] {
            assert_eq!(hide(&text), text);
        }
    }

    #[test]
    fn the_secrets_of_what_was_typed_are_found() {
        for (text, expected) in [
            ("registry://me:Hun%2Fter2@h/x", vec!["Hun/ter2"]),
            ("registry://me:Hunter2/+@h/x", vec!["Hunter2/+"]),
            ("registry://me@Hunter2@h/x", vec!["Hunter2"]),
            ("registry://me:Hunter?2@h/x", vec!["Hunter?2"]),
            ("webdav://me:Hunter2@h/a@b", vec!["Hunter2@h/a", "Hunter2"]),
            ("me:Hunter2@h/x", vec!["Hunter2"]),
            ("https://abcdefghijklmnop0@h/x", vec!["abcdefghijklmnop0"]),
            ("registry://h/x?username=me&pasword=Hunter1&api-key=Hunter2", vec!["Hunter2"]),
            ("docker://x?socket=tcp%3A//me:Hunter2@h:1", vec!["Hunter2"]),
            ("inspect:file=https://me:Hunter2@h/x", vec!["Hunter2"]),
            ("registry://h:5000/admin/x@sha256:00", vec![]),
            ("dir:///srv/a:b@c/d", vec![]),
            ("dir://me:Hunter2/+@d", vec!["Hunter2/+"]),
            ("registry://operator@h/x", vec![]),
            ("/srv/a:b@c", vec![]),
        ] {
            assert_eq!(logins_in(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_option_is_named_where_it_can_be_no_password() {
        let before = |name: &str| vec![(name.to_owned(), String::new())];
        assert_eq!(option_name(&[], "bogus"), "bogus");
        assert_eq!(option_name(&before("arch"), "bogus_2"), "bogus_2");
        assert_eq!(option_name(&before("password"), "rest-of-it"), "...");
        assert_eq!(option_name(&[], "Hunter2"), "...");
        assert_eq!(option_name(&[], &"a".repeat(40)), "...");
    }
}
