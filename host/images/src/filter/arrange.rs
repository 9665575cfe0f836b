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
mod placed;
mod settle;
mod sort;
mod spell;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::ancestry::Ancestry;
use self::assemble::{Assembled, Parts};
use self::folders::ArrangedFolders;
use self::placed::Placed;
use self::sort::{Sorted, Sorter};
use self::spell::Spelling;
pub use self::spell::TIME_RECORDS;
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
                Some(Whiteout::Of(hidden)) => self.hidden.push(&key::of(&hidden), b"")?,
                Some(Whiteout::Opaque(hidden)) => self.hidden.push(&key::of(&hidden), b"opaque")?,
                None => {}
            }
        }
        let tail = match member.kind {
            MemberKind::HardLink => member.link.clone(),
            MemberKind::Directory => head(member),
            _ => Vec::new(),
        };
        let (kind, metadata) = (member.kind, placed::metadata(member));
        let placed = Placed { kind, is_live: true, start, end, metadata, tail };
        self.members.push(&key::numbered(&key, self.number), &placed.value())?;
        self.number += 1;
        self.last = Some(key);
        Ok(())
    }

    /// Ends the layer. `place` is named in errors.
    pub fn finish(self, place: &str) -> Result<Arranged> {
        let Self { folder, root, is_in_order, mut lacks_folders, has_links, .. } = self;
        let mut members = self.members.finish()?;
        if !is_in_order {
            let settled = settle::settle(&members, &folder, place)?;
            (members, lacks_folders) = (settled.members, settled.lacks_folders);
        }
        let hidden = self.hidden.finish()?;
        let changed = match has_links {
            true => links::resolve(&members, &hidden, &folder, place)?,
            false => None,
        };
        Ok(Arranged {
            folder,
            members,
            hidden,
            changed,
            root,
            folders: None,
            is_in_order,
            lacks_folders,
            place: place.to_owned(),
        })
    }
}

/// The members of a layer in the order of the canonical form.
pub struct Arranged {
    folder: PathBuf,
    members: Sorted,
    hidden: Sorted,
    changed: Option<Sorted>,
    /// The root as the layer lists it.
    root: Option<Member>,
    /// Folders that the layer does not list.
    folders: Option<Sorted>,
    is_in_order: bool,
    lacks_folders: bool,
    place: String,
}

impl Arranged {
    /// Returns whether the layer lists not all folders above its members.
    pub fn lacks_folders(&self) -> bool {
        self.lacks_folders
    }

    /// Returns whether the layer gives the root another mode or owner than it has without being listed.
    pub fn has_own_root(&self) -> bool {
        self.root.as_ref().is_some_and(|root| !spell::is_usual_root(root))
    }

    /// Returns the layer as a stream; `None` if it is its spool as it is. `lists_root` is whether the image's layers list
    /// their root.
    pub fn assemble(&self, spool: &Arc<File>, lists_root: bool) -> Result<Option<Assembled<'_>>> {
        let root = self.root.as_ref().filter(|_| lists_root);
        let is_spool =
            self.is_in_order && self.changed.is_none() && self.folders.is_none() && root.is_none();
        if is_spool {
            return Ok(None);
        }
        let parts = Parts {
            members: &self.members,
            changed: self.changed.as_ref(),
            folders: self.folders.as_ref(),
            root,
            spool: Arc::clone(spool),
            place: &self.place,
        };
        Assembled::new(&parts).map(Some)
    }
}

/// Lists the folders that layers leave out. `layers` are all layers of the image up to the last that leaves one out, lowest
/// first; `None` for one that is not a tar. `listed` changes a folder for the layer of this index.
pub fn list_folders(
    layers: &mut [Option<Arranged>],
    listed: impl Fn(usize, &mut Member),
) -> Result<()> {
    let mut below = ArrangedFolders::default();
    for (index, layer) in layers.iter_mut().enumerate() {
        let Some(Arranged { members, hidden, folder, place, folders, lacks_folders, .. }) = layer
        else {
            continue;
        };
        let added = below.take(members, hidden, |member| listed(index, member), folder, place)?;
        if *lacks_folders {
            *folders = Some(added);
        }
    }
    Ok(())
}
