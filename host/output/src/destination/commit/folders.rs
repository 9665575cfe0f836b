//! The folders of a destination, opened once: a commit and its rollback work through these handles, so
//! that a rollback needs no descriptor more than the commit had.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use cap_std::fs::Dir;

/// Open folders below a root, by path.
pub struct CommitFolders {
    root: Arc<Dir>,
    open: HashMap<String, Arc<Dir>>,
}

impl CommitFolders {
    /// Creates a collection in which no folder is open.
    #[must_use]
    pub fn new(root: Arc<Dir>) -> Self {
        Self { root, open: HashMap::new() }
    }

    /// Returns the root.
    #[must_use]
    pub fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// Returns the folder that a path lies in, and the path's last part. No link leads out of the root.
    pub fn parent<'a>(&mut self, path: &'a str) -> io::Result<(Arc<Dir>, &'a str)> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Ok((Arc::clone(&self.root), path));
        };
        if let Some(known) = self.open.get(parent) {
            return Ok((Arc::clone(known), name));
        }
        let folder = Arc::new(self.root.open_dir(parent)?);
        self.open.insert(parent.to_owned(), Arc::clone(&folder));
        Ok((folder, name))
    }

    /// Waits until the names in every open folder are on the disk.
    pub fn flush(&self) -> io::Result<()> {
        for folder in self.open.values() {
            flush(folder)?;
        }
        flush(&self.root)
    }
}

/// Waits until the names in a folder are on the disk.
pub fn flush(folder: &Dir) -> io::Result<()> {
    folder.open(".")?.sync_all()
}
