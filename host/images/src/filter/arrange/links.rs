//! Which of the names of a file has its content, and which are links to it: the first in the order of the canonical form
//! has it.
//!
//! What it refuses: links to links to links, beyond [`MOST_STEPS`].

use std::path::Path;

use super::sort::{Record, Sorted, Sorter};
use super::spooled_member::SpooledMember;
use super::{below, key};
use occystrap_base::error::{Error, Result};
use occystrap_layer::tar::MemberKind;

/// Most links that lead from one to the next until the file. Writers of tar archives let every link lead to the file
/// itself.
const MOST_STEPS: usize = 64;

/// Start and end of a member in the spool.
pub type Span = (u64, u64);

/// What a name of a file becomes. The metadata are those of the file with those of its last name, as engines set them.
pub enum Becomes {
    /// The file, whose content is that of the member at `root`.
    File { root: Span, last: Span },
    /// A link to this plain path.
    Link { to: Vec<u8>, root: Span, last: Span },
    /// A link to this plain path in a layer below.
    Below { to: Vec<u8>, last: Span },
}

impl Becomes {
    fn value(&self) -> Vec<u8> {
        match self {
            Self::File { root, last } => pack(&[0, root.0, root.1, last.0, last.1], b""),
            Self::Link { to, root, last } => pack(&[1, root.0, root.1, last.0, last.1], to),
            Self::Below { to, last } => pack(&[2, 0, 0, last.0, last.1], to),
        }
    }

    /// Reads the value of a record.
    pub fn of(value: &[u8]) -> Self {
        let ([what, start, end, last_start, last_end], to) = unpack(value);
        let (root, last, to) = ((start, end), (last_start, last_end), to.to_vec());
        match what {
            0 => Self::File { root, last },
            1 => Self::Link { to, root, last },
            _ => Self::Below { to, last },
        }
    }
}

/// What the hard links of a layer lead to.
#[derive(Default)]
pub struct Resolved {
    /// What members become, by their numbered keys, where that is something else than they are; `None` if nothing changes.
    pub changed: Option<Sorted>,
    /// Links to layers below, if there are some: the link's numbered key by the numbered key of its target.
    pub below: Option<Sorted>,
    /// Links to symbolic links of the layer, if there are some: the target by the numbered key of the hard link.
    pub symlinks: Option<Sorted>,
}

/// Resolves the hard links of a layer. `place` is named in errors.
pub fn resolve(members: &Sorted, hidden: &Sorted, folder: &Path, place: &str) -> Result<Resolved> {
    let mut pending = Sorter::new(folder);
    let mut read = members.read()?;
    while let Some((numbered, value)) = read.next()? {
        let placed = SpooledMember::of(&value);
        if placed.kind == MemberKind::HardLink && placed.is_live {
            let number = key::parts(&numbered).1;
            let link = Name::of_member(&placed, &numbered).value();
            pending.push(&key::numbered(&key::of(&placed.tail), number), &link)?;
        }
    }
    let mut to = Found {
        groups: Sorter::new(folder),
        below: Sorter::new(folder),
        below_names: Sorter::new(folder),
        symlinks: Sorter::new(folder),
        leads_below: false,
        has_symlinks: false,
        changed: Changes::new(folder),
    };
    let mut pending = pending.finish()?;
    for step in 0.. {
        let Some(next) = follow(members, &pending, &mut to, folder)? else { break };
        if step == MOST_STEPS {
            return Err(Error::source(format!(
                "{place}: has more than {MOST_STEPS} hard links that lead from one to the next"
            ))
            .hint("unpack the image and build it again"));
        }
        pending = next;
    }
    let Found { groups, below, below_names, symlinks, leads_below, has_symlinks, mut changed } = to;
    let below = below.finish()?;
    below::check(&below, members, hidden, place)?;
    choose(&groups.finish()?, &mut changed)?;
    give_last_below(&below_names.finish()?, &mut changed)?;
    let changed = if changed.any { Some(changed.sorter.finish()?) } else { None };
    let symlinks = if has_symlinks { Some(symlinks.finish()?) } else { None };
    Ok(Resolved { changed, below: leads_below.then_some(below), symlinks })
}

/// What links were found to lead to.
struct Found {
    /// The names of each file, by the number of the file and then by their numbered keys.
    groups: Sorter,
    /// Links to layers below: by the numbered key of the target, the numbered key of the link.
    below: Sorter,
    /// The same links as names, by the numbered key of the target.
    below_names: Sorter,
    /// Links to symbolic links of the layer: the target by the numbered key of the hard link.
    symlinks: Sorter,
    leads_below: bool,
    has_symlinks: bool,
    changed: Changes,
}

/// What becomes of members.
struct Changes {
    sorter: Sorter,
    any: bool,
}

impl Changes {
    fn new(folder: &Path) -> Self {
        Self { sorter: Sorter::new(folder), any: false }
    }

    fn push(&mut self, numbered: &[u8], becomes: &Becomes) -> Result<()> {
        self.any = true;
        self.sorter.push(numbered, &becomes.value())
    }
}

/// A name of a file.
struct Name {
    span: Span,
    metadata: u64,
    /// Where the file is in the spool; its own place while that is not known.
    root: Span,
    numbered: Vec<u8>,
    /// Plain target of a link; empty for the file itself.
    to: Vec<u8>,
}

impl Name {
    fn of_member(placed: &SpooledMember, numbered: &[u8]) -> Self {
        let span = (placed.start, placed.end);
        let to = match placed.kind {
            MemberKind::HardLink => placed.tail.clone(),
            _ => Vec::new(),
        };
        let metadata = placed.metadata;
        Self { span, metadata, root: span, numbered: numbered.to_vec(), to }
    }

    fn value(&self) -> Vec<u8> {
        let Self { span, metadata, root, numbered, to } = self;
        let numbers = [span.0, span.1, *metadata, root.0, root.1, numbered.len() as u64];
        pack(&numbers, &[numbered.as_slice(), to].concat())
    }

    fn of(value: &[u8]) -> Self {
        let ([start, end, metadata, root_start, root_end, length], rest) = unpack(value);
        let (numbered, to) = rest.split_at((length as usize).min(rest.len()));
        let (span, root) = ((start, end), (root_start, root_end));
        Self { span, metadata, root, numbered: numbered.to_vec(), to: to.to_vec() }
    }

    fn number(&self) -> u64 {
        key::parts(&self.numbered).1
    }
}

/// Lets each pending link find the member that had the name of its target when the link came. Returns the links whose
/// target is a link itself, `None` if there are none.
fn follow(
    members: &Sorted,
    pending: &Sorted,
    to: &mut Found,
    folder: &Path,
) -> Result<Option<Sorted>> {
    let (mut next, mut any) = (Sorter::new(folder), false);
    let (mut members, mut pending) = (members.read()?, pending.read()?);
    let mut current: Option<Record> = None;
    while let Some((wanted, link)) = pending.next()? {
        while members.peek()?.is_some_and(|member| member < wanted.as_slice()) {
            current = members.next()?;
        }
        let (target, _) = key::parts(&wanted);
        let found = current.as_ref().filter(|(member, _)| key::parts(member).0 == target);
        let mut link = Name::of(&link);
        match found.map(|(member, value)| (member, SpooledMember::of(value))) {
            Some((member, placed)) if placed.kind == MemberKind::HardLink => {
                let since = key::parts(member).1;
                next.push(&key::numbered(&key::of(&placed.tail), since), &link.value())?;
                any = true;
            }
            // No file system has such a link: it stays, and engines refuse it.
            Some((_, placed)) if placed.kind == MemberKind::Directory => {}
            Some((member, placed)) => {
                let root = key::parts(member).1.to_be_bytes();
                let file = Name::of_member(&placed, member);
                link.root = file.span;
                if placed.kind == MemberKind::Symlink {
                    to.symlinks.push(&link.numbered, &placed.tail)?;
                    to.has_symlinks = true;
                }
                if placed.is_live {
                    to.groups.push(&[&root, member.as_slice()].concat(), &file.value())?;
                }
                to.groups.push(&[&root, link.numbered.as_slice()].concat(), &link.value())?;
            }
            // The target is in a layer below. A link to a link to it leads there as well.
            None => {
                to.below.push(&wanted, &link.numbered)?;
                to.below_names.push(&wanted, &link.value())?;
                to.leads_below = true;
            }
        }
    }
    if any { next.finish().map(Some) } else { Ok(None) }
}

/// Chooses for each file which of its names has the content, and adds the names that become something else.
fn choose(groups: &Sorted, changed: &mut Changes) -> Result<()> {
    let (mut ahead, mut read) = (groups.read()?, groups.read()?);
    while let Some((first, value)) = ahead.next()? {
        let root = first.first_chunk::<8>().copied();
        let first = Name::of(&value);
        let (mut last, mut last_number) = (first.span, first.number());
        // The metadata of a file that has lost its own name are those of no name here.
        let mut is_uniform = first.to.is_empty();
        while ahead.peek()?.is_some_and(|next| next.first_chunk::<8>().copied() == root) {
            let Some((_, value)) = ahead.next()? else { break };
            let name = Name::of(&value);
            is_uniform &= name.metadata == first.metadata;
            if name.number() > last_number {
                (last, last_number) = (name.span, name.number());
            }
        }
        let path = key::path(key::parts(&first.numbered).0);
        let mut before: Option<Vec<u8>> = None;
        while read.peek()?.is_some_and(|next| next.first_chunk::<8>().copied() == root) {
            let Some((_, value)) = read.next()? else { break };
            let Name { numbered, to, root, .. } = Name::of(&value);
            // The file itself comes once with each link to it.
            if before.as_ref() == Some(&numbered) {
                continue;
            }
            let is_first = numbered == first.numbered;
            let stays = if is_first { to.is_empty() } else { to == path };
            if !(stays && is_uniform) {
                let becomes = match is_first {
                    true => Becomes::File { root, last },
                    false => Becomes::Link { to: path.clone(), root, last },
                };
                changed.push(&numbered, &becomes)?;
            }
            before = Some(numbered);
        }
    }
    Ok(())
}

/// Gives links to one file of a layer below the metadata of the last of them, as engines set them: the order of the
/// canonical form may be another one. Links to links lead to the file itself.
fn give_last_below(names: &Sorted, changed: &mut Changes) -> Result<()> {
    let (mut ahead, mut read) = (names.read()?, names.read()?);
    while let Some((wanted, value)) = ahead.next()? {
        let target = key::parts(&wanted).0.to_vec();
        let is_same = |next: &[u8]| key::parts(next).0 == target;
        let first = Name::of(&value);
        let (mut last, mut last_number, mut is_uniform) = (first.span, first.number(), true);
        while ahead.peek()?.is_some_and(is_same) {
            let Some((_, value)) = ahead.next()? else { break };
            let name = Name::of(&value);
            is_uniform &= name.metadata == first.metadata;
            if name.number() > last_number {
                (last, last_number) = (name.span, name.number());
            }
        }
        let path = key::path(&target);
        while read.peek()?.is_some_and(is_same) {
            let Some((_, value)) = read.next()? else { break };
            let Name { numbered, span, to, .. } = Name::of(&value);
            if to != path || !is_uniform {
                let last = if is_uniform { span } else { last };
                changed.push(&numbered, &Becomes::Below { to: path.clone(), last })?;
            }
        }
    }
    Ok(())
}

fn pack(numbers: &[u64], rest: &[u8]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
    numbers.chain(rest.iter().copied()).collect()
}

fn unpack<const N: usize>(value: &[u8]) -> ([u64; N], &[u8]) {
    let (chunks, rest) = value.split_at((8 * N).min(value.len()));
    let mut numbers = [0; N];
    for (number, chunk) in numbers.iter_mut().zip(chunks.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*chunk);
    }
    (numbers, rest)
}
