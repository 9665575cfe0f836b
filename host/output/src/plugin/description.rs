//! The description that a plugin gives of itself, checked before it is used.

use super::bindings::types::ErrorCode;
use super::bindings::writer;
use super::permission::Permission;
use super::violation::violation;
use occystrap_base::error::{Error, Result, is_unprintable, printable};
use occystrap_net::uri::option_name;

/// Longest name, scheme or option name, in bytes.
const LONGEST_NAME: usize = 64;

/// Longest default of an option, in bytes. Usual ones are a word; it is printed where the user decides whether
/// to trust the plugin.
const LONGEST_DEFAULT: usize = 1024;

/// Largest number of schemes, and of options.
const MOST: usize = 64;

/// A checked description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// A name of lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// The version, as the plugin spells it.
    pub version: String,
    /// One line.
    pub summary: String,
    /// The URI schemes it answers to.
    pub schemes: Vec<String>,
    /// The kind of destination that a URI names.
    pub destination: DestinationKind,
    /// Set if its manifests are those of the OCI image specification or of Docker's schema 2.
    pub oci_manifests: bool,
    /// Options of the query.
    pub options: Vec<OptionSpec>,
}

/// The kind of destination that a URI names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationKind {
    /// A directory, which may hold several images.
    Directory,
    /// A file, which holds one image.
    File,
    /// A directory and a tag.
    TaggedDirectory,
    /// A repository of a registry and a tag.
    Repository,
    /// The name of an image in a container engine.
    Engine,
    /// A folder of a web server: the directory of a plugin that can read only web servers.
    Web,
}

impl DestinationKind {
    /// Returns the form of what follows `scheme://`.
    #[must_use]
    pub fn form(self) -> &'static str {
        match self {
            Self::Directory | Self::File => "PATH",
            Self::TaggedDirectory => "PATH[:TAG]",
            Self::Repository => "HOST[:PORT]/IMAGE[:TAG]",
            Self::Engine => "IMAGE[:TAG]",
            Self::Web => "HOST[:PORT]/PATH",
        }
    }

    /// Returns the options of the query that the host takes itself, with their meaning. The plugin does not see
    /// them.
    #[must_use]
    pub fn host_options(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Directory | Self::File | Self::TaggedDirectory | Self::Web => &[],
            Self::Repository => &[
                ("insecure", "true to speak plain HTTP"),
                ("username", "user at the registry"),
                ("password", "password or access token at the registry"),
            ],
            Self::Engine => &[("socket", "path of the engine's socket")],
        }
    }
}

/// An option of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionSpec {
    /// The name in the query.
    pub name: String,
    /// Set if it takes `true` or `false` only.
    pub boolean: bool,
    /// The value when the option is not given.
    pub default: String,
    /// One line.
    pub summary: String,
}

impl Description {
    /// Corrects the kind of destination by the permissions: a directory is one of a web server when the plugin
    /// can read only web servers.
    #[must_use]
    pub fn with(mut self, permissions: &[Permission]) -> Self {
        let imports = |name: &str| permissions.iter().any(|known| known.interface == name);
        if self.destination == DestinationKind::Directory
            && imports("http-in")
            && !imports("storage")
        {
            self.destination = DestinationKind::Web;
        }
        self
    }

    /// Checks the options of a URI and adds the defaults. Errors name the option and those that exist.
    pub fn options(
        &self,
        given: &[(String, String)],
        scheme: &str,
    ) -> Result<Vec<(String, String)>> {
        for (name, value) in given {
            let Some(option) = self.options.iter().find(|option| option.name == *name) else {
                let error = Error::usage(format!(
                    "output '{scheme}://' has no option '{}'",
                    option_name(given, name)
                ));
                let own = self.options.iter().map(|option| option.name.as_str());
                let hosts = self.destination.host_options().iter().map(|(name, _)| *name);
                let names: Vec<&str> = own.chain(hosts).collect();
                return Err(if names.is_empty() {
                    error.hint("it takes no options")
                } else {
                    error.hint(format!("its options are: {}", names.join(", ")))
                });
            };
            if value.is_empty() {
                let message = format!("option '{name}' of '{scheme}://' has no value");
                return Err(Error::usage(message).hint("give it one, or leave it out"));
            }
            if option.boolean && parse_boolean(value).is_none() {
                return Err(Error::usage(format!(
                    "option '{name}' of '{scheme}://': expected true or false, found '{value}'"
                )));
            }
        }
        Ok((self.options.iter())
            .map(|option| {
                let given = given.iter().rev().find(|(name, _)| *name == option.name);
                let value = given.map_or(option.default.as_str(), |(_, value)| value);
                let value = match parse_boolean(value).filter(|_| option.boolean) {
                    Some(value) => value.to_string(),
                    None => value.to_owned(),
                };
                (option.name.clone(), value)
            })
            .collect())
    }

    /// Returns the error for an option whose value the plugin does not accept.
    #[must_use]
    pub fn invalid(&self, name: &str, given: &[(String, String)], scheme: &str) -> Error {
        let value = given.iter().find(|(known, _)| known == name);
        let value = value.map_or("", |(_, value)| value.as_str());
        let error =
            Error::usage(format!("option '{name}' of '{scheme}://': '{value}' is not valid"));
        match self.options.iter().find(|option| option.name == name) {
            Some(option) => error.hint(format!("{name}: {}", option.summary)),
            None => error,
        }
    }
}

/// Parses `true` and `false` in the spellings that 0.4.17 accepted.
#[must_use]
pub fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Checks the answer of `describe`.
pub fn check(raw: writer::Description, plugin: &str) -> Result<Description> {
    let refuse = |what: &str| Err(violation(plugin, format!("its description has {what}")));
    if !is_name(&raw.name) {
        return refuse("an invalid name");
    }
    if raw.schemes.is_empty()
        || raw.schemes.len() > MOST
        || !raw.schemes.iter().all(|name| is_scheme(name))
    {
        return refuse("no schemes, too many, or an invalid one");
    }
    if raw.options.len() > MOST || !raw.options.iter().all(|option| is_name(&option.name)) {
        return refuse("too many options, or one with an invalid name");
    }
    if raw.options.iter().any(|option| {
        option.default.len() > LONGEST_DEFAULT || option.default.contains(is_unprintable)
    }) {
        return refuse(&format!(
            "an option whose default has control characters, or more than {LONGEST_DEFAULT} bytes"
        ));
    }
    let options = raw.options.into_iter().map(|option| OptionSpec {
        name: option.name,
        boolean: option.kind == writer::OptionKind::Boolean,
        default: option.default,
        summary: printable(&option.summary),
    });
    Ok(Description {
        version: printable(&raw.version.chars().take(LONGEST_NAME).collect::<String>()),
        summary: printable(&raw.summary),
        schemes: raw.schemes,
        destination: match raw.destination {
            writer::Destination::Directory => DestinationKind::Directory,
            writer::Destination::File => DestinationKind::File,
            writer::Destination::TaggedDirectory => DestinationKind::TaggedDirectory,
            writer::Destination::Repository => DestinationKind::Repository,
            writer::Destination::Engine => DestinationKind::Engine,
        },
        oci_manifests: raw.manifests == writer::ManifestForm::Oci,
        options: options.collect(),
        name: raw.name,
    })
}

/// Returns whether a text is a name: lower-case letters, digits, `-` and `_`.
pub(super) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

/// Returns whether a text is a scheme in lower case (RFC 3986, 3.1).
pub(super) fn is_scheme(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

/// Returns a code as the WIT file spells it.
#[must_use]
pub fn code_name(code: &ErrorCode) -> &'static str {
    match code {
        ErrorCode::AccessDenied => "access-denied",
        ErrorCode::ReadOnly => "read-only",
        ErrorCode::NotFound => "not-found",
        ErrorCode::Exists => "exists",
        ErrorCode::InvalidPath => "invalid-path",
        ErrorCode::InvalidDigest => "invalid-digest",
        ErrorCode::NotAFile => "not-a-file",
        ErrorCode::DigestMismatch(_) => "digest-mismatch",
        ErrorCode::InsufficientSpace => "insufficient-space",
        ErrorCode::QuotaExceeded => "quota-exceeded",
        ErrorCode::Unsupported => "unsupported",
        ErrorCode::InvalidState => "invalid-state",
        ErrorCode::SourceFailed => "source-failed",
        ErrorCode::Unavailable => "unavailable",
        ErrorCode::Other(_) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(default: String) -> Result<Description> {
        let text = |text: &str| text.to_owned();
        let option = writer::OptionSpec {
            name: text("mode"),
            kind: writer::OptionKind::Text,
            default,
            summary: text("how\u{1b}[2J"),
        };
        let raw = writer::Description {
            name: text("test"),
            version: text("1\u{1b}[2J"),
            summary: text("a\nb"),
            schemes: vec![text("test")],
            destination: writer::Destination::Directory,
            manifests: writer::ManifestForm::Custom,
            options: vec![option],
        };
        check(raw, "test")
    }

    #[test]
    fn the_default_of_an_option_is_short_and_drives_no_terminal() {
        for bad in ["\u{1b}[2J", "x\nIt may:\n  - read", "\u{202e}x", &"x".repeat(1025)] {
            let error = described(bad.to_owned()).unwrap_err();
            assert!(error.to_string().contains("an option whose default has"), "{error}");
        }
        let description = described("x".repeat(1024)).unwrap();
        let shown = format!(
            "{}{}{}",
            description.version, description.summary, description.options[0].summary
        );
        assert!(!shown.contains(is_unprintable), "{shown:?}");
    }
}
