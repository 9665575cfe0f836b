//! Publishes the files of a commit: plan, change, check and, after an error, undo.
//!
//! The record is written before the first change. Every file but the last is published in a way that can be undone: a
//! new file gets a link; a file that is replaced changes places with the new one, and stays under a temporary name. The
//! last file is the commit point: one rename or link, after which nothing is undone. What this module refuses: two
//! names that are one file, and a file of the receipt that is not the file that the host has seen.

mod compare;
mod exchange;
mod plan;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;

use super::expected::Terms;
use super::folders::CommitFolders;
use super::record::{CommitRecord, NAME};
use super::undo::{self, UndoState};
use crate::receipt::Published;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::identity::{FileIdentity, entry_info};
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::oci::layout::INDEX;
use occystrap_base::terminal::shell::quote;

/// The files of a session that are being published into a directory.
pub struct Publication<'a> {
    /// For messages.
    destination: &'a Destination,
    folders: CommitFolders,
    files: Vec<(String, UnnamedFile)>,
    record: CommitRecord,
    /// The record, and the files of this commit that have their name already, by identity.
    own: HashMap<FileIdentity, String>,
    durable: bool,
}

impl<'a> Publication<'a> {
    /// Publishes every file but the last one, and compares the destination with what is expected. After an error, the
    /// caller must call [`Self::take_back`].
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

    /// Publishes the last file. This is the commit point, except for a directory that has no name yet: there, the
    /// commit point is the rename of the directory.
    pub fn publish_last(&mut self) -> Result<()> {
        match self.files.len() {
            0 => Ok(()),
            all => self.publish(all - 1, true),
        }
    }

    /// Returns the file of each name, after the commit point. A name that got two files has the last one.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        let last: BTreeMap<&String, &UnnamedFile> =
            self.files.iter().map(|(path, file)| (path, file)).collect();
        let published = |(path, file): (&String, &UnnamedFile)| Published {
            path: path.clone(),
            file: file.shared(),
        };
        last.into_iter().map(published).collect()
    }

    fn publish(&mut self, at: usize, is_last: bool) -> Result<()> {
        let Some((path, file)) = self.files.get_mut(at) else { return Ok(()) };
        let path = path.clone();
        let replaced = self.record.files.get(at).and_then(|file| file.replaced.clone());
        let mut publish = || -> io::Result<Result<FileIdentity, FileIdentity>> {
            let (folder, name) = self.folders.parent(&path)?;
            let new = file.identity()?;
            match (entry_info(folder.as_fd(), name)?.map(|there| there.identity), &replaced) {
                (None, None) => match file.appear(&folder, name) {
                    Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                        let there = entry_info(folder.as_fd(), name)?;
                        return there.map(|there| Err(there.identity)).ok_or(cause);
                    }
                    other => other?,
                },
                (Some(there), Some(replaced)) if replaced.old.is(there) => {
                    file.appear(&folder, &replaced.swap)?;
                    if is_last {
                        exchange::rename(&folder, &replaced.swap, name)?;
                    } else {
                        exchange::exchange(&folder, replaced, name)?;
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

    /// Undoes everything after an error. Returns the error, and adds to it what could not be undone. If another program
    /// has written to the destination since, nothing is undone, as after a kill: its files may refer to files of this
    /// commit. No other program writes into a directory that has no name yet (`is_private`).
    pub fn take_back(&mut self, error: Error, is_private: bool) -> Error {
        if !self.own.values().any(|path| path == NAME) {
            // Nothing was changed. A record in the directory belongs to another commit.
            return error;
        }
        // If two names are one file, its content does not show which name it was written for.
        let is_aliased = error.kind() == Kind::Plugin;
        let state = match is_private || is_aliased {
            true => Ok(UndoState::Before),
            false => undo::state(&self.record, &mut self.folders),
        };
        match state {
            // Without a descriptor to read with, files are known by inode.
            Ok(UndoState::Before) | Err(_) => self.undo(error),
            Ok(UndoState::Changed | UndoState::Committed) => self.keep(&error),
        }
    }

    fn undo(&mut self, error: Error) -> Error {
        match undo::undo(&self.record, &mut self.folders, self.durable) {
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

    /// Leaves the files of the destination as they are, because another program has changed some of them.
    fn keep(&mut self, error: &Error) -> Error {
        let folder = self.destination.folder();
        if let Err(cause) = undo::keep(&self.record, &mut self.folders, self.durable) {
            let place = folder.display();
            let why = Error::io(Kind::Destination, "remove temporary files in", place, &cause);
            tracing::warn!("{why}; the next run removes them");
        }
        for (temporary, path) in undo::left(&self.record, &mut self.folders).unwrap_or_default() {
            undo::warn_of_left(folder, &temporary, &path);
        }
        let message = format!(
            "{error}; and another program has written into '{}' meanwhile: what this run wrote is left",
            folder.display()
        );
        let scheme = match self.files.last().map(|(path, _)| path.as_str()) {
            Some(INDEX) => "oci-layout",
            _ => "dir",
        };
        let uri = quote(&format!("{scheme}://{}", folder.display()));
        Error::new(error.kind(), message)
            .hint(format!("look which images are whole: occystrap verify {uri}"))
    }

    /// Removes the temporary names and the record after the commit point. If that fails, the next run removes them.
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
