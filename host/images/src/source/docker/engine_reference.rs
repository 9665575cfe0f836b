//! The image that a `docker://` URI names: by a name, with `latest` where it has no tag, or by an ID.

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Digest, ImageName, PlatformRequest};
use occystrap_net::docker::{Engine, Inspected};
use occystrap_net::uri::Uri;

/// Request for an image of an engine.
#[derive(Debug, Clone)]
pub struct EngineReference {
    /// The image as the user typed it.
    text: String,
    /// The text as a name; `None` for an ID.
    name: Option<ImageName>,
    /// The requested platform.
    wanted: PlatformRequest,
}

/// Fewest digits of an ID. Docker accepts even one digit; fewer than these are probably a mistake.
const SHORTEST_ID: usize = 4;

impl EngineReference {
    /// Parses a `docker://` URI. Errors when it cannot name an image.
    pub fn parse(uri: &Uri, wanted: PlatformRequest) -> Result<Self> {
        let text = uri.rest.trim_end_matches('/');
        occystrap_net::docker::engine::check_name(text)
            .map_err(|error| error.hint("expected docker://IMAGE[:TAG] or docker://sha256:..."))?;
        let as_usage = |error: Error| Error::usage(error.to_string());
        let name = match text.split_once('@') {
            _ if text.starts_with("sha256:") => {
                text.parse::<Digest>().map(|_| None).map_err(as_usage)?
            }
            Some((name, digest)) => {
                digest.parse::<Digest>().map_err(as_usage)?;
                Some(ImageName::parse(name).map_err(as_usage)?)
            }
            None => {
                let name = ImageName::parse(text).map_err(as_usage)?;
                let tag = Some(name.tag_or_latest().to_owned());
                Some(ImageName { tag, ..name })
            }
        };
        Ok(Self { text: text.to_owned(), name, wanted })
    }

    /// Returns the name under which the engine knows the image, and the description that the engine gives. Errors
    /// ([`Kind::NotFound`]) when the engine does not have the image, or has it for another platform: an engine has only
    /// one platform of an image.
    pub async fn find(&self, engine: &Engine) -> Result<(String, Inspected)> {
        let (name, found) = self.look_up(engine).await?;
        if self.wanted.is_met_by(&found.platform) {
            return Ok((name, found));
        }
        let (is, wanted) = (&found.platform, self.wanted.instead_of(&found.platform));
        let message = format!("'{name}' of {}: is for {is}, and not for {wanted}", engine.place());
        Err(Error::new(Kind::NotFound, message).hint(
            "the engine has one platform of an image; pull the other with 'docker pull --platform'",
        ))
    }

    async fn look_up(&self, engine: &Engine) -> Result<(String, Inspected)> {
        let name = match &self.name {
            Some(name) if !self.text.contains('@') => name.to_string(),
            _ => self.text.clone(),
        };
        if let Some(found) = engine.inspect(&name).await? {
            return Ok((name, found));
        }
        // A word of hexadecimal digits may be an ID, but a name takes precedence, as in Docker.
        let digits = self.text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits
            && self.text.len() >= SHORTEST_ID
            && let Some(found) = engine.inspect(&self.text).await?
            && found.id.hex().starts_with(&self.text)
        {
            return Ok((self.text.clone(), found));
        }
        Err(engine.absent(&name))
    }

    /// Returns the name of the image at the destination: the name that the user gave, or the first tag where the user
    /// gave an ID.
    #[must_use]
    pub fn name(&self, found: &Inspected) -> ImageName {
        let by_id = found.id.hex().starts_with(&self.text);
        match &self.name {
            Some(name) if !by_id => name.clone(),
            _ => {
                let mut names = found.tags.iter().filter_map(|tag| ImageName::parse(tag).ok());
                let unnamed = || ImageName { repository: "unknown".to_owned(), tag: None };
                names.next().unwrap_or_else(unnamed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<EngineReference> {
        EngineReference::parse(&Uri::parse(text)?, PlatformRequest::default())
    }

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        let name = |text: &str| asked(text).unwrap().name.map(|name| name.to_string());
        assert_eq!(name("docker://busybox").as_deref(), Some("busybox:latest"));
        assert_eq!(
            name("docker://localhost:5000/a/b").as_deref(),
            Some("localhost:5000/a/b:latest")
        );
        assert_eq!(name("docker://docker.io/library/busybox:1").as_deref(), Some("busybox:1"));
        let hex = "a".repeat(64);
        assert_eq!(name(&format!("docker://sha256:{hex}")), None);
        assert_eq!(name(&format!("docker://x/y@sha256:{hex}")).as_deref(), Some("x/y"));
        // This looks like user and password, but is a tag.
        assert_eq!(name(&format!("docker://y:1@sha256:{hex}")).as_deref(), Some("y:1"));
    }

    #[test]
    fn an_invalid_image_name_is_a_usage_error() {
        for bad in ["", "a b", "../x", "sha256:12", "x@sha256:12", "x:", ":1", "UPPER:é"] {
            let error = asked(&format!("docker://{bad}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }
}
