//! Warnings about one image: shown when they are true, and kept for the document of `-O json`.
//!
//! What a plugin logs while it completes an image is about files and names that the commit replaces. Such a warning is
//! held back until the commit has succeeded. After a failed run it would be false, and is dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that are kept. A plugin may log as many: [`crate::limits::LOG_LINES`].
const MOST: usize = 1_000;

/// Warnings about one image. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    /// In the order in which they were shown.
    shown: Vec<String>,
    /// Not shown yet, each with the plugin that logged it.
    held: Vec<(String, String)>,
}

impl Lines {
    /// Keeps a line. Returns whether it is new.
    fn keep(&mut self, line: &str) -> bool {
        let new = !self.shown.iter().any(|known| known == line);
        if new && self.shown.len() < MOST {
            self.shown.push(line.to_owned());
        }
        new
    }
}

impl Warnings {
    /// Shows a warning of the host and keeps it. A warning that was shown before is not repeated when a session starts
    /// again.
    pub fn say(&self, line: &str) {
        let line = crate::error::printable(line);
        if self.keep(&line) {
            tracing::warn!("{line}");
        }
    }

    /// Keeps a line that is shown elsewhere. Returns whether it is new.
    pub fn keep(&self, line: &str) -> bool {
        self.locked().keep(line)
    }

    /// Holds back a line of a plugin until [`Self::release`] or [`Self::withdraw`].
    pub fn hold(&self, plugin: &str, line: String) {
        let mut lines = self.locked();
        if lines.held.len() < MOST {
            lines.held.push((plugin.to_owned(), line));
        }
    }

    /// Shows the lines that were held back: the commit has made them true.
    pub fn release(&self) {
        for (plugin, line) in self.take_held() {
            if self.keep(&line) {
                tracing::warn!(plugin, "{line}");
            }
        }
    }

    /// Drops the lines that were held back: the destination is unchanged. With `-v` they are shown as things that did
    /// not happen.
    pub fn withdraw(&self) {
        for (plugin, line) in self.take_held() {
            tracing::info!(plugin, "this did not happen: {line}");
        }
    }

    /// Returns all lines that were shown.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.locked().shown.clone()
    }

    fn take_held(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.locked().held)
    }

    fn locked(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_held_is_kept_when_it_is_released_and_gone_when_it_is_withdrawn() {
        let warnings = Warnings::default();
        warnings.hold("dir", "'a' takes the place of 'b'".to_owned());
        assert!(warnings.lines().is_empty());
        warnings.withdraw();
        warnings.release();
        assert!(warnings.lines().is_empty());
        warnings.hold("dir", "'a' takes the place of 'c'".to_owned());
        warnings.release();
        warnings.release();
        assert_eq!(warnings.lines(), ["'a' takes the place of 'c'"]);
    }
}
