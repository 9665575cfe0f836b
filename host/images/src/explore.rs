//! What `occystrap explore` shows: one image with the paths of all its layers, and the content of single files.
//!
//! Layers are read once, by `check`. The content of a file is read from its layer when it is exported, and compared with
//! the digest of the layer. What it refuses: sources with several images.

mod content;

use crate::artifact::SourceArtifact;
use crate::check::{Findings, examine};
use crate::source::view::View;
use crate::source::{Source, names};
use crate::usage::{Survey, survey_of_view};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::name::title;
use occystrap_net::context::Context;

pub use content::write_content;

/// An image that is explored.
pub struct Explored {
    /// Its name, or that of its source.
    pub name: String,
    /// Its platform; empty if the config names none.
    pub platform: String,
    /// Where its layers are.
    pub view: View,
    /// Its layers and paths.
    pub survey: Survey,
    /// The findings of a full check.
    pub findings: Findings,
    /// Artifacts beside it in the source.
    pub artifacts: Vec<SourceArtifact>,
}

/// Reads the image of a source. Errors when the source cannot be read, has several images, or something that is none.
pub fn open(source: &Source, context: &Context) -> Result<Explored> {
    // Files list their images quickly; a registry or an engine is asked for one.
    if source.watch().is_some() {
        check_is_one(&source.views(context)?, source)?;
    }
    let mut artifacts = Vec::new();
    let examined = examine(source, context, |_, view, members, checked| {
        view.check_is_there()?;
        if let Some(artifact) = SourceArtifact::of_view(&view) {
            artifacts.push(artifact);
            return Ok(None);
        }
        let survey = survey_of_view(&view, members, checked);
        Ok(Some((view, survey)))
    })?;
    let mut images = examined.into_iter().filter_map(|one| Some((one.made?, one.checked)));
    let Some(((view, survey), checked)) = images.next() else {
        return Err(match artifacts.first() {
            Some(artifact) => artifact.refused("'occystrap info' describes it"),
            None => Error::source(format!("{}: has no image", source.display)),
        });
    };
    Ok(Explored {
        name: title(&checked.image, &checked.tag, &source.display),
        platform: checked.platform.unwrap_or_default(),
        view,
        survey,
        findings: checked.findings,
        artifacts,
    })
}

/// Errors when a source has several images.
fn check_is_one(views: &[View], source: &Source) -> Result<()> {
    let images = views.iter().filter(|view| !view.role.is_artifact()).count();
    if images <= 1 {
        return Ok(());
    }
    let message = format!("'{}' has {images} images; explore shows one", source.display);
    Err(Error::usage(message)
        .hint(format!("choose one with ?image=NAME; it has: {}", names(views))))
}
