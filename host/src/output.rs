//! Writing one image through an output plugin.
//!
//! The plugin decides and frames; the host fetches, moves, hashes and keeps the journal. Nothing
//! is visible at the destination before the host has accepted the plugin's receipt.

mod adopt;
pub mod ahead;
pub mod archive;
pub mod commit;
pub mod elsewhere;
pub mod engine;
mod given_name;
pub mod grant;
pub mod journal;
pub mod layer_blob;
mod named_file;
pub mod occupied;
pub mod pending;
pub mod promise;
pub mod push;
pub mod remote;
pub mod sink;
pub mod site;
pub mod size_hint;
pub mod staging;
pub mod target;
pub mod uploads;
pub mod write;

pub use grant::Grant;
pub use journal::{Extent, Journal, WrittenFile};
pub use pending::Pending;
pub use target::Target;
pub use write::write;
