//! What an image is made of.

pub mod descriptor;
pub mod digest;
pub mod name;
pub mod platform;
