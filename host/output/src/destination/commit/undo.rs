//! Undoing and finishing a commit, by its record.
//!
//! A commit that fails undoes itself with the record that it holds; the next process does the same with
//! the record that a killed one left. What it refuses: to remove or to replace a file that the record
//! names neither by inode nor, under a temporary name, by content; and to take anything back where another
//! tool has written since.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use cap_std::fs::Dir;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::content;
use super::folders::CommitFolders;
use super::record::{self, CommitRecord, Recorded, RecordedFile};
use occystrap_base::files::identity::{FileIdentity, entry_info};

/// The state in which a dead process left its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoState {
    /// The commit point was not reached, and no other tool has written since.
    Before,
    /// The commit point was reached.
    Committed,
    /// Another tool has written since. What it wrote may refer to what this commit created.
    Changed,
}

/// Returns how far a commit came. Files are compared by content, because another tool may write in place, and because a
/// copy of the directory has other inodes.
pub fn state(record: &CommitRecord, folders: &mut CommitFolders) -> io::Result<UndoState> {
    let Some((last, before)) = record.files.split_last() else { return Ok(UndoState::Before) };
    if let Some((folder, name)) = parent_of(folders, &last.path)?
        && let Some(there) = identity(&folder, name)?
    {
        let is_new = content::is(&folder, name, there, &last.new)?;
        let mut is_old = false;
        for earlier in all_of(record, &last.path).filter(|one| **one != last.new) {
            is_old |= content::is(&folder, name, there, earlier)?;
        }
        match (is_new, is_old) {
            (false, false) => return Ok(UndoState::Changed),
            (true, false) => return Ok(UndoState::Committed),
            // The list of images has the same content before and after.
            (true, true) if last.new.is(there) && is_original(record, before, folders)? => {
                return Ok(UndoState::Committed);
            }
            (_, true) => {}
        }
    }
    for file in before.iter().filter(|file| file.replaced.is_some() && file.new.digest.is_some()) {
        let Some((folder, name)) = parent_of(folders, &file.path)? else { continue };
        let Some(there) = identity(&folder, name)? else { continue };
        let mut is_known = false;
        for one in all_of(record, &file.path) {
            is_known |= content::is(&folder, name, there, one)?;
        }
        if !is_known {
            return Ok(UndoState::Changed);
        }
    }
    Ok(UndoState::Before)
}

/// Returns whether the directory is the one that the commit wrote into, and not a copy: there the files have other
/// inodes, and the inode of a file that never got its name may have become another one's.
fn is_original(
    record: &CommitRecord,
    files: &[RecordedFile],
    folders: &mut CommitFolders,
) -> io::Result<bool> {
    for file in files {
        let Some((folder, name)) = parent_of(folders, &file.path)? else { return Ok(false) };
        let Some(there) = identity(&folder, name)? else { return Ok(false) };
        if !all_of(record, &file.path).any(|one| one.is(there)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Warns about a file that waits under a temporary name, and stays.
pub fn warn_of_left(folder: &Path, temporary: &str, path: &str) {
    let temporary = folder.join(temporary);
    let temporary = temporary.display();
    tracing::warn!("'{temporary}' is left: it may be the only copy of an older '{path}'");
}

/// Returns every file that had a path before the commit, or was to get it.
fn all_of<'a>(record: &'a CommitRecord, path: &'a str) -> impl Iterator<Item = &'a Recorded> {
    let files = record.files.iter().filter(move |file| file.path == path);
    files.flat_map(|file| {
        file.replaced.iter().map(|replaced| &replaced.old).chain(std::iter::once(&file.new))
    })
}

/// Takes everything back, the last change first, and removes the record. It stops at the first error, so
/// that no list of images loses what it refers to; the record then stays for the next process. The error
/// comes with the path that it is about.
pub fn undo(
    record: &CommitRecord,
    folders: &mut CommitFolders,
    durable: bool,
) -> Result<(), (String, io::Error)> {
    for file in record.files.iter().rev() {
        undo_file(file, folders).map_err(|cause| (file.path.clone(), cause))?;
    }
    for folder in record.folders.iter().rev() {
        remove_folder(folder, folders).map_err(|cause| (folder.clone(), cause))?;
    }
    // The record goes last, on the disk as well.
    let flushed = if durable { folders.flush() } else { Ok(()) };
    flushed.and_then(|()| remove_record(folders)).map_err(|cause| (record::NAME.to_owned(), cause))
}

/// Removes the record and the new files that never got their name, and nothing else.
pub fn keep(record: &CommitRecord, folders: &mut CommitFolders, durable: bool) -> io::Result<()> {
    for file in &record.files {
        let Some(replaced) = &file.replaced else { continue };
        let Some((folder, _)) = parent_of(folders, &file.path)? else { continue };
        for name in [&replaced.swap, &replaced.kept] {
            remove_if(&folder, name, &[file.new])?;
        }
    }
    if durable {
        folders.flush()?;
    }
    remove_record(folders)
}

/// Returns the temporary names that still exist, each with the path of its file.
pub fn left(
    record: &CommitRecord,
    folders: &mut CommitFolders,
) -> io::Result<Vec<(String, String)>> {
    let mut left = Vec::new();
    for file in &record.files {
        let Some(replaced) = &file.replaced else { continue };
        let Some((folder, name)) = parent_of(folders, &file.path)? else { continue };
        let above = file.path.strip_suffix(name).unwrap_or_default();
        for temporary in [&replaced.swap, &replaced.kept] {
            if identity(&folder, temporary)?.is_some() {
                left.push((format!("{above}{temporary}"), file.path.clone()));
            }
        }
    }
    Ok(left)
}

/// Removes what a valid commit needs no more: the replaced files, and then the record.
pub fn finish(record: &CommitRecord, folders: &mut CommitFolders, durable: bool) -> io::Result<()> {
    for file in &record.files {
        let Some(replaced) = &file.replaced else { continue };
        let Some((folder, _)) = parent_of(folders, &file.path)? else { continue };
        for name in [&replaced.swap, &replaced.kept] {
            remove_if(&folder, name, &[replaced.old, file.new])?;
        }
    }
    if durable {
        folders.flush()?;
    }
    remove_record(folders)
}

fn undo_file(file: &RecordedFile, folders: &mut CommitFolders) -> io::Result<()> {
    let Some((folder, name)) = parent_of(folders, &file.path)? else { return Ok(()) };
    let there = identity(&folder, name)?;
    let is = |one: Recorded, found: Option<FileIdentity>| found.is_some_and(|found| one.is(found));
    let Some(replaced) = &file.replaced else {
        return if is(file.new, there) { unlink(&folder, name) } else { Ok(()) };
    };
    let mut there = there;
    for kept in [&replaced.kept, &replaced.swap] {
        let waits = identity(&folder, kept)?;
        if is(file.new, waits) {
            unlink(&folder, kept)?;
        } else if is(replaced.old, waits) && (there.is_none() || is(file.new, there)) {
            rustix::fs::renameat(folder.as_fd(), kept.as_str(), folder.as_fd(), name)?;
            there = waits;
        } else if is(replaced.old, waits) {
            // The old file is back, or another process has put something else there.
            unlink(&folder, kept)?;
        } else if waits.is_some() {
            undo_copy(&folder, name, kept, file.new, replaced.old)?;
            there = identity(&folder, name)?;
        }
    }
    Ok(())
}

/// Undoes the change of one file in a copy of the directory, where inodes say nothing: by content. What
/// is not known by that stays under its temporary name.
fn undo_copy(folder: &Dir, name: &str, kept: &str, new: Recorded, old: Recorded) -> io::Result<()> {
    let (Some(new), Some(old)) = (new.digest, old.digest) else { return Ok(()) };
    let (waits, there) = (content::at(folder, kept)?, content::at(folder, name)?);
    let is_there = identity(folder, name)?.is_some();
    if waits == Some(old) && (!is_there || (there == Some(new) && new != old)) {
        rustix::fs::renameat(folder.as_fd(), kept, folder.as_fd(), name)?;
    } else if (waits == Some(old) && there == Some(old)) || waits == Some(new) {
        unlink(folder, kept)?;
    }
    Ok(())
}

fn remove_folder(path: &str, folders: &mut CommitFolders) -> io::Result<()> {
    let Some((folder, name)) = parent_of(folders, path)? else { return Ok(()) };
    match rustix::fs::unlinkat(folder.as_fd(), name, AtFlags::REMOVEDIR) {
        // Another process uses it, or has put something else there.
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

fn remove_record(folders: &CommitFolders) -> io::Result<()> {
    match unlink(folders.root(), record::NAME) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn remove_if(folder: &Dir, name: &str, known: &[Recorded]) -> io::Result<()> {
    let Some(there) = identity(folder, name)? else { return Ok(()) };
    for one in known {
        if one.is(there) || (one.digest.is_some() && content::is(folder, name, there, one)?) {
            return unlink(folder, name);
        }
    }
    Ok(())
}

/// Returns the identity of the entry under a name; `None` if there is none.
fn identity(folder: &Dir, name: &str) -> io::Result<Option<FileIdentity>> {
    Ok(entry_info(folder.as_fd(), name)?.map(|there| there.identity))
}

/// Returns the folder of a path, and the name in it; `None` if the folder is missing.
fn parent_of<'a>(
    folders: &mut CommitFolders,
    path: &'a str,
) -> io::Result<Option<(std::sync::Arc<Dir>, &'a str)>> {
    match folders.parent(path) {
        Ok(found) => Ok(Some(found)),
        Err(cause)
            if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(cause) => Err(cause),
    }
}

fn unlink(folder: &Dir, name: &str) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(folder.as_fd(), name, AtFlags::empty())?)
}
