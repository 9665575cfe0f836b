//! Members that a layer writes through symbolic links of the layers below. Some engines follow such a link (umoci), and some
//! put a folder in its place (Docker, Podman, containerd).
//!
//! What it refuses: layers whose members would have another effect in the order of the canonical form, in an engine that
//! follows links: a member before the link is replaced, and two members that are one file there.

use std::collections::BTreeMap;

use super::key;
use super::sort::Sorted;
use super::spooled_member::{SpooledMember, hidden_parts};
use occystrap_base::error::{Error, Result};
use occystrap_layer::overlay::path::{MOST_LINKS, folders, follow, split};
use occystrap_layer::overlay::whiteout::Whiteout;
use occystrap_layer::tar::MemberKind;

/// Most members of a layer that lead through links of the layers below. A distribution with everything in `usr` has some
/// ten thousand files in `lib`; each takes some 200 bytes.
const MOST_THROUGH: usize = 500_000;

/// A member that leads through a link of the layers below.
pub struct Through {
    path: Vec<u8>,
    is_folder: bool,
    /// The target, if it is a symbolic link itself.
    pub symlink: Option<Vec<u8>>,
    /// Whether it is a file, a link or a device at this place, and not a whiteout or the target of a hard link.
    pub replaces: bool,
}

/// The members of a layer that lead through links, by the plain paths to which they lead.
pub type AllThrough = BTreeMap<Vec<u8>, Through>;

/// A layer while it is checked.
struct Lower<'a, L> {
    /// Returns the target of the link of the layers below at a plain path.
    link: L,
    /// The links that the layer replaces or hides, each with the number of the first member that does.
    ends: BTreeMap<Vec<u8>, u64>,
    through: AllThrough,
    place: &'a str,
}

/// Checks a layer. `links` are the plain paths and targets of the links of the layers below. Returns the members that lead
/// through them. Errors, which name `place`, when the canonical order would change what these members do.
pub fn check(
    links: &BTreeMap<Vec<u8>, Vec<u8>>,
    members: &Sorted,
    hidden: &Sorted,
    place: &str,
) -> Result<AllThrough> {
    let link = |path: &[u8]| links.get(path).map(Vec::as_slice);
    let ends = ends(links, members, hidden)?;
    let mut lower = Lower { link, ends, through: AllThrough::new(), place };
    let mut read = members.read()?;
    while let Some((numbered, value)) = read.next()? {
        let (name, number) = key::parts(&numbered);
        lower.see(&key::path(name), number, &SpooledMember::of(&value))?;
    }
    if !lower.through.is_empty() {
        let mut read = members.read()?;
        while let Some((numbered, value)) = read.next()? {
            let (path, placed) = (key::path(key::parts(&numbered).0), SpooledMember::of(&value));
            lower.compare(&path, placed.kind == MemberKind::Directory)?;
            if placed.kind == MemberKind::HardLink {
                lower.compare(&placed.tail, false)?;
            }
        }
        let mut read = hidden.read()?;
        while let Some((name, value)) = read.next()? {
            lower.compare_hidden(&key::path(&name), hidden_parts(&value).1)?;
        }
    }
    Ok(lower.through)
}

/// Returns the links that a layer replaces or hides.
fn ends(
    links: &BTreeMap<Vec<u8>, Vec<u8>>,
    members: &Sorted,
    hidden: &Sorted,
) -> Result<BTreeMap<Vec<u8>, u64>> {
    let mut ends = BTreeMap::new();
    let mut end = |path: &[u8], number: u64, itself: bool, beneath: bool| {
        let own = links.get_key_value(path).filter(|_| itself).map(|(link, _)| link);
        let below = beneath.then(|| below(links, path)).into_iter().flatten();
        for link in own.into_iter().chain(below.map(|(link, _)| link)) {
            let known = ends.entry(link.clone()).or_insert(number);
            *known = number.min(*known);
        }
    };
    let mut read = members.read()?;
    while let Some((numbered, value)) = read.next()? {
        let (name, number) = key::parts(&numbered);
        let is_folder = SpooledMember::of(&value).kind == MemberKind::Directory;
        end(&key::path(name), number, true, !is_folder);
    }
    let mut read = hidden.read()?;
    while let Some((name, value)) = read.next()? {
        let (number, is_opaque) = hidden_parts(&value);
        end(&key::path(&name), number, !is_opaque, true);
    }
    Ok(ends)
}

impl<'l, L: Fn(&[u8]) -> Option<&'l [u8]>> Lower<'_, L> {
    /// Takes a member and its plain path.
    fn see(&mut self, path: &[u8], number: u64, placed: &SpooledMember) -> Result<()> {
        let is_whiteout = Whiteout::of(path).is_some();
        let (led, is_folder) = match Whiteout::of(path) {
            Some(Whiteout::Of(hidden)) => (hidden, false),
            Some(Whiteout::Opaque(_)) => (path.to_vec(), false),
            None => (path.to_vec(), placed.kind == MemberKind::Directory),
        };
        if let Some(mut real) = self.real(&led, number)? {
            if let Some(Whiteout::Opaque(_)) = Whiteout::of(path) {
                // It empties the folder to which the link leads.
                real = split(&real).0.to_vec();
            }
            let is_link = placed.kind == MemberKind::Symlink;
            let symlink = is_link.then(|| placed.tail.clone());
            let replaces = !is_folder && !is_whiteout;
            // A whiteout and a member of the same spelling do not affect each other.
            let path = match Whiteout::of(path) {
                Some(Whiteout::Of(path) | Whiteout::Opaque(path)) => path,
                None => path.to_vec(),
            };
            self.add(real, Through { path, is_folder, symlink, replaces })?;
        }
        if placed.kind == MemberKind::HardLink
            && let Some(real) = self.real(&placed.tail, number)?
        {
            let path = placed.tail.clone();
            let target = Through { path, is_folder: false, symlink: None, replaces: false };
            self.add(real, target)?;
        }
        Ok(())
    }

    /// Returns where a plain path leads if one of its folders is a link of the layers below. Errors when the layer replaces
    /// the link after this member.
    fn real(&self, path: &[u8], number: u64) -> Result<Option<Vec<u8>>> {
        let is_there = |at: &[u8]| self.ends.get(at).is_none_or(|end| number < *end);
        let through = |at: &&[u8]| (self.link)(at).is_some() && is_there(at);
        if !folders(path).any(|folder| through(&folder)) {
            return Ok(None);
        }
        let mut replaced = None;
        let Ok(real) = follow(path, |at, reached| {
            let to = (self.link)(at)
                .filter(|_| !reached.is_last && reached.links < MOST_LINKS && is_there(at));
            if to.is_some() && self.ends.contains_key(at) {
                replaced = Some(at.to_vec());
            }
            Ok::<_, std::convert::Infallible>(to)
        });
        match replaced {
            None => Ok(Some(real)),
            Some(link) => Err(Error::source(format!(
                "{}: '{}' comes before '{}', a symbolic link of a layer below, is replaced in the same layer",
                self.place,
                text(path),
                text(&link)
            ))
            .hint("some engines follow the link there, which the canonical order would change: build the image again")),
        }
    }

    fn add(&mut self, real: Vec<u8>, through: Through) -> Result<()> {
        match self.through.get(&real) {
            // The same spelling again: of a whiteout or the target of a hard link and of a member, or of one member
            // twice.
            Some(known) if known.path == through.path => {
                if through.replaces || through.is_folder {
                    self.through.insert(real, through);
                }
                return Ok(());
            }
            Some(known) => return Err(self.refused(&known.path, &through.path)),
            None => {}
        }
        if self.through.len() == MOST_THROUGH {
            let what =
                format!("{}: members that lead through links of the layers below", self.place);
            return Err(Error::mismatch(what, format!("at most {MOST_THROUGH}"), "more"));
        }
        self.through.insert(real, through);
        Ok(())
    }

    /// Compares the path of a member, as the layer spells it, with the paths to which links lead other members. Errors
    /// when an engine that follows links would take both for one file, or one for a folder of the other.
    fn compare(&self, path: &[u8], is_folder: bool) -> Result<()> {
        if let Some(other) = self.through.get(path).filter(|other| other.path != path) {
            return Err(self.refused(path, &other.path));
        }
        let above = folders(path).filter_map(|folder| self.through.get(folder));
        if let Some(other) = above.into_iter().find(|other| !other.is_folder) {
            return Err(self.refused(path, &other.path));
        }
        match below(&self.through, path).next().filter(|_| !is_folder) {
            Some((_, other)) => Err(self.refused(path, &other.path)),
            None => Ok(()),
        }
    }

    /// Compares the path that a whiteout hides with the paths to which links lead members.
    fn compare_hidden(&self, path: &[u8], is_opaque: bool) -> Result<()> {
        let own = self.through.get(path).filter(|_| !is_opaque);
        match own.or_else(|| below(&self.through, path).next().map(|(_, other)| other)) {
            Some(other) => Err(self.refused(path, &other.path)),
            None => Ok(()),
        }
    }

    fn refused(&self, one: &[u8], other: &[u8]) -> Error {
        let (one, other) = (text(one), text(other));
        let place = self.place;
        Error::source(format!(
            "{place}: '{one}' and '{other}' are one place for engines that follow the symbolic links of the layers below"
        ))
        .hint("the canonical order would change which of them counts: build the image again")
    }
}

/// Returns what a map has below a plain path. The root is empty.
fn below<'a, T>(
    map: &'a BTreeMap<Vec<u8>, T>,
    folder: &[u8],
) -> impl Iterator<Item = (&'a Vec<u8>, &'a T)> + use<'a, T> {
    let begin = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
    map.range(begin.clone()..).take_while(move |(path, _)| path.starts_with(&begin))
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
