//! What changes an image on its way, or looks into it: `Image -> Image`, in the order given.
//!
//! Neighbouring filters share one pass over the layers, which is a stream. A layer that comes out as
//! it went in keeps its bytes and its digest; one that was changed is a new layer, with its digest
//! in a new config. What it refuses: unknown filters and options, before anything is fetched.

mod apply;
mod config;
mod exclude;
pub mod glob;
mod kept;
pub mod pass;
mod rewrite;
pub mod spec;
mod timestamps;

use std::sync::Arc;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::image::Image;

pub use pass::{Pass, Verdict};
pub use spec::Spec;

use self::config::Edits;
use self::exclude::Exclude;
use self::timestamps::NormalizeTimestamps;

/// The names of all filters, for hints.
const NAMES: &str = "normalize-timestamps, exclude";

/// One filter, with its options.
pub trait Filter: Send + Sync {
    /// What is begun for each image.
    fn begin<'a>(&'a self, image: &'a Image) -> Box<dyn Applied + 'a>;
}

/// A filter at work on one image.
pub trait Applied: Sync {
    /// What it does with the members of a layer; `index` counts from the lowest.
    fn pass(&self, index: usize) -> Box<dyn Pass + Send + '_>;

    /// Whether it only looks: its passes keep every member as it is.
    fn only_looks(&self) -> bool {
        false
    }

    /// What it changes in the config, besides the digests of layers.
    fn edit(&self, _edits: &mut Edits) {}

    /// All layers have been read; `image` is what came out.
    fn end(&self, _image: &Image) -> Result<()> {
        Ok(())
    }
}

/// Filters in their order. Cheap to clone.
#[derive(Clone, Default)]
pub struct Filters {
    filters: Arc<[(String, Box<dyn Filter>)]>,
}

impl Filters {
    /// Parse what the user typed; `environment` gives variables. Errors name the filter and the
    /// option.
    pub fn parse(texts: &[String], environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let parse = |text: &String| -> Result<(String, Box<dyn Filter>)> {
            let spec = Spec::parse(text)?;
            let filter: Box<dyn Filter> = match spec.name() {
                "normalize-timestamps" => Box::new(NormalizeTimestamps::new(&spec, &environment)?),
                "exclude" => Box::new(Exclude::new(&spec)?),
                name => {
                    return Err(Error::usage(format!("there is no filter '{name}'"))
                        .hint(format!("the filters are {NAMES}")));
                }
            };
            Ok((text.clone(), filter))
        };
        Ok(Self { filters: texts.iter().map(parse).collect::<Result<_>>()? })
    }

    /// Whether images pass as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// As the user typed them.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|(text, _)| text.as_str())
    }

    /// Let an image pass. Errors when its layers are not what was promised, or no tars, and as the
    /// filters do.
    pub fn apply(&self, image: &Image, context: &Context) -> Result<Image> {
        if self.is_empty() {
            return Ok(image.clone());
        }
        let applied: Vec<_> = self.filters.iter().map(|(_, filter)| filter.begin(image)).collect();
        let filtered = apply::apply(image, &applied, context)?;
        applied.iter().try_for_each(|applied| applied.end(&filtered))?;
        Ok(filtered)
    }
}

#[cfg(test)]
mod tests;
