//! Names of images.

use std::fmt;

use crate::error::{Error, Result};

/// Longest host and repository name together, in characters: the limit of many clients, according to the
/// distribution specification ("Pulling manifests").
pub const LONGEST_NAME: usize = 255;

/// Repository and tag of an image, as Docker prints them: `busybox:latest` for `docker.io/library/busybox:latest`,
/// images of other registries in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ImageName {
    /// Familiar name of the repository.
    pub repository: String,
    /// Tag; `None` where the image is known by its digest alone.
    pub tag: Option<String>,
}

impl ImageName {
    /// Returns the familiar name of a repository at a registry.
    #[must_use]
    pub fn familiar(host: &str, path: &str, tag: Option<&str>) -> Self {
        let repository = match host {
            "docker.io" => path.strip_prefix("library/").unwrap_or(path).to_owned(),
            _ => format!("{host}/{path}"),
        };
        Self { repository, tag: tag.map(str::to_owned) }
    }

    /// Parses a name as `RepoTags` and `?image=` spell it. A colon after the last slash starts the tag. Errors when the
    /// name is empty or has characters that no image name has.
    pub fn parse(text: &str) -> Result<Self> {
        let after_slash = text.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match text[after_slash..].rfind(':') {
            Some(colon) => (&text[..after_slash + colon], Some(&text[after_slash + colon + 1..])),
            None => (text, None),
        };
        let well_formed = !repository.is_empty()
            && repository.len() <= 512
            && repository.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:[]".contains(c))
            && tag.is_none_or(is_tag);
        if !well_formed {
            return Err(Error::source(format!("'{text}' is not an image name")));
        }
        let path = repository
            .strip_prefix("docker.io/")
            .map(|path| path.strip_prefix("library/").unwrap_or(path));
        Ok(Self { repository: path.unwrap_or(repository).to_owned(), tag: tag.map(str::to_owned) })
    }

    /// Returns the name with its registry, where the familiar name leaves out Docker Hub's: `docker.io/library/busybox`
    /// for `busybox`. The first part of a name is a registry when it has a dot or a port, or is `localhost` (Docker's
    /// distribution reference, `splitDockerDomain`).
    #[must_use]
    pub fn in_full(&self) -> Self {
        let repository = match self.repository.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => {
                return self.clone();
            }
            Some(_) => format!("docker.io/{}", self.repository),
            None => format!("docker.io/library/{}", self.repository),
        };
        Self { repository, tag: self.tag.clone() }
    }

    /// Returns the tag, or Docker's default, `latest`.
    #[must_use]
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }
}

/// Returns whether a text is a tag (OCI distribution specification, "Pulling manifests": `[a-zA-Z0-9_]` and then up to
/// 127 of `[a-zA-Z0-9._-]`).
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    first && text.len() <= 128 && chars.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Returns whether a text follows the grammar of `<name>` (distribution specification, "Pulling manifests"):
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, repeated with `/`.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |s: &str| matches!(s, "." | "_" | "__") || s.chars().all(|c| c == '-');
    if !text.starts_with(word) || !text.ends_with(word) {
        return false;
    }
    text.split(word).filter(|between| !between.is_empty()).all(separator)
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match &self.tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        }
    }
}

/// Returns the title of an image: its own name, or the name of its source where it has none.
#[must_use]
pub fn title(image: &str, tag: &str, source: &str) -> String {
    match (image, tag) {
        ("" | "unknown", "") => source.to_owned(),
        (image, "") => image.to_owned(),
        (image, tag) => format!("{image}:{tag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_familiar() {
        assert_eq!(
            ImageName::familiar("docker.io", "library/busybox", Some("1")).to_string(),
            "busybox:1"
        );
        assert_eq!(ImageName::familiar("docker.io", "a/b", None).to_string(), "a/b");
        assert_eq!(ImageName::familiar("quay.io", "x/y", Some("1")).to_string(), "quay.io/x/y:1");
        assert_eq!(
            ImageName::parse("docker.io/library/busybox:1").unwrap().to_string(),
            "busybox:1"
        );
    }

    #[test]
    fn a_name_in_full_has_its_registry() {
        for (name, full) in [
            ("busybox:1", "docker.io/library/busybox:1"),
            ("docker.io/library/busybox", "docker.io/library/busybox"),
            ("a/b:1", "docker.io/a/b:1"),
            ("quay.io/a/b:1", "quay.io/a/b:1"),
            ("localhost/b:1", "localhost/b:1"),
            ("host:5000/b:1", "host:5000/b:1"),
        ] {
            assert_eq!(ImageName::parse(name).unwrap().in_full().to_string(), full);
        }
    }

    #[test]
    fn a_port_is_not_a_tag() {
        let name = ImageName::parse("localhost:5000/x/y").unwrap();
        assert_eq!((name.repository.as_str(), name.tag), ("localhost:5000/x/y", None));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", ":x", "a b:1", "a:", "a:b c", "a\u{1b}:1"] {
            assert!(ImageName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
