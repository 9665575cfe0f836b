//! Writes an image through an output plugin.
//!
//! Each module uses only those above it:
//!
//! | module | content |
//! | --- | --- |
//! | [`receipt`] | what must be found at a destination after an image was written |
//! | [`destination`] | what a plugin's calls write into, and what makes it visible at once |
//! | [`plugin`] | what a plugin is, and what it may do |
//! | [`mod@write`] | the flow from `open` to the commit |
//! | [`layer_cache`] | the layers that a destination already has |
//!
//! The WebAssembly engine (wasmtime) is used in this crate and in no other. This crate refuses to give a plugin a path,
//! a socket, a token or a file descriptor, and to make anything visible at a destination before the host has accepted
//! the plugin's receipt.

pub mod destination;
pub mod layer_cache;
pub mod plugin;
pub mod receipt;
pub mod write;
