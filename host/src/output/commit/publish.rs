//! Publishing the files of a commit: plan, change, check, and take back.
//!
//! The record stands before the first change. Every file but the last is published so that it can be
//! taken back: a new one is linked, a replaced one is exchanged and kept under its temporary name. The
//! last file is the commit point: one rename or link, after which nothing is taken back. What it refuses:
//! two names that are one file, and a file of the receipt that is not the one the host has seen.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::content;
use super::expected::Terms;
use super::folders::Folders;
use super::record::{CommitRecord, NAME, Recorded, RecordedFile, Replaced};
use super::undo;
use crate::destination::Destination;
use crate::error::{Error, Kind, Result};
use crate::file_identity::{FileIdentity, standing};
use crate::receipt::Published;
use crate::unnamed::Unnamed;

/// The files of a session that are being published into a directory.
pub struct Publication<'a> {
    /// For messages.
    destination: &'a Destination,
    folders: Folders,
    files: Vec<(String, Unnamed)>,
    record: CommitRecord,
    /// The files of this commit that have their name, by identity, and the record.
    own: HashMap<FileIdentity, String>,
    durable: bool,
}

impl<'a> Publication<'a> {
    /// Plans the commit: what is new, what is replaced, which folders are missing. Changes nothing.
    pub fn plan(
        destination: &'a Destination,
        root: Arc<Dir>,
        files: Vec<(String, Unnamed)>,
        durable: bool,
    ) -> Result<Self> {
        let (folders, record) = (Folders::new(root), CommitRecord::new());
        let own = HashMap::new();
        let mut planned = Self { destination, folders, files: Vec::new(), record, own, durable };
        let mut earlier: HashMap<String, Recorded> = HashMap::new();
        let count = files.len();
        for (at, (path, file)) in files.into_iter().enumerate() {
            let old = match earlier.get(&path) {
                Some(own) => Some(*own),
                None => {
                    planned.replaced_by(&path).map_err(|cause| planned.failed(&path, &cause))?
                }
            };
            let new = file.identity().map_err(|cause| planned.failed(&path, &cause))?;
            let mut recorded = Recorded::from(new);
            if old.is_some() || at + 1 == count {
                recorded.digest = content::of(file.file(), new.size);
            }
            earlier.insert(path.clone(), recorded);
            let replaced = old.map(Replaced::new);
            planned.record.files.push(RecordedFile { path: path.clone(), new: recorded, replaced });
            planned.files.push((path, file));
        }
        Ok(planned)
    }

    /// What stands in a file's place; notes the folders that are missing above it.
    fn replaced_by(&mut self, path: &str) -> io::Result<Option<Recorded>> {
        let known = |folder: &str, record: &CommitRecord| {
            record.folders.iter().any(|known| known == folder)
        };
        let above: Vec<&str> =
            path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default()).collect();
        if let Some(parent) = above.last()
            && !known(parent, &self.record)
            && let Err(cause) = self.folders.parent(path)
        {
            if cause.kind() != io::ErrorKind::NotFound {
                return Err(cause);
            }
            for folder in above {
                if known(folder, &self.record) || self.folders.root().open_dir(folder).is_ok() {
                    continue;
                }
                self.record.folders.push(folder.to_owned());
            }
            return Ok(None);
        }
        if above.last().is_some_and(|parent| known(parent, &self.record)) {
            return Ok(None);
        }
        let (folder, name) = self.folders.parent(path)?;
        match standing(folder.as_fd(), name)? {
            Some(there) if there.is_directory => Err(Errno::ISDIR.into()),
            None => Ok(None),
            Some(there) => {
                let mut old = Recorded::from(there.identity);
                // What cannot be read is known by its inode.
                old.digest = content::at(&folder, name).unwrap_or_default();
                Ok(Some(old))
            }
        }
    }

    /// Publishes everything but the last file, which is returned, and compares what stands there with
    /// what is expected. On an error, [`Self::take_back`] is to be called.
    pub fn prepare(&mut self, terms: &Terms) -> Result<()> {
        let flush =
            |done: io::Result<()>, this: &Self| done.map_err(|cause| this.flush_failed(&cause));
        if self.durable {
            for (path, file) in &self.files {
                file.file().sync_all().map_err(|cause| self.failed(path, &cause))?;
            }
        }
        let written = self.record.write(self.folders.root(), self.durable);
        let record = written.map_err(|cause| self.failed(NAME, &cause))?;
        self.own.insert(record, NAME.to_owned());
        if self.durable {
            flush(self.folders.flush(), self)?;
        }
        for at in 0..self.record.folders.len() {
            let folder = self.record.folders[at].clone();
            match self.folders.root().create_dir(&folder) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.failed(&folder, &cause));
                }
                _ => {}
            }
        }
        for at in 0..self.files.len().saturating_sub(1) {
            self.publish(at, false)?;
        }
        self.check(terms)?;
        if self.durable {
            flush(self.folders.flush(), self)?;
        }
        Ok(())
    }

    /// Publishes the last file: the commit point, where that is not the directory's own name.
    pub fn publish_last(&mut self) -> Result<()> {
        match self.files.len() {
            0 => Ok(()),
            all => self.publish(all - 1, true),
        }
    }

    /// The files that have their names.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        let own = self.own.iter().filter(|(_, path)| *path != NAME);
        own.map(|(file, path)| Published { path: path.clone(), file: *file }).collect()
    }

    fn publish(&mut self, at: usize, is_last: bool) -> Result<()> {
        let Some((path, file)) = self.files.get_mut(at) else { return Ok(()) };
        let path = path.clone();
        let replaced = self.record.files.get(at).and_then(|file| file.replaced.clone());
        let mut publish = || -> io::Result<Result<FileIdentity, FileIdentity>> {
            let (folder, name) = self.folders.parent(&path)?;
            let new = file.identity()?;
            match (standing(folder.as_fd(), name)?.map(|there| there.identity), &replaced) {
                (None, None) => match file.appear(&folder, name) {
                    Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                        let there = standing(folder.as_fd(), name)?;
                        return there.map(|there| Err(there.identity)).ok_or(cause);
                    }
                    other => other?,
                },
                (Some(there), Some(replaced)) if replaced.old.is(there) => {
                    file.appear(&folder, &replaced.swap)?;
                    if is_last {
                        rename(&folder, &replaced.swap, name)?;
                    } else {
                        exchange(&folder, replaced, name)?;
                    }
                }
                (Some(there), _) => return Ok(Err(there)),
                (None, Some(_)) => return Err(io::ErrorKind::NotFound.into()),
            }
            Ok(Ok(new))
        };
        let outcome = publish();
        match outcome {
            Ok(Ok(new)) => {
                self.own.insert(new, path);
                Ok(())
            }
            Ok(Err(there)) => Err(self.unexpected(&path, there)),
            Err(cause) => Err(self.failed(&path, &cause)),
        }
    }

    /// Something that was not planned for stands in the place of a file.
    fn unexpected(&self, path: &str, there: FileIdentity) -> Error {
        match self.own.get(&there) {
            Some(other) => one_file(other, path),
            None => {
                let place = self.destination.display(path);
                Error::destination(format!("'{place}' was changed by another program meanwhile"))
                    .hint("run the command again")
            }
        }
    }

    /// Compares every file that the receipt names with what stands there. The last file has not got its
    /// name yet; it may not take the place of another one of them.
    fn check(&mut self, terms: &Terms) -> Result<()> {
        let last = self.files.last().map(|(path, file)| (path.clone(), file.identity()));
        let displaced = match &last {
            None => None,
            Some((path, _)) => {
                let there = self.standing_at(path).map_err(|cause| self.failed(path, &cause))?;
                if let Some(other) = there.and_then(|there| self.own.get(&there))
                    && other != path
                {
                    return Err(one_file(other, path));
                }
                there
            }
        };
        for one in terms.expected {
            terms.cancel.check()?;
            if last.as_ref().is_some_and(|(path, _)| *path == one.path) {
                continue;
            }
            let there =
                self.standing_at(&one.path).map_err(|cause| self.failed(&one.path, &cause))?;
            if let (Some((path, _)), Some(there)) = (&last, there)
                && displaced == Some(there)
            {
                return Err(one_file(&one.path, path));
            }
            match there.and_then(|there| self.own.get(&there)) {
                Some(own) if *own == one.path => continue,
                Some(other) => return Err(one_file(other, &one.path)),
                None => {}
            }
            if !one.is_still(there, self.destination, self.folders.root(), terms.cancel)? {
                terms.is_outdated.set(one.hashed.is_some());
                let place = self.destination.display(&one.path);
                let message = format!(
                    "'{place}' is no longer the file that was found there: another process has \
                     removed or replaced it"
                );
                return Err(Error::destination(message).hint("run the command again"));
            }
        }
        Ok(())
    }

    fn standing_at(&mut self, path: &str) -> io::Result<Option<FileIdentity>> {
        let (folder, name) = match self.folders.parent(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        Ok(standing(folder.as_fd(), name)?.map(|there| there.identity))
    }

    /// Undoes everything after an error, and returns the error with what could not be undone.
    pub fn take_back(&mut self, error: Error) -> Error {
        let undone = match self.own.values().any(|path| path == NAME) {
            true => undo::undo(&self.record, &mut self.folders, self.durable),
            // Nothing was changed; a record that is there is another's.
            false => Ok(()),
        };
        match undone {
            Ok(()) => error,
            Err((path, cause)) => {
                let place = self.destination.display(&path);
                let undo = Error::io(Kind::Destination, "restore", place, &cause);
                let folder = self.destination.folder().display();
                Error::new(error.kind(), format!("{error}; and {undo}"))
                    .hint(format!("the next run that writes into '{folder}' restores the rest"))
            }
        }
    }

    /// Removes the traces after the commit point. What fails is left to the next run.
    pub fn finish(mut self) {
        if let Err(cause) = undo::finish(&self.record, &mut self.folders, self.durable) {
            let place = self.destination.folder().display();
            let why = Error::io(Kind::Destination, "remove temporary files in", place, &cause);
            tracing::warn!("{why}; the image is complete, and the next run removes them");
        }
    }

    /// Waits until the names are on the disk.
    pub fn flush(&self) -> Result<()> {
        self.folders.flush().map_err(|cause| {
            let error = self.flush_failed(&cause);
            Error::new(
                error.kind(),
                format!("{error}; the image is there, a power failure may take it"),
            )
        })
    }

    fn flush_failed(&self, cause: &io::Error) -> Error {
        Error::io(Kind::Destination, "flush", self.destination.folder().display(), cause)
    }

    fn failed(&self, path: &str, cause: &io::Error) -> Error {
        self.destination.failure("write", path, cause)
    }
}

/// A rule that only a plugin breaks: the caller adds its name.
fn one_file(one: &str, other: &str) -> Error {
    Error::new(
        Kind::Plugin,
        format!("'{one}' and '{other}', two names that it wrote or hashed, are one file"),
    )
}

fn rename(folder: &Dir, from: &str, to: &str) -> io::Result<()> {
    Ok(rustix::fs::renameat(folder.as_fd(), from, folder.as_fd(), to)?)
}

/// Gives the new file, which waits under its temporary name, the name of the old one, and keeps that.
/// Without RENAME_EXCHANGE (NFS, some FUSE) the old file gets a second name first; without hard links
/// either, its name is missing for a moment.
fn exchange(folder: &Dir, replaced: &Replaced, name: &str) -> io::Result<()> {
    let (at, swap, kept) = (folder.as_fd(), replaced.swap.as_str(), replaced.kept.as_str());
    match rustix::fs::renameat_with(at, swap, at, name, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        other => return Ok(other?),
    }
    match rustix::fs::linkat(at, name, at, kept, AtFlags::empty()) {
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {
            rename(folder, name, kept)?;
        }
        other => other?,
    }
    rename(folder, swap, name)
}
