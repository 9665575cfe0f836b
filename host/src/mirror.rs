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
//! | [`mod@plan`] | the items of a run, recorded in the ledger |
//! | [`preview`] | what a run would do |
//! | `look`, `layouts`, `pending` | what source and destination have now, of many items at a time |
//! | `referrers` | which referrers an item wants, and when they are asked for again |
//! | `repositories` | which destinations are new, what the ledger knows of them, and when the run is done with one |
//! | `pulls` | images that wait because the registry of their source gives few pulls |
//! | `item`, `hint` | one item: it is unchanged, or it is moved and verified; what a user can do about its error |
//! | [`mod@run`] | the workers of a run |
//! | [`report`] | what programs, CI and people get of a run |
//! | [`totals`] | the line at the end, and the document of a run |
//! | [`selection`], `budget` | what a verification covers, and how much it may read |
//! | `place`, `check`, `image_check`, `by_receipt` | where an object is, and whether it is right |
//! | [`mod@verify`] | a verification of what is there |
//! | [`coverage`] | the last lines of a verification |
//! | [`documents`] | what programs get of a verification, a repair and a deletion |
//! | `exported` | the files of an export |
//! | [`mod@export`] | what the other side of an air gap lacks, as files |
//! | [`import`] | an export, as the source of a run at the other side |
//! | [`prune`] | deleting what no rule names any more |
//! | [`repair`] | sending again what is recorded as bad |
//!
//! What it refuses: to move or judge an image by itself. The pipeline does both.

mod budget;
mod by_receipt;
mod check;
pub mod coverage;
pub mod documents;
pub mod export;
pub(crate) mod exported;
pub mod file;
mod hint;
mod image_check;
pub mod import;
mod item;
mod layouts;
mod look;
mod pending_questions;
mod place;
pub mod plan;
pub mod preview;
pub mod prune;
mod pulls;
mod referrers;
pub mod repair;
pub mod report;
mod repositories;
pub mod run;
pub mod selection;
mod services;
mod tags;
pub mod totals;
pub mod verify;

pub use export::export;
pub use file::MirrorFile;
pub use plan::{Plan, plan};
pub use run::{RunOptions, run};
pub use services::Services;
