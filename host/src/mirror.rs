//! `occystrap mirror`: what a file says should be where is made so, and a ledger records what was proved when.
//!
//! ```text
//! file -> (tags -> rules) -> items -> ledger -> (unchanged? -> move -> verify), each item -> ledger -> totals
//! ```
//!
//! | module | step |
//! | --- | --- |
//! | [`file`] | the file, its lists, and the path of its ledger |
//! | `services` | what all items share: clients of registries, plugins, the context |
//! | `tags` | the tags of repositories, and the dates of images |
//! | [`plan`] | the items of a run, recorded in the ledger |
//! | [`preview`] | what a run would do |
//! | `look` | what source and destination have now |
//! | `referrers` | which referrers an item wants, and when they are asked for again |
//! | `item` | one item: it is unchanged, or it is moved and verified |
//! | [`run`] | the workers of a run |
//! | [`report`] | what programs, CI and people get of a run |
//! | [`totals`] | the line at the end, and the document of a run |
//!
//! What it refuses: to move or judge an image by itself. The pipeline does both.

pub mod file;
mod item;
mod look;
pub mod plan;
pub mod preview;
mod referrers;
pub mod report;
pub mod run;
mod services;
mod tags;
pub mod totals;

pub use file::MirrorFile;
pub use plan::{Plan, plan};
pub use run::{RunOptions, run};
pub use services::Services;
