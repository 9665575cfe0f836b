//! What a receipt has to name, and what a reader of the format finds from there.

pub mod completeness;
pub mod format;
pub mod index_children;
pub mod manifest_chain;
pub mod objects;
pub mod plugins;
