//! The limit of a search: how much it keeps in memory, whatever the image contains.

use std::sync::atomic::{AtomicU64, Ordering};

use occystrap_base::error::{Error, Result};

/// Memory of a search in bytes, for the names of matches and eight bytes for each member. A million files of a real
/// image, all of them matching, need about 150 MB. The limit is needed because a few kilobytes of gzip can hold any number
/// of members.
const MOST: u64 = 512 * 1024 * 1024;

/// The memory that all layers of one search share.
#[derive(Default)]
pub struct SearchMemory(AtomicU64);

impl SearchMemory {
    /// Uses some bytes. Errors when the limit is exceeded.
    pub fn take(&self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        if self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= MOST {
            return Ok(());
        }
        Err(Error::source(format!(
            "the image has more files than a search can keep in {} MiB",
            MOST / 1024 / 1024
        ))
        .hint("search with a narrower pattern"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends() {
        let budget = SearchMemory::default();
        budget.take(MOST as usize).unwrap();
        let error = budget.take(1).unwrap_err();
        assert!(error.hint_text().unwrap().contains("pattern"), "{error}");
    }
}
