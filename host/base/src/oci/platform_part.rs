//! Parts of a multi-platform image, and what refers to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Digest;

/// Part of a multi-platform image, for reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlatformPart {
    /// Image that is not part of an index.
    #[default]
    Whole,
    /// Image that an index lists: its platform, or its digest where it has no platform.
    Platform(String),
    /// Index that has the image's name.
    Index,
    /// Index that another index lists: its digest, short.
    Nested(String),
    /// Referrer of an image, such as a signature: its digest, short.
    Referrer(String),
}

impl PlatformPart {
    /// Returns whether this is a whole image.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// Returns whether this is an index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self, Self::Index | Self::Nested(_))
    }

    /// Returns whether it is known by its digest: an index lists it, or it refers to an image.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        matches!(self, Self::Platform(_) | Self::Nested(_) | Self::Referrer(_))
    }

    /// Returns the part for an index: one that has the image's name, or one that another index lists.
    #[must_use]
    pub fn index(named: bool, digest: Digest) -> Self {
        if named { Self::Index } else { Self::Nested(digest.short()) }
    }
}

/// Shows the part as it follows the image's name.
impl fmt::Display for PlatformPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Platform(platform) => write!(f, " ({platform})"),
            Self::Index => f.write_str(" (index)"),
            Self::Nested(digest) => write!(f, " (index {digest})"),
            Self::Referrer(digest) => write!(f, " (referrer {digest})"),
        }
    }
}
