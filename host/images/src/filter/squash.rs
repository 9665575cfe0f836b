//! `squash[:from-layer=N]`: one layer instead of several, without what a later one of them deletes or replaces.
//!
//! Each layer is read twice: once to learn which members stay, and once to write them. What it refuses: layers on which
//! engines differ ([`Merged`]), and images with more members than the overlay model keeps.

mod history;
mod write;

use super::local_layers::read_to_files;
use super::reshape::{ConfigEdit, NoPass, Reshape, Reshaped, with};
use super::{Applied, Filter, Spec};
use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::PlainReader;
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::overlay::{
    MOST_BYTES, MOST_MEMBERS, MemberBudget, MemberList, Merged, Placed, Placer,
};
use occystrap_layer::tar::TarReader;
use occystrap_net::context::Context;

/// The filter `squash`.
pub struct Squash {
    /// The number of layers below the first one that is squashed.
    below: usize,
}

impl Squash {
    /// Creates the filter from its options.
    pub fn new(spec: &Spec) -> Result<Self> {
        spec.only(&["from-layer"])?;
        let below = match spec.one("from-layer")? {
            None => 0,
            Some(text) => match text.parse::<usize>() {
                Ok(first @ 1..) => first - 1,
                _ => {
                    return Err(spec.error(format!(
                        "from-layer={text}: expected the number of a layer, 1 for the lowest"
                    )));
                }
            },
        };
        Ok(Self { below })
    }
}

impl Filter for Squash {
    /// Returns `None`: a layer alone does not say what becomes of it.
    fn key(&self) -> Option<String> {
        None
    }

    fn reshapes(&self) -> Option<&dyn Reshape> {
        Some(self)
    }

    fn begin<'a>(&'a self, _image: &'a Image) -> Box<dyn Applied + 'a> {
        Box::new(NoPass)
    }
}

impl Reshape for Squash {
    fn reshape(&self, image: &Image, context: &Context) -> Result<Reshaped> {
        let count = image.layers.len();
        if self.below > 0 && self.below >= count {
            let message = format!(
                "squash:from-layer={}: '{}' has {count} layers",
                self.below + 1,
                image.name
            );
            return Err(Error::usage(message).hint("the layers count from 1, the lowest"));
        }
        let (base, upper) = image.layers.split_at(self.below);
        if upper.len() < 2 {
            return Ok(Reshaped::same(image));
        }
        let budget = MemberBudget::default();
        let read = |_, layer: &Layer, plain: &mut PlainReader| list(layer, plain, &budget);
        let (upper, lists) = read_to_files(upper, context, read)?;
        let roots: Vec<bool> = lists.iter().map(|list| list.root).collect();
        let lists: Vec<MemberList> = lists.into_iter().map(|list| list.members).collect();
        let merged = Merged::of(&lists, !base.is_empty(), self.below + 1).map_err(|why| {
            Error::source(format!("'{}': cannot be squashed: {why}", image.name))
                .hint("'occystrap check' lists all problems of an image")
        })?;
        drop(lists);
        let named = format!("squashed layers {} to {count} of '{}'", self.below + 1, image.name);
        let root = roots.iter().rposition(|has_root| *has_root);
        let squashed = write::write(named, &upper, &merged, root, context)?;
        let layers = [base, &[squashed]].concat();
        let mut config = ConfigEdit::of(image)?;
        config.diff_ids(&layers)?;
        config.change(|config| history::squashed(config, self.below, count))?;
        let from = (0..base.len()).map(Some).chain([None]).collect();
        Ok(Reshaped { image: with(image, layers, config.finish(), context), from })
    }
}

/// The members of one layer.
struct Listed {
    members: MemberList,
    /// Whether it lists the root.
    root: bool,
}

/// Lists the members of a layer. Errors when there are more than the model keeps, or one has no place in the image.
fn list(layer: &Layer, plain: &mut PlainReader, budget: &MemberBudget) -> Result<Listed> {
    let mut reader = TarReader::new(plain, layer.place.clone());
    let mut listed = Listed { members: MemberList::default(), root: false };
    let mut placer = Placer::default();
    while let Some(mut member) = reader.next_member()? {
        let wrong = |why: String| {
            Error::source(format!("{}: {why}", layer.place))
                .hint("'occystrap check' lists all problems of an image")
        };
        match placer.place(&mut member).map_err(wrong)? {
            Placed::Nothing => {}
            Placed::Root => listed.root = true,
            Placed::At(_) => {
                listed.members.add(&member, budget);
            }
        }
        if listed.members.cut {
            let most = format!("at most {MOST_MEMBERS}, with names of {MOST_BYTES} bytes");
            let what =
                format!("{}: number of members of all layers that are squashed", layer.place);
            return Err(Error::mismatch(what, most, "more")
                .hint("squash fewer layers, with squash:from-layer=N"));
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests;
