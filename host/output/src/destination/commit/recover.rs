//! Cleaning up after a process that was killed in a commit.
//!
//! Two fixed names tell of one, so that no folder is searched: the commit record, and a new directory
//! that has not got its name. A live process holds the lock of the folder while they stand; under that
//! lock they are a dead one's. What it refuses: what another user left, and what is not of their form.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;

use super::folders::CommitFolders;
use super::record::{self, CommitRecord, Unusable};
use super::undo;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::identity::entry_info;
use occystrap_base::files::temporary;
use occystrap_base::terminal::shell::quote;

/// A new directory, until it is complete: beside its final name.
pub const NEW_DIRECTORY: &str = ".occystrap-new";

/// Folders of a path to a new directory, as deep as a path can be.
const DEEPEST: usize = 2_048;

/// Returns whether a process was killed in a commit in this folder, or another one commits there now. A record
/// counts where the folder is the destination itself, and not the folder above a missing one.
pub fn is_needed(folder: &Dir, is_destination: bool) -> io::Result<bool> {
    let has_record = is_destination && entry_info(folder.as_fd(), record::NAME)?.is_some();
    Ok(has_record || has_new(folder)?)
}

/// Returns whether a new directory of this user stands in a folder. In a shared folder, such as `/tmp`, another
/// user may have put something there: that is left alone.
fn has_new(folder: &Dir) -> io::Result<bool> {
    let user = rustix::process::geteuid().as_raw();
    let there = entry_info(folder.as_fd(), NEW_DIRECTORY)?;
    Ok(there.is_some_and(|there| there.is_directory && there.owner == user))
}

/// Undoes or finishes what a killed process began in a folder. The caller holds the folder's lock.
/// `shown` is the folder's path for messages.
pub fn recover(folder: &Arc<Dir>, shown: &Path, is_destination: bool, durable: bool) -> Result<()> {
    if is_destination && let Some(record) = read(folder, shown)? {
        let mut folders = CommitFolders::new(Arc::clone(folder));
        let at = shown.join(record::NAME);
        let state = undo::state(&record, &mut folders).map_err(|cause| failed(&at, &cause))?;
        match state {
            undo::UndoState::Committed => {
                undo::finish(&record, &mut folders, durable)
                    .map_err(|cause| failed(&at, &cause))?;
                tracing::info!("'{}': finished a commit that was interrupted", shown.display());
            }
            undo::UndoState::Before => {
                undo::undo(&record, &mut folders, durable)
                    .map_err(|(path, cause)| failed(&shown.join(path), &cause))?;
                tracing::info!("'{}': undid a commit that was interrupted", shown.display());
            }
            undo::UndoState::Changed => {
                undo::keep(&record, &mut folders, durable).map_err(|cause| failed(&at, &cause))?;
                tracing::warn!(
                    "'{}': another program has written here after a run was interrupted: what that \
                     run wrote is left; 'occystrap verify' tells which images are whole",
                    shown.display()
                );
            }
        }
        for (temporary, path) in undo::left(&record, &mut folders).unwrap_or_default() {
            undo::warn_of_left(shown, &temporary, &path);
        }
    }
    if has_new(folder).map_err(|cause| failed(&shown.join(NEW_DIRECTORY), &cause))?
        && let Err(error) = remove_new(folder, shown, durable)
    {
        // It does not block later runs: a new directory gets another temporary name.
        tracing::warn!("{error}");
    }
    Ok(())
}

/// Removes a directory that never got its name: by its record, and then the folders above that.
fn remove_new(folder: &Arc<Dir>, shown: &Path, durable: bool) -> Result<()> {
    let mut path = PathBuf::from(NEW_DIRECTORY);
    for _ in 0..DEEPEST {
        let at = shown.join(&path);
        let failed = |cause: io::Error| failed(&at, &cause);
        let root = Arc::new(folder.open_dir(&path).map_err(failed)?);
        // A record that was being written, where each file has a name.
        temporary::sweep(&root).map_err(failed)?;
        if let Some(record) = read(&root, &at)? {
            let mut folders = CommitFolders::new(Arc::clone(&root));
            undo::undo(&record, &mut folders, durable)
                .map_err(|(path, cause)| self::failed(&at.join(path), &cause))?;
        }
        let mut entries = root.entries().map_err(failed)?;
        match (entries.next(), entries.next()) {
            (None, _) => {
                for empty in path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
                    folder.remove_dir(empty).map_err(failed)?;
                }
                return Ok(());
            }
            (Some(Ok(below)), None) if below.file_type().is_ok_and(|kind| kind.is_dir()) => {
                path.push(below.file_name());
            }
            (Some(Err(cause)), _) | (_, Some(Err(cause))) => return Err(failed(cause)),
            _ => return Err(strange(&at)),
        }
    }
    Err(strange(&shown.join(NEW_DIRECTORY)))
}

fn read(directory: &Arc<Dir>, shown: &Path) -> Result<Option<CommitRecord>> {
    let at = shown.join(record::NAME);
    CommitRecord::read(directory).or_else(|why| match why {
        Unusable::Foreign(owner) => Err(foreign(&at, owner)),
        Unusable::Writable(owner) => Err(writable(&at, owner)),
        Unusable::Other(what) => Err(no_file(&at, what)),
        Unusable::Malformed => Err(strange(&at)),
        Unusable::Unread(cause) => Err(failed(&at, &cause)),
        Unusable::Lost => {
            directory.remove_file(record::NAME).map_err(|cause| failed(&at, &cause))?;
            tracing::warn!(
                "'{}': a power failure came in the middle of a commit, and took its record; \
                 'occystrap verify' tells which images are whole",
                shown.display()
            );
            Ok(None)
        }
    })
}

fn failed(at: &Path, cause: &io::Error) -> Error {
    Error::io(Kind::Destination, "undo what an interrupted run left at", at.display(), cause)
}

fn foreign(at: &Path, owner: u32) -> Error {
    let message = format!("'{}' was left by an interrupted run of user {owner}", at.display());
    Error::destination(message)
        .hint("run the command once as that user, who can undo it; no other user may")
}

fn writable(at: &Path, owner: u32) -> Error {
    let at = at.display().to_string();
    let message = format!(
        "'{at}' was left by an interrupted run of user {owner}, and other users may have written into it"
    );
    Error::destination(message).hint(format!(
        "if none has, keep them out, and run the command again: chmod go-w {}",
        quote(&at)
    ))
}

fn no_file(at: &Path, what: &str) -> Error {
    let at = at.display().to_string();
    let message =
        format!("'{at}' is {what}, and not what an interrupted run of occystrap leaves there");
    Error::destination(message).hint(format!("it can be removed: rm -r {}", quote(&at)))
}

fn strange(at: &Path) -> Error {
    let at = at.display().to_string();
    let message = format!("'{at}' is not what an interrupted run of occystrap leaves there");
    Error::destination(message).hint(format!("look at it, and remove it: rm -r {}", quote(&at)))
}
