//! Planning a commit: what is new, what is replaced, and which folders are missing. Changes nothing.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::io::Errno;

use super::Publication;
use crate::destination::commit::content;
use crate::destination::commit::folders::CommitFolders;
use crate::destination::commit::record::{CommitRecord, Recorded, RecordedFile, ReplacedFile};
use occystrap_base::error::Result;
use occystrap_base::files::destination::Destination;
use occystrap_base::files::identity::entry_info;
use occystrap_base::files::unnamed_file::UnnamedFile;

impl<'a> Publication<'a> {
    /// Plans the commit: what is new, what is replaced, which folders are missing. Changes nothing.
    pub fn plan(
        destination: &'a Destination,
        root: Arc<Dir>,
        files: Vec<(String, UnnamedFile)>,
        durable: bool,
    ) -> Result<Self> {
        let (folders, record) = (CommitFolders::new(root), CommitRecord::new());
        let own = HashMap::new();
        let mut planned = Self { destination, folders, files: Vec::new(), record, own, durable };
        let mut earlier: HashMap<String, Recorded> = HashMap::new();
        let count = files.len();
        for (at, (path, file)) in files.into_iter().enumerate() {
            let old = match earlier.get(&path) {
                Some(own) => Some(*own),
                None => {
                    planned.replaced_by(&path).map_err(|cause| planned.failed(&path, &cause))?
                }
            };
            let new = file.identity().map_err(|cause| planned.failed(&path, &cause))?;
            let mut recorded = Recorded::from(new);
            if old.is_some() || at + 1 == count {
                recorded.digest = content::of(file.file(), new.size);
            }
            earlier.insert(path.clone(), recorded);
            let replaced = old.map(ReplacedFile::new);
            planned.record.files.push(RecordedFile { path: path.clone(), new: recorded, replaced });
            planned.files.push((path, file));
        }
        Ok(planned)
    }

    /// Returns the entry that a file replaces; `None` if there is none. Notes the missing folders above it.
    fn replaced_by(&mut self, path: &str) -> io::Result<Option<Recorded>> {
        let known = |folder: &str, record: &CommitRecord| {
            record.folders.iter().any(|known| known == folder)
        };
        let above: Vec<&str> =
            path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default()).collect();
        if let Some(parent) = above.last()
            && !known(parent, &self.record)
            && let Err(cause) = self.folders.parent(path)
        {
            if cause.kind() != io::ErrorKind::NotFound {
                return Err(cause);
            }
            for folder in above {
                if known(folder, &self.record) || self.folders.root().open_dir(folder).is_ok() {
                    continue;
                }
                self.record.folders.push(folder.to_owned());
            }
            return Ok(None);
        }
        if above.last().is_some_and(|parent| known(parent, &self.record)) {
            return Ok(None);
        }
        let (folder, name) = self.folders.parent(path)?;
        match entry_info(folder.as_fd(), name)? {
            Some(there) if there.is_directory => Err(Errno::ISDIR.into()),
            None => Ok(None),
            Some(there) => {
                let mut old = Recorded::from(there.identity);
                // What cannot be read is known by its inode.
                old.digest = content::at(&folder, name).unwrap_or_default();
                Ok(Some(old))
            }
        }
    }
}
