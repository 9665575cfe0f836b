//! Runs output plugins that need not be trusted.
//!
//! A plugin is a WebAssembly component. It holds handles to what its imports ask for and the user named, never
//! a path, socket, token or descriptor; every limit on it is in [`occystrap_base::limits`].

pub mod artifact;
pub mod bindings;
pub mod budget;
pub mod capability;
pub mod catalog;
pub mod code_cache;
pub mod compiler;
pub mod component_count;
pub mod component_file;
mod cpu_time;
pub mod description;
pub mod embedded;
pub mod guest_clock;
pub mod handle;
pub mod installed;
pub mod limiter;
mod linker;
pub mod loaded;
pub mod ownership;
pub mod permission;
pub mod receipt;
pub mod runtime;
pub mod session;
mod settings;
pub mod state;
pub mod user_limit;
pub mod violation;

pub use catalog::Catalog;
pub use installed::Installed;
pub use loaded::Plugin;
pub use runtime::{NotLoaded, PluginEngine};
pub use session::{VerifySession, WriteSession};
