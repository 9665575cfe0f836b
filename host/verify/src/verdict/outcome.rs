//! The verdict on an image: verified, FAILED or UNCONFIRMED.
//!
//! An image is FAILED if one of its objects is wrong or missing. It is UNCONFIRMED if no object is wrong, and one of
//! them could not be checked. An error in a check means the latter if it comes from the network, from a login, or from
//! content that another process changed at every reading (`Error::is_unconfirmed` in `host/base/src/error.rs`).

use std::collections::BTreeMap;

use super::flaw::Status;
use super::object::Verification;
use occystrap_base::oci::Digest;

/// The verdict on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything was checked and nothing is wrong.
    Verified,
    /// Something is wrong.
    Failed,
    /// Nothing is wrong, but something could not be checked.
    Unconfirmed,
}

/// Verdicts by the digests of manifests.
pub type Outcomes = BTreeMap<Digest, Outcome>;

impl Verification {
    /// Returns the verdict. An image of which nothing was checked is UNCONFIRMED.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let has =
            |status: fn(Status) -> bool| self.objects.iter().any(|object| status(object.status));
        if has(Status::is_bad) {
            Outcome::Failed
        } else if self.objects.is_empty() || has(|status| status == Status::Unchecked) {
            Outcome::Unconfirmed
        } else {
            Outcome::Verified
        }
    }
}
