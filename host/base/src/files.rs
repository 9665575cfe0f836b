//! Files of this machine: sections of open files, files without a name, new files, temporary files, locks, state files
//! and the directory that is written to.

pub mod destination;
pub mod identity;
pub mod lock;
pub mod new_file;
pub mod regular;
pub mod replace;
pub mod scratch;
pub mod section;
pub mod state_file;
pub mod temporary;
pub mod unnamed_file;

pub use section::{Hashed, Section, Spooled, hash_range};
