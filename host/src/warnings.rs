//! Warnings about one image: shown when they arise, and kept for the document of `-O json`.

use std::sync::{Arc, Mutex, PoisonError};

/// Lines that are kept. A plugin may log as many, [`crate::limits::LOG_LINES`].
const MOST: usize = 1_000;

/// The warnings about one image. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Shows a warning of the host and keeps it. A session that is begun anew does not repeat it.
    pub fn say(&self, line: &str) {
        let line = crate::error::printable(line);
        if self.keep(&line) {
            tracing::warn!("{line}");
        }
    }

    /// Keeps a line that is shown elsewhere. Returns whether it is new.
    pub fn keep(&self, line: &str) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = !lines.iter().any(|known| known == line);
        if new && lines.len() < MOST {
            lines.push(line.to_owned());
        }
        new
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
