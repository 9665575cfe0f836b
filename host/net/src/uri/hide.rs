//! Parts of a URI that may be shown, whether the URI could be parsed or not.
//!
//! What it refuses: to show a login, in a URI with any mistake; values of options that are not known to be harmless,
//! since a misspelled `?pasword=` is one of them; and the name of an unknown option that may be the rest of a password
//! with `&` in it.

use super::{Uri, decode, is_scheme};
use occystrap_base::error::{Error, Result, printable};

/// Schemes whose rest is a path of this machine, where `@` and `:` are ordinary characters.
pub(super) const LOCAL: [&str; 6] = ["tar", "file", "dir", "directory", "oci-layout", "mounts"];

/// Options of sources and built-in outputs that hold no secret. A plugin's own options are shown where its description
/// was read ([`Uri::display_with`]).
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

/// Parts of an option's name which say that its value is secret, anywhere in the name.
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

/// Words of an option's name, such as `api_key`, which say that its value is secret.
const SECRET_WORDS: [&str; 11] =
    ["pass", "pwd", "pw", "key", "auth", "login", "user", "sig", "pin", "cookie", "bearer"];

/// Characters of the longest option name that is repeated in an error.
const LONGEST_NAME: usize = 24;

/// Returns whether the name of an option says that its value is a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || name.split(['_', '-', '.']).any(|word| SECRET_WORDS.contains(&word))
}

/// Returns the name of an unknown option for an error: the name itself where it looks like one, and no option before it
/// in the query is a secret, whose rest it may be.
#[must_use]
pub fn option_name<'a>(query: &[(String, String)], name: &'a str) -> &'a str {
    let mut before = query.iter().take_while(|(known, _)| known != name);
    match is_name(name) && !before.any(|(name, _)| is_secret_name(name)) {
        true => name,
        false => "...",
    }
}

/// Returns the end of the login at the start of a URI's rest: its last `@`, unless that begins a digest. A login that
/// contains `/` or `@` counts as well, and makes the URI one that cannot be read.
pub(super) fn login_end(scheme: &str, rest: &str) -> Option<usize> {
    let ends =
        || rest.match_indices('@').map(|(at, _)| at).filter(|at| !is_digest(&rest[at + 1..]));
    let (first, at) = (ends().next()?, ends().next_back()?);
    let authority = rest.split('/').next().unwrap_or(rest);
    let is_login = match scheme {
        _ if LOCAL.contains(&scheme) => {
            !authority.starts_with(['.', '~']) && authority.contains(':')
        }
        // The text after a name's '@' is a digest or a mistake.
        "docker" | "dockerpush" | "registry" | "oci" => true,
        // `h:8080/a@b` has a port.
        _ => first < authority.len() || has_odd_port(authority),
    };
    is_login.then_some(at)
}

/// Returns whether the text after the host's colon is not a port.
fn has_odd_port(authority: &str) -> bool {
    // The colons of an IPv6 address are in brackets.
    let after_brackets = authority.rsplit(']').next().unwrap_or(authority);
    after_brackets
        .split_once(':')
        .is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether a text is `sha256:...` to its end.
fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        matches!(algorithm, "sha256" | "sha384" | "sha512")
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Schemes whose options this program knows, each with its aliases.
const OWN_SCHEMES: [&str; 10] = [
    "docker",
    "dockerpush",
    "registry",
    "oci",
    "tar",
    "file",
    "dir",
    "directory",
    "oci-layout",
    "mounts",
];

/// Returns whether a login with `?` in it was cut in two: `me:PASS?WORD@host` has its host in the query. Digits before
/// the `?` look like a port.
pub(super) fn is_cut(scheme: &str, rest: &str, query: &str) -> bool {
    let has_end = |pair: &str| pair.match_indices('@').any(|(at, _)| !is_digest(&pair[at + 1..]));
    let name = |pair: &str| pair.split_once('=').map(|(name, _)| name.to_owned());
    // An option whose value has an '@' belongs neither to this program nor to a plugin.
    let is_option = |name: &str| match OWN_SCHEMES.contains(&scheme) {
        true => is_harmless(name) || is_secret_name(name),
        false => is_name(name),
    };
    let ends = |pair: &str| has_end(pair) && name(pair).is_none_or(|name| !is_option(&name));
    let is_colon_before = |text: &str| authority(text).contains(':');
    if is_colon_before(rest) && query.split('&').any(ends) {
        return true;
    }
    // The login in an option's URI has a '&' in it.
    let value = query.split_once("://").map_or("", |(_, value)| value);
    let ends_value = |pair: &str| pair.contains('=') && ends(pair);
    if is_colon_before(value) && value.split('&').skip(1).any(ends_value) {
        return true;
    }
    let holds_end =
        |pair: &str| has_end(pair) && !is_harmless(name(pair).as_deref().unwrap_or_default());
    !LOCAL.contains(&scheme)
        && has_odd_port(rest.split('/').next().unwrap_or(rest))
        && query.split('&').any(holds_end)
}

/// Returns the text before the path, also where one slash too many was typed.
fn authority(rest: &str) -> &str {
    let rest = rest.trim_start_matches('/');
    rest.split('/').next().unwrap_or(rest)
}

/// Returns whether a text looks like the name of an option.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
}

/// Finds options with a secret that stand elsewhere than in a query: `x:1&password=...`. Returns the place of the
/// separator and the value.
fn misplaced(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const SEPARATORS: [char; 5] = ['&', ';', ',', '#', '?'];
    text.match_indices(SEPARATORS).filter_map(|(at, _)| {
        let (name, value) = text[at + 1..].split_once('=')?;
        let is_name = !name.contains(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c));
        (is_name && names_password(name)).then_some((at, value))
    })
}

/// Returns whether a text has an option with a secret elsewhere than in a query.
pub(super) fn has_misplaced(text: &str) -> bool {
    misplaced(text).next().is_some()
}

/// Errors where an option with a secret stands before the query, as in `dir:///out&password=...`: receipts and messages
/// would have the secret as a part of the path. A directory of such a name is typed with the separator as an escape,
/// which is not an option.
pub(super) fn refuse_misplaced(rest: &str) -> Result<()> {
    let Some((at, _)) = misplaced(rest).next() else { return Ok(()) };
    let separator = rest[at..].chars().next().unwrap_or('&');
    Err(Error::usage(format!(
        "an option with a secret follows '{separator}' in a URI, and not '?'"
    ))
    .hint(format!(
        "options are written ?name=value&name=value; where this is a part of the path or the name, write \
         '{separator}' as %{:02X}",
        u32::from(separator)
    )))
}

/// Returns whether the value of an option is a secret of its own. A user's name is not.
fn names_password(name: &str) -> bool {
    is_secret_name(name) && !matches!(name, "username" | "user" | "login")
}

/// Returns the rest without its login, and without a misplaced option that names a secret.
pub(super) fn rest_without_login(scheme: &str, rest: &str) -> String {
    without(rest, login_end(scheme, rest))
}

/// Returns a text without the login that ends at `end`, and cut at a misplaced option.
fn without(text: &str, end: Option<usize>) -> String {
    let option = misplaced(text).next().map(|(at, _)| at);
    match (end, option) {
        // An '@' in the option's value, or an option in the login: no part can be distinguished from a password.
        (Some(end), Some(option)) if option < end => "...".to_owned(),
        (Some(end), _) => format!("...{}", without(&text[end..], None)),
        (None, Some(option)) => format!("{}...", &text[..option]),
        (None, None) => text.to_owned(),
    }
}

/// Returns the query with the options that `is_shown` accepts, without logins in their values.
pub(super) fn query<'a>(
    options: impl Iterator<Item = (&'a str, &'a str)>,
    is_shown: impl Fn(&str) -> bool,
) -> String {
    let shown = options.filter(|(name, _)| is_shown(name) && !is_secret_name(name));
    joined(shown.map(|(name, value)| format!("{name}={}", value_without_login(value))))
}

/// Returns the query of a command that does the same: every option as it is, without those that have a secret.
pub(super) fn query_of_command<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let open = options.filter(|(name, value)| !is_secret_name(name) && logins_in(value).is_empty());
    joined(open.map(|(name, value)| format!("{name}={value}")))
}

fn joined(options: impl Iterator<Item = String>) -> String {
    let options: Vec<String> = options.collect();
    if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) }
}

/// Returns whether an option of this program's own may be shown.
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
        // Text that looks like a URI and is none: no part can be distinguished from a password.
        None if value.contains("://") => "...".to_owned(),
        None => without(value, None),
    }
}

/// Returns a text that the user typed, a URI or not, without logins and text that could be one.
pub(super) fn hide(text: &str) -> String {
    if let Ok(uri) = Uri::parse(text) {
        return printable(&uri.display());
    }
    let Some((scheme, rest, query)) = parts(text) else { return printable(&plain(text)) };
    if is_cut(&scheme.to_ascii_lowercase(), rest, query) {
        return printable(&format!("{scheme}://..."));
    }
    let rest = rest_without_login(&scheme.to_ascii_lowercase(), rest);
    // A query that cannot be parsed: no part can be distinguished from a password.
    let options = super::parse_query(query).unwrap_or_default();
    let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    printable(&format!("{scheme}://{}{}", decode(&rest), self::query(options, is_harmless)))
}

/// Returns text without a scheme, without its login.
pub(super) fn plain(text: &str) -> String {
    let end = text.rmatch_indices('@').find(|(at, _)| !is_digest(&text[at + 1..]));
    without(text, end.filter(|_| text.contains(':')).map(|(at, _)| at))
}

/// Returns scheme, rest and query of a text that looks like a URI.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some((scheme, rest, query))
}

/// Returns the options of a query that have a value.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Returns the secrets in a text that was typed as a URI or like one: passwords of logins, and values of options whose
/// names say that they are secret, also in a URI that is the value of an option.
#[must_use]
pub fn logins_in(text: &str) -> Vec<String> {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let starts = text.match_indices("://").map(|(colon, _)| {
        let scheme = text[..colon].rsplit(|c| !is_of_scheme(c)).next().unwrap_or_default();
        colon - scheme.len()
    });
    // A URI may contain another one, or have one in the value of an option.
    let mut found: Vec<String> = starts.flat_map(|start| logins_of(&text[start..])).collect();
    if !text.contains("://") && !text.starts_with(['/', '.', '~', '-']) {
        found.extend(logins_of(text));
    }
    for (_, value) in misplaced(text) {
        // A password may have a separator in it, or end at one.
        found.push(decode(value));
        let ends = [value.find('&'), value.find(['&', ';', ',', '#'])];
        found.extend(ends.into_iter().flatten().map(|end| decode(&value[..end])));
    }
    found.retain(|secret| !secret.is_empty());
    let mut known = std::collections::HashSet::new();
    found.retain(|secret| known.insert(secret.clone()));
    found
}

/// Returns the secrets as [`logins_in`] does, for text that begins with the scheme, or with the login where there is no
/// scheme.
fn logins_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (scheme, rest, query) = match parts(text) {
        Some((scheme, rest, query)) => (scheme.to_ascii_lowercase(), rest, query),
        // A login at the start, before a host.
        None if text.contains(':') => {
            let (rest, query) = text.split_once('?').unwrap_or((text, ""));
            (String::new(), rest, query)
        }
        None => return found,
    };
    if is_cut(&scheme, rest, query) {
        let whole = text.split_once("://").map_or(text, |(_, whole)| whole);
        let mut ends = whole.rmatch_indices('@').filter(|(at, _)| !is_digest(&whole[at + 1..]));
        let login = ends.next().map_or(whole, |(at, _)| &whole[..at]);
        found.extend(login.split_once(':').map(|(_, password)| password.to_owned()));
    }
    if let Some(login) = login_end(&scheme, rest).map(|at| &rest[..at]) {
        match login.split_once([':', '@']) {
            Some((_, password)) => {
                found.push(password.to_owned());
                // The password is shorter where the path has an '@' as well.
                found.extend(password.rsplit_once('@').and_then(|(_, after)| {
                    let whole = password.len() - after.len() - 1;
                    after.contains('/').then(|| password[..whole].to_owned())
                }));
            }
            // A token may stand in the place of a user's name.
            None if login.len() >= SHORTEST_TOKEN => found.push(login.to_owned()),
            None => {}
        }
    }
    for (name, value) in pairs(query) {
        match names_password(&name) {
            true => found.push(value),
            false if value.contains("://") => found.extend(logins_in(&value)),
            false => {}
        }
    }
    found.iter().map(|secret| decode(secret)).collect()
}

/// Bytes of the shortest text that is taken for a token in the place of a user's name.
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
            ("registry://me:12345?Hunter2@h/x", "registry://..."),
            ("registry://me:12345/x?Hunter2=1@h/x", "registry://..."),
            ("registry://me:12345/x?hunter=1@h/x", "registry://..."),
            ("registry:///me:p@ss?Hunter2@h/x", "registry://..."),
            ("webdav://me:12345/x?Hunter2=1@h/x", "webdav://..."),
            ("tar://me:p@ss?Hunter2@h/x", "tar://..."),
            ("dir:///me:p@ss?Hunter2@h/x", "dir://..."),
            ("oci-layout://me:p@ss?Hunter2@h/x", "oci-layout://..."),
            ("docker://x?socket=tcp://me:12345?Hunter2@h:1", "docker://x?socket=tcp://..."),
            ("docker://x?socket=tcp://me:12345&hunter=x@h:1", "docker://..."),
            ("docker://x?socket=t p://me:Hunter2@h:1", "docker://x?socket=..."),
            ("registry://h/x:1&password=Hunter2", "registry://h/x:1..."),
            ("registry://h/x#password=Hunter2?os=linux", "registry://h/x...?os=linux"),
            ("registry://h/x?os=linux;passwd=Hunter2", "registry://h/x?os=linux..."),
            ("x&password=Hunter2", "x..."),
            ("registry://h/x:1&password=p@Hunter2", "registry://..."),
            ("registry://me:Hunter2,pass=x/@h/x", "registry://..."),
            ("registry://me:Hunter2/@h/x,pass=x", "registry://...@h/x..."),
        ] {
            assert_eq!(hide(text), expected, "{text}");
        }
        // Text without a login is shown as it is.
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
            "docker://x?socket=tcp://h:2375".to_owned(),
            "registry://h:5000/x?os=a@b".to_owned(),
            "tar:///srv/a:b.tar?image=c@d".to_owned(),
            "dir:///srv/a&b=c,key".to_owned(),
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
            ("registry://me:12345?Hunter2@h/x@sha256:00", vec!["12345?Hunter2"]),
            ("tar:///me:p@ss?Hunter2@h/x", vec!["p@ss?Hunter2"]),
            ("registry://h/x:1&password=Hunter2", vec!["Hunter2"]),
            ("x;token=Hun;ter2&os=1", vec!["Hun;ter2&os=1", "Hun;ter2", "Hun"]),
            ("registry://h/x,user=me#pass=Hunter2", vec!["Hunter2"]),
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
