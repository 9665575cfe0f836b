//! An image that was verified without a receipt.

use super::flaw::Flaw;
use super::object::{CheckedObject, Verification};
use occystrap_base::oci::{ImageName, PlatformPart};
use occystrap_images::level::Level;
use occystrap_output::receipt::Role;

/// An image without a receipt, and its verification.
pub struct Found {
    /// The name of the image.
    pub name: ImageName,
    /// Which part of that image it is.
    pub part: PlatformPart,
    /// The platform, where it is known.
    pub platform: Option<String>,
    /// The number of layers that its manifest lists.
    pub layers: usize,
    /// The size of its config and layers in bytes.
    pub bytes: u64,
    /// What was checked.
    pub verification: Verification,
}

impl Found {
    /// Returns the finding about a list that cannot be followed, or that lists nothing.
    #[must_use]
    pub fn without_image(name: ImageName, level: Level, location: String, flaw: Flaw) -> Self {
        let mut object = CheckedObject::at(location).for_role(Role::Manifest);
        object.record(flaw);
        let verification = Verification::new(level, vec![object]);
        let (part, platform, layers, bytes) = (PlatformPart::Whole, None, 0, 0);
        Self { name, part, platform, layers, bytes, verification }
    }
}
