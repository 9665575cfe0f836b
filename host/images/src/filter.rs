//! What changes an image on its way, or looks into it: `Image -> Image`, in the order given.
//!
//! Neighbouring filters share one pass over the layers, which is a stream. A layer that comes out as
//! it went in keeps its bytes and its digest; one that was changed is a new layer, with its digest
//! in a new config. What it refuses: unknown filters and options, before anything is fetched.

mod apply;
mod config;
mod dropped;
mod exclude;
mod inspect;
pub mod pass;
mod rewrite;
mod search;
pub mod spec;
mod timestamps;

use std::sync::Arc;

use occystrap_base::error::{Error, Result};
use occystrap_base::terminal::results::Results;
use occystrap_layer::image::{Image, Layer};
use occystrap_net::context::Context;

pub use pass::{Pass, Verdict};
pub use spec::Spec;

use self::config::Edits;
use self::exclude::Exclude;
use self::inspect::Inspect;
use self::search::Search;
use self::timestamps::NormalizeTimestamps;

/// What a filter is made of, besides what the user typed.
pub struct Making<'a> {
    /// Gives variables.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Takes what filters find.
    pub results: &'a Results,
}

/// Makes one. Errors name the option that makes no sense.
type Make = fn(&Spec, &Making<'_>) -> Result<Box<dyn Filter>>;

/// All that there are, and the option that is meant where a value has no name.
const KNOWN: [(&str, Option<&str>, Make); 4] = [
    ("normalize-timestamps", None, |spec, making| {
        Ok(Box::new(NormalizeTimestamps::new(spec, making)?))
    }),
    ("exclude", Some("pattern"), |spec, _| Ok(Box::new(Exclude::new(spec)?))),
    ("search", Some("pattern"), |spec, making| Ok(Box::new(Search::new(spec, making.results)?))),
    ("inspect", None, |spec, _| Ok(Box::new(Inspect::new(spec)?))),
];

/// The option that a filter's value without a name is meant for.
fn meant(filter: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(name, ..)| *name == filter).and_then(|(_, option, _)| *option)
}

/// One filter, with its options.
pub trait Filter: Send + Sync {
    /// What it makes of a layer, for who remembers that: equal filters have equal keys. `None` where
    /// it must see every layer.
    fn key(&self) -> Option<String>;

    /// What to type for the same where the environment says nothing.
    fn in_full(&self, typed: &str) -> String {
        typed.to_owned()
    }

    /// Whether it looks at the image as a whole, so that all before it must be done with it.
    fn wants_images(&self) -> bool {
        false
    }

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

    /// All layers have been read.
    fn end(&self, _outcome: &Outcome<'_>) -> Result<()> {
        Ok(())
    }
}

/// What became of an image.
pub struct Outcome<'a> {
    /// At the source, before all filters.
    pub source: &'a Image,
    /// As it is now.
    pub image: &'a Image,
    /// Bytes of each layer, uncompressed; `None` of one that was known, and not read.
    pub sizes: &'a [Option<u64>],
}

/// Filters in their order. Cheap to clone.
#[derive(Clone, Default)]
pub struct Filters {
    filters: Arc<[(String, Box<dyn Filter>)]>,
}

impl Filters {
    /// Parse what the user typed. Errors name the filter and the option.
    pub fn parse(texts: &[String], making: &Making<'_>) -> Result<Self> {
        let parse = |text: &String| -> Result<(String, Box<dyn Filter>)> {
            let spec = Spec::parse(text)?;
            let Some((_, _, make)) = KNOWN.iter().find(|(name, ..)| *name == spec.name()) else {
                let names = KNOWN.map(|(name, ..)| name).join(", ");
                return Err(Error::usage(format!("there is no filter '{}'", spec.name()))
                    .hint(format!("the filters are {names}")));
            };
            let filter = make(&spec, making)?;
            Ok((filter.in_full(text), filter))
        };
        Ok(Self { filters: texts.iter().map(parse).collect::<Result<_>>()? })
    }

    /// Whether images pass as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// As the user typed them, with what the environment said.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|(text, _)| text.as_str())
    }

    /// What they make of a layer, one after the other; `None` where one must see every layer.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<String>> {
        self.filters.iter().map(|(_, filter)| filter.key()).collect()
    }

    /// Let an image pass. Of layers that are `known`, what comes out is not made again. Errors when
    /// its layers are not what was promised, or no tars, and as the filters do.
    pub fn apply(
        &self,
        image: &Image,
        known: Vec<Option<Layer>>,
        context: &Context,
    ) -> Result<Image> {
        let mut filtered = match known.iter().any(Option::is_some) {
            // Known of the chain as a whole.
            true => return self.pass(image, image, &self.filters, known, context),
            false => image.clone(),
        };
        let chains = self.filters.split_inclusive(|(_, filter)| filter.wants_images());
        for chain in chains {
            filtered = self.pass(image, &filtered, chain, Vec::new(), context)?;
        }
        Ok(filtered)
    }

    /// Let an image pass through filters that are content with one walk over its layers.
    fn pass(
        &self,
        source: &Image,
        image: &Image,
        chain: &[(String, Box<dyn Filter>)],
        known: Vec<Option<Layer>>,
        context: &Context,
    ) -> Result<Image> {
        let applied: Vec<_> = chain.iter().map(|(_, filter)| filter.begin(image)).collect();
        let (filtered, sizes) = apply::apply(image, &applied, known, context)?;
        let outcome = Outcome { source, image: &filtered, sizes: &sizes };
        applied.iter().try_for_each(|applied| applied.end(&outcome))?;
        Ok(filtered)
    }
}

#[cfg(test)]
mod tests;
