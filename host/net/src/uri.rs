//! URIs as users type them: `scheme://rest?option=value&...`.
//!
//! What it refuses: a text without a scheme, an option without `=`, an option that is given twice, a login that cannot
//! be read. `uri/hide.rs` decides which parts of a URI are shown. Its secrets are given to [`occystrap_base::secret`]
//! before the URI is used.

pub mod environment;
mod hide;
mod suggest;

pub use self::environment::keep_secrets_of_environment;
pub use self::hide::{is_secret_name, logins_in, option_name};
pub use suggest::instead_of_transport;

use self::hide::LOCAL;
use occystrap_base::error::{Error, Result};
use occystrap_base::secret::{self, Secret};

/// Schemes that 0.4.17 accepted without the slashes as well. With any other scheme the text is an image: `busybox:1`.
const WITHOUT_SLASHES: [&str; 11] = [
    "tar",
    "file",
    "dir",
    "directory",
    "docker",
    "registry",
    "oci-layout",
    "oci",
    "mounts",
    "dockerpush",
    "quay",
];

/// Parsed URI.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    /// Scheme in lower case, with aliases resolved.
    pub scheme: String,
    /// User and password, as a registry URI may carry them.
    pub credentials: Option<(String, Secret)>,
    /// Text between `scheme://` and `?`, without credentials, percent-decoded.
    pub rest: String,
    /// Options in the order given.
    pub options: Vec<(String, String)>,
}

impl Uri {
    /// Parses a URI as the user typed it. Errors as the module says.
    pub fn parse(text: &str) -> Result<Self> {
        logins_in(text).iter().for_each(|login| secret::keep(login));
        let uri = Self::read(text)?;
        secret::show(&hide::rest_without_login(&uri.scheme, &uri.rest));
        // A file, an image or a socket in an option is shown openly as well.
        let open = |(name, value): &&(String, String)| {
            hide::is_harmless(name) && logins_in(value).is_empty()
        };
        uri.options.iter().filter(open).for_each(|(_, value)| secret::show(value));
        Ok(uri)
    }

    fn read(text: &str) -> Result<Self> {
        let short = |(scheme, rest): &(&str, &str)| {
            let known = WITHOUT_SLASHES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
            // A login without a scheme is a mistake, and the user's name is not a scheme.
            known && !has_login(rest)
        };
        let (scheme, rest) = text
            .split_once("://")
            .or_else(|| text.split_once(':').filter(short))
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or_else(|| {
                Error::usage(format!("'{}' is not a URI", hide::plain(text)))
                    .hint(suggest::instead_of(text))
            })?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, query),
            None => (rest, ""),
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "file" => "tar".to_owned(),
            "directory" => "dir".to_owned(),
            other => other.to_owned(),
        };
        refuse_login(&scheme, rest, query)?;
        hide::refuse_misplaced(rest)?;
        let (credentials, rest) = match scheme.as_str() {
            // The rest for an engine is `name:tag@sha256:...`, without a login.
            "docker" | "dockerpush" => (None, rest),
            _ => split_credentials(rest),
        };
        let rest = match rest.strip_prefix("localhost/") {
            // tar://localhost/path is tar:///path (RFC 8089 writes file URIs so).
            Some(path) if matches!(scheme.as_str(), "tar" | "dir") => format!("/{}", decode(path)),
            _ => decode(rest),
        };
        if rest == "-" && matches!(scheme.as_str(), "tar" | "dir" | "oci-layout") {
            return Err(Error::usage(format!(
                "'{scheme}://-': standard input and output are not supported"
            ))
            .hint(format!("name a file; for a file named '-', type {scheme}://./-")));
        }
        let uri = Self { credentials, rest, options: parse_query(query)?, scheme };
        if matches!(uri.scheme.as_str(), "tar" | "dir" | "oci-layout") {
            uri.refuse_tilde()?;
        }
        if let Some(socket) =
            uri.option("socket").filter(|_| matches!(uri.scheme.as_str(), "docker" | "dockerpush"))
        {
            let path = socket.strip_prefix("unix://").unwrap_or(socket);
            refuse_tilde(path, "socket=", "docker:// in option 'socket'")?;
        }
        Ok(uri)
    }

    /// Returns the value of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Errors where the rest is a path that begins with `~`. A shell expands `~` at the start of a word only; here it
    /// would be a directory of that name.
    pub fn refuse_tilde(&self) -> Result<()> {
        let prefix = format!("{}://", self.scheme);
        refuse_tilde(&self.rest, &prefix, &format!("'{}'", self.display()))
    }

    /// Sets an option that the URI does not set.
    pub fn set_default(&mut self, name: &str, value: &str) {
        match self.options.iter_mut().find(|(known, _)| known == name) {
            Some((_, own)) if own.is_empty() => value.clone_into(own),
            Some(_) => {}
            None => self.options.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Returns the URI with an absolute path, where it names a path, so that it works from another directory.
    #[must_use]
    pub fn with_absolute_path(&self) -> Self {
        Self { rest: absolute(&self.rest), ..self.clone() }
    }

    /// Returns the URI with an absolute path in `?socket=`, so that it works from another directory.
    #[must_use]
    pub fn with_absolute_socket(&self) -> Self {
        let mut uri = self.clone();
        for (_, socket) in uri.options.iter_mut().filter(|(name, _)| name == "socket") {
            let path = socket.strip_prefix("unix://").unwrap_or(socket);
            // An address of another kind is not a path.
            if !path.contains("://") {
                *socket = absolute(path);
            }
        }
        uri
    }

    /// Returns the URI without credentials, spelled so that it is parsed to the same: for commands and receipts.
    #[must_use]
    pub fn typed(&self) -> String {
        let escape = |part: &str, special: &str| {
            let mut typed = String::with_capacity(part.len());
            for (at, c) in part.char_indices() {
                // A percent sign that starts no escape stands for itself.
                let escapes = c == '%' && decode(&part[at..]) != part[at..];
                match c {
                    c if escapes || special.contains(c) => {
                        typed.push_str(&format!("%{:02X}", u32::from(c)));
                    }
                    c => typed.push(c),
                }
            }
            typed
        };
        // Text that would be read as a misplaced option is part of the path here.
        let special = if hide::has_misplaced(&self.rest) { "?&;,#" } else { "?" };
        let (rest, mut options) = (escape(&self.rest, special), self.options.clone());
        for (name, value) in &mut options {
            (*name, *value) = (escape(name, "&="), escape(value, "&"));
        }
        let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = hide::query_of_command(options);
        format!("{}://{rest}{query}", self.scheme)
    }

    /// Errors when there is an option that is not among `known`.
    pub fn check_options(&self, role: &str, known: &[&str]) -> Result<()> {
        match self.options.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let name = option_name(&self.options, name);
                let message = format!("{role} '{}://' has no option '{name}'", self.scheme);
                Err(Error::usage(message).hint(format!("its options are: {}", known.join(", "))))
            }
        }
    }

    /// Returns the part of a text that may be shown, where a user typed the text as a URI.
    #[must_use]
    pub fn hide(text: &str) -> String {
        hide::hide(text)
    }

    /// Returns the URI for messages, receipts and logs: without credentials, and without options that are
    /// not known to be harmless.
    #[must_use]
    pub fn display(&self) -> String {
        self.display_with(|_| false)
    }

    /// Returns the URI as [`Self::display`] does, with those options that `is_known` recognises as a plugin's own.
    /// Options whose names say that they are secret are never shown.
    #[must_use]
    pub fn display_with(&self, is_known: impl Fn(&str) -> bool) -> String {
        let rest = hide::rest_without_login(&self.scheme, &self.rest);
        let options = self.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = hide::query(options, |name| hide::is_harmless(name) || is_known(name));
        format!("{}://{rest}{query}", self.scheme)
    }
}

impl std::fmt::Debug for Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.display())
    }
}

/// Errors where a path is `~`, or begins with `~/` or `~USER/`.
fn refuse_tilde(path: &str, prefix: &str, place: &str) -> Result<()> {
    let (home, below) = path.split_once('/').unwrap_or((path, ""));
    if !home.starts_with('~') || (home != "~" && !path.contains('/')) {
        return Ok(());
    }
    let whole = match home {
        "~" if below.is_empty() => format!("{prefix}$HOME"),
        "~" => format!("{prefix}$HOME/{below}"),
        _ => format!("{prefix}/PATH/OF/{}/{below}", home.trim_start_matches('~')),
    };
    let message = format!("{place}: a shell expands '~' at the start of a word only");
    Err(Error::usage(message)
        .hint(format!("type {whole}; for a directory named '{home}', type {prefix}./{path}")))
}

fn absolute(path: &str) -> String {
    let absolute = std::path::absolute(path);
    absolute.map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

/// Returns whether a text is a scheme (RFC 3986, 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn split_credentials(rest: &str) -> (Option<(String, Secret)>, &str) {
    let authority = rest.split('/').next().unwrap_or(rest);
    // Only text with a colon before the '@' is a login: `image@sha256:...` is not.
    match authority
        .rsplit_once('@')
        .and_then(|(login, _)| login.split_once(':').map(|pair| (login.len(), pair)))
    {
        Some((length, (user, password))) => {
            (Some((decode(user), decode(password).into())), &rest[length + 1..])
        }
        None => (None, rest),
    }
}

/// Errors for a login where the scheme takes none, or where the login cannot be distinguished from the path. Another
/// error would show such a login.
fn refuse_login(scheme: &str, rest: &str, query: &str) -> Result<()> {
    let whole = match scheme {
        "docker" | "dockerpush" => rest,
        _ => split_credentials(rest).1,
    };
    // A digest follows the last '@', which is then the only one.
    let is_login = |(before, after): &(&str, &str)| {
        before.contains(':') && (after.contains(['@', '/']) || !after.contains(':'))
    };
    let unread = match scheme {
        "docker" | "dockerpush" | "registry" | "oci" => {
            whole.split_once('@').as_ref().is_some_and(is_login)
        }
        _ if LOCAL.contains(&scheme) => false,
        _ => hide::login_end(scheme, whole).is_some(),
    };
    if !unread && !hide::is_cut(scheme, rest, query) {
        return Ok(());
    }
    Err(match scheme {
        "docker" | "dockerpush" => Error::usage(format!("'{scheme}://' takes no login")),
        _ => Error::usage(format!("the login in a '{scheme}://' URI cannot be read")).hint(
            "write '/' as %2F, '?' as %3F and '@' as %40 in it, or use --username and --password",
        ),
    })
}

fn has_login(rest: &str) -> bool {
    rest.split('/').next().is_some_and(|authority| authority.contains('@'))
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>> {
    let mut options: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            let pair = decode(pair);
            let name = option_name(&options, &pair);
            return Err(Error::usage(format!("option '{name}' in a URI has no value"))
                .hint("options are written ?name=value&name=value"));
        };
        let name = decode(name);
        if options.iter().any(|(known, _)| *known == name) {
            return Err(Error::usage(format!(
                "option '{}' is given twice in a URI",
                option_name(&[], &name)
            )));
        }
        options.push((name, decode(value)));
    }
    Ok(options)
}

/// Decodes percent-encoding. A percent sign that starts no escape stands for itself, as in 0.4.17.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_parsed_as_users_type_them() {
        let uri =
            Uri::parse("registry://user:p%40ss@host:5000/a/b:1?arch=arm64&variant=v8").unwrap();
        assert_eq!(uri.rest, "host:5000/a/b:1");
        assert_eq!(uri.credentials, Some(("user".into(), "p@ss".into())));
        assert_eq!(uri.option("variant"), Some("v8"));
        assert_eq!(uri.display(), "registry://host:5000/a/b:1?arch=arm64&variant=v8");
        assert_eq!(Uri::parse("tar:foo.tar").unwrap().rest, "foo.tar");
        assert_eq!(Uri::parse("file:///x%20y.tar").unwrap(), Uri::parse("tar:///x y.tar").unwrap());
        assert_eq!(Uri::parse("directory://localhost/x").unwrap().rest, "/x");
        assert_eq!(Uri::parse("tar://100%.tar").unwrap().rest, "100%.tar");
    }

    #[test]
    fn a_uri_that_is_typed_again_means_the_same() {
        for text in [
            "tar:///a%3Fb?image=x%26y:1",
            "dir:///100%25.d/%2541",
            "registry://host:5000/a/b:1?arch=arm64",
            "tar:///100%.tar?image=a=b",
        ] {
            let uri = Uri::parse(text).unwrap();
            assert_eq!(Uri::parse(&uri.typed()).unwrap(), uri, "{text} {}", uri.typed());
        }
        let uri = Uri::parse("docker://a?socket=unix://d.sock").unwrap().with_absolute_socket();
        assert!(uri.option("socket").unwrap().starts_with('/'), "{uri:?}");
        let login = Uri::parse(
            "registry://user:secret@host/a?password=secret&Passwd=secret&my_token=secret",
        )
        .unwrap();
        assert_eq!(login.typed(), "registry://host/a");
    }

    #[test]
    fn a_digest_is_no_login() {
        let digest = "registry://host/image@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let uri = Uri::parse(digest).unwrap();
        assert_eq!(uri.credentials, None);
        assert_eq!(uri.display(), digest);
    }

    #[test]
    fn mistakes_are_named_without_the_password() {
        for bad in ["foo.tar", "", "://x", "tar:///x?a", "tar:///x?a=1&a=2", "1x://y"] {
            let error = Uri::parse(bad).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
        let error = Uri::parse("user:secret@host/x y").map(|uri| uri.display());
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn a_home_directory_is_not_taken_for_a_file_name() {
        for (text, hint) in [
            ("dir://~/x", "type dir://$HOME/x; for a directory named '~', type dir://./~/x"),
            ("tar:~", "type tar://$HOME; "),
            ("oci-layout://%7E/x:1", "type oci-layout://$HOME/x:1; "),
            ("dir://~alice/x", "type dir://./~alice/x"),
            ("docker://a?socket=~/d.sock", "type socket=$HOME/d.sock; "),
        ] {
            let error = Uri::parse(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
        }
        for fine in ["dir://./~/x", "tar://~x.tar", "dir:///~/x", "registry://host/~/a", "tar://a~"]
        {
            assert!(Uri::parse(fine).is_ok(), "{fine}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text in "\\PC*") {
            if let Ok(uri) = Uri::parse(&text) {
                let _ = uri.display();
            }
        }
    }
}
