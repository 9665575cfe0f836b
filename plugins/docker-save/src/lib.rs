//! The archive format of `docker save`: the headers of the members, and `manifest.json`, which lists them.

pub mod header;
pub mod list;
