//! An export: what `mirror export` writes, and `mirror import` reads.
//!
//! ```text
//! DIR/oci-layout, DIR/index.json, DIR/blobs/sha256/...    an OCI image layout, for any reader
//! DIR/mirror/FILE                                         the file of the mirror
//! DIR/receipts.jsonl                                      a line for each image: every object of it
//! DIR/SHA256SUMS                                          the digest of every file: sha256sum -c
//! DIR/export.json                                         the document; it is written last
//! ```
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`document`] | the document, and the receipts of images |
//! | [`sums`] | the list of digests |
//! | [`receipts`] | the receipts of an export that is there, one at a time |
//! | [`check`] | whether an export is complete and undamaged |
//! | [`loaded`] | an export as the source of images |

pub mod check;
pub mod document;
pub mod loaded;
pub mod receipts;
pub mod sums;

/// The document, which is written last.
pub const DOCUMENT: &str = "export.json";

/// The receipts of all images.
pub const RECEIPTS: &str = "receipts.jsonl";

/// The list of digests.
pub const SUMS: &str = "SHA256SUMS";

/// The folder with the file of the mirror.
pub const FILE_FOLDER: &str = "mirror";

/// Images of an export at most. The index of a layout may have 16 MiB, which 60,000 images with long names take.
pub const MOST_IMAGES: usize = 50_000;
