//! What a session has written and nobody sees yet, whatever the destination is.

use super::engine::{Loadable, Named};
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
    /// An archive that an engine has, but for its end; none before the plugin has written one.
    Load(Named, Option<Box<Loadable>>),
}

impl Pending {
    /// What the plugin may touch.
    #[must_use]
    pub fn grant(&self) -> Grant {
        match self {
            Self::Files(staging) => Grant::Storage(staging.destination().clone()),
            Self::Push(push) => Grant::Repository(push.remote().clone()),
            Self::Load(named, _) => Grant::Engine(named.clone()),
        }
    }

    /// The files, where there are some.
    pub fn files(&mut self) -> Option<&mut Staging> {
        match self {
            Self::Files(staging) => Some(staging),
            _ => None,
        }
    }

    /// Make everything visible.
    pub fn commit(self) -> Result<()> {
        match self {
            Self::Files(staging) => staging.commit(),
            Self::Push(push) => push.commit(),
            Self::Load(_, archive) => archive.map_or(Ok(()), |archive| archive.commit()),
        }
    }
}
