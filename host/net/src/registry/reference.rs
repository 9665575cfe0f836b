//! References to images: the host of a registry, a repository, a tag or a digest.
//!
//! What this module refuses: names outside the grammar of the distribution specification, so that a name is always safe
//! in a URL path; and to repeat a text in an error that may contain a password.

use std::fmt;

use url::Url;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::digest::Digest;
use occystrap_base::oci::name::{ImageName, LONGEST_NAME, is_repository, is_tag};

/// The usual name of Docker Hub, and the host that serves its API.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// A reference to an image at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The host, with the port where there is one, as typed; `docker.io` for all names of Docker Hub.
    pub host: String,
    /// The repository (distribution specification: `<name>`), with Docker Hub's `library/`.
    pub repository: String,
    /// The tag. `latest` when neither a tag nor a digest was given.
    pub tag: Option<String>,
    /// The digest of the manifest. It takes precedence over the tag.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Parses `HOST[:PORT]/IMAGE[:TAG][@sha256:...]`: the part of a URI after `registry://`, without credentials.
    /// Errors ([`occystrap_base::error::Kind::Usage`]) when the text has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        let (host, path) = named
            .split_once('/')
            .filter(|(host, path)| !host.is_empty() && !path.is_empty())
            .ok_or_else(|| {
                Error::usage(format!("'{text}' is not an image at a registry"))
                    .hint("write registry://HOST[:PORT]/IMAGE[:TAG], such as registry://docker.io/library/busybox:latest")
            })?;
        check_host(host)?;
        // The host and the port are removed, so a colon can only start a tag.
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(Error::usage(format!("'{tag}' is not a tag (in '{text}')"))
                .hint("a tag has up to 128 letters, digits, '_', '.' and '-', and does not start with '.' or '-'"));
        }
        let host = match host {
            DOCKER_HUB | "index.docker.io" | DOCKER_HUB_API => DOCKER_HUB,
            other => other,
        };
        let repository = match (host, repository.contains('/')) {
            (DOCKER_HUB, false) => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        if host.len() + 1 + repository.len() > LONGEST_NAME || !is_repository(&repository) {
            return Err(Error::usage(format!("'{repository}' is not a repository name (in '{text}')"))
                .hint("repository names have lower-case letters and digits, separated by '.', '_', '__', '-' or '/'"));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { host: host.to_owned(), repository, tag, digest })
    }

    /// Returns the tag or digest to request: the digest where there is one, else the tag.
    #[must_use]
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Returns the image's name as Docker prints it.
    #[must_use]
    pub fn name(&self) -> ImageName {
        ImageName::familiar(&self.host, &self.repository, self.tag.as_deref())
    }

    /// Returns the root URL of the registry's API.
    pub(super) fn endpoint(&self, insecure: bool) -> Result<Url> {
        let host = if self.host == DOCKER_HUB { DOCKER_HUB_API } else { &self.host };
        let scheme = if insecure { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|cause| Error::usage(format!("'{host}' is not a host: {cause}")))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Parses the digest after `@`. An `@` may also belong to credentials that are still in the text, or whose password
/// contains a `/`, so errors repeat only text that is a digest.
fn parse_digest(text: &str) -> Result<Digest> {
    let shape = |c: char| c.is_ascii_hexdigit();
    match text.split_once(':') {
        Some(("sha256", hex)) if hex.chars().all(shape) => {
            text.parse().map_err(|cause: Error| Error::usage(cause.to_string()))
        }
        Some(("sha512", hex)) if hex.chars().all(shape) => {
            Err(Error::usage("digest algorithm 'sha512' is not supported: only sha256 is"))
        }
        _ => Err(Error::usage("the text after '@' in the image's name is not a digest")
            .hint("a digest is sha256: and 64 lower-case hexadecimal digits")),
    }
}

fn check_host(host: &str) -> Result<()> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("", port.strip_prefix(':').or((!port.is_empty()).then_some("")))
            }
            _ => {
                return Err(Error::usage(format!(
                    "'{host}' is not a host: an IPv6 address in [] is expected"
                )));
            }
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.starts_with('[') && (name.len() > 253 || !name.split('.').all(label)) {
        return Err(Error::usage(format!("'{host}' is not the name of a host")));
    }
    match port {
        Some(port) if !is_port(port) => {
            Err(Error::usage(format!("'{port}' is not a port (in '{host}')")))
        }
        _ => Ok(()),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::error::Kind;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn parse(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn docker_hub_has_one_name() {
        for text in [
            "docker.io/busybox",
            "index.docker.io/library/busybox:latest",
            "registry-1.docker.io/busybox",
        ] {
            let reference = parse(text);
            assert_eq!(reference.to_string(), "docker.io/library/busybox:latest", "{text}");
            assert_eq!(reference.name().to_string(), "busybox:latest");
            assert_eq!(
                reference.endpoint(false).unwrap().as_str(),
                "https://registry-1.docker.io/"
            );
        }
        assert_eq!(parse("docker.io/a/b:1").to_string(), "docker.io/a/b:1");
    }

    #[test]
    fn ports_tags_and_digests_are_told_apart() {
        let reference = parse(&format!("localhost:5000/a/b__c@sha256:{HEX}"));
        assert_eq!((reference.host.as_str(), reference.tag.as_deref()), ("localhost:5000", None));
        assert_eq!(reference.target(), format!("sha256:{HEX}"));
        let both = parse(&format!("[::1]:5000/a:v1@sha256:{HEX}"));
        assert_eq!((both.host.as_str(), both.tag.as_deref()), ("[::1]:5000", Some("v1")));
        assert_eq!(both.target(), format!("sha256:{HEX}"));
        assert_eq!(both.endpoint(true).unwrap().as_str(), "http://[::1]:5000/");
        assert_eq!(parse("quay.io/a-b/c---d.e:v1").target(), "v1");
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for bad in [
            "",
            "/",
            "busybox",
            "host/",
            "/image",
            "host//image",
            "host/Image",
            "host/a/../b",
            "host/a_-b",
            "host/a___b",
            "host/.a",
            "host/a.",
            "host/a:",
            "host/a:b:c",
            "host/a:b/c",
            "host:/a",
            "host:0/a",
            "host:99999/a",
            "host:+1/a",
            "ho st/a",
            "-host/a",
            "host?x/a",
            "[::1/a",
            "[::1]5/a",
            "[::1]:/a",
            "host/a@sha256:00",
            "host/a@sha512:00",
            "host/a@latest",
            "host/a%2f",
            "host/a?b",
            &format!("host/{}", "a".repeat(300)),
            &format!("host/a:{}", "b".repeat(129)),
        ] {
            let error = Reference::parse(bad).expect_err(bad);
            assert_eq!(error.kind(), Kind::Usage, "{bad}");
        }
    }

    #[test]
    fn credentials_that_were_left_in_are_not_shown() {
        for text in
            ["me:hunter2@quay.io/a:1", "me:hunter2/x@quay.io/a", "me:hunter2@quay.io/a@sha256:00"]
        {
            let error = Reference::parse(text).unwrap_err();
            let shown = format!("{error} {:?} {error:?}", error.hint_text());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_prints_back(text in "[a-z0-9:@/._\\[\\]-]{0,40}|\\PC{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
                assert!(reference.endpoint(false).is_ok(), "{text}");
            }
        }
    }
}
