//! Layers at the bottom of an image that a filter leaves alone: `from-layer=N`, `base=URI`.
//!
//! What it refuses: both options at once, a base image of which the image has no layer.

use super::{FilterInputs, Spec};
use crate::source::Source;
use occystrap_base::error::{Error, Result};
use occystrap_layer::image::Image;
use occystrap_net::context::Context;

/// The options of filters that leave layers alone.
pub const OPTIONS: [&str; 2] = ["from-layer", "base"];

/// Which layers at the bottom of an image a filter leaves alone.
pub enum Spared {
    /// None.
    None,
    /// So many, at least 0.
    Below(usize),
    /// Those that the image shares with the image of this source.
    Base(Box<Source>),
}

impl Spared {
    /// Parses the options `from-layer` and `base`.
    pub fn parse(spec: &Spec, inputs: &FilterInputs<'_>) -> Result<Self> {
        match (spec.one("from-layer")?, spec.one("base")?) {
            (None, None) => Ok(Self::None),
            (Some(_), Some(_)) => {
                Err(spec.error("'from-layer' and 'base' contradict each other").hint("use one"))
            }
            (Some(text), None) => match text.parse::<usize>() {
                Ok(first @ 1..) => Ok(Self::Below(first - 1)),
                _ => Err(spec.error(format!(
                    "from-layer={text}: expected the number of a layer, 1 for the lowest"
                ))),
            },
            (None, Some(uri)) => Ok(Self::Base(Box::new((inputs.source)(uri)?))),
        }
    }

    /// Returns whether no layer is left alone.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns how many layers are left alone. Errors when the image has fewer layers than `from-layer` says, when the
    /// base image cannot be read, and when it is not the base of the image.
    pub fn of(&self, image: &Image, context: &Context) -> Result<usize> {
        let count = image.layers.len();
        match self {
            Self::None => Ok(0),
            Self::Below(spared) if *spared < count.max(1) => Ok(*spared),
            Self::Below(spared) => Err(Error::usage(format!(
                "from-layer={}: '{}' has {count} layers",
                spared + 1,
                image.name
            ))
            .hint(format!("name a layer from 1 to {count}"))),
            Self::Base(source) => {
                let place = &source.display;
                let bases = source.for_platform(&image.platform).open(context)?;
                let same = bases.iter().find(|base| base.platform == image.platform);
                let fitting = |base: &&Image| base.platform.fit(&image.platform).is_some();
                let base = same.or_else(|| bases.iter().find(fitting));
                let Some(base) = base else {
                    return Err(Error::source(format!(
                        "base={place}: has no image for {}, as '{}' is",
                        image.platform, image.name
                    ))
                    .hint("without a platform in its URI, the base is that of the platform of the image"));
                };
                let shared = base.layers.iter().zip(&image.layers);
                let shared = shared.take_while(|(base, own)| base.diff_id == own.diff_id).count();
                if shared < base.layers.len() {
                    let (layers, name) = (base.layers.len(), &image.name);
                    return Err(Error::source(format!(
                        "base={place}: is not the base of '{name}': {shared} of its {layers} layers are the lowest of it"
                    ))
                    .hint(match shared {
                        0 => "name the image that it was built from".to_owned(),
                        _ if shared == count => {
                            "all its layers are of the base: name an older one".to_owned()
                        }
                        _ => format!("to keep those, write from-layer={}", shared + 1),
                    }));
                }
                Ok(shared)
            }
        }
    }
}
