//! The content of dropped files, for links to them that stay: the first becomes the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::blob::from_io;
use crate::error::{Error, Kind, Result};
use crate::layer_tar::member::{Records, plain};
use crate::layer_tar::{Member, MemberKind, Sparse};

/// What was dropped of one layer. Contents are in a file without a name; of each dropped file its
/// name and some words stay in memory.
pub struct Kept {
    folder: PathBuf,
    file: Option<File>,
    /// By the name from the root.
    gone: HashMap<Box<[u8]>, Gone>,
    contents: Vec<Content>,
}

/// What a dropped name stood for.
#[derive(Clone)]
pub enum Gone {
    /// A content, by its index.
    Content(usize),
    /// Another name of a file that stays, as links must have it.
    Link(Vec<u8>),
}

struct Content {
    offset: u64,
    size: u64,
    sparse: Option<Sparse>,
    records: Records,
    /// The name that it has got again.
    name: Option<Vec<u8>>,
}

impl Kept {
    /// Nothing yet; contents go to a file in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), file: None, gone: HashMap::new(), contents: Vec::new() }
    }

    /// What a name stood for, where it was dropped.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<Gone> {
        if self.gone.is_empty() {
            return None;
        }
        self.gone.get(plain(path).as_slice()).cloned()
    }

    /// Keep the content of a dropped file. Errors when it cannot be read, or written.
    pub fn keep(&mut self, member: &Member, content: &mut dyn Read, place: &str) -> Result<()> {
        let size = member.stored();
        let offset = match size {
            0 => 0,
            _ => self.append(content, place)?,
        };
        self.contents.push(Content {
            offset,
            size: member.size,
            sparse: member.sparse.clone(),
            records: member.records.clone(),
            name: None,
        });
        self.alias(member, Gone::Content(self.contents.len() - 1));
        Ok(())
    }

    /// A dropped member that stood for something else.
    pub fn alias(&mut self, member: &Member, gone: Gone) {
        self.gone.insert(member.plain_path().into(), gone);
    }

    /// Make a link to a dropped file the file, or a link to the one that became it. `true` when it
    /// is the file.
    pub fn stand_in(&self, member: &mut Member, index: usize) -> bool {
        let Some(content) = self.contents.get(index) else { return false };
        if let Some(name) = &content.name {
            member.link.clone_from(name);
            return false;
        }
        member.kind = MemberKind::File;
        member.link.clear();
        member.size = content.size;
        member.sparse.clone_from(&content.sparse);
        for (keyword, value) in &content.records {
            member.records.entry(keyword.clone()).or_insert_with(|| value.clone());
        }
        true
    }

    /// The content that a member stands for from now on.
    pub fn content(&mut self, index: usize, member: &Member) -> io::Result<Box<dyn BufRead + '_>> {
        let Some(content) = self.contents.get_mut(index) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        content.name = Some(member.path.clone());
        match &mut self.file {
            Some(file) if member.stored() > 0 => {
                file.seek(SeekFrom::Start(content.offset))?;
                Ok(Box::new(BufReader::new(file.take(member.stored()))))
            }
            _ => Ok(Box::new(io::empty())),
        }
    }

    fn append(&mut self, content: &mut dyn Read, place: &str) -> Result<u64> {
        let failed = |cause: &io::Error| {
            Error::io(Kind::Destination, "write a temporary file in", self.folder.display(), cause)
                .hint("choose another folder with --temp-dir")
        };
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
