//! The interface to repositories and OCI image layouts, which keep content by its digest.

use crate::verdict::claims::Claims;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::{Descriptor, Digest, Manifest, Platform};
use occystrap_images::level::Level;
use occystrap_output::receipt::{Expectation, Place};

/// A store of content by its digest: a repository, or an OCI image layout.
pub trait Store {
    /// Returns a manifest or index whose bytes were compared with the promised digest. `None` when it is not there.
    fn manifest(&self, what: &ListedManifest) -> Result<Option<Manifest>>;

    /// Returns why clients refuse a manifest that has the promised bytes. It is called after [`Self::manifest`].
    fn refused(&self, _what: &ListedManifest) -> Option<Error> {
        None
    }

    /// Returns where a blob is expected.
    fn blob(&self, digest: Digest) -> Place;

    /// Returns where a manifest is expected.
    fn place(&self, what: &ListedManifest) -> Place;

    /// Returns how messages name a manifest.
    fn display(&self, what: &ListedManifest) -> String;

    /// Returns what the config among the expectations promises about the layers.
    fn claims(&self, expectations: &[Expectation]) -> Claims;

    /// Checks all expectations, and compares the layers with what the config promises.
    fn check(
        &self,
        expectations: &[Expectation],
        claims: &Claims,
        level: Level,
    ) -> Result<Vec<CheckedObject>>;
}

/// A manifest that the user or an index names.
#[derive(Debug, Clone)]
pub struct ListedManifest {
    /// A tag, or its digest.
    pub reference: String,
    /// The promise of the index. `None` where the manifest is named by a tag.
    pub promised: Option<Descriptor>,
    /// The platform that the index gives.
    pub platform: Option<Platform>,
}

impl ListedManifest {
    /// Reads an entry of an index. Errors when its digest is malformed.
    pub fn entry(entry: &RawDescriptor, place: &str) -> Result<Self> {
        let promised = entry.promised(place)?;
        let platform = entry.platform();
        Ok(Self { reference: promised.digest.to_string(), promised: Some(promised), platform })
    }
}
