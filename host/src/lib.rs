//! Moves container images and proves that they landed.
//!
//! The binary `occystrap` is a thin shell around this library. [`pipeline`] is where to start
//! reading: it names each step from a source to an exit code.

pub mod blob;
pub mod cancel;
pub mod check;
pub mod cli;
pub mod command_line;
pub mod conformance;
pub mod context;
pub mod destination;
pub mod docker;
pub mod error;
pub mod file_identity;
pub mod filter;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod glob;
pub mod http;
pub mod image;
pub mod info;
pub mod input;
pub mod kept_file;
pub mod layer_cache;
pub mod layer_tar;
pub mod level;
pub mod limits;
pub mod lock;
pub mod log;
pub mod manual;
pub mod memory;
pub mod output;
pub mod overlay;
pub mod parallel;
pub mod pipeline;
pub mod plugin;
pub mod progress;
pub mod receipt;
pub mod registry;
pub mod regular;
pub mod report;
pub mod results;
pub mod run;
pub mod scaffold;
pub mod search;
pub mod secret;
mod sha256;
pub mod shell;
pub mod size;
pub mod standard_output;
pub mod temporary;
pub mod terminal;
pub mod unnamed;
pub mod uri;
pub mod usage;
pub mod verify;
pub mod warnings;
pub mod web;
