//! `canonical[:keep=true][,from-layer=N][,base=URI]`: writes every layer in one form, so that the same files give the same
//! layers, whatever built them and in whatever order they come. Times stay: `normalize-timestamps` sets them.

use super::spared::{self, Spared};
use super::{Applied, Filter, FilterInputs, Form, MemberVerdict, Pass, Spec};
use occystrap_base::error::Result;
use occystrap_layer::image::Image;
use occystrap_layer::tar::Member;
use occystrap_net::context::Context;

/// The filter `canonical`. The form itself is in [`super::arrange`]: it comes after all filters that change members.
pub struct Canonical {
    keep: bool,
    spared: Spared,
}

impl Canonical {
    /// Creates the filter from its options.
    pub fn new(spec: &Spec, inputs: &FilterInputs<'_>) -> Result<Self> {
        let [from_layer, base] = spared::OPTIONS;
        spec.only(&["keep", from_layer, base])?;
        Ok(Self { keep: spec.switch("keep")?, spared: Spared::parse(spec, inputs)? })
    }
}

impl Filter for Canonical {
    /// Folders that a layer does not list are listed as the layers below have them, so that every layer must be read.
    fn key(&self) -> Option<String> {
        None
    }

    fn spared(&self, image: &Image, context: &Context) -> Result<usize> {
        self.spared.of(image, context)
    }

    fn begin<'a>(&'a self, _image: &'a Image) -> Box<dyn Applied + 'a> {
        Box::new(self)
    }
}

impl Applied for &Canonical {
    fn pass(&self, _index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(Unchanged)
    }

    fn form(&self) -> Form {
        if self.keep { Form::CanonicalOrKept } else { Form::Canonical }
    }
}

/// A pass that keeps every member.
struct Unchanged;

impl Pass for Unchanged {
    fn member(&mut self, _member: &mut Member) -> Result<MemberVerdict> {
        Ok(MemberVerdict::Same)
    }
}
