//! The file that a destination names: symbolic links are followed, as `>` in a shell follows them.
//!
//! A file is replaced by a rename, which would take the place of a link and not of the file behind it.
//! What it refuses: links and folders of `/dev` and `/proc`, where the streams of a process are files.

use std::path::{Path, PathBuf};

use occystrap_base::error::{Error, Result};

/// Links in a row: as many as Linux follows.
const MOST_LINKS: usize = 40;

/// Returns the file behind a path. It need not exist, nor need its folder.
pub fn resolve(path: &Path, scheme: &str) -> Result<PathBuf> {
    let mut file = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = match file.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let is_link = file.symlink_metadata().is_ok_and(|there| there.is_symlink());
        // A device that is named itself is refused as one, where it is opened.
        let is_device = file.symlink_metadata().is_ok_and(|there| !there.is_file() && !is_link);
        if !is_device && folder.canonicalize().is_ok_and(|folder| is_of_system(&folder)) {
            return Err(refused(path, scheme));
        }
        if !is_link {
            return Ok(file);
        }
        let Ok(target) = file.read_link() else { return Ok(file) };
        file = if file.parent() == Some(Path::new("")) { target } else { folder.join(target) };
    }
    let message = format!("'{}' is a symbolic link that leads to itself", path.display());
    Err(Error::destination(message).hint("name the file"))
}

fn is_of_system(folder: &Path) -> bool {
    folder == Path::new("/dev") || folder.starts_with("/proc")
}

fn refused(path: &Path, scheme: &str) -> Error {
    let place = path.display();
    Error::usage(format!("'{scheme}://{place}': standard input and output are not supported"))
        .hint("name a file that is not in /dev or /proc, and whose links do not lead there")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_the_file_also_where_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("below")).unwrap();
        symlink("below/two", path("one")).unwrap();
        symlink("missing.tar", path("below/two")).unwrap();
        assert_eq!(resolve(&path("one"), "tar").unwrap(), path("below/missing.tar"));
        assert_eq!(resolve(&path("plain.tar"), "tar").unwrap(), path("plain.tar"));
        symlink("loop", path("loop")).unwrap();
        let error = resolve(&path("loop"), "tar").unwrap_err();
        assert!(error.to_string().contains("leads to itself"), "{error}");
    }

    #[test]
    fn the_streams_of_a_process_are_refused_whatever_leads_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("out.tar");
        symlink("/proc/self/fd/1", &link).unwrap();
        let nowhere = folder.path().join("new.tar");
        symlink("/dev/occystrap-test", &nowhere).unwrap();
        for path in [&link, &nowhere, Path::new("/proc/self/fd/1"), Path::new("/dev/x.tar")] {
            let error = resolve(path, "tar").unwrap_err();
            assert!(error.to_string().contains("standard input and output"), "{error}");
        }
        assert_eq!(resolve(Path::new("/dev/null"), "tar").unwrap(), Path::new("/dev/null"));
        resolve(Path::new("/dev/shm/image.tar"), "tar").unwrap();
    }
}
