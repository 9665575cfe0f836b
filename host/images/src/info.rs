//! `occystrap info`: describes an image without fetching a layer.
//!
//! Everything shown comes from the source. A value that is not known is `-` in text and `null` in JSON; a value that is
//! not certain (a size in the trailer of gzip, an engine's count) is marked. What it refuses: to guess.

mod describe;
pub mod history;
mod text;
mod unpacked;

use std::io::{self, Write};

use serde::Serialize;

use crate::source::Source;
use crate::source::view::{FlawIn, View};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::PlatformRequest;
use occystrap_base::terminal::table::{Paper, write_json};
use occystrap_net::context::Context;

pub use describe::{ImageInfo, platform};
pub use history::shorten;

/// The descriptions of all images of a source.
#[derive(Debug, Serialize)]
pub struct Info {
    /// The source, without secrets.
    source: String,
    images: Vec<ImageInfo>,
    /// The error for the requested platform, if the source lists images for other platforms only.
    #[serde(skip)]
    absent: Option<Error>,
}

/// Describes every image of a source. Errors when the manifest or config of one cannot be read.
pub fn info(source: &Source, context: &Context) -> Result<Info> {
    let views = source.views(context)?;
    let mut info = Info { source: source.display.clone(), images: Vec::new(), absent: None };
    for view in views {
        if let Some(error) = refusal(&view) {
            return Err(error);
        }
        let absent = view.flaws.iter().find(|flaw| flaw.part == FlawIn::Platform);
        info.absent = info.absent.or(absent.map(|flaw| flaw.error.clone()));
        let unpacked = unpacked::sizes(&view, context);
        context.cancel.check()?;
        info.images.push(ImageInfo::new(&view, &unpacked));
    }
    Ok(info)
}

/// Returns the error for a view that cannot be described, because its index, manifest or config could not be read.
fn refusal(view: &View) -> Option<Error> {
    let fatal = |part: FlawIn| matches!(part, FlawIn::Index | FlawIn::Manifest | FlawIn::Config);
    let flaw = view.flaws.iter().find(|flaw| fatal(flaw.part))?;
    let error = flaw.error.clone();
    Some(match error.hint_text() {
        None => error.hint("'occystrap check' lists all problems of an image"),
        Some(_) => error,
    })
}

impl Info {
    /// Returns the error for a requested platform that is not there. The default platform was not requested, so that it
    /// is no error if it is absent.
    #[must_use]
    pub fn absent(&self, wanted: &PlatformRequest) -> Option<&Error> {
        self.absent.as_ref().filter(|_| !wanted.is_nothing())
    }

    /// Writes the JSON document (docs/inspecting.md), with the error if the requested platform is not there.
    pub fn write_json(&self, wanted: &PlatformRequest, to: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            info: &'a Info,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a Error>,
        }
        write_json(to, &Document { info: self, error: self.absent(wanted) })
    }

    /// Writes the descriptions as text.
    pub fn write_text(&self, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
        for (index, image) in self.images.iter().enumerate() {
            if index > 0 {
                writeln!(to)?;
            }
            text::write(image, &self.source, to, paper)?;
        }
        Ok(())
    }
}
