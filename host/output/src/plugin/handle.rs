//! The values behind a plugin's handles: the content that it was given, and what the user named.
//!
//! The functions on them are in `capability`, a file for each interface.

use std::time::Instant;

use bytes::Bytes;

use crate::destination::layer_blob::{LayerBlob, Members};
use crate::destination::site::SiteReader;
use crate::destination::{push, uploads};
use occystrap_base::oci::Digest;
use occystrap_net::http::wire::Answer;

/// A blob that the plugin was given.
pub enum Blob {
    /// The config, which is small and in memory.
    Config {
        /// Its media type.
        media_type: &'static str,
        /// Its bytes.
        bytes: Bytes,
        /// Digest of the bytes.
        digest: Digest,
    },
    /// A layer.
    Layer(Box<LayerBlob>),
    /// A blob that was moved as a whole: a source is read only once.
    Spent,
}

/// A walk through the members of a layer.
pub struct Walk {
    pub(super) tar: Members,
    pub(super) buffer: Vec<u8>,
    /// Bytes of holes that may still be hashed.
    pub(super) holes: u64,
    pub(super) ended: bool,
}

/// The granted directory. A session has one, and every handle stands for it.
pub struct DirectoryHandle;

/// The granted repository. A session has one, and every handle stands for it.
pub struct RepositoryHandle;

/// The granted engine. A session has one, and every handle stands for it.
pub struct EngineHandle;

/// An answer of a web server.
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Bytes that have arrived and were not read.
    pub(super) ready: Bytes,
    /// The rest of the body; `None` after its end.
    pub(super) rest: Option<Answer>,
    pub(super) site: SiteReader,
    pub(super) read: u64,
    pub(super) began: Instant,
}

/// A push to a registry that has begun.
pub struct PendingTransfer(pub(super) push::Transfer);

/// A PUT to a web server that has begun.
pub struct PendingPut(pub(super) uploads::WebPut);
