//! Undoing and finishing a commit, by its record.
//!
//! A commit that fails undoes itself with the record that it holds; the next process does the same with
//! the record that a killed one left. What it refuses: to remove or to replace a file that the record
//! does not name by inode.

use std::io;
use std::os::fd::AsFd;

use cap_std::fs::Dir;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::folders::Folders;
use super::record::{self, CommitRecord, Recorded, RecordedFile};
use crate::file_identity::{FileIdentity, standing};

/// Whether the commit point was reached: something stands in the last file's place that is none of
/// the files which stood there before. That may be another tool's: it may refer to what this commit
/// created, so that nothing may be taken back then either.
pub fn is_committed(record: &CommitRecord, folders: &mut Folders) -> io::Result<bool> {
    let Some((last, before)) = record.files.split_last() else { return Ok(false) };
    let Some(there) = identity_at(folders, &last.path)? else { return Ok(false) };
    let mut earlier: Vec<Recorded> = last.replaced.iter().map(|replaced| replaced.old).collect();
    for file in before.iter().filter(|file| file.path == last.path) {
        earlier.push(file.new);
        earlier.extend(file.replaced.iter().map(|replaced| replaced.old));
    }
    Ok(!earlier.iter().any(|one| one.is(there)))
}

/// Takes everything back, the last change first, and removes the record. What cannot be taken back does
/// not keep the rest; the record then stays for the next process. Returns the first error, with the path
/// that it is about.
pub fn undo(
    record: &CommitRecord,
    folders: &mut Folders,
    durable: bool,
) -> Result<(), (String, io::Error)> {
    let mut first = Ok(());
    for file in record.files.iter().rev() {
        let undone = undo_file(file, folders);
        first = first.and(undone.map_err(|cause| (file.path.clone(), cause)));
    }
    for folder in record.folders.iter().rev() {
        let undone = remove_folder(folder, folders);
        first = first.and(undone.map_err(|cause| (folder.clone(), cause)));
    }
    first?;
    // The record goes last, on the disk as well.
    let flushed = if durable { folders.flush() } else { Ok(()) };
    flushed.and_then(|()| remove_record(folders)).map_err(|cause| (record::NAME.to_owned(), cause))
}

/// Removes what a valid commit needs no more: the replaced files, and then the record.
pub fn finish(record: &CommitRecord, folders: &mut Folders, durable: bool) -> io::Result<()> {
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

fn undo_file(file: &RecordedFile, folders: &mut Folders) -> io::Result<()> {
    let Some((folder, name)) = parent_of(folders, &file.path)? else { return Ok(()) };
    let there = standing(folder.as_fd(), name)?.map(|there| there.identity);
    let is = |one: Recorded, found: Option<FileIdentity>| found.is_some_and(|found| one.is(found));
    let Some(replaced) = &file.replaced else {
        return if is(file.new, there) { unlink(&folder, name) } else { Ok(()) };
    };
    let mut there = there;
    for kept in [&replaced.kept, &replaced.swap] {
        let waits = standing(folder.as_fd(), kept.as_str())?.map(|waits| waits.identity);
        if is(file.new, waits) {
            unlink(&folder, kept)?;
        } else if is(replaced.old, waits) && (there.is_none() || is(file.new, there)) {
            rustix::fs::renameat(folder.as_fd(), kept.as_str(), folder.as_fd(), name)?;
            there = waits;
        } else if is(replaced.old, waits) {
            // The old file is back, or another process has put something else there.
            unlink(&folder, kept)?;
        }
    }
    Ok(())
}

fn remove_folder(path: &str, folders: &mut Folders) -> io::Result<()> {
    let Some((folder, name)) = parent_of(folders, path)? else { return Ok(()) };
    match rustix::fs::unlinkat(folder.as_fd(), name, AtFlags::REMOVEDIR) {
        // Another process uses it, or has put something else there.
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

fn remove_record(folders: &Folders) -> io::Result<()> {
    match unlink(folders.root(), record::NAME) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn remove_if(folder: &Dir, name: &str, known: &[Recorded]) -> io::Result<()> {
    match standing(folder.as_fd(), name)? {
        Some(there) if known.iter().any(|one| one.is(there.identity)) => unlink(folder, name),
        _ => Ok(()),
    }
}

fn identity_at(folders: &mut Folders, path: &str) -> io::Result<Option<FileIdentity>> {
    let Some((folder, name)) = parent_of(folders, path)? else { return Ok(None) };
    Ok(standing(folder.as_fd(), name)?.map(|there| there.identity))
}

/// The folder of a path; `None` where it is missing, so that nothing can be in it.
fn parent_of<'a>(
    folders: &mut Folders,
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
