//! Writing one image through an output plugin.
//!
//! The plugin decides and frames; the host fetches, moves, hashes and keeps the journal. Nothing
//! is visible at the destination before the host has accepted the plugin's receipt.

mod adopt;
pub mod archive;
pub mod commit;
pub mod deferred;
pub mod elsewhere;
pub mod engine_image;
mod given_name;
pub mod grant;
pub mod hash_memo;
pub mod journal;
pub mod layer_blob;
pub mod named_file;
pub mod occupied;
pub mod pending;
pub mod prefetch;
pub mod push;
pub mod read_access;
pub mod remote;
pub mod sink;
pub mod site;
pub mod size_hint;
pub mod staging;
pub mod uploads;

pub use grant::Grant;
pub use journal::{Extent, Journal, WrittenFile};
pub use pending::Pending;
pub use read_access::ReadAccess;
