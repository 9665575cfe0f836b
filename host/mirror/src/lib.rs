//! Mirroring many images: what should be where (the file), what is there and was proved when (the ledger).
//!
//! This crate moves no image and judges none; the program does that for one item of the ledger after the other.

pub mod convert;
pub mod document;
pub mod expand;
pub mod ledger;
mod reference;
pub mod rules;
