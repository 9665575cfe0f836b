//! What a destination says of itself: the expectations where there is no receipt.

pub mod directory;
mod docker_save;
pub mod layout;
pub mod registry;
pub mod store;
pub mod subject;
pub mod tree;
