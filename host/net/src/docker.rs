//! Client for the Docker Engine API, as Docker and Podman answer it: inspect an image, export, load, tag, push.
//!
//! HTTP over a Unix socket, TCP or TLS is reqwest's, which is in the tree for registries already. Paths carry no API
//! version, so that every engine answers with its own. Only the needed fields of an answer are read.
//!
//! What it refuses: names that would lead to another call, answers of any length, waits without an end, and a load
//! whose answer has the status 200 and then an error.

pub mod address;
pub mod answer;
pub mod engine;
mod event;
pub mod export;
pub mod failure;
pub mod load;
pub mod push;

pub use address::Address;
pub use answer::{About, EngineHistoryStep, Inspected};
pub use engine::Engine;
pub use export::Export;
pub use load::{Load, Loaded};
