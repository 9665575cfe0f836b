//! Writing one image through an output plugin.
//!
//! The plugin decides and frames; the host fetches, moves, hashes and keeps the journal. Nothing
//! is visible at the destination before the host has accepted the plugin's receipt.

pub mod ahead;
pub mod destination;
pub mod journal;
pub mod layer_blob;
pub mod promise;
pub mod sink;
pub mod size_hint;
pub mod staging;
pub mod write;

pub use destination::Destination;
pub use journal::{Extent, Journal, WrittenFile};
pub use write::{Written, write};
