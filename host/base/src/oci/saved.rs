//! What files are called where images are kept as `docker save` does (image specification v1.2 of
//! Docker's), and in the directories of 0.4.17, which have the same form.

/// What lists the images of an archive, or names the image of a directory.
pub const LIST: &str = "manifest.json";

/// What lists the images of a directory: `{repository: {tag: list}}`.
pub const CATALOG: &str = "catalog.json";

/// Bytes of a catalog that is read or written. 100,000 images with the longest names that Docker takes
/// need 81 MB of it; all readers go through it as a stream.
pub const LARGEST_CATALOG: u64 = 128 * 1024 * 1024;

/// Bytes of one string in a catalog. An image's name has at most some 400, each escaped as six.
pub const LONGEST_STRING: usize = 64 * 1024;
