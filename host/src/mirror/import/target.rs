//! What images are imported below: a registry with a prefix, or a folder of layouts.

use std::path::Path;
use std::sync::Arc;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::{Section, regular};
use occystrap_base::oci::Digest;
use occystrap_base::oci::layout::blob;
use occystrap_layer::image::Content;
use occystrap_net::uri::Uri;

/// What images are imported below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportTarget {
    /// The URI without its options.
    pub name: String,
    /// The options, with the question mark before them; empty for none.
    options: String,
}

impl ImportTarget {
    /// Parses `registry://HOST[/PREFIX]` or `oci-layout:///PATH`. Errors for other destinations.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, options) = match text.split_once('?') {
            Some((name, options)) => (name, format!("?{options}")),
            None => (text, String::new()),
        };
        let name = name.trim_end_matches('/').to_owned();
        let rest = name.strip_prefix("registry://").or_else(|| name.strip_prefix("oci-layout://"));
        if rest.is_none_or(str::is_empty) || name.contains(['{', '}', '@']) {
            let message = format!("'{}' is not a place for an import", Uri::hide(text));
            return Err(Error::usage(message).hint(
                "write registry://HOST, registry://HOST/PREFIX or oci-layout:///PATH; logins come from `docker login`",
            ));
        }
        Ok(Self { name, options })
    }

    /// Returns whether it is at a registry.
    #[must_use]
    pub fn is_registry(&self) -> bool {
        self.name.starts_with("registry://")
    }

    /// Returns the URI of an image, as text.
    #[must_use]
    pub fn image(&self, repository: &str, tag: Option<&str>) -> String {
        let tag = tag.map_or(String::new(), |tag| format!(":{tag}"));
        format!("{}/{repository}{tag}{}", self.name, self.options)
    }

    /// Returns the URI of a repository.
    pub fn repository(&self, repository: &str) -> Result<Uri> {
        Uri::parse(&self.image(repository, None))
    }

    /// Returns a layer of a layout; `None` where it is not there with this size.
    pub fn layer(&self, repository: &str, digest: Digest, size: u64) -> Result<Option<Content>> {
        let folder = self.repository(repository)?.rest;
        let path = Path::new(&folder).join(blob(digest));
        let file = match regular::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::io(Kind::Destination, "open", path.display(), &cause)),
        };
        let found = file.metadata().map(|found| found.len());
        let found =
            found.map_err(|cause| Error::io(Kind::Destination, "read", path.display(), &cause))?;
        Ok((found == size).then(|| Content::File(Section::new(Arc::new(file), 0, size))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_go_below_a_host_or_a_prefix() {
        for (text, expected) in [
            ("registry://h:5000", "registry://h:5000/a/b:1"),
            ("registry://h/x/?insecure=true", "registry://h/x/a/b:1?insecure=true"),
            ("oci-layout:///srv/x", "oci-layout:///srv/x/a/b:1"),
        ] {
            assert_eq!(ImportTarget::parse(text).unwrap().image("a/b", Some("1")), expected);
        }
        for wrong in ["registry://", "h:5000", "dir:///x", "registry://u:p@h", "registry://h/{tag}"]
        {
            assert!(ImportTarget::parse(wrong).is_err(), "{wrong}");
        }
    }
}
