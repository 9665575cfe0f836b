//! Which part of a multi-platform image something is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Digest;

/// A part, for reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// An image that is no part of anything.
    #[default]
    Whole,
    /// One of the images that an index lists: its platform, or its digest where it has none.
    Platform(String),
    /// The index itself.
    Index,
    /// An index that another one lists: its digest, short.
    Nested(String),
}

impl Part {
    /// Whether it is no part of anything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// Whether it is an index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self, Self::Index | Self::Nested(_))
    }

    /// Whether an index lists it, so that it is known by its digest.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        matches!(self, Self::Platform(_) | Self::Nested(_))
    }

    /// An index: the one that has the image's name, or one that it leads to.
    #[must_use]
    pub fn index(named: bool, digest: Digest) -> Self {
        if named { Self::Index } else { Self::Nested(digest.short()) }
    }
}

/// What follows the image's name.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Platform(platform) => write!(f, " ({platform})"),
            Self::Index => f.write_str(" (index)"),
            Self::Nested(digest) => write!(f, " (index {digest})"),
        }
    }
}
