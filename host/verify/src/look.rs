//! The host's own look at a destination: each object compared with what is expected of it.

pub mod check;
pub mod document;
pub mod elsewhere;
pub mod engine_image;
pub mod files;
mod in_parallel;
pub mod objects;
pub mod registry;
pub mod since;
pub mod steady;
pub mod tar_length;
pub mod unpacked;
pub mod web;
