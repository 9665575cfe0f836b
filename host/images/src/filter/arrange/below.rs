//! Hard links to files of layers below, which must come before the same layer replaces or hides these files.
//!
//! What it refuses: a link that would come after that in the order of the canonical form. It would lead to another file, or
//! to none.

use super::key;
use super::sort::{Merge, Sorted};
use super::spooled_member::{SpooledMember, hidden_parts};
use occystrap_base::error::{Error, Result};
use occystrap_layer::tar::MemberKind;

/// What ends a path of the layers below.
struct End {
    key: Vec<u8>,
    itself: bool,
    beneath: bool,
    /// Key of the member that does it.
    by: Vec<u8>,
}

/// Checks all links to layers below. `links` has the link's numbered key by the numbered key of its target. Errors, which
/// name `place`, when a link would come too late.
pub fn check(links: &Sorted, members: &Sorted, hidden: &Sorted, place: &str) -> Result<()> {
    let mut members = members.read()?;
    each(links, || next_member(&mut members), place)?;
    let mut hidden = hidden.read()?;
    each(links, || next_hidden(&mut hidden), place)
}

/// Returns the next member that replaces something.
fn next_member(members: &mut Merge<'_>) -> Result<Option<End>> {
    while let Some((numbered, value)) = members.next()? {
        let placed = SpooledMember::of(&value);
        if placed.is_live {
            let key = key::parts(&numbered).0.to_vec();
            let beneath = placed.kind != MemberKind::Directory;
            return Ok(Some(End { by: key.clone(), key, itself: true, beneath }));
        }
    }
    Ok(None)
}

/// Returns the next path that a whiteout hides.
fn next_hidden(hidden: &mut Merge<'_>) -> Result<Option<End>> {
    Ok(hidden.next()?.map(|(key, value)| {
        let is_opaque = hidden_parts(&value).1;
        let by = key::of_whiteout(&key, is_opaque);
        End { itself: !is_opaque, beneath: true, key, by }
    }))
}

/// Compares links and ends, both in the order of their keys.
fn each(links: &Sorted, mut next: impl FnMut() -> Result<Option<End>>, place: &str) -> Result<()> {
    // The ends above or at the target of the next link.
    let mut open: Vec<End> = Vec::new();
    let mut ahead = next()?;
    let mut links = links.read()?;
    while let Some((target, link)) = links.next()? {
        let (target, link) = (key::parts(&target).0, key::parts(&link).0);
        let covers = |end: &End| end.key == target || key::is_above(&end.key, target);
        while let Some(end) = ahead.take_if(|end| end.key.as_slice() <= target) {
            open.retain(|other| other.key == end.key || key::is_above(&other.key, &end.key));
            open.push(end);
            ahead = next()?;
        }
        open.retain(covers);
        let ends = |end: &&End| {
            (if end.key == target { end.itself } else { end.beneath }) && end.by.as_slice() <= link
        };
        if open.iter().any(|end| ends(&end)) {
            let text = |key: &[u8]| String::from_utf8_lossy(&key::path(key)).into_owned();
            return Err(Error::source(format!(
                "{place}: '{}' is a link to '{}' in a layer below, which the same layer replaces or hides",
                text(link),
                text(target)
            ))
            .hint("the canonical order would make it another file: build the image again"));
        }
    }
    Ok(())
}
