//! The archive of `docker save`: the headers of its members, and the list that ties them together.

pub mod header;
pub mod list;
