//! Which members of a layer count: an engine that unpacks the layer keeps the last member of a name, and loses what was in
//! a folder that another kind of member replaced.
//!
//! What it refuses: a folder that was something else before in the same layer. It would hide what the layers below have in
//! it, which a folder alone does not do.

use std::path::Path;

use super::ancestry::Ancestry;
use super::key;
use super::sort::{Sorted, Sorter};
use super::spooled_member::SpooledMember;
use occystrap_base::error::{Error, Result};
use occystrap_layer::tar::MemberKind;

/// The members of a layer in their order, each with whether it counts.
pub struct Settled {
    /// The members.
    pub members: Sorted,
    /// Whether a folder above a member is not listed.
    pub lacks_folders: bool,
    /// Whether a folder above a member, or what was in its place, came after that member.
    pub has_late_folders: bool,
}

/// Decides about the members of a layer. `place` is named in errors.
pub fn settle(members: &Sorted, folder: &Path, place: &str) -> Result<Settled> {
    let mut settled = Sorter::new(folder);
    let mut ancestry = Ancestry::default();
    let (mut lacks_folders, mut has_late_folders) = (false, false);
    // Names above the next member, each with the number of the first member that has it.
    let mut firsts: Vec<(Vec<u8>, u64)> = Vec::new();
    // Names that were something else than a folder, each with the number of the last such member.
    let mut replaced: Vec<(Vec<u8>, u64)> = Vec::new();
    let mut read = members.read()?;
    let mut of_this_name: Option<u64> = None;
    while let Some((numbered, value)) = read.next()? {
        let (name, number) = key::parts(&numbered);
        let mut placed = SpooledMember::of(&value);
        firsts.retain(|(above, _)| above == name || key::is_above(above, name));
        has_late_folders |= firsts.iter().any(|(above, first)| above != name && *first > number);
        if firsts.last().is_none_or(|(above, _)| above != name) {
            firsts.push((name.to_vec(), number));
        }
        while replaced.last().is_some_and(|(other, _)| !key::is_above(other, name)) {
            replaced.pop();
        }
        if placed.kind != MemberKind::Directory {
            of_this_name = Some(number);
        }
        let is_last = read.peek()?.is_none_or(|next| key::parts(next).0 != name);
        placed.is_live = is_last && !replaced.iter().any(|(_, since)| *since > number);
        if placed.is_live && placed.kind == MemberKind::Directory && of_this_name.is_some() {
            let path = String::from_utf8_lossy(&key::path(name)).into_owned();
            return Err(Error::source(format!(
                "{place}: '{path}' is a folder after it was something else in the same layer"
            ))
            .hint("the canonical form cannot say that: build the image again"));
        }
        settled.push(&numbered, &placed.value())?;
        if placed.is_live {
            lacks_folders |= !ancestry.missing(name).is_empty();
            match placed.kind {
                MemberKind::Directory => ancestry.open(name),
                _ => ancestry.close(name),
            }
        }
        if let Some(since) = of_this_name.take_if(|_| is_last) {
            replaced.push((name.to_vec(), since));
        }
    }
    Ok(Settled { members: settled.finish()?, lacks_folders, has_late_folders })
}
