//! The canonical form of a layer: members in one order, each written in one way.
//!
//! A layer is read once and written, member by member, to a file; what decides the place of a member goes to sorters. If
//! the members came in the order of the canonical form, and nothing else is missing, that file is the layer. Otherwise the
//! layer is assembled from pieces of it. Memory does not depend on the number of members, apart from symbolic links
//! ([`Symlinks`]) and, where a layer does not list its folders, the folders of the image ([`folders::ArrangedFolders`]).
//!
//! [`Symlinks`]: occystrap_layer::overlay::Symlinks

mod ancestry;
mod assemble;
mod below;
mod folders;
mod key;
mod links;
mod lower;
mod settle;
mod sort;
mod spell;
mod spooled_member;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::ancestry::Ancestry;
use self::assemble::{Assembled, LayerParts};
use self::folders::ArrangedFolders;
use self::sort::{Sorted, Sorter};
use self::spell::Spelling;
pub use self::spell::TIME_RECORDS;
use self::spooled_member::SpooledMember;
use occystrap_base::error::Result;
use occystrap_layer::overlay::whiteout::{Whiteout, is_aufs};
use occystrap_layer::tar::writer::head;
use occystrap_layer::tar::{Member, MemberKind};

/// Takes the members of a layer while they are written to its spool.
pub struct Arranging {
    folder: PathBuf,
    spelling: Spelling,
    members: Sorter,
    hidden: Sorter,
    ancestry: Ancestry,
    root: Option<Member>,
    /// Number of the next member.
    number: u64,
    /// Key of the last member.
    last: Option<Vec<u8>>,
    /// Plain path of the next member, after it was spelled.
    path: Vec<u8>,
    is_in_order: bool,
    lacks_folders: bool,
    has_links: bool,
}

impl Arranging {
    /// Begins a layer. Temporary files are in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            spelling: Spelling::default(),
            members: Sorter::new(folder),
            hidden: Sorter::new(folder),
            ancestry: Ancestry::default(),
            root: None,
            number: 0,
            last: None,
            path: Vec::new(),
            is_in_order: true,
            lacks_folders: false,
            has_links: false,
        }
    }

    /// Changes the next member to its one spelling. Returns whether it is written to the spool: the root is not.
    pub fn spell(&mut self, member: &mut Member) -> Result<bool> {
        self.path = self.spelling.spell(member)?;
        if self.path.is_empty() && member.kind == MemberKind::Directory {
            self.root = Some(member.clone());
            return Ok(false);
        }
        Ok(true)
    }

    /// Adds the member that was spelled last, which is between these bytes of the spool.
    pub fn add(&mut self, member: &Member, start: u64, end: u64) -> Result<()> {
        let key = key::of(&self.path);
        if self.is_in_order && self.last.as_ref().is_none_or(|last| *last < key) {
            self.lacks_folders |= !self.ancestry.missing(&key).is_empty();
            match member.kind {
                MemberKind::Directory => self.ancestry.open(&key),
                _ => self.ancestry.close(&key),
            }
        } else {
            self.is_in_order = false;
        }
        self.has_links |= member.kind == MemberKind::HardLink;
        if !is_aufs(&self.path) {
            match Whiteout::of(&self.path) {
                Some(Whiteout::Of(hidden)) => {
                    self.hidden
                        .push(&key::of(&hidden), &spooled_member::hidden(self.number, false))?;
                }
                Some(Whiteout::Opaque(hidden)) => {
                    self.hidden
                        .push(&key::of(&hidden), &spooled_member::hidden(self.number, true))?;
                }
                None => {}
            }
        }
        let tail = match member.kind {
            MemberKind::HardLink | MemberKind::Symlink => member.link.clone(),
            MemberKind::Directory => head(member),
            _ => Vec::new(),
        };
        let (kind, metadata) = (member.kind, spooled_member::metadata(member));
        let placed = SpooledMember { kind, is_live: true, start, end, metadata, tail };
        self.members.push(&key::numbered(&key, self.number), &placed.value())?;
        self.number += 1;
        self.last = Some(key);
        Ok(())
    }

    /// Ends the layer. `place` is named in errors.
    pub fn finish(self, place: &str) -> Result<Arranged> {
        let Self { folder, root, is_in_order, mut lacks_folders, has_links, .. } = self;
        let mut members = self.members.finish()?;
        let mut has_late_folders = false;
        if !is_in_order {
            let settled = settle::settle(&members, &folder, place)?;
            (members, lacks_folders) = (settled.members, settled.lacks_folders);
            has_late_folders = settled.has_late_folders;
        }
        let hidden = self.hidden.finish()?;
        let resolved = match has_links {
            true => links::resolve(&members, &hidden, &folder, place)?,
            false => links::Resolved::default(),
        };
        let leads_below = lacks_folders || has_late_folders || resolved.below.is_some();
        Ok(Arranged {
            folder,
            members,
            hidden,
            resolved,
            root,
            folders: None,
            is_in_order,
            lacks_folders,
            leads_below,
            place: place.to_owned(),
        })
    }
}

/// The members of a layer in the order of the canonical form.
pub struct Arranged {
    folder: PathBuf,
    members: Sorted,
    hidden: Sorted,
    resolved: links::Resolved,
    /// The root as the layer lists it.
    root: Option<Member>,
    /// Folders that the layer does not list.
    folders: Option<Sorted>,
    is_in_order: bool,
    lacks_folders: bool,
    /// Whether a member may lead through a symbolic link of the layers below.
    leads_below: bool,
    place: String,
}

impl Arranged {
    /// Returns whether the layers below decide how the layer is written: it does not list a folder, or may lead through a
    /// symbolic link of theirs.
    pub fn needs_lower(&self) -> bool {
        self.leads_below
    }

    /// Returns the layer as a stream; `None` if it is its spool as it is. `root` is the root if the layer lists it
    /// ([`roots`]).
    pub fn assemble<'a>(
        &'a self,
        spool: &Arc<File>,
        root: Option<&'a Member>,
    ) -> Result<Option<Assembled<'a>>> {
        let is_spool = self.is_in_order
            && self.resolved.changed.is_none()
            && self.folders.is_none()
            && root.is_none();
        if is_spool {
            return Ok(None);
        }
        let parts = LayerParts {
            members: &self.members,
            changed: self.resolved.changed.as_ref(),
            folders: self.folders.as_ref(),
            root,
            spool: Arc::clone(spool),
            place: &self.place,
        };
        Assembled::new(&parts).map(Some)
    }
}

/// Returns the root that each layer lists. `layers` are all layers of the image, lowest first; `None` for one that stays as it
/// is, which may do anything with the root.
///
/// As long as the root has the mode and owner that it has without being listed, no layer lists it. From the first layer on that
/// changes them, all layers do, as they list other folders.
pub fn roots(layers: &[Option<&Arranged>]) -> Vec<Option<Member>> {
    let is_usual = |root: &Option<Member>| root.as_ref().is_none_or(spell::is_usual_root);
    let (mut now, mut is_known): (Option<Member>, bool) = (None, true);
    let root = |layer: &Option<&Arranged>| {
        let Some(Arranged { root: own, .. }) = layer else {
            (now, is_known) = (None, false);
            return None;
        };
        let was_usual = is_usual(&now);
        now = own.clone().or(now.take());
        match is_known {
            true => now.clone().filter(|_| !(was_usual && is_usual(&now))),
            false => now.clone(),
        }
    };
    layers.iter().map(root).collect()
}

/// Lists the folders that layers leave out. `layers` are all layers of the image up to the last one that needs those below it,
/// lowest first; `None` for one that is not a tar. `is_written` is whether the layer of this index gets the canonical form.
/// `listed` changes a folder for it. Errors when such a layer leads through a link of the layers below in an order that the
/// canonical form would change.
pub fn list_folders(
    layers: &mut [Option<Arranged>],
    is_written: impl Fn(usize) -> bool,
    listed: impl Fn(usize, &mut Member),
) -> Result<()> {
    let mut below = ArrangedFolders::default();
    for (index, layer) in layers.iter_mut().enumerate() {
        let Some(arranged) = layer else { continue };
        let Arranged { members, hidden, folder, place, folders, lacks_folders, resolved, .. } =
            arranged;
        let linked = below.linked(resolved)?;
        let through = match arranged.leads_below {
            true => match below.check(members, hidden, place) {
                // A layer that stays as it is has the order that it had.
                Err(_) if !is_written(index) => lower::AllThrough::new(),
                through => through?,
            },
            false => lower::AllThrough::new(),
        };
        let added = below.take(members, hidden, |member| listed(index, member), folder, place)?;
        below.lead(through, place)?;
        below.link(linked, place)?;
        if *lacks_folders {
            *folders = Some(added);
        }
    }
    Ok(())
}
