//! Comparing what stands in the destination with what the plan and the receipt say.

use std::io;
use std::os::fd::AsFd;

use cap_std::fs::{Dir, MetadataExt as _};

use super::Publication;
use crate::destination::commit::expected::Terms;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::identity::{FileIdentity, entry_info};

impl Publication<'_> {
    /// Returns the error for an entry that has appeared at the path of a file since the plan was made.
    pub(super) fn unexpected(&self, path: &str, there: FileIdentity) -> Error {
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
    pub(super) fn check(&mut self, terms: &Terms) -> Result<()> {
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
                && self
                    .is_one_entry(&one.path, path)
                    .map_err(|cause| self.failed(&one.path, &cause))?
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
        Ok(entry_info(folder.as_fd(), name)?.map(|there| there.identity))
    }

    /// Returns whether two paths lead to one entry of one folder, through symbolic links or because the file system
    /// folds case. Two hard links of a file are two entries: to replace the one leaves the other.
    fn is_one_entry(&mut self, one: &str, other: &str) -> io::Result<bool> {
        let ((one_folder, one), (other_folder, other)) =
            (self.folders.parent(one)?, self.folders.parent(other)?);
        let identity = |folder: &Dir| -> io::Result<(u64, u64)> {
            let metadata = folder.dir_metadata()?;
            Ok((metadata.dev(), metadata.ino()))
        };
        // File systems fold letters beyond ASCII in different ways, so any two such names may be one.
        let may_fold = one.eq_ignore_ascii_case(other) || !one.is_ascii() || !other.is_ascii();
        Ok(may_fold && identity(&one_folder)? == identity(&other_folder)?)
    }
}

/// Returns the error for two names of one file. Only a plugin causes it; the caller adds the name of the plugin.
fn one_file(one: &str, other: &str) -> Error {
    Error::new(
        Kind::Plugin,
        format!("'{one}' and '{other}', two names that it wrote or hashed, are one file"),
    )
}
