//! `squash[:from-layer=N]`: one layer instead of several, without what a later one of them deletes or replaces.
//!
//! Each layer is read twice: once to learn which members stay, and once to write them. The layers below are read for their
//! symbolic links, if a layer does not list the folders above its members: it may lead through such a link. What it
//! refuses: layers on which engines differ ([`Merged`]), and images with more members than the overlay model keeps.

mod history;
mod names;
mod write;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use self::names::{LinkMetadata, MOST_LINKS};
use super::local_layers::read_to_files;
use super::reshape::{ConfigEdit, NoPass, Reshape, Reshaped, with};
use super::{Applied, Filter, Spec};
use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::PlainReader;
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::overlay::{
    LowerLinks, MOST_BYTES, MOST_MEMBERS, MemberBudget, MemberList, Merged, PlacedMember, Placer,
    path,
};
use occystrap_layer::tar::{MemberKind, TarReader};
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

    fn spared(&self, image: &Image, _context: &Context) -> Result<usize> {
        self.check(image).map(|()| self.below)
    }

    fn begin<'a>(&'a self, _image: &'a Image) -> Box<dyn Applied + 'a> {
        Box::new(NoPass)
    }
}

impl Squash {
    /// Errors when the image has fewer layers than `from-layer` says.
    fn check(&self, image: &Image) -> Result<()> {
        let count = image.layers.len();
        if self.below == 0 || self.below < count {
            return Ok(());
        }
        let first = self.below + 1;
        let message = format!("squash:from-layer={first}: '{}' has {count} layers", image.name);
        Err(Error::usage(message).hint(format!("name a layer from 1 to {count}, the lowest is 1")))
    }
}

impl Reshape for Squash {
    fn reshape(&self, image: &Image, context: &Context) -> Result<Reshaped> {
        self.check(image)?;
        let count = image.layers.len();
        let (base, upper) = image.layers.split_at(self.below);
        if upper.len() < 2 {
            return Ok(Reshaped::same(image));
        }
        let budget = MemberBudget::default();
        let read = |_, layer: &Layer, plain: &mut PlainReader| list(layer, plain, &budget);
        let (upper, lists) = read_to_files(upper, context, read)?;
        let needs_base = lists.iter().any(|list| list.lacks_folders);
        let mut lower = LowerLinks::with_folders();
        let mut base = base.to_vec();
        if needs_base && !base.is_empty() {
            let (in_files, lists) = read_to_files(&base, context, read)?;
            base = in_files;
            lists.iter().enumerate().for_each(|(index, list)| lower.add(&list.members, index + 1));
        }
        let roots: Vec<bool> = lists.iter().map(|list| list.root).collect();
        let (lists, links): (Vec<MemberList>, Vec<LinkMetadata>) =
            lists.into_iter().map(|list| (list.members, list.links)).unzip();
        let merged =
            Merged::of(&lists, !base.is_empty(), lower, self.below + 1).map_err(|why| {
                Error::source(format!("'{}': cannot be squashed: {why}", image.name))
                    .hint("'occystrap check' lists all problems of an image")
            })?;
        drop(lists);
        let named = format!("squashed layers {} to {count} of '{}'", self.below + 1, image.name);
        let root = roots.iter().rposition(|has_root| *has_root);
        let squashed = write::write(named, &upper, &merged, &links, root, context)?;
        let layers = [base.as_slice(), &[squashed]].concat();
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
    links: LinkMetadata,
    /// Whether it lists the root.
    root: bool,
    /// Whether it does not list a folder before a member in it, or before the target of a hard link.
    lacks_folders: bool,
}

/// Lists the members of a layer. Errors when there are more than the model keeps, or one has no place in the image.
fn list(layer: &Layer, plain: &mut PlainReader, budget: &MemberBudget) -> Result<Listed> {
    let mut reader = TarReader::new(plain, layer.place.clone());
    let (members, links) = (MemberList::default(), LinkMetadata::default());
    let mut listed = Listed { members, links, root: false, lacks_folders: false };
    let mut placer = Placer::default();
    let hasher = RandomState::new();
    let mut folders: HashSet<u64> = HashSet::new();
    while let Some(mut member) = reader.next_member()? {
        let wrong = |why: String| {
            Error::source(format!("{}: {why}", layer.place))
                .hint("'occystrap check' lists all problems of an image")
        };
        match placer.place(&mut member).map_err(wrong)? {
            PlacedMember::Nothing => {}
            PlacedMember::Root => listed.root = true,
            PlacedMember::At(number) => {
                listed.members.add(&member, budget);
                let target = Some(&member.link).filter(|_| member.kind == MemberKind::HardLink);
                let above = path::folders(&member.path);
                let mut above = above.chain(target.into_iter().flat_map(|to| path::folders(to)));
                listed.lacks_folders |=
                    above.any(|folder| !folders.contains(&hasher.hash_one(folder)));
                if member.kind == MemberKind::Directory {
                    folders.insert(hasher.hash_one(member.path.as_slice()));
                }
                if !listed.links.see(number, &member) {
                    let what = format!("{}: number of hard links", layer.place);
                    return Err(Error::mismatch(what, format!("at most {MOST_LINKS}"), "more")
                        .hint("squash fewer layers, with squash:from-layer=N"));
                }
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
