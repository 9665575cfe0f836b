//! Moves container images and proves that they landed.
//!
//! The binary `occystrap` is a thin shell around this library. [`pipeline`] is where to start
//! reading: it names each step from a source to an exit code.

pub mod cli;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod pipeline;
pub mod plugin_kit;
pub mod run;
