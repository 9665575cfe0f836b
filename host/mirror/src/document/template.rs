//! Where images go: `to`, with its placeholders.
//!
//! `to` is a URI as `occystrap process` takes it, or `HOST/REPOSITORY` for a registry. What this module refuses: logins,
//! unknown placeholders, a host that is a placeholder, and a `dir://` that can hold one image only.

use std::fmt::Write as _;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;
use occystrap_base::oci::layout::tagged;
use occystrap_net::registry::Reference;
use occystrap_net::uri::Uri;

/// Placeholders, and what each stands for.
pub const PLACEHOLDERS: [(&str, &str); 4] = [
    ("registry", "the host of the source, with '-' for the ':' of a port"),
    ("repository", "the whole repository of the source: library/busybox"),
    ("name", "the last part of the repository: busybox"),
    ("tag", "the tag of the source"),
];

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Registry,
    Repository,
    Name,
    Tag,
}

/// `to` of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
    /// Whether a tag is appended: the template names a registry or a layout, and no tag.
    adds_tag: bool,
    /// Whether one URI stands for several images, which the output keeps apart by their names.
    holds_several: bool,
}

/// Where one image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorDestination {
    /// URI as `occystrap process` takes it. For an image without a tag in a registry or layout, it names the repository
    /// or the layout alone: the image is written under [`Self::digest`], and no tag is set.
    pub uri: String,
    /// What tells this destination from all others of the mirror: the URI, and the name of the image where an output
    /// keeps several images at one URI.
    pub name: String,
    /// Digest of an image that gets no tag.
    pub digest: Option<Digest>,
}

impl MirrorDestination {
    /// Returns the name in one spelling, so that two spellings of one place are equal: without options, with the host in
    /// lower case, and without `//` and `/./` in a path.
    #[must_use]
    pub fn place(&self) -> String {
        let of_image = self.name.strip_prefix(self.uri.as_str()).unwrap_or_default();
        let bare = self.uri.split('?').next().unwrap_or_default();
        let (scheme, rest) = bare.split_once("://").unwrap_or(("", bare));
        let place = match scheme {
            "registry" => match rest.split_once('/') {
                Some((host, path)) => format!("{}/{path}", host.to_ascii_lowercase()),
                None => rest.to_ascii_lowercase(),
            },
            _ => {
                let parts = rest.split('/').filter(|part| !matches!(*part, "" | "."));
                let root = if rest.starts_with('/') { "/" } else { "" };
                let path = parts.collect::<Vec<_>>().join("/");
                format!("{root}{}", path.replace("/:", ":"))
            }
        };
        format!("{scheme}://{place}{of_image}")
    }
}

impl Template {
    /// Parses `to`. Errors say what is wrong, without the place, and have a hint.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (fixed, braces) = rest.split_at(at);
            parts.push(Part::Text(fixed.to_owned()));
            let inner = braces.strip_prefix('{').and_then(|braces| braces.split_once('}'));
            let Some((inner, after)) = inner else {
                return Err(Error::usage("'to' has a brace without its other half").hint(known()));
            };
            parts.push(match inner {
                "registry" => Part::Registry,
                "repository" => Part::Repository,
                "name" => Part::Name,
                "tag" => Part::Tag,
                _ => {
                    return Err(Error::usage(format!("'to' has no placeholder '{{{inner}}}'"))
                        .hint(known()));
                }
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        if !text.contains("://") {
            let Some(Part::Text(first)) = parts.first_mut() else {
                return Err(Error::usage("'to' begins with a placeholder")
                    .hint("name the host of a registry first: HOST/{repository}"));
            };
            let host = first.split('/').next().unwrap_or_default();
            if !host.contains(['.', ':']) && host != "localhost" || !first.contains('/') {
                let hint = format!(
                    "write HOST/REPOSITORY, such as docker.io/{}, or a URI, such as oci-layout:///srv/mirror",
                    shown(text)
                );
                return Err(Error::usage(format!("'to' has no host: '{}'", shown(text))).hint(hint));
            }
            *first = format!("registry://{first}");
        }
        let mut template =
            Self { text: text.to_owned(), parts, adds_tag: false, holds_several: false };
        template.check()?;
        Ok(template)
    }

    /// Checks the URI with names of an example in it, and finds out what the scheme means for several images.
    fn check(&mut self) -> Result<()> {
        let filled = self.fill("registry.example", "team/app", Some("1.0"));
        let uri = Uri::parse(&filled)?;
        let is_secret = |name: &str| matches!(name, "username" | "password");
        if uri.credentials.is_some() || uri.options.iter().any(|(name, _)| is_secret(name)) {
            return Err(Error::usage("'to' has a login").hint(
                "remove it: logins come from `docker login`, or from --username and --password",
            ));
        }
        // The scheme and the options of a template are fixed text.
        let typed = filled.split('?').next().unwrap_or_default();
        match uri.scheme.as_str() {
            "registry" => {
                let reference = Reference::parse(&uri.rest)?;
                if reference.digest.is_some() {
                    return Err(Error::usage("'to' has a digest")
                        .hint("a destination is named by tag; remove '@sha256:...'"));
                }
                let last = typed.rsplit('/').next().unwrap_or_default();
                self.adds_tag = !last.contains(':');
            }
            "oci-layout" | "oci" => self.adds_tag = tagged(&uri.rest)?.1.is_none(),
            "dir" => {
                self.holds_several = true;
                if uri.option("unique_names") != Some("true") {
                    return Err(Error::usage("'to' is a directory for one image")
                        .hint(format!("write {}?unique_names=true", shown(&self.text))));
                }
            }
            "tar" | "docker" => {}
            // An added plugin may keep several images at one URI; it is what says so when it writes.
            _ => self.holds_several = true,
        }
        Ok(())
    }

    /// Returns the template as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether all images of several repositories or tags would go to one destination.
    #[must_use]
    pub fn ignores_repository(&self) -> bool {
        !self.holds_several
            && !self.parts.iter().any(|part| matches!(part, Part::Repository | Part::Name))
    }

    /// Returns whether the destination of an image depends on its tag.
    #[must_use]
    pub fn ignores_tag(&self) -> bool {
        !self.holds_several && !self.adds_tag && !self.parts.contains(&Part::Tag)
    }

    /// Returns where the image of a source goes. Errors when `to` has `{tag}` and the source has none, and when the result
    /// is no name of a repository.
    pub fn destination(&self, source: &Reference) -> Result<MirrorDestination> {
        let tag = source.tag.as_deref();
        if tag.is_none() && self.parts.contains(&Part::Tag) {
            return Err(Error::usage(format!(
                "'{source}' has no tag for the placeholder {{tag}} of 'to'"
            ))
            .hint("give it a tag beside its digest: HOST/REPOSITORY:TAG@sha256:..."));
        }
        let mut uri = self.fill(&source.host, &source.repository, tag);
        if let (true, Some(tag)) = (self.adds_tag, tag) {
            let end = uri.find('?').unwrap_or(uri.len());
            uri.insert_str(end, &format!(":{tag}"));
        }
        if let Some(named) = uri.strip_prefix("registry://") {
            Reference::parse(named.split('?').next().unwrap_or_default())?;
        }
        let digest = source.digest.filter(|_| tag.is_none() && self.adds_tag);
        let name = match (self.holds_several, digest) {
            (true, _) => format!("{uri} ({source})"),
            (false, Some(digest)) => format!("{uri}@{digest}"),
            (false, None) => uri.clone(),
        };
        Ok(MirrorDestination { uri, name, digest })
    }

    fn fill(&self, host: &str, repository: &str, tag: Option<&str>) -> String {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                // Upper case and colons do not occur in names of repositories.
                Part::Registry => {
                    let host = host.to_ascii_lowercase().replace(':', "-");
                    let _ = write!(filled, "{}", host.trim_matches(['[', ']']));
                }
                Part::Repository => filled.push_str(repository),
                Part::Name => filled.push_str(repository.rsplit('/').next().unwrap_or_default()),
                Part::Tag => filled.push_str(tag.unwrap_or_default()),
            }
        }
        filled
    }
}

/// Returns what may be shown of a text that could contain a login.
fn shown(text: &str) -> String {
    if text.contains('@') { "REPOSITORY".to_owned() } else { text.to_owned() }
}

fn known() -> String {
    let names = PLACEHOLDERS.map(|(name, _)| format!("{{{name}}}")).join(", ");
    format!("the placeholders are {names}; alternatives {{a,b}} belong in 'from'")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn source(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn spellings_of_one_place_are_equal() {
        let place = |to: &str| {
            Template::parse(to).unwrap().destination(&source("quay.io/a/b:1")).unwrap().place()
        };
        for (one, other, is_same) in [
            ("localhost:5000/q", "LOCALHOST:5000/q?insecure=true", true),
            ("localhost:5000/q", "localhost:5001/q", false),
            ("oci-layout:///x/l", "oci-layout:///x//./l/", true),
            ("oci-layout:///x/l", "oci-layout://x/l", false),
            ("oci-layout://./l", "oci-layout://l", true),
            ("dir:///x?unique_names=true", "dir:////x?unique_names=true", true),
        ] {
            assert_eq!(place(one) == place(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn an_image_gets_its_place() {
        for (to, from, uri) in [
            ("m.example/hub/busybox", "docker.io/busybox:1", "registry://m.example/hub/busybox:1"),
            (
                "m.example/{registry}/{repository}",
                "localhost:5000/a/b:1",
                "registry://m.example/localhost-5000/a/b:1",
            ),
            (
                "m.example:5000/x/{name}?insecure=true",
                "quay.io/a/b:1",
                "registry://m.example:5000/x/b:1?insecure=true",
            ),
            (
                "registry://m.example/all:{name}-{tag}",
                "quay.io/a/b:1",
                "registry://m.example/all:b-1",
            ),
            ("localhost/x:stable", "quay.io/a/b:1", "registry://localhost/x:stable"),
            ("oci-layout:///srv/{repository}", "quay.io/a/b:1", "oci-layout:///srv/a/b:1"),
            ("oci-layout:///srv/all:{name}-{tag}", "quay.io/a/b:1", "oci-layout:///srv/all:b-1"),
            ("tar:///srv/{name}-{tag}.tar", "quay.io/a/b:1", "tar:///srv/b-1.tar"),
        ] {
            let found = Template::parse(to).unwrap().destination(&source(from)).unwrap();
            assert_eq!(
                (found.uri.as_str(), found.name.as_str(), found.digest),
                (uri, uri, None),
                "{to}"
            );
        }
        let found = Template::parse("dir:///srv?unique_names=true")
            .unwrap()
            .destination(&source("quay.io/a/b:1"));
        assert_eq!(found.unwrap().name, "dir:///srv?unique_names=true (quay.io/a/b:1)");
    }

    #[test]
    fn a_source_without_a_tag_keeps_its_digest() {
        let pinned = source(&format!("quay.io/a/b@sha256:{HEX}"));
        let found =
            Template::parse("m.example/{repository}").unwrap().destination(&pinned).unwrap();
        assert_eq!(found.uri, "registry://m.example/a/b");
        assert_eq!(found.name, format!("registry://m.example/a/b@sha256:{HEX}"));
        assert_eq!(found.digest, pinned.digest);
        let error = Template::parse("m.example/x:{tag}").unwrap().destination(&pinned).unwrap_err();
        assert!(error.to_string().contains("has no tag"), "{error}");
    }

    #[test]
    fn what_is_no_destination_is_said_without_logins() {
        for (to, message) in [
            ("hub/busybox", "'to' has no host: 'hub/busybox'"),
            ("m.example", "'to' has no host: 'm.example'"),
            ("{registry}/x", "'to' begins with a placeholder"),
            ("m.example/{repo}", "'to' has no placeholder '{repo}'"),
            ("m.example/{repository", "'to' has a brace without its other half"),
            ("m.example/{a,b}", "'to' has no placeholder '{a,b}'"),
            ("registry://me:secret@m.example/x", "'to' has a login"),
            ("m.example/x?password=secret", "'to' has a login"),
            ("m.example/UPPER", "'UPPER' is not a repository name (in 'm.example/UPPER')"),
            ("dir:///srv", "'to' is a directory for one image"),
        ] {
            let error = Template::parse(to).unwrap_err();
            assert_eq!(error.to_string(), message, "{to}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        assert!(Template::parse(&format!("m.example/x@sha256:{HEX}")).is_err());
    }
}
