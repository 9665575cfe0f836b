//! Image manifests: which form each layer takes, and the document that names them.
//!
//! An image that nothing changed keeps its manifest, byte for byte, and so its digest. Any other
//! gets a new one: Docker's schema 2 as it came, or where the source says nothing, because every
//! registry takes it; OCI's where the source is OCI's or a layer is zstd, which Docker's has no
//! media type for.

mod document;
mod form;
mod plan;

pub use document::Document;
pub use form::Compression;
pub use plan::Plan;
