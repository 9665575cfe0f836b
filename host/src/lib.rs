//! Moves container images and proves that they landed.

pub mod cancel;
pub mod error;
pub mod image;
pub mod registry;
