//! Image manifests: the form of each layer, and the document that lists the layers.
//!
//! An unchanged image keeps its manifest byte for byte, and so its digest. Any other image gets a new
//! manifest:
//!
//! | the source's manifest | a layer is zstd, xz or bzip2 | the new manifest |
//! | --- | --- | --- |
//! | OCI | | OCI |
//! | Docker's schema 2, or none | yes | OCI, because Docker's schema 2 has no media type for these |
//! | Docker's schema 2, or none | no | Docker's schema 2, because every registry accepts it |
//!
//! [`Document::oci`] replaces the last row: the new manifest is then an OCI manifest as well.

mod document;
mod form;
mod plan;

pub use document::Document;
pub use form::Compression;
pub use plan::Plan;
