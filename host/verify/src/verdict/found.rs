//! What is said of an image that was verified without a receipt.

use super::object::Verification;
use occystrap_base::oci::{ImageName, Part};

/// An image and what its verification found.
pub struct Found {
    /// What it is called.
    pub name: ImageName,
    /// Which part of that.
    pub part: Part,
    /// What it is for, where that is known.
    pub platform: Option<String>,
    /// How many layers its manifest lists.
    pub layers: usize,
    /// Bytes of its config and layers.
    pub bytes: u64,
    /// What was found.
    pub verification: Verification,
}
