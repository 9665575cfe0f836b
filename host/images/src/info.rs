//! `occystrap info`: what an image is, without fetching a layer.
//!
//! Everything shown is what the source says. Nothing is guessed: what is not known is `-` in text and
//! `null` in JSON, and what is known about (gzip's own idea of a size, an engine's count) is marked.

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

pub use describe::{Described, platform};
pub use history::shorten;

/// All images of a source, described.
#[derive(Debug, Serialize)]
pub struct Info {
    /// The source, without secrets.
    source: String,
    images: Vec<Described>,
    /// Why there is no image to describe, where the source lists some for other platforms.
    #[serde(skip)]
    absent: Option<Error>,
}

/// Describe every image of a source. Errors when one cannot be looked at.
pub fn info(source: &Source, context: &Context) -> Result<Info> {
    let views = source.views(context)?;
    let mut info = Info { source: source.display.clone(), images: Vec::new(), absent: None };
    for view in views {
        if let Some(error) = refusal(&view) {
            return Err(error);
        }
        let without = view.flaws.iter().find(|flaw| flaw.part == FlawIn::Platform);
        info.absent = info.absent.or(without.map(|flaw| flaw.error.clone()));
        let unpacked = unpacked::sizes(&view, context);
        context.cancel.check()?;
        info.images.push(Described::new(&view, &unpacked));
    }
    Ok(info)
}

/// Why a view cannot be described: its manifest or config is not there. Less is no reason.
fn refusal(view: &View) -> Option<Error> {
    let fatal = |part: FlawIn| matches!(part, FlawIn::Index | FlawIn::Manifest | FlawIn::Config);
    let flaw = view.flaws.iter().find(|flaw| fatal(flaw.part))?;
    let error = flaw.error.clone();
    Some(match error.hint_text() {
        None => error.hint("'occystrap check' tells all that is wrong with an image"),
        Some(_) => error,
    })
}

impl Info {
    /// Why there is nothing for the platform that was asked for. Nobody asked for the default one, and
    /// so it is no error that it is not there.
    #[must_use]
    pub fn absent(&self, wanted: &PlatformRequest) -> Option<&Error> {
        self.absent.as_ref().filter(|_| !wanted.is_nothing())
    }

    /// The document for programs (docs/inspecting.md), with the reason where nothing is there for the
    /// platform that was asked for.
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

    /// For people.
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
