//! The compiled components in the user's cache: machine code, which runs unchecked.

use std::fs::{Permissions, metadata, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::cli::{Ran, Sandbox};

/// Runs with a cache of its own.
fn list(sandbox: &Sandbox) -> Ran {
    let mut command = sandbox.command(&["plugin", "list"]);
    command.env("XDG_CACHE_HOME", sandbox.path("cache"));
    Ran::of(command)
}

/// The largest two files below a folder: compiled components.
fn compiled(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => all.push(path),
            }
        }
    }
    all.retain(|path| path.extension().is_none());
    all.sort_by_key(|path| std::cmp::Reverse(metadata(path).unwrap().len()));
    all.truncate(2);
    all
}

#[test]
fn machine_code_that_others_may_write_does_not_run() {
    let sandbox = Sandbox::new();
    let honest = list(&sandbox);
    honest.exits(0);
    assert!(!honest.stderr.contains("warning"), "{}", honest.stderr);
    let kept = sandbox.path("cache/occystrap/components");
    assert_eq!(metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    // The code of one component replaces that of another.
    let files = compiled(&kept);
    assert_eq!(files.len(), 2);
    std::fs::copy(&files[0], &files[1]).unwrap();
    for (path, mode) in [
        ("cache/occystrap/components", 0o777),
        ("cache/occystrap/components", 0o770),
        ("cache/occystrap", 0o757),
        ("cache", 0o775),
    ] {
        let path = sandbox.path(path);
        let good = metadata(&path).unwrap().permissions();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let said = list(&sandbox);
        said.exits(0).says("warning: '").says("can be written by").says("rm -r '");
        assert_eq!(said.stdout, honest.stdout, "{path:?}");
        set_permissions(&path, good).unwrap();
    }
    // If other users may read the folder, its content decides.
    set_permissions(&kept, Permissions::from_mode(0o755)).unwrap();
    set_permissions(&files[1], Permissions::from_mode(0o666)).unwrap();
    let said = list(&sandbox);
    said.says("can be written by every user");
    assert_eq!(said.stdout, honest.stdout);
    // Its owner matters as well; only root can change that.
    if rustix::process::geteuid().is_root() {
        set_permissions(&kept, Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&kept, Some(65_534), None).unwrap();
        let said = list(&sandbox);
        said.says("belongs to another user");
        assert_eq!(said.stdout, honest.stdout);
    }
}
