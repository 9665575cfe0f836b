//! Verification: whether a destination holds the images that it should hold.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`verdict`] | the flaws of objects as data, and the verdict that follows |
//! | [`look`] | compares what a destination holds with expectations |
//! | [`mod@derive`] | makes expectations where there is no receipt |
//! | [`receipt`] | checks what a receipt covers, and follows its manifests |
//! | [`subject`] | parses what the user wants verified |
//! | [`mod@verify`] | verifies a receipt with the host and the plugin |
//! | [`report`] | makes the texts, the JSON and the exit code |
//! | [`untrusted`] | verifies receipts of unknown origin |
//!
//! A module uses only modules above it. This crate reads destinations through
//! [`ReadAccess`](occystrap_output::destination::ReadAccess), which cannot change them, and never counts an object as
//! verified that was not checked.

pub mod derive;
pub mod look;
pub mod receipt;
pub mod report;
pub mod subject;
pub mod untrusted;
pub mod verdict;
pub mod verify;
