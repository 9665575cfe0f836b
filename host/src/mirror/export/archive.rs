//! An export as one archive. The same files give the same bytes: members have nothing of the machine or the time.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::new_file::{NewFile, folder};
use occystrap_images::source::tar_index::TarIndex;
use occystrap_layer::tar::writer::head;
use occystrap_layer::tar::{Member, MemberKind, Time, Writer};

/// Files of an archive at most: readers of archives take no more.
pub const MOST_MEMBERS: usize = 99_000;

/// Bytes of a block of an archive.
const BLOCK: u64 = 512;

/// An archive that is being written.
pub struct ExportArchive {
    path: PathBuf,
    new: NewFile,
    /// Bytes that are whole members.
    at: u64,
}

impl ExportArchive {
    /// Begins an archive. Errors where something has its name.
    pub fn begin(path: &Path) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            let message = format!("'{}' exists already", path.display());
            return Err(
                Error::destination(message).hint("name another file with --to, or remove that one")
            );
        }
        let new = NewFile::at(path).map_err(|cause| failed("create", path, &cause))?;
        Ok(Self { path: path.to_owned(), new, at: 0 })
    }

    /// Appends a member. After an error the archive is as it was before.
    pub fn append(
        &mut self,
        name: &str,
        size: u64,
        next: &mut dyn FnMut() -> Result<Option<Bytes>>,
    ) -> Result<()> {
        let start = self.at;
        let appended = self.write_member(name, size, next);
        if appended.is_err() {
            let mut file = self.new.file();
            let cut = file.set_len(start).and_then(|()| file.seek(SeekFrom::Start(start)));
            cut.map_err(|cause| failed("write", &self.path, &cause))?;
            self.at = start;
        }
        appended
    }

    /// Returns the members that were written, for reading.
    pub fn index(&self) -> Result<TarIndex> {
        let file = self.new.file().try_clone();
        let file = file.map_err(|cause| failed("read", &self.path, &cause))?;
        TarIndex::read(Arc::new(file), format!("'{}'", self.path.display()))
    }

    /// Writes the end, and gives the archive its name. It is on the disk when this returns.
    pub fn finish(self) -> Result<()> {
        let path = self.path;
        let ended = (|| {
            Writer::new(self.new.file()).finish()?;
            self.new.file().sync_all()?;
            self.new.publish_new()?;
            File::open(folder(&path))?.sync_all()
        })();
        ended.map_err(|cause: std::io::Error| failed("write", &path, &cause))
    }

    fn write_member(
        &mut self,
        name: &str,
        size: u64,
        next: &mut dyn FnMut() -> Result<Option<Bytes>>,
    ) -> Result<()> {
        let mut file = self.new.file();
        let failed = |cause: std::io::Error| failed("write", &self.path, &cause);
        let head = head(&member(name, size));
        file.write_all(&head).map_err(failed)?;
        let mut written = 0;
        while let Some(bytes) = next()? {
            file.write_all(&bytes).map_err(failed)?;
            written += bytes.len() as u64;
        }
        if written != size {
            return Err(Error::mismatch(format!("size of '{name}'"), size, written));
        }
        let padding = size.next_multiple_of(BLOCK) - size;
        let zeros = [0; BLOCK as usize];
        file.write_all(&zeros[..usize::try_from(padding).unwrap_or(0)]).map_err(failed)?;
        self.at += head.len() as u64 + size + padding;
        Ok(())
    }
}

/// Returns the header of a file, without anything of the machine or the time.
fn member(name: &str, size: u64) -> Member {
    Member {
        kind: MemberKind::File,
        path: name.as_bytes().to_vec(),
        link: Vec::new(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        owner: Vec::new(),
        group: Vec::new(),
        mtime: Time::seconds(0),
        device: (0, 0),
        size,
        sparse: None,
        records: std::collections::BTreeMap::new(),
    }
}

/// Returns the error of a file or directory of an export that is written.
pub fn failed(action: &str, path: &Path, cause: &std::io::Error) -> Error {
    Error::io(Kind::Destination, action, path.display(), cause)
}
