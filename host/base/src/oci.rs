//! OCI and Docker documents, read and written byte for byte: names, digests, platforms, configs, manifests.

pub mod artifact;
mod compression;
pub mod config;
pub mod config_type;
pub mod digest;
pub mod document;
pub mod json;
pub mod layout;
pub mod manifest;
pub mod name;
pub mod platform;
pub mod platform_part;
pub mod platform_request;
pub mod raw_object;
pub mod reading;
pub mod text_stream;
pub mod time;
pub mod types;

pub use compression::Compression;
pub use digest::{Descriptor, Digest, Hasher};
pub use manifest::Manifest;
pub use name::ImageName;
pub use platform::Platform;
pub use platform_part::PlatformPart;
pub use platform_request::PlatformRequest;
pub use raw_object::RawObject;

/// Most layers of an image. Container engines mount fewer (overlayfs stops at 500, Docker at 127). A manifest with more
/// layers is an attack on the memory of its reader.
pub const MOST_LAYERS: usize = 1_000;
