//! Logins for web servers from a file in the format of curl, git and ftp (netrc(5)).
//!
//! What this module refuses: `default`, which would send a password to any host; macros; and to show text of the file
//! in an error.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use reqwest::header::HeaderValue;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::secret::{self, Secret};

/// The largest file with logins that is read, in bytes. Real files have some kilobytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// The place of the logins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Logins {
    /// There are none.
    #[default]
    None,
    /// A file that the user named. It must exist.
    Named(PathBuf),
    /// The file that other programs use. It may be missing or broken.
    Usual(PathBuf),
}

impl Logins {
    /// Reads the logins. Errors when a file that the user named cannot be read.
    pub fn read(&self) -> Result<Netrc> {
        match self {
            Self::None => Ok(Netrc::default()),
            Self::Named(file) => Netrc::read(file),
            Self::Usual(file) => Ok(Netrc::read(file).unwrap_or_else(|error| {
                tracing::warn!(%error, "continuing without logins");
                Netrc::default()
            })),
        }
    }
}

/// The logins by host name.
#[derive(Clone, Default)]
pub struct Netrc {
    machines: Vec<Machine>,
}

#[derive(Clone)]
struct Machine {
    host: String,
    login: String,
    password: Secret,
}

impl Netrc {
    /// Reads a file. Errors contain its path, and no text of it.
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display();
        let fail = |cause: &std::io::Error| {
            Error::io(Kind::Auth, "read the logins in", place.to_string(), cause)
        };
        let size = std::fs::metadata(path).map_err(|cause| fail(&cause))?.len();
        if size > LARGEST_FILE {
            let message =
                format!("logins in '{place}': expected at most {LARGEST_FILE} bytes, found {size}");
            return Err(Error::new(Kind::Auth, message));
        }
        let bytes = std::fs::read(path).map_err(|cause| fail(&cause))?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Returns the file that curl uses: `$NETRC`, else `.netrc` in the home directory; `None` when it does not exist.
    #[must_use]
    pub fn usual(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let file = path("NETRC").or_else(|| Some(path("HOME")?.join(".netrc")))?;
        file.is_file().then_some(file)
    }

    /// Parses a file. Unknown words are skipped, as curl does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut words = Words { rest: text };
        let mut machines: Vec<Machine> = Vec::new();
        // Words after `default` or before the first machine are ignored.
        let mut open = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => {
                    let Some(host) = words.next() else { break };
                    open = true;
                    let host = host.to_ascii_lowercase();
                    machines.push(Machine { host, login: String::new(), password: "".into() });
                }
                "default" => open = false,
                // A macro ends at the next empty line.
                "macdef" => words.skip_macro(),
                "login" | "password" | "account" => {
                    let Some(value) = words.next() else { break };
                    match (machines.last_mut().filter(|_| open), word.as_str()) {
                        (Some(machine), "login") => machine.login = value,
                        (Some(machine), "password") => machine.password = value.into(),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Self { machines }
    }

    /// Returns the header for a host, if there is a login for it. The first of several counts, as in curl.
    #[must_use]
    pub fn header(&self, host: &str) -> Option<HeaderValue> {
        let machine = self.machines.iter().find(|machine| machine.host == host)?;
        basic(&machine.login, &machine.password)
    }
}

/// Returns the header of Basic authentication (RFC 7617); `None` for a name with a colon, which it does not support.
#[must_use]
pub fn basic(login: &str, password: &Secret) -> Option<HeaderValue> {
    if login.contains(':') {
        return None;
    }
    let pair = format!("{login}:{}", password.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    // A short password is too short to be masked in all its encodings, but the encoded pair is long enough.
    secret::keep(&encoded);
    let mut header = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl fmt::Debug for Netrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.machines.iter().map(|machine| &machine.host);
        f.debug_list().entries(hosts).finish()
    }
}

/// The words of a file, separated by white space. A word in quotes may contain white space, and `\` quotes the next
/// character.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            // A comment is a line's first word.
            if !self.rest.starts_with('#') {
                break;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        let mut word = String::new();
        let mut letters = self.rest.char_indices().peekable();
        let quoted = letters.next_if(|(_, first)| *first == '"').is_some();
        letters.peek()?;
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' if quoted => {
                    self.rest = &self.rest[at + 1..];
                    return Some(word);
                }
                '\\' if quoted => {
                    if let Some((_, escaped)) = letters.next() {
                        word.push(escaped);
                    }
                }
                space if !quoted && space.is_whitespace() => {
                    self.rest = &self.rest[at..];
                    return Some(word);
                }
                letter => word.push(letter),
            }
        }
        self.rest = "";
        Some(word)
    }

    fn skip_macro(&mut self) {
        self.rest = self.rest.split_once("\n\n").map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str, host: &str) -> Option<String> {
        let header = Netrc::parse(text).header(host)?;
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
        Some(String::from_utf8(decoded).unwrap())
    }

    #[test]
    fn files_as_they_are() {
        let text = "# all\nmachine a.example login me password p#w\n\
                    machine B.example\n\tlogin you\n\taccount x\n\tpassword \"two \\\"words\"\n\
                    macdef init\nmachine evil login x password y\n\n\
                    machine a.example login other password z\n\
                    default login anyone password thing\n";
        assert_eq!(login(text, "a.example").as_deref(), Some("me:p#w"));
        assert_eq!(login(text, "b.example").as_deref(), Some("you:two \"words"));
        assert_eq!(login(text, "evil"), None);
        assert_eq!(login(text, "c.example"), None);
        assert!(!format!("{:?}", Netrc::parse(text)).contains("p#w"));
    }

    #[test]
    fn files_that_end_early() {
        for text in ["machine", "machine a login", "machine a password \"x", "\"", "macdef x", "#"]
        {
            let _ = login(text, "a");
        }
        assert_eq!(login("machine a", "a").as_deref(), Some(":"));
        assert_eq!(login("machine a login x:y password z", "a"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(machine|login|password|default|macdef|[ \n\"#\\\\]|\\PC)*") {
            let _ = login(&text, "a");
        }

        #[test]
        fn a_quoted_login_is_read_back(host in "[a-z]{1,9}", name in "[^:\"\\\\\\p{C}]{0,9}", word in "\\PC{0,9}") {
            let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("machine {host} login \"{}\" password \"{}\"", quoted(&name), quoted(&word));
            proptest::prop_assert_eq!(login(&text, &host), Some(format!("{name}:{word}")));
        }
    }
}
