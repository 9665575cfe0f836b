//! What an image is written into: files, a repository, an engine, a web server.
//!
//! A plugin decides and frames; the code here fetches, moves and hashes, and keeps the journal of it. It knows neither
//! plugins nor who drives them (`plugin`, `write`). What it refuses: to make anything visible before the commit, which
//! comes when the host has accepted the plugin's receipt.

mod adopt;
pub mod archive;
pub mod commit;
pub mod deferred;
pub mod delivery;
pub mod engine_image;
pub mod file_sink;
mod given_name;
pub mod grant;
pub mod hash_memo;
pub mod journal;
pub mod layer_blob;
pub mod named_file;
pub mod pending;
pub mod planned_layer;
pub mod prefetch;
pub mod push;
pub mod read_access;
pub mod remote;
pub mod sink;
pub mod site;
pub mod size_hint;
pub mod staging;
mod transfers;
pub mod uploads;

pub use grant::Grant;
pub use journal::Journal;
pub use pending::Pending;
pub use read_access::ReadAccess;
