//! The registry to which pushed images go, and the names that they have there.

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::name::{LONGEST_NAME, is_repository};
use occystrap_net::registry::Reference;
use occystrap_net::uri::Uri;
use occystrap_serve::refusal::{Code, Refusal};

/// The registry to which pushed images go: `HOST[:PORT][/PREFIX]`.
#[derive(Clone)]
pub struct Downstream {
    uri: Uri,
}

impl Downstream {
    /// Parses what the user typed: `HOST[:PORT][/PREFIX]`, or the same as a URI with options. Errors when it is neither.
    pub fn parse(text: &str) -> Result<Self> {
        let typed = match text.contains("://") {
            true => text.to_owned(),
            false => format!("registry://{text}"),
        };
        let mut uri = Uri::parse(&typed)?;
        if uri.scheme != "registry" {
            let shown = Uri::hide(text);
            return Err(Error::usage(format!("'{shown}' is not a registry")).hint(
                "write HOST[:PORT][/PREFIX], or registry://HOST[:PORT][/PREFIX]?insecure=true",
            ));
        }
        uri.rest = uri.rest.trim_end_matches('/').to_owned();
        let downstream = Self { uri };
        downstream.reference("any")?;
        Ok(downstream)
    }

    /// Returns the repository that has this name here.
    pub fn reference(&self, repository: &str) -> Result<Reference> {
        Reference::parse(&format!("{}/{repository}", self.uri.rest))
    }

    /// Returns the same for the name in a request. Errors when the name with the prefix is too long.
    pub fn repository(&self, repository: &str) -> Result<Reference, Refusal> {
        let is_valid = repository.len() <= LONGEST_NAME && is_repository(repository);
        self.reference(repository).ok().filter(|_| is_valid).ok_or_else(|| {
            Refusal::bad(Code::NameInvalid, "the name of the repository is too long")
        })
    }

    /// Returns the URI of an image, with the options of the user.
    #[must_use]
    pub fn uri(&self, repository: &str, tag: Option<&str>) -> Uri {
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        Uri { rest: format!("{}/{repository}{tag}", self.uri.rest), ..self.uri.clone() }
    }

    /// Returns the registry as messages name it.
    #[must_use]
    pub fn display(&self) -> String {
        self.uri.display()
    }

    /// Returns a line about an image without the name of this registry, for clients: they know the proxy alone.
    #[must_use]
    pub fn hidden(&self, line: &str) -> String {
        let host = self.uri.rest.split('/').next().unwrap_or_default();
        line.replace(&self.uri.display(), DOWNSTREAM)
            .replace(&self.uri.rest, DOWNSTREAM)
            .replace(host, DOWNSTREAM)
    }
}

/// What clients read instead of the name of the registry.
const DOWNSTREAM: &str = "downstream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_in_front_of_every_name() {
        let downstream = Downstream::parse("localhost:5000/team/").unwrap();
        let reference = downstream.repository("app/base").unwrap();
        assert_eq!(reference.to_string(), "localhost:5000/team/app/base:latest");
        let uri = downstream.uri("app/base", Some("1"));
        assert_eq!(uri.typed(), "registry://localhost:5000/team/app/base:1");
        let line = "localhost:5000/team/app/base@sha256:12: not found";
        assert_eq!(downstream.hidden(line), "downstream/app/base@sha256:12: not found");
        assert_eq!(downstream.hidden("localhost:5000 answered 500"), "downstream answered 500");
        assert!(downstream.repository(&"a".repeat(250)).is_err());
    }

    #[test]
    fn options_stay() {
        let downstream = Downstream::parse("registry://host?insecure=true").unwrap();
        assert_eq!(downstream.uri("a", None).typed(), "registry://host/a?insecure=true");
        for wrong in ["dir:///x", "", "/x", "host/UPPER"] {
            assert!(Downstream::parse(wrong).is_err(), "{wrong}");
        }
    }
}
