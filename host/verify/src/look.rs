//! The comparison of what a destination holds with what is expected: one module for each kind of destination, and one
//! [`checker`] for all.
//!
//! These modules only read. They record flaws as data, and never take over what a plugin says.

pub mod check;
pub mod checker;
pub mod elsewhere;
pub mod engine_image;
pub mod files;
pub mod registry;
pub mod since;
pub mod steady;
pub mod tar_length;
pub mod unpacked;
pub mod web;
