//! Files of this machine that are added to an image, in a fixed order.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use occystrap_base::error::{Error, Kind, Result};

/// Most files of one filter: what a large application has. Each takes about 200 bytes in memory.
const MOST_FILES: usize = 1_000_000;

/// Deepest nesting of folders. Linux stops at paths of 4,096 bytes.
const DEEPEST: usize = 2_048;

/// A file to be added.
pub struct LocalFile {
    /// Where it is.
    pub source: PathBuf,
    /// Its path in the image: a plain one.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: LocalKind,
}

/// The kind of a file.
pub enum LocalKind {
    /// A regular file.
    File {
        /// Bytes of its content.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A folder.
    Folder,
    /// A symbolic link, with its target.
    Link(Vec<u8>),
}

/// Returns the files of all pairs of a local file and a path in the image; of a folder, everything in it. Errors when a
/// file cannot be read, or is of another kind.
pub fn of(pairs: &[(PathBuf, Vec<u8>)]) -> Result<Vec<LocalFile>> {
    let mut all = Vec::new();
    for (source, path) in pairs {
        // The user may name a symbolic link to the file: it is followed here, and nowhere below.
        let found = source.metadata().map_err(|cause| failed(source, &cause))?;
        add(source, path.clone(), &found, DEEPEST, &mut all)?;
    }
    Ok(all)
}

fn add(
    source: &Path,
    path: Vec<u8>,
    found: &Metadata,
    depth: usize,
    all: &mut Vec<LocalFile>,
) -> Result<()> {
    if all.len() >= MOST_FILES || depth == 0 {
        let what = format!("'{}': files in a folder that is added", source.display());
        let most = format!("at most {MOST_FILES}, nested {DEEPEST} deep");
        return Err(Error::mismatch(what, most, "more"));
    }
    let kind = found.file_type();
    let kind = if kind.is_dir() {
        LocalKind::Folder
    } else if kind.is_file() {
        let executable = found.permissions().mode() & 0o100 != 0;
        LocalKind::File { size: found.len(), executable }
    } else if kind.is_symlink() {
        let to = source.read_link().map_err(|cause| failed(source, &cause))?;
        LocalKind::Link(to.as_os_str().as_bytes().to_vec())
    } else {
        let shown = source.display();
        let message = format!("'{shown}' is neither a regular file, a folder nor a symbolic link");
        return Err(Error::usage(message).hint("leave it out of the folder that is added"));
    };
    let is_folder = matches!(kind, LocalKind::Folder);
    all.push(LocalFile { source: source.to_owned(), path: path.clone(), kind });
    if !is_folder {
        return Ok(());
    }
    let listed = std::fs::read_dir(source).map_err(|cause| failed(source, &cause))?;
    let mut names = Vec::new();
    for entry in listed {
        names.push(entry.map_err(|cause| failed(source, &cause))?.file_name());
    }
    names.sort();
    for name in names {
        let (inner, mut inside) = (source.join(&name), path.clone());
        if !inside.is_empty() {
            inside.push(b'/');
        }
        inside.extend(name.as_bytes());
        let found = inner.symlink_metadata().map_err(|cause| failed(&inner, &cause))?;
        add(&inner, inside, &found, depth - 1, all)?;
    }
    Ok(())
}

fn failed(source: &Path, cause: &std::io::Error) -> Error {
    Error::io(Kind::Usage, "read", source.display(), cause)
}
