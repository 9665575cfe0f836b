//! A place that keeps things by their digest, as verification sees it.

use crate::verdict::claims::Claims;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::{Descriptor, Digest, Manifest, Platform};
use occystrap_images::level::Level;
use occystrap_output::receipt::{Expectation, Place};

/// A place that keeps things by their digest: a repository, or an OCI image layout.
pub trait Store {
    /// A manifest or index, its bytes compared with what was promised of them. `None` when it is
    /// not there.
    fn manifest(&self, what: &Listed) -> Result<Option<Manifest>>;

    /// Returns why clients refuse a manifest that has the promised bytes; asked after [`Self::manifest`].
    fn refused(&self, _what: &Listed) -> Option<Error> {
        None
    }

    /// Where a blob is expected.
    fn blob(&self, digest: Digest) -> Place;

    /// Where a manifest is expected.
    fn place(&self, what: &Listed) -> Place;

    /// How messages name a manifest.
    fn display(&self, what: &Listed) -> String;

    /// What the config among these says of the layers.
    fn claims(&self, expectations: &[Expectation]) -> Claims;

    /// Look at everything, and whether it is what the config says.
    fn look(
        &self,
        expectations: &[Expectation],
        claims: &Claims,
        level: Level,
    ) -> Result<Vec<CheckedObject>>;
}

/// A manifest that somebody names.
#[derive(Debug, Clone)]
pub struct Listed {
    /// A tag, or its digest.
    pub reference: String,
    /// What an index promises of it; nothing where it is named by a tag.
    pub promised: Option<Descriptor>,
    /// What the index says that it is for.
    pub platform: Option<Platform>,
}

impl Listed {
    /// An entry of an index. Errors when its digest is none.
    pub fn entry(entry: &RawDescriptor, place: &str) -> Result<Self> {
        let promised = entry.promised(place)?;
        let platform = entry.platform();
        Ok(Self { reference: promised.digest.to_string(), promised: Some(promised), platform })
    }
}
