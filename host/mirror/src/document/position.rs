//! Positions in files, for errors.

use std::fmt;
use std::sync::Arc;

use occystrap_base::error::Error;

use super::yaml::Mark;

/// Position in a file: `FILE:LINE:COLUMN`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition {
    file: Arc<str>,
    mark: Mark,
}

impl FilePosition {
    /// Creates a place in a file, which is named as errors shall name it.
    #[must_use]
    pub fn new(file: Arc<str>, mark: Mark) -> Self {
        Self { file, mark }
    }

    /// Returns the name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the line, which begins at 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.mark.line
    }

    /// Returns the column in characters, which begins at 1.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.mark.column
    }

    /// Creates an error at this place, with exit code 2.
    #[must_use]
    pub fn error(&self, message: impl fmt::Display) -> Error {
        Error::usage(format!("{self}: {message}"))
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.mark.line, self.mark.column)
    }
}
