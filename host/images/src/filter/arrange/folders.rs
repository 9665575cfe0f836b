//! The folders of the layers so far, for layers that do not list the folders above their members: a listed folder has the
//! mode, the owner, the time and the extended attributes that it has below, so that listing it changes nothing.
//!
//! What it refuses: more folders than fit in [`MOST_BYTES`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use super::ancestry::Ancestry;
use super::key;
use super::links::Resolved;
use super::lower::{self, AllThrough};
use super::sort::{Record, Sorted, Sorter};
use super::spooled_member::{SpooledMember, hidden_parts};
use occystrap_base::error::{Error, Result};
use occystrap_layer::tar::member::Records;
use occystrap_layer::tar::writer::head;
use occystrap_layer::tar::{Member, MemberKind, TarReader, Time};

/// Memory for the folders of all layers, in bytes: two million folders.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of a folder besides its name.
const OVERHEAD: usize = 96;

/// Mode of a folder that no layer lists, as engines create it.
const MODE: u32 = 0o755;

/// What the layers so far have at a path.
enum Below {
    Folder { mode: u32, uid: i64, gid: i64, mtime: Time, records: Option<Box<Records>> },
    Symlink(Box<[u8]>),
}

/// The folders and symbolic links of the layers so far, by their keys.
#[derive(Default)]
pub struct ArrangedFolders {
    known: BTreeMap<Vec<u8>, Below>,
    bytes: usize,
}

impl ArrangedFolders {
    /// Checks the next layer against the symbolic links so far. Returns the members that lead through them.
    pub fn check(&self, members: &Sorted, hidden: &Sorted, place: &str) -> Result<AllThrough> {
        let link = |(name, below): (&Vec<u8>, &Below)| match below {
            Below::Symlink(to) => Some((key::path(name), to.to_vec())),
            Below::Folder { .. } => None,
        };
        let links: BTreeMap<Vec<u8>, Vec<u8>> = self.known.iter().filter_map(link).collect();
        match links.is_empty() {
            true => Ok(AllThrough::new()),
            false => lower::check(&links, members, hidden, place),
        }
    }

    /// Takes the members of the layer that lead through symbolic links, to where they lead.
    pub fn lead(&mut self, through: AllThrough, place: &str) -> Result<()> {
        for (path, member) in through.into_iter().filter(|(_, member)| member.replaces) {
            let name = key::of(&path);
            self.remove(&name, true);
            if let Some(to) = member.symlink {
                self.insert(&name, Below::Symlink(to.into()), place)?;
            }
        }
        Ok(())
    }

    /// Returns the hard links of the next layer that lead to symbolic links, in the layer or below it, with their targets: they
    /// are symbolic links as well.
    pub fn linked(&self, resolved: &Resolved) -> Result<Vec<Record>> {
        let mut linked = Vec::new();
        let mut below = resolved.below.as_ref().map(Sorted::read).transpose()?;
        while let Some(below) = &mut below
            && let Some((target, link)) = below.next()?
        {
            if let Some(Below::Symlink(to)) = self.known.get(key::parts(&target).0) {
                linked.push((key::parts(&link).0.to_vec(), to.to_vec()));
            }
        }
        let mut here = resolved.symlinks.as_ref().map(Sorted::read).transpose()?;
        while let Some(here) = &mut here
            && let Some((link, to)) = here.next()?
        {
            linked.push((key::parts(&link).0.to_vec(), to));
        }
        Ok(linked)
    }

    /// Takes hard links that are symbolic links.
    pub fn link(&mut self, linked: Vec<Record>, place: &str) -> Result<()> {
        for (name, to) in linked {
            self.remove(&name, true);
            self.insert(&name, Below::Symlink(to.into()), place)?;
        }
        Ok(())
    }

    /// Takes the next layer: its members in their order, and the paths that it hides. Returns the folders that must be
    /// listed, by their numbered keys, as headers. `listed` changes such a folder for this layer; `place` is named in
    /// errors.
    pub fn take(
        &mut self,
        members: &Sorted,
        hidden: &Sorted,
        listed: impl Fn(&mut Member),
        folder: &Path,
        place: &str,
    ) -> Result<Sorted> {
        let mut hidden = hidden.read()?;
        while let Some((key, value)) = hidden.next()? {
            self.remove(&key, !hidden_parts(&value).1);
        }
        let mut added = Sorter::new(folder);
        let mut ancestry = Ancestry::default();
        let mut read = members.read()?;
        while let Some((numbered, value)) = read.next()? {
            let placed = SpooledMember::of(&value);
            if !placed.is_live {
                continue;
            }
            let (name, _) = key::parts(&numbered);
            for missing in ancestry.missing(name) {
                let below = match self.known.get(&missing) {
                    // A folder of that name would replace the link.
                    Some(Below::Symlink(_)) => break,
                    Some(below) => below,
                    // It hides nothing. Below, there may be a file of that name.
                    None if key::is_whiteout(name) => break,
                    None => {
                        self.insert(&missing, Below::new(), place)?;
                        &Below::new()
                    }
                };
                let mut member = below.member(&missing);
                listed(&mut member);
                added.push(&key::numbered(&missing, 0), &head(&member))?;
                ancestry.open(&missing);
            }
            match placed.kind {
                MemberKind::Directory => {
                    ancestry.open(name);
                    if let Some(below) = Below::of(&placed.tail, place)? {
                        self.insert(name, below, place)?;
                    }
                }
                kind => {
                    ancestry.close(name);
                    self.remove(name, true);
                    if kind == MemberKind::Symlink {
                        self.insert(name, Below::Symlink(placed.tail.into()), place)?;
                    }
                }
            }
        }
        added.finish()
    }

    fn insert(&mut self, key: &[u8], below: Below, place: &str) -> Result<()> {
        if self.known.insert(key.to_vec(), below).is_none() {
            self.bytes += key.len() + OVERHEAD;
        }
        if self.bytes <= MOST_BYTES {
            return Ok(());
        }
        let (known, most) = (self.known.len(), MOST_BYTES / 1024 / 1024);
        Err(Error::source(format!(
            "{place}: the image has more than {known} folders, whose names take more than {most} MiB"
        ))
        .hint("canonical lists the folders of a layer that does not: filter without it"))
    }

    /// Removes what is beneath a key, and the key itself if so asked.
    fn remove(&mut self, key: &[u8], itself: bool) {
        if itself && self.known.remove(key).is_some() {
            self.bytes = self.bytes.saturating_sub(key.len() + OVERHEAD);
        }
        loop {
            let after =
                self.known.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next();
            let Some(beneath) =
                after.map(|(beneath, _)| beneath).filter(|it| key::is_above(key, it))
            else {
                return;
            };
            let beneath = beneath.clone();
            self.known.remove(&beneath);
            self.bytes = self.bytes.saturating_sub(beneath.len() + OVERHEAD);
        }
    }
}

impl Below {
    /// Returns a folder that no layer lists.
    fn new() -> Self {
        Self::Folder { mode: MODE, uid: 0, gid: 0, mtime: Time::default(), records: None }
    }

    /// Reads the headers of a folder.
    fn of(head: &[u8], place: &str) -> Result<Option<Self>> {
        let member = TarReader::new(head, place).next_member()?;
        Ok(member.map(|Member { mode, uid, gid, mtime, records, .. }| {
            let records = (!records.is_empty()).then(|| Box::new(records));
            Self::Folder { mode, uid, gid, mtime, records }
        }))
    }

    /// Returns the folder as a member.
    fn member(&self, name: &[u8]) -> Member {
        let mut member = Member::new(MemberKind::Directory, key::path(name));
        if let Self::Folder { mode, uid, gid, mtime, records } = self {
            (member.mode, member.uid, member.gid, member.mtime) = (*mode, *uid, *gid, *mtime);
            member.records = records.as_deref().cloned().unwrap_or_default();
        }
        member
    }
}
