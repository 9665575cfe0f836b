//! A client for the Docker Engine API, as Docker and Podman answer it: look at an image, export it,
//! load one, tag it.
//!
//! HTTP over a Unix socket, TCP or TLS is reqwest's, which is in the tree for registries already.
//! Paths carry no API version, so that every engine answers with its own; of the answers, only the
//! fields that are needed are read.
//!
//! What it refuses: names that would lead to another call, answers of any length, to wait for ever,
//! and to take a load for good whose answer says 200 and then an error.

pub mod address;
pub mod answer;
pub mod engine;
pub mod export;
pub mod failure;
pub mod load;

pub use address::Address;
pub use answer::{About, Inspected, Step};
pub use engine::Engine;
pub use export::Export;
pub use load::{Load, Loaded};
