//! Filters, which change an image while it is copied, or inspect it: `Image -> Image`, in the order given.
//!
//! Neighbouring filters share one pass over the layers, which are streams. A layer that no filter changes keeps its bytes
//! and its digest; a layer that was changed is a new layer, with its digest in a new config. What it refuses: unknown
//! filters and options, before anything is fetched.

mod add;
mod apply;
mod arrange;
mod canonical;
mod config;
mod dropped;
mod exclude;
mod inspect;
mod local_layers;
mod manifest;
mod reshape;
mod rewrite;
mod search;
mod set_config;
mod spared;
pub mod spec;
mod squash;
mod timestamps;

use std::sync::Arc;

use occystrap_base::error::{Error, Result};
use occystrap_base::terminal::results::Results;
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::Member;
use occystrap_net::context::Context;

use crate::source::Source;

pub use reshape::{Reshape, Reshaped};
pub use rewrite::{MemberVerdict, Pass};
pub use spec::Spec;

use self::add::Add;
use self::canonical::Canonical;
use self::config::Edits;
use self::exclude::Exclude;
use self::inspect::Inspect;
use self::search::Search;
use self::set_config::SetConfig;
use self::squash::Squash;
use self::timestamps::NormalizeTimestamps;

/// The inputs of a filter besides its options.
pub struct FilterInputs<'a> {
    /// Returns the value of an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Where filters print results.
    pub results: &'a Results,
    /// Returns the source that a URI names, for filters that look at another image.
    pub source: &'a dyn Fn(&str) -> Result<Source>,
}

/// A constructor of a filter. Its errors name the option that is wrong.
type Constructor = fn(&Spec, &FilterInputs<'_>) -> Result<Box<dyn Filter>>;

/// All filters: name, default option (see [`default_option`]) and constructor.
const KNOWN: [(&str, Option<&str>, Constructor); 8] = [
    ("canonical", None, |spec, inputs| Ok(Box::new(Canonical::new(spec, inputs)?))),
    ("normalize-timestamps", None, |spec, inputs| {
        Ok(Box::new(NormalizeTimestamps::new(spec, inputs)?))
    }),
    ("exclude", Some("pattern"), |spec, _| Ok(Box::new(Exclude::new(spec)?))),
    ("squash", None, |spec, _| Ok(Box::new(Squash::new(spec)?))),
    ("add", None, |spec, inputs| Ok(Box::new(Add::new(spec, inputs)?))),
    ("set-config", None, |spec, _| Ok(Box::new(SetConfig::new(spec)?))),
    ("search", Some("pattern"), |spec, inputs| Ok(Box::new(Search::new(spec, inputs.results)?))),
    ("inspect", None, |spec, _| Ok(Box::new(Inspect::new(spec)?))),
];

/// Returns the option that a hint suggests for a value without an option name, such as `exclude:*.pyc`.
fn default_option(filter: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(name, ..)| *name == filter).and_then(|(_, option, _)| *option)
}

/// A filter with its options.
pub trait Filter: Send + Sync {
    /// Returns the key under which the layer cache remembers what the filter makes of a layer: filters with equal keys
    /// make equal layers. `None` if the filter must see every layer.
    fn key(&self) -> Option<String>;

    /// Returns what the user would type for the same filter without environment variables.
    fn in_full(&self, typed: &str) -> String {
        typed.to_owned()
    }

    /// Returns whether the filter inspects the image as a whole, so that all filters before it must have finished.
    fn wants_images(&self) -> bool {
        false
    }

    /// Returns the filter as one that works on the image as a whole; `None` for one that sees members of layers.
    fn reshapes(&self) -> Option<&dyn Reshape> {
        None
    }

    /// Returns whether every layer that the filter sees is written anew, also if it changes nothing in it.
    fn writes_all(&self) -> bool {
        false
    }

    /// Returns how many layers at the bottom of an image the filter leaves alone. Errors when it cannot find out.
    fn spared(&self, _image: &Image, _context: &Context) -> Result<usize> {
        Ok(0)
    }

    /// Begins to filter an image.
    fn begin<'a>(&'a self, image: &'a Image) -> Box<dyn Applied + 'a>;
}

/// A filter at work on one image.
pub trait Applied: Sync {
    /// Returns the pass over the members of a layer; `index` counts from the lowest.
    fn pass(&self, index: usize) -> Box<dyn Pass + Send + '_>;

    /// Returns whether its passes keep every member as it is.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Returns the form in which the layers that it sees are written.
    fn form(&self) -> Form {
        Form::AsChanged
    }

    /// Changes a folder that no layer lists and that the form requires. It has the metadata that it has in the layers
    /// below.
    fn listed(&self, _folder: &mut Member) {}

    /// Changes the config, besides the digests of layers.
    fn edit(&self, _edits: &mut Edits) {}

    /// Ends the work on the image, after all layers have been read.
    fn end(&self, _outcome: &FilterOutcome<'_>) -> Result<()> {
        Ok(())
    }
}

/// The form in which a layer is written. Of several filters, the last in this order decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// A layer that no filter changes keeps its bytes.
    AsChanged,
    /// Every layer is written anew, with headers of one form, in the order in which it has its members.
    Written,
    /// Every layer is written in the canonical form.
    Canonical,
    /// As [`Self::Canonical`]; a layer whose tar has that form already keeps its compressed bytes.
    CanonicalOrKept,
}

/// A filter at work on one image, which leaves some layers at the bottom alone.
pub struct Working<'a> {
    applied: Box<dyn Applied + 'a>,
    /// How many layers at the bottom it does not see.
    spared: usize,
}

/// An image before and after a pass.
pub struct FilterOutcome<'a> {
    /// The image of the source, before all filters.
    pub source: &'a Image,
    /// For each layer of `image`, the index of the layer of `source` that it was made from; `None` for one that a filter
    /// made from several layers, or from none.
    pub from: &'a [Option<usize>],
    /// The image after this pass.
    pub image: &'a Image,
    /// Bytes of each uncompressed layer; `None` for a layer of the layer cache, which was not read.
    pub sizes: &'a [Option<u64>],
    /// Where warnings go.
    pub context: &'a Context,
}

/// A chain of filters in their order. Cheap to clone.
#[derive(Clone, Default)]
pub struct Filters {
    filters: Arc<[(String, Box<dyn Filter>)]>,
}

impl Filters {
    /// Parses filters as the user typed them. Errors name the filter and the option.
    pub fn parse(texts: &[String], inputs: &FilterInputs<'_>) -> Result<Self> {
        let parse = |text: &String| -> Result<(String, Box<dyn Filter>)> {
            let spec = Spec::parse(text, &default_option)?;
            let Some((_, _, construct)) = KNOWN.iter().find(|(name, ..)| *name == spec.name())
            else {
                let names = KNOWN.map(|(name, ..)| name).join(", ");
                return Err(Error::usage(format!("there is no filter '{}'", spec.name()))
                    .hint(format!("the filters are {names}")));
            };
            let filter = construct(&spec, inputs)?;
            Ok((filter.in_full(text), filter))
        };
        Ok(Self { filters: texts.iter().map(parse).collect::<Result<_>>()? })
    }

    /// Returns whether the chain is empty, so that images stay as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Returns the filters as the user typed them, with the options that came from the environment.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|(text, _)| text.as_str())
    }

    /// Returns the keys of all filters in order; `None` if one of them must see every layer.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<String>> {
        self.filters.iter().map(|(_, filter)| filter.key()).collect()
    }

    /// Returns whether a filter reads layers. Filters that do not read them change the config alone.
    #[must_use]
    pub fn read_layers(&self) -> bool {
        let reads = |filter: &dyn Filter| filter.reshapes().is_none_or(Reshape::reads_layers);
        self.filters.iter().any(|(_, filter)| reads(&**filter))
    }

    /// Returns whether every layer is written anew, also if no filter changes anything in it.
    #[must_use]
    pub fn write_all(&self) -> bool {
        self.filters.iter().any(|(_, filter)| filter.writes_all())
    }

    /// Returns whether a filter makes other layers in place of those that it reads, or adds some: which ones, and how many, is
    /// known after it has run.
    #[must_use]
    pub fn replace_layers(&self) -> bool {
        let replaces = |filter: &dyn Filter| filter.reshapes().is_some_and(Reshape::reads_layers);
        self.filters.iter().any(|(_, filter)| replaces(&**filter))
    }

    /// Returns how many layers at the bottom of an image all filters leave alone. Errors when the image has fewer layers than
    /// a filter names, and when a base image cannot be read.
    pub fn spared(&self, image: &Image, context: &Context) -> Result<usize> {
        let mut least = usize::MAX;
        let mut is_reshaped = false;
        for (_, filter) in &*self.filters {
            let reshape = filter.reshapes();
            if reshape.is_some_and(|reshape| !reshape.reads_layers()) {
                continue;
            }
            // Which layers there are after a filter that replaces some is not known before it has run.
            least = least.min(if is_reshaped { 0 } else { filter.spared(image, context)? });
            is_reshaped |= reshape.is_some();
        }
        Ok(if least == usize::MAX { 0 } else { least })
    }

    /// Filters an image. `known` holds, by layer, the result that the layer cache knows: such layers are not read. Errors
    /// when a layer does not match its digest or is not a tar, and when a filter fails.
    pub fn apply(
        &self,
        image: &Image,
        known: Vec<Option<Layer>>,
        context: &Context,
    ) -> Result<Image> {
        let mut reshaped = Reshaped::same(image);
        if known.iter().any(Option::is_some) {
            // What the layer cache knows takes its place, whatever filters follow.
            reshaped = self.pass(image, reshaped, &[], known.clone(), context)?;
        }
        let joint = |(_, one): &(String, Box<dyn Filter>),
                     (_, next): &(String, Box<dyn Filter>)| {
            !one.wants_images() && one.reshapes().is_none() && next.reshapes().is_none()
        };
        for chain in self.filters.chunk_by(joint) {
            reshaped = match chain.iter().find_map(|(_, filter)| filter.reshapes()) {
                Some(filter) => {
                    let before = reshaped.from;
                    let Reshaped { image, from } = filter.reshape(&reshaped.image, context)?;
                    let from = from.into_iter().map(|index| before.get(index?).copied()?);
                    Reshaped { image, from: from.collect() }
                }
                // The layer cache knows the result of the whole chain only, which each pass leaves alone.
                None => self.pass(image, reshaped, chain, known.clone(), context)?,
            };
        }
        Ok(reshaped.image)
    }

    /// Filters an image with filters that share one pass over its layers.
    fn pass(
        &self,
        source: &Image,
        before: Reshaped,
        chain: &[(String, Box<dyn Filter>)],
        known: Vec<Option<Layer>>,
        context: &Context,
    ) -> Result<Reshaped> {
        let Reshaped { image, from } = before;
        let working = chain.iter().map(|(_, filter)| {
            let spared = filter.spared(&image, context)?;
            Ok(Working { applied: filter.begin(&image), spared })
        });
        let working = working.collect::<Result<Vec<_>>>()?;
        let (filtered, sizes) = apply::apply(&image, &working, known, context)?;
        let outcome =
            FilterOutcome { source, from: &from, image: &filtered, sizes: &sizes, context };
        working.iter().try_for_each(|working| working.applied.end(&outcome))?;
        drop(working);
        Ok(Reshaped { image: filtered, from })
    }
}

#[cfg(test)]
mod tests;
