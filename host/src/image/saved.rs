//! What files are called where images are kept as `docker save` does (image specification v1.2 of
//! Docker's), and in the directories of 0.4.17, which have the same form.

/// What lists the images of an archive, or names the image of a directory.
pub const LIST: &str = "manifest.json";

/// What lists the images of a directory: `{repository: {tag: list}}`.
pub const CATALOG: &str = "catalog.json";
