//! Reading images ([`source`]), changing them on their way ([`filter`]), and reporting on them ([`check`], [`info`],
//! [`search`], [`usage`]).
//!
//! This crate refuses to write to any destination. A filter makes a new image and leaves the old one as it is.

pub mod check;
pub mod filter;
pub mod info;
pub mod level;
pub mod search;
pub mod source;
pub mod steady;
pub mod usage;
