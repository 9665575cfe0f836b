//! What a session has written and nobody sees yet, whatever the destination is.

use bytes::Bytes;

use super::grant::Grant;
use super::push::Push;
use super::staging::Staging;
use crate::error::Result;

/// A session's writes, to be made visible together or not at all.
pub enum Pending {
    /// Files without names.
    Files(Staging),
    /// Blobs that nothing refers to, and manifests that were not sent.
    Push(Push),
}

impl Pending {
    /// What the plugin may touch.
    #[must_use]
    pub fn grant(&self) -> Grant {
        match self {
            Self::Files(staging) => Grant::Storage(staging.destination().clone()),
            Self::Push(push) => Grant::Repository(push.remote().clone()),
        }
    }

    /// The files, where there are some.
    pub fn files(&mut self) -> Option<&mut Staging> {
        match self {
            Self::Files(staging) => Some(staging),
            Self::Push(_) => None,
        }
    }

    /// The push, where it is one.
    pub fn push(&mut self) -> Option<&mut Push> {
        match self {
            Self::Push(push) => Some(push),
            Self::Files(_) => None,
        }
    }

    /// The content of a small file that was written and that nobody sees yet. `None` where there
    /// is none, or more of it than `limit` bytes.
    #[must_use]
    pub fn written(&self, path: &str, limit: usize) -> Option<Bytes> {
        match self {
            Self::Files(staging) => staging.read(path, limit),
            Self::Push(_) => None,
        }
    }

    /// Make everything visible.
    pub fn commit(self) -> Result<()> {
        match self {
            Self::Files(staging) => staging.commit(),
            Self::Push(push) => push.commit(),
        }
    }
}
