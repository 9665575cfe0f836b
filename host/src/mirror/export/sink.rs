//! Where an export is written: a directory, or one archive.
//!
//! Nothing that looks complete is there before the end. A directory that a stopped export left has the file
//! `export.in-work`; the next export into it goes on and fetches no blob again that is whole. An archive gets its name
//! when it is complete, so that an export that was stopped leaves nothing, and begins anew.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::archive::{ExportArchive, MOST_MEMBERS, failed};
use crate::mirror::exported::sums::Sum;
use crate::mirror::exported::{DOCUMENT, FILE_FOLDER};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::hash_range;
use occystrap_base::files::new_file::NewFile;
use occystrap_base::files::regular;
use occystrap_base::oci::Digest;
use occystrap_base::oci::layout::blob;
use occystrap_images::source::directory::Directory;
use occystrap_images::source::exported::ExportFiles;

/// File of a directory in which an export is not complete.
const IN_WORK: &str = "export.in-work";

/// Where an export is written.
pub struct ExportSink {
    kind: SinkKind,
    /// The digest of each file.
    sums: Mutex<Vec<Sum>>,
}

enum SinkKind {
    Folder(PathBuf),
    Archive(Mutex<ExportArchive>),
}

impl ExportSink {
    /// Opens a directory, or begins an archive where the name ends with `.tar`. Errors where something else is there.
    pub fn open(to: &Path) -> Result<Self> {
        let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_compressed = [".tar.gz", ".tgz", ".tar.zst", ".tar.xz"].iter();
        if is_compressed.clone().any(|ending| name.ends_with(ending)) {
            let message =
                format!("'{}': an export is not compressed: its layers are", to.display());
            return Err(
                Error::usage(message).hint("name a directory, or a file that ends with .tar")
            );
        }
        let kind = match name.ends_with(".tar") && !to.is_dir() {
            true => SinkKind::Archive(Mutex::new(ExportArchive::begin(to)?)),
            false => SinkKind::Folder(open_folder(to)?),
        };
        Ok(Self { kind, sums: Mutex::default() })
    }

    /// Returns whether files can be written at the same time.
    #[must_use]
    pub fn takes_several(&self) -> bool {
        matches!(self.kind, SinkKind::Folder(_))
    }

    /// Returns whether a blob is there already, and whole.
    pub fn has(&self, digest: Digest, size: u64, cancel: &Cancel) -> Result<bool> {
        let SinkKind::Folder(path) = &self.kind else { return Ok(false) };
        let path = path.join(blob(digest));
        let Ok(file) = regular::open(&path) else { return Ok(false) };
        let failed = |cause: &_| failed("read", &path, cause);
        let is_whole = file.metadata().map_err(|cause| failed(&cause))?.len() == size
            && hash_range(&file, (0, size), cancel, failed, |_| ())? == digest;
        if is_whole {
            self.note(digest, blob(digest));
        }
        Ok(is_whole)
    }

    /// Writes a small file.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut left = Some(Bytes::copy_from_slice(bytes));
        self.stream(path, bytes.len() as u64, Digest::of(bytes), || Ok(left.take()))
    }

    /// Writes a file from pieces, which are compared with the digest by the caller that makes them. After an error nothing
    /// of it is there.
    pub fn stream(
        &self,
        path: &str,
        size: u64,
        digest: Digest,
        mut next: impl FnMut() -> Result<Option<Bytes>>,
    ) -> Result<()> {
        match &self.kind {
            SinkKind::Folder(folder) => {
                let path = folder.join(path);
                let failed = |cause: &std::io::Error| failed("write", &path, cause);
                let new = NewFile::at(&path).map_err(|cause| failed(&cause))?;
                while let Some(bytes) = next()? {
                    new.file().write_all(&bytes).map_err(|cause| failed(&cause))?;
                }
                new.publish().map_err(|cause| failed(&cause))?;
            }
            SinkKind::Archive(archive) => {
                if self.sums().len() >= MOST_MEMBERS {
                    let message =
                        format!("an archive of more than {MOST_MEMBERS} files cannot be read");
                    return Err(Error::destination(message).hint("export to a directory: --to DIR"));
                }
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                archive.append(path, size, &mut next)?;
            }
        }
        self.note(digest, path.to_owned());
        Ok(())
    }

    /// Returns the list of digests, in the order of the paths.
    #[must_use]
    pub fn list(&self) -> Vec<Sum> {
        let mut sums = self.sums().clone();
        sums.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        sums.dedup_by(|one, other| one.path == other.path);
        sums
    }

    /// Returns the files that were written, for reading.
    pub fn files(&self) -> Result<ExportFiles> {
        match &self.kind {
            SinkKind::Folder(path) => Ok(Box::new(Directory::of(Destination::directory(path)?))),
            SinkKind::Archive(archive) => {
                let archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Box::new(archive.index()?))
            }
        }
    }

    /// Removes blobs that a stopped export left and this one does not need, and puts everything on the disk.
    pub fn settle(&self) -> Result<()> {
        let SinkKind::Folder(path) = &self.kind else { return Ok(()) };
        let blobs = path.join("blobs/sha256");
        let needed: std::collections::HashSet<String> =
            self.sums().iter().map(|sum| sum.path.clone()).collect();
        let entries = std::fs::read_dir(&blobs).map_err(|cause| failed("list", &blobs, &cause))?;
        for entry in entries {
            let entry = entry.map_err(|cause| failed("list", &blobs, &cause))?;
            let name = format!("blobs/sha256/{}", entry.file_name().to_string_lossy());
            if !needed.contains(&name) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(|cause| failed("remove", &path, &cause))?;
            }
        }
        let synced = File::open(path).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        synced.map_err(|cause| failed("sync", path, &cause))
    }

    /// Writes the document, and makes the export complete. It is on the disk when this returns.
    pub fn finish(self, document: &[u8]) -> Result<()> {
        match self.kind {
            SinkKind::Folder(folder) => {
                let path = folder.join(DOCUMENT);
                let written = NewFile::at(&path).and_then(|new| {
                    new.file().write_all(document)?;
                    new.file().sync_all()?;
                    new.publish()?;
                    std::fs::remove_file(folder.join(IN_WORK))?;
                    File::open(&folder)?.sync_all()
                });
                written.map_err(|cause| failed("write", &path, &cause))
            }
            SinkKind::Archive(archive) => {
                let mut archive = archive.into_inner().unwrap_or_else(PoisonError::into_inner);
                let mut left = Some(Bytes::copy_from_slice(document));
                archive.append(DOCUMENT, document.len() as u64, &mut || Ok(left.take()))?;
                archive.finish()
            }
        }
    }

    /// Removes what was written, where there is nothing to export.
    pub fn discard(self) -> Result<()> {
        let SinkKind::Folder(folder) = self.kind else { return Ok(()) };
        let removed = (|| {
            for sum in self.sums.into_inner().unwrap_or_else(PoisonError::into_inner) {
                std::fs::remove_file(folder.join(sum.path))?;
            }
            for name in ["blobs/sha256", "blobs", FILE_FOLDER] {
                std::fs::remove_dir(folder.join(name))?;
            }
            std::fs::remove_file(folder.join(IN_WORK))?;
            // A directory that was there before, as a mounted one is, stays.
            let _ = std::fs::remove_dir(&folder);
            Ok(())
        })();
        removed.map_err(|cause| failed("remove", &folder, &cause))
    }

    fn sums(&self) -> MutexGuard<'_, Vec<Sum>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, digest: Digest, path: String) {
        self.sums().push(Sum { digest, path });
    }
}

/// Opens a directory for a new export, or for one that was stopped.
fn open_folder(path: &Path) -> Result<PathBuf> {
    let is_in_work = path.join(IN_WORK).is_file();
    if path.is_dir() && !is_in_work {
        let mut entries = path.read_dir().map_err(|cause| failed("list", path, &cause))?;
        if path.join(DOCUMENT).exists() {
            let message = format!("'{}' holds a complete export", path.display());
            return Err(Error::destination(message)
                .hint("name another directory with --to, or remove that one"));
        }
        if entries.next().is_some() {
            let message = format!("'{}' is not empty, and holds no export", path.display());
            return Err(Error::destination(message).hint("name another directory with --to"));
        }
    }
    let created = (|| {
        std::fs::create_dir_all(path.join("blobs/sha256"))?;
        std::fs::create_dir_all(path.join(FILE_FOLDER))?;
        std::fs::write(path.join(IN_WORK), "An export is not complete.\n")?;
        // Of an export that was killed after its document was written.
        match std::fs::remove_file(path.join(DOCUMENT)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        }
    })();
    created.map_err(|cause| failed("create", path, &cause))?;
    Ok(path.to_owned())
}
