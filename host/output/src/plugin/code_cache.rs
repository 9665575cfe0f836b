//! The cache of machine code of plugins that the user has added, in the user's cache folder.
//!
//! The folder is the one that wasmtime's cache uses for built-in plugins. It was checked to belong to the user
//! alone ([`super::ownership`]), so that its files are trusted like the binary. What it refuses: to keep more
//! than `MOST` files, and more than `MOST_BYTES` in them.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use occystrap_base::files::replace;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::oci::Digest;

/// Number of files. The least recently used ones are removed first. An interpreter's file has 35 MB.
const MOST: usize = 32;

/// Bytes of all files together: four of the largest possible ones, or some thirty interpreters.
const MOST_BYTES: u64 = 1 << 30;

/// The folder in the cache. wasmtime's cache treats files two levels down as its own, and removes the least
/// recently used ones when the whole becomes large.
const FOLDER: &str = "added/code";

/// The folder with machine code.
#[derive(Debug, Clone)]
pub struct CodeCache(PathBuf);

impl CodeCache {
    /// Returns the cache in a folder that only the user may write.
    #[must_use]
    pub fn beneath(cache: &std::path::Path) -> Self {
        Self(cache.join(FOLDER))
    }

    /// Returns the file with the machine code of a key, where there is one, and marks it as used.
    #[must_use]
    pub fn find(&self, key: Digest) -> Option<PathBuf> {
        let path = self.0.join(key.hex());
        let file = File::open(&path).ok()?;
        // The time decides only the order in which files are removed.
        let _ = file.set_modified(SystemTime::now());
        Some(path)
    }

    /// Keeps machine code. The file appears whole or not at all.
    pub fn keep(&self, key: Digest, mut code: &File) -> io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        let folder = Arc::new(Dir::open_ambient_dir(&self.0, ambient_authority())?);
        let kept = UnnamedFile::create(&folder)?;
        code.rewind()?;
        io::copy(&mut code, &mut kept.file())?;
        // After a power failure, truncated machine code would run.
        kept.file().sync_all()?;
        replace::publish(kept, &folder, key.hex())?;
        self.remove_oldest(MOST_BYTES)
    }

    /// Removes the least recently used files, until the rest is within [`MOST`] files and `most` bytes.
    fn remove_oldest(&self, most: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, entry.path(), metadata.len()));
        }
        files.sort();
        let mut bytes = 0_u64;
        let fits = |(_, _, size): &&(SystemTime, PathBuf, u64)| {
            bytes = bytes.saturating_add(*size);
            bytes <= most
        };
        let fitting = files.iter().rev().take(MOST).take_while(fits).count();
        let surplus = files.len() - fitting;
        // Another process may have removed it.
        files.drain(..surplus).for_each(|(_, path, _)| drop(std::fs::remove_file(path)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn keep(cache: &CodeCache, key: Digest, bytes: &[u8]) {
        let mut code = tempfile::tempfile().unwrap();
        code.write_all(bytes).unwrap();
        cache.keep(key, &code).unwrap();
    }

    #[test]
    fn the_files_that_were_used_least_lately_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::beneath(folder.path());
        let key = |n: usize| Digest::of(n.to_string().as_bytes());
        assert_eq!(cache.find(key(0)), None);
        for n in 0..MOST {
            keep(&cache, key(n), n.to_string().as_bytes());
        }
        assert!(cache.find(key(0)).is_some(), "it is used");
        keep(&cache, key(MOST), b"one more");
        assert!(cache.find(key(1)).is_none(), "the oldest is gone");
        let path = cache.find(key(0)).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"0");
        // The two that were used last have 9 bytes: "one more" and "0".
        cache.remove_oldest(9).unwrap();
        assert!(cache.find(key(0)).is_some() && cache.find(key(MOST)).is_some());
        assert!(cache.find(key(2)).is_none(), "there is no room for it");
        cache.remove_oldest(8).unwrap();
        assert!(cache.find(key(0)).is_none() != cache.find(key(MOST)).is_none());
    }
}
