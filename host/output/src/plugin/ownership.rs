//! Whether somebody else may write what decides what runs: the record of added plugins, and the
//! machine code that wasmtime keeps.
//!
//! Whoever may write a folder may put other files into it under the same names, and whoever may write
//! a folder above it may put another folder there. What it refuses: owners other than the user and
//! root, and writing by everybody or by a group that is not the user's own. It says what is so at one moment: that is enough,
//! since nobody else can make it otherwise afterwards.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// `S_IWGRP`.
const GROUP_MAY_WRITE: u32 = 0o020;
/// `S_IWOTH`.
const OTHERS_MAY_WRITE: u32 = 0o002;
/// `S_ISVTX`: in such a folder, as `/tmp`, nobody can move or remove what is another's.
const STICKY: u32 = 0o1000;
/// What anybody but the owner may do.
const NOT_THE_OWNERS: u32 = 0o077;

/// Why something is not the user's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What.
    pub path: PathBuf,
    /// Words that follow its name.
    pub why: &'static str,
    /// What mends it, but not what somebody may have done meanwhile.
    pub mend: String,
}

/// Whether a file or folder is the user's or root's, and nobody else may write it.
pub fn check(path: &Path, metadata: &Metadata) -> Result<(), Shared> {
    let mode = metadata.permissions().mode();
    let me = rustix::process::geteuid().as_raw();
    judge(path, metadata.uid(), mode, me, wrong(metadata.gid(), me))
}

/// What must not be in the mode of what is ours. A group that has the user's own number is the one
/// that Debian and Fedora make for that user alone, and may write where the umask is 002.
fn wrong(group: u32, me: u32) -> u32 {
    match group == me && me != 0 {
        true => OTHERS_MAY_WRITE,
        false => GROUP_MAY_WRITE | OTHERS_MAY_WRITE,
    }
}

fn judge(path: &Path, owner: u32, mode: u32, me: u32, wrong: u32) -> Result<(), Shared> {
    let place = path.display();
    let shared = |why: &'static str, mend: String| Err(Shared { path: path.to_owned(), why, mend });
    if owner != me && owner != 0 {
        return shared("belongs to another user", format!("chown {me} '{place}'"));
    }
    match mode & wrong {
        0 => Ok(()),
        bits if bits & OTHERS_MAY_WRITE != 0 => {
            shared("may be written by everybody", format!("chmod go-w '{place}'"))
        }
        _ => shared("may be written by its group", format!("chmod g-w '{place}'")),
    }
}

/// The same for a folder, every folder above it, and what is in it where others can get at that.
/// Errors of the system are errors: what cannot be looked at is not believed.
pub fn check_tree(folder: &Path) -> io::Result<Result<(), Shared>> {
    let folder = folder.canonicalize()?;
    for above in folder.ancestors().skip(1) {
        let metadata = above.metadata()?;
        let (owner, mode) = (metadata.uid(), metadata.permissions().mode());
        let me = rustix::process::geteuid().as_raw();
        // In root's folders the group is one that the system's administrator has chosen.
        let bits = match (mode & STICKY != 0, owner == me) {
            (true, _) => 0,
            (false, true) => wrong(metadata.gid(), me),
            (false, false) => OTHERS_MAY_WRITE,
        };
        if let Err(shared) = judge(above, owner, mode, me, bits) {
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
        // Another process may have taken away what it replaced.
        let metadata = match entry.metadata() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        // The mode of a link says nothing; wasmtime makes none.
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
        let why = |owner, mode| judge(Path::new("x"), owner, mode, 7, both).map_err(|no| no.why);
        for mode in [0o755, 0o700, 0o644, 0o1755] {
            assert_eq!((why(7, mode), why(0, mode)), (Ok(()), Ok(())), "{mode:o}");
            assert_eq!(why(8, mode), Err("belongs to another user"));
        }
        assert_eq!(why(7, 0o775), Err("may be written by its group"));
        assert_eq!((wrong(7, 7), wrong(0, 0)), (OTHERS_MAY_WRITE, both));
        assert_eq!((wrong(8, 7), wrong(7, 8)), (both, both));
        assert_eq!(why(0, 0o757), Err("may be written by everybody"));
        assert_eq!(why(7, 0o777), Err("may be written by everybody"));
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
        // Nobody gets at what is in a folder that is closed.
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
