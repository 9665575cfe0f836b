//! Artifacts beside images: a source may have both, and a command about the files of images works on the images alone.
//!
//! What it refuses: a source that has nothing but artifacts.

use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::source::view::View;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::artifact;
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::{ImageName, json};
use occystrap_layer::image::Image;

/// An artifact in a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceArtifact {
    /// The familiar name without the tag.
    image: String,
    /// The tag; empty if it has none.
    tag: String,
    /// The type of the artifact.
    #[serde(rename = "type")]
    kind: String,
}

impl SourceArtifact {
    fn new(name: &ImageName, kind: String) -> Self {
        let tag = name.tag.clone().unwrap_or_default();
        Self { image: name.repository.clone(), tag, kind }
    }

    /// Returns the artifact that a view shows; `None` for an image.
    #[must_use]
    pub fn of_view(view: &View) -> Option<Self> {
        if !view.role.is_artifact() {
            return None;
        }
        let document =
            view.manifest.as_ref().and_then(|known| json::parse::<Value>(&known.bytes).ok());
        let parsed = document.and_then(|document| ManifestDocument::deserialize(document).ok());
        Some(Self::new(
            &view.name,
            parsed.map_or_else(String::new, |parsed| artifact::kind(&parsed)),
        ))
    }

    /// Returns the line for users: the name of the artifact, and what it is instead of an image.
    #[must_use]
    pub fn line(&self) -> String {
        let tag = if self.tag.is_empty() { String::new() } else { format!(":{}", self.tag) };
        format!("'{}{tag}' {}", self.image, artifact::description(&self.kind))
    }

    /// Returns its description, without its name.
    #[must_use]
    pub fn description(&self) -> String {
        artifact::description(&self.kind)
    }

    /// Returns the error for a command that needs an image. `instead` is the hint.
    #[must_use]
    pub fn refused(&self, instead: &str) -> Error {
        Error::source(self.line()).hint(instead)
    }
}

/// Separates the images of a source from its artifacts. The user is warned of each artifact. Errors when there is no
/// image, with the hint `instead`.
pub fn images_alone(
    all: impl IntoIterator<Item = Image>,
    instead: &str,
) -> Result<(Vec<Image>, Vec<SourceArtifact>)> {
    let (mut images, mut artifacts) = (Vec::new(), Vec::new());
    for image in all {
        match &image.artifact {
            Some(kind) => artifacts.push(SourceArtifact::new(&image.name, kind.clone())),
            None => images.push(image),
        }
    }
    match (images.is_empty(), artifacts.first()) {
        (true, Some(first)) => return Err(first.refused(instead)),
        _ => artifacts.iter().for_each(|one| tracing::warn!("{}", one.line())),
    }
    Ok((images, artifacts))
}
