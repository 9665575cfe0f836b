//! Images and their layers: where the bytes of a layer are ([`image`]), how they are decompressed, hashed and
//! compressed ([`blob`]), reading and writing tar members ([`tar`]), the effect of layers on each other ([`overlay`]),
//! and patterns for names ([`glob`]).
//!
//! This crate refuses to hold a layer in memory, and to hand on bytes whose digest or size differs from the
//! promised one.

pub mod blob;
pub mod glob;
pub mod image;
pub mod overlay;
pub mod tar;

// Tests share sources with the tests of other crates, which name this crate so.
#[cfg(test)]
extern crate self as occystrap_layer;
