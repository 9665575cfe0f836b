//! OCI and Docker documents, read and written exactly: names, digests, platforms, configs, manifests.

pub mod artifact;
mod compression;
pub mod config;
pub mod config_type;
pub mod descriptor;
pub mod digest;
pub mod document;
pub mod json;
pub mod layout;
pub mod manifest;
pub mod name;
pub mod part;
pub mod platform;
pub mod platform_request;
pub mod reading;
pub mod saved;
pub mod text_stream;
pub mod time;
pub mod types;

pub use compression::Compression;
pub use descriptor::Descriptor;
pub use digest::{Digest, Hasher};
pub use manifest::Manifest;
pub use name::ImageName;
pub use part::Part;
pub use platform::Platform;
pub use platform_request::PlatformRequest;

/// More layers than any engine can mount (overlayfs stops at 500, Docker at 127); a manifest with
/// more is an attack on whoever allocates for it.
pub const MOST_LAYERS: usize = 1_000;
