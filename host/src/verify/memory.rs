//! What was hashed in this verification, so that no byte is read twice.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};
use crate::image::{Digest, Hasher};

/// How much is read at once: from the cache of the kernel, larger reads gain nothing.
const PIECE: usize = 512 * 1024;

type Known = HashMap<(String, u64, u64), Digest>;

/// Digests by path, offset and length. Cheap to clone; clones share what they know.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Known>>);

impl Memory {
    /// What is known of these bytes.
    #[must_use]
    pub fn recall(&self, path: &str, offset: u64, len: u64) -> Option<Digest> {
        self.known().get(&(path.to_owned(), offset, len)).copied()
    }

    /// Read and hash `len` bytes of a file from `offset`, and remember. Errors when they are not
    /// all there.
    pub fn hash(
        &self,
        file: &File,
        path: &str,
        offset: u64,
        len: u64,
        cancel: &Cancel,
    ) -> Result<Digest> {
        let fail = |cause: &std::io::Error| Error::io(Kind::Destination, "read", path, cause);
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; PIECE.min(usize::try_from(len).unwrap_or(PIECE))];
        let mut done = 0;
        while done < len {
            cancel.check()?;
            let wanted = (len - done).min(buffer.len() as u64) as usize;
            let piece = &mut buffer[..wanted];
            file.read_exact_at(piece, offset + done).map_err(|cause| fail(&cause))?;
            hasher.update(piece);
            done += wanted as u64;
        }
        let digest = hasher.finish();
        self.known().insert((path.to_owned(), offset, len), digest);
        Ok(digest)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
