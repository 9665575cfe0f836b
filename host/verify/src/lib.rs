//! Verification: what is looked at ([`mod@verify`]), what a destination says of itself where there is no receipt
//! ([`mod@derive`]), what a receipt covers ([`receipt`]), which verdict follows ([`verdict`]), how it is reported ([`report`]), and
//! receipts that come from other users ([`untrusted`]).
//!
//! This crate refuses to change a destination, and to count anything as verified that was not looked at.

pub mod derive;
pub mod look;
pub mod receipt;
pub mod report;
pub mod untrusted;
pub mod verdict;
pub mod verify;
