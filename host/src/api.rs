//! The public API: a [`Session`] with settings, and one builder for each operation.
//!
//! It refuses to expose how the work is done: everything else of this crate may change with each version.

mod clients;
mod log;
mod process;
mod session;
mod verify;
mod verify_batch;

pub(crate) use self::clients::Clients;
pub use self::log::log_subscriber;
pub use self::process::{Compression, Process};
pub use self::session::{Session, network_runtime};
pub use self::verify::Verify;
pub use self::verify_batch::VerifyBatch;
