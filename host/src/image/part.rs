//! Which part of a multi-platform image something is.

use std::fmt;

/// A part, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// An image that is no part of anything.
    Whole,
    /// One of the images that an index lists: its platform, or its digest where it has none.
    Platform(String),
    /// The index itself.
    Index,
}

impl Part {
    /// Whether it is the index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        *self == Self::Index
    }
}

/// What follows the image's name.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Platform(platform) => write!(f, " ({platform})"),
            Self::Index => f.write_str(" (index)"),
        }
    }
}
