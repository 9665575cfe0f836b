//! Expectations where there is no receipt: what a destination says about itself.
//!
//! A name promises nothing, so that these modules can find damage but not whether the image is the right one. Only a
//! receipt says that.

pub mod directory;
mod docker_save;
pub mod layout;
pub mod registry;
pub mod store;
pub mod tree;
