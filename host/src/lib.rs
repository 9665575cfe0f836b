//! Moves container images and proves that they landed.
//!
//! | to | use |
//! | --- | --- |
//! | move images from a source to a destination, and verify them | [`Process`] |
//! | verify what was written earlier | [`Verify`] |
//! | verify receipts of other users, which are not trusted | [`VerifyBatch`] |
//! | set logins, parallelism, temporary folder, plugins | [`Session`] |
//! | show progress in your own way | [`Session::progress`] with a [`ProgressSink`] |
//! | keep log lines in your own way | [`log_subscriber`] |
//! | stop an operation | [`Session::cancel`] with a [`Cancel`] |
//!
//! ```
//! use occystrap::{Process, Session};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("occystrap-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/hello.tar");
//! # let (source, destination) = (format!("tar://{hello}"), format!("dir://{}/out", folder.display()));
//! let session = Session::new()?;
//! let run = Process::new(source, destination).run(&session)?;
//! println!("{}", run.summary_line());
//! assert_eq!(run.exit_code(true), 0);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(()) }
//! ```
//!
//! Sources, destinations, filters and targets are written as on the command line. Each operation has a runnable example
//! in `host/examples/`.
//!
//! # Plugins of other authors
//!
//! Components of plugins that are not built in are compiled in a process of their own, with limits on memory and time.
//! That process is the same program again: the `main` of a program that uses such plugins begins with
//! [`serve_plugin_compiler`]. Without it they are compiled in the program's own process.

pub use api::{Compression, Process, Session, Verify, VerifyBatch, log_subscriber};
pub use occystrap_base::cancel::Cancel;
pub use occystrap_base::error::{Error, Kind as ErrorKind, Result};
pub use occystrap_base::oci::{Digest, PlatformRequest};
pub use occystrap_base::secret::mask;
pub use occystrap_base::terminal::progress::{ProgressSink, ProgressStep};
pub use occystrap_images::level::Level;
pub use occystrap_net::web::ForeignLayers;
pub use occystrap_output::plugin::compiler::serve as serve_plugin_compiler;
pub use occystrap_verify::report::{ImageReport, ImageStatus, Run};
pub use occystrap_verify::untrusted::{ReceiptReport, ReceiptSummary as BatchSummary};

mod api;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod explore;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod mirror;
#[doc(hidden)]
pub mod pipeline;
#[doc(hidden)]
pub mod plugin_kit;
#[doc(hidden)]
pub mod proxy;
#[doc(hidden)]
pub mod run;
