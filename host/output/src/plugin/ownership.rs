//! Checks whether another user may write files that decide which code runs: the record of added plugins, and
//! the machine code that wasmtime keeps.
//!
//! A user who may write a folder may replace its files, and a user who may write a folder above it may replace
//! the folder. What it refuses: owners other than the user and root, and write permission for everybody or for
//! a group that is not the user's own. It checks at one moment, which is enough: another user cannot change the
//! result afterwards.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// `S_IWGRP`.
const GROUP_MAY_WRITE: u32 = 0o020;
/// `S_IWOTH`.
const OTHERS_MAY_WRITE: u32 = 0o002;
/// `S_ISVTX`: in such a folder, as `/tmp`, a user cannot move or remove the files of another.
const STICKY: u32 = 0o1000;
/// Permissions of all users but the owner.
const NOT_THE_OWNERS: u32 = 0o077;

/// The reason why another user may write a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The file or folder.
    pub path: PathBuf,
    /// The reason, in words that follow the name.
    pub why: &'static str,
    /// A command that removes the permission. It does not undo what another user may have changed.
    pub mend: String,
}

/// Checks that a file or folder belongs to the user or root, and that no other user may write it.
pub fn check(path: &Path, metadata: &Metadata) -> Result<(), Shared> {
    let mode = metadata.permissions().mode();
    let me = rustix::process::geteuid().as_raw();
    check_mode(path, metadata.uid(), mode, me, forbidden_bits(metadata.gid(), me))
}

/// Returns the bits that the mode of the user's file must not have. A group with the user's own number is the
/// one that Debian and Fedora make for that user alone; it may write where the umask is 002.
fn forbidden_bits(group: u32, me: u32) -> u32 {
    match group == me && me != 0 {
        true => OTHERS_MAY_WRITE,
        false => GROUP_MAY_WRITE | OTHERS_MAY_WRITE,
    }
}

fn check_mode(path: &Path, owner: u32, mode: u32, me: u32, forbidden: u32) -> Result<(), Shared> {
    let place = path.display();
    let shared = |why: &'static str, mend: String| Err(Shared { path: path.to_owned(), why, mend });
    if owner != me && owner != 0 {
        return shared("belongs to another user", format!("chown {me} '{place}'"));
    }
    match mode & forbidden {
        0 => Ok(()),
        bits if bits & OTHERS_MAY_WRITE != 0 => {
            shared("can be written by every user", format!("chmod go-w '{place}'"))
        }
        _ => shared("can be written by its group", format!("chmod g-w '{place}'")),
    }
}

/// Checks a folder, every folder above it, and its content where other users can reach it. An error of the
/// system is an error: what cannot be checked is not trusted.
pub fn check_tree(folder: &Path) -> io::Result<Result<(), Shared>> {
    let folder = folder.canonicalize()?;
    for above in folder.ancestors().skip(1) {
        let metadata = above.metadata()?;
        let (owner, mode) = (metadata.uid(), metadata.permissions().mode());
        let me = rustix::process::geteuid().as_raw();
        // The group of root's folders was chosen by the system's administrator.
        let bits = match (mode & STICKY != 0, owner == me) {
            (true, _) => 0,
            (false, true) => forbidden_bits(metadata.gid(), me),
            (false, false) => OTHERS_MAY_WRITE,
        };
        if let Err(shared) = check_mode(above, owner, mode, me, bits) {
            return Ok(Err(shared));
        }
    }
    let metadata = folder.metadata()?;
    if let Err(shared) = check(&folder, &metadata) {
        return Ok(Err(shared));
    }
    match metadata.permissions().mode() & NOT_THE_OWNERS {
        0 => Ok(Ok(())),
        _ => check_below(&folder),
    }
}

fn check_below(folder: &Path) -> io::Result<Result<(), Shared>> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        // Another process may have removed a file that it replaced.
        let metadata = match entry.metadata() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        // The mode of a link has no meaning; wasmtime makes none.
        if metadata.is_symlink() {
            let (path, mend) = (entry.path(), format!("rm '{}'", entry.path().display()));
            return Ok(Err(Shared { path, why: "is a symbolic link", mend }));
        }
        let mut found = check(&entry.path(), &metadata);
        if found.is_ok() && metadata.is_dir() {
            found = check_below(&entry.path())?;
        }
        if found.is_err() {
            return Ok(found);
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_and_roots_and_nobody_elses() {
        let both = GROUP_MAY_WRITE | OTHERS_MAY_WRITE;
        let why =
            |owner, mode| check_mode(Path::new("x"), owner, mode, 7, both).map_err(|no| no.why);
        for mode in [0o755, 0o700, 0o644, 0o1755] {
            assert_eq!((why(7, mode), why(0, mode)), (Ok(()), Ok(())), "{mode:o}");
            assert_eq!(why(8, mode), Err("belongs to another user"));
        }
        assert_eq!(why(7, 0o775), Err("can be written by its group"));
        assert_eq!((forbidden_bits(7, 7), forbidden_bits(0, 0)), (OTHERS_MAY_WRITE, both));
        assert_eq!((forbidden_bits(8, 7), forbidden_bits(7, 8)), (both, both));
        assert_eq!(why(0, 0o757), Err("can be written by every user"));
        assert_eq!(why(7, 0o777), Err("can be written by every user"));
    }

    #[test]
    fn folders_above_and_files_below_count() {
        use std::fs::{Permissions, create_dir_all, set_permissions, write};
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("above/cache");
        create_dir_all(folder.join("deep")).unwrap();
        write(folder.join("deep/code"), "x").unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for path in [&folder, &folder.join("deep"), &root.path().join("above")] {
            mode(path, 0o755);
        }
        mode(&folder.join("deep/code"), 0o644);
        assert_eq!(check_tree(&folder).unwrap(), Ok(()));
        for path in [root.path().join("above"), folder.join("deep"), folder.join("deep/code")] {
            let good = path.metadata().unwrap().permissions().mode();
            for open in [0o020, 0o002] {
                mode(&path, good | open);
                let shared = check_tree(&folder).unwrap().unwrap_err();
                assert!(shared.path.ends_with(path.file_name().unwrap()), "{shared:?}");
            }
            mode(&path, good);
        }
        // No other user can reach the content of a closed folder.
        mode(&folder.join("deep/code"), 0o666);
        mode(&folder, 0o700);
        assert_eq!(check_tree(&folder).unwrap(), Ok(()));
        mode(&folder, 0o755);
        mode(&folder.join("deep/code"), 0o644);
        std::os::unix::fs::symlink("/etc", folder.join("link")).unwrap();
        assert_eq!(check_tree(&folder).unwrap().unwrap_err().why, "is a symbolic link");
        assert!(check_tree(&root.path().join("none")).is_err());
    }
}
