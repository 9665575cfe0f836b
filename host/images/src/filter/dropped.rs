//! Dropped members of a layer, for hard links to them that stay: the first such link becomes the file.
//!
//! A layer may have a name twice; from there on the later member counts. A link never leads to a member that was written
//! later under the name that the link would get.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use occystrap_base::error::{Error, Result};
use occystrap_base::files::scratch;
use occystrap_layer::blob::from_io;
use occystrap_layer::tar::member::{Records, plain};
use occystrap_layer::tar::{Member, MemberKind, Sparse};

/// Memory for the names of one layer, in bytes: enough for a million files.
const MOST_BYTES: usize = 384 * 1024 * 1024;

/// Memory of a dropped file besides its name, in bytes.
const OVERHEAD: usize = 200;

/// The dropped members of one layer. Their contents are in a file without a name; the name and about [`OVERHEAD`] bytes
/// of each stay in memory.
pub struct DroppedMembers {
    folder: PathBuf,
    file: Option<File>,
    /// Dropped members by their name from the root.
    gone: HashMap<Box<[u8]>, DroppedAs>,
    contents: Vec<DroppedContent>,
    /// Names from the root under which contents were written again.
    named: BTreeMap<Vec<u8>, usize>,
    /// Names from the root that [`DroppedAs::Link`] leads to.
    linked: BTreeSet<Vec<u8>>,
    /// Approximate memory of all this, in bytes.
    bytes: usize,
}

/// The meaning of a dropped name.
#[derive(Clone)]
pub enum DroppedAs {
    /// A content, by its index.
    Content(usize),
    /// Another name of a file that stays, in the form of a link target.
    Link(Vec<u8>),
    /// Another name of a file that stayed, but that name belongs to another file by now.
    Lost,
}

/// The content of a dropped member.
struct DroppedContent {
    kind: MemberKind,
    link: Vec<u8>,
    device: (u32, u32),
    offset: u64,
    size: u64,
    sparse: Option<Sparse>,
    records: Records,
    /// The name under which it was written again.
    name: Option<Vec<u8>>,
}

impl DroppedMembers {
    /// Creates an empty collection, which writes contents to a file in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            file: None,
            gone: HashMap::new(),
            contents: Vec::new(),
            named: BTreeMap::new(),
            linked: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// Returns the meaning of a name, if a member of that name was dropped.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<DroppedAs> {
        if self.gone.is_empty() {
            return None;
        }
        self.gone.get(plain(path).as_slice()).cloned()
    }

    /// Keeps a dropped member: its content, or the target of a symbolic link. Errors when the content cannot be read or
    /// written.
    pub fn keep(&mut self, member: &Member, content: &mut dyn Read, place: &str) -> Result<()> {
        let size = member.stored();
        let offset = match size {
            0 => 0,
            _ => self.append(content, place)?,
        };
        self.contents.push(DroppedContent {
            kind: member.kind,
            link: member.link.clone(),
            device: member.device,
            offset,
            size: member.size,
            sparse: member.sparse.clone(),
            records: member.records.clone(),
            name: None,
        });
        self.alias(member, DroppedAs::Content(self.contents.len() - 1), place)
    }

    /// Adds a dropped member with another meaning than its own content. Errors above [`MOST_BYTES`].
    pub fn alias(&mut self, member: &Member, gone: DroppedAs, place: &str) -> Result<()> {
        if let DroppedAs::Link(path) = &gone {
            self.linked.insert(plain(path));
            self.bytes += path.len();
        }
        let path = member.plain_path();
        self.bytes += path.len() + OVERHEAD;
        if self.bytes > MOST_BYTES {
            let (known, most) = (self.gone.len(), MOST_BYTES / 1024 / 1024);
            return Err(Error::source(format!(
                "{place}: more than {known} of its files are excluded, whose names take more than {most} MiB"
            ))
            .hint("exclude fewer: the name of each excluded file is kept in memory, because of links to it"));
        }
        self.gone.insert(path.into(), gone);
        Ok(())
    }

    /// Forgets the name of a dropped member to which no hard link can lead: a directory.
    pub fn forget(&mut self, member: &Member) {
        self.gone.remove(member.plain_path().as_slice());
    }

    /// Records that a member stays: its name no longer belongs to what had it before.
    pub fn replace(&mut self, member: &Member) {
        if self.named.is_empty() && self.linked.is_empty() {
            return;
        }
        let path = member.plain_path();
        let replaced = |name: &[u8]| match name.strip_prefix(path.as_slice()) {
            Some([]) => true,
            // A directory that is listed again keeps its entries.
            Some([b'/', ..]) => member.kind != MemberKind::Directory,
            _ => false,
        };
        // In the sorted order, names with this prefix follow each other.
        let begins = |name: &[u8]| name.starts_with(&path);
        let named = self.named.range(path.clone()..).take_while(|(name, _)| begins(name));
        let named = named.filter(|(name, _)| replaced(name));
        for (name, index) in named.map(|(name, index)| (name.clone(), *index)).collect::<Vec<_>>() {
            self.named.remove(&name);
            if let Some(content) = self.contents.get_mut(index) {
                content.name = None;
            }
        }
        let linked = self.linked.range(path.clone()..).take_while(|name| begins(name));
        let linked: BTreeSet<_> = linked.filter(|name| replaced(name)).cloned().collect();
        if linked.is_empty() {
            return;
        }
        self.linked.retain(|name| !linked.contains(name));
        for gone in self.gone.values_mut() {
            if matches!(gone, DroppedAs::Link(to) if linked.contains(&plain(to))) {
                *gone = DroppedAs::Lost;
            }
        }
    }

    /// Turns a hard link to a dropped file into that file, or into a link to the member that became it. Returns `true` if
    /// it is the file now.
    pub fn stand_in(&self, member: &mut Member, index: usize) -> bool {
        let Some(content) = self.contents.get(index) else { return false };
        // A link must not lead to itself.
        if let Some(name) = content.name.as_ref().filter(|name| plain(name) != member.plain_path())
        {
            member.link.clone_from(name);
            return false;
        }
        member.kind = content.kind;
        member.link.clone_from(&content.link);
        member.device = content.device;
        member.size = content.size;
        member.sparse.clone_from(&content.sparse);
        for (keyword, value) in &content.records {
            member.records.entry(keyword.clone()).or_insert_with(|| value.clone());
        }
        true
    }

    /// Returns the content for a member that [`Self::stand_in`] turned into the file, and records the member's name.
    pub fn content(&mut self, index: usize, member: &Member) -> io::Result<Box<dyn BufRead + '_>> {
        let Some(content) = self.contents.get_mut(index) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        content.name = Some(member.path.clone());
        self.named.insert(member.plain_path(), index);
        match &mut self.file {
            Some(file) if member.stored() > 0 => {
                file.seek(SeekFrom::Start(content.offset))?;
                Ok(Box::new(BufReader::new(file.take(member.stored()))))
            }
            _ => Ok(Box::new(io::empty())),
        }
    }

    /// Appends a content to the temporary file and returns its offset.
    fn append(&mut self, content: &mut dyn Read, place: &str) -> Result<u64> {
        let failed = |cause: &io::Error| scratch::failed("write", &self.folder, cause);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                none.insert(tempfile::tempfile_in(&self.folder).map_err(|cause| failed(&cause))?)
            }
        };
        let offset = file.seek(SeekFrom::End(0)).map_err(|cause| failed(&cause))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = content.read(&mut buffer).map_err(|cause| from_io(cause, place))?;
            if read == 0 {
                return Ok(offset);
            }
            file.write_all(&buffer[..read]).map_err(|cause| failed(&cause))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_names_than_any_layer_has_are_not_kept() {
        let mut kept = DroppedMembers::new(Path::new("/nowhere"));
        let mut member = Member::new(MemberKind::File, "");
        let mut keep = |index: usize| {
            member.path = format!("{index}{}", "x".repeat(1024 * 1024)).into();
            kept.keep(&member, &mut io::empty(), "'x'")
        };
        let refused = (0..1000).find_map(|index| keep(index).err()).unwrap();
        let said =
            "'x': more than 383 of its files are excluded, whose names take more than 384 MiB";
        assert_eq!(refused.to_string(), said);
    }
}
