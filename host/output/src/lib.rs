//! Writing an image through an output plugin: what a plugin is and may do ([`plugin`]), what it writes into
//! ([`destination`]), the flow from `open` to the commit ([`mod@write`]), what was promised afterwards ([`receipt`]), and which
//! layers a destination already has ([`layer_cache`]).
//!
//! The WebAssembly engine (wasmtime) is used in this crate and in no other. This crate refuses to give a plugin a path,
//! a socket, a token or a file descriptor, and to make anything visible at a destination before the host has accepted
//! the plugin's receipt.

pub mod destination;
pub mod layer_cache;
pub mod plugin;
pub mod receipt;
pub mod write;
