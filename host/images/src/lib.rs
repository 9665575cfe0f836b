//! Reading images ([`source`]), changing them on their way ([`filter`]), and reporting on them ([`check`], [`info`],
//! [`search`], [`usage`], [`html`], [`explore`]).
//!
//! This crate refuses to write to any destination; [`export`] writes a file system to a stream that the caller opens. A
//! filter makes a new image and leaves the old one as it is.

pub mod artifact;
pub mod check;
pub mod explore;
pub mod export;
pub mod filter;
pub mod html;
pub mod info;
pub mod level;
pub mod search;
pub mod source;
pub mod steady;
pub mod usage;
