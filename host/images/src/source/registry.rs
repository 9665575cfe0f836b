//! `registry://`: an image by tag or digest, for one platform.

use bytes::Bytes;

use super::content_store::{self, Shelf, narrow};
use super::platforms::Alone;
use occystrap_base::error::{Kind, Result};
use occystrap_base::oci::{Descriptor, Digest, Manifest, Platform};
use occystrap_layer::image::{Content, Image, Layer, Whole};
use occystrap_net::context::Context;
use occystrap_net::registry::{Client, Fetched, Reference, Repository};

/// Fetch manifest and config of an image.
pub fn open(
    reference: &Reference,
    client: &Client,
    platform: &Platform,
    context: &Context,
) -> Result<Image> {
    let shelf = Published::open(reference, client, context)?;
    narrow(&shelf, shelf.root(reference)?, None, platform, Alone::IfUnsaid, reference.name())
}

/// Fetch manifests and configs of every platform of an image.
pub fn open_whole(reference: &Reference, client: &Client, context: &Context) -> Result<Whole> {
    let shelf = Published::open(reference, client, context)?;
    content_store::whole(&shelf, shelf.root(reference)?, reference.name())
}

/// A repository, for a thread that waits.
pub struct Published {
    repository: Repository,
    place: String,
    runtime: tokio::runtime::Handle,
}

impl Published {
    /// A repository of this run.
    pub fn open(reference: &Reference, client: &Client, context: &Context) -> Result<Self> {
        let repository = client.repository(reference, context.counters.clone())?;
        let place = repository.place();
        Ok(Self { repository, place, runtime: context.runtime.clone() })
    }

    /// The repository itself.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// A manifest of the size that was promised, whatever media type was.
    pub fn sized_manifest(&self, what: &Descriptor) -> Result<Manifest> {
        self.fetched(what).map(|fetched| fetched.manifest)
    }

    /// What the user named.
    pub fn root(&self, reference: &Reference) -> Result<Manifest> {
        self.fetched_root(reference).map(|fetched| fetched.manifest)
    }

    /// The same, with what the registry says of it.
    pub fn fetched_root(&self, reference: &Reference) -> Result<Fetched> {
        self.runtime.block_on(self.repository.fetch_manifest(&reference.target()))
    }

    /// A manifest by its digest, with what the registry says of it.
    pub fn fetched(&self, what: &Descriptor) -> Result<Fetched> {
        let digest = what.digest.to_string();
        let fetched = self.runtime.block_on(self.repository.fetch_manifest(&digest))?;
        fetched.manifest.check_size(what.size, &format!("{}@{digest}", self.place))?;
        Ok(fetched)
    }
}

impl Shelf for Published {
    fn place(&self) -> &str {
        &self.place
    }

    fn manifest(&self, what: &Descriptor) -> Result<Manifest> {
        let fetched = self.fetched(what)?;
        fetched.manifest.check_media_type(what, &self.place)?;
        Ok(fetched.manifest)
    }

    fn blob(&self, what: &Descriptor, _called: &str, limit: u64) -> Result<Bytes> {
        self.runtime.block_on(self.repository.blob_bytes(what, limit))
    }

    fn has(&self, what: &Descriptor) -> Result<bool> {
        let found = self.runtime.block_on(self.repository.find_blob(what.digest, Some(what.size)));
        match found {
            Ok(found) => Ok(found.is_some()),
            // Some registries deny what they do not have.
            Err(error) if error.kind() == Kind::Auth => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn layer(&self, what: Descriptor, diff_id: Digest, called: &str) -> Result<Layer> {
        Ok(Layer {
            place: format!("{}: {called} ({})", self.place, what.digest.short()),
            diff_id,
            opaque: false,
            digest: Some(what.digest),
            size: what.size,
            media_type: what.media_type,
            content: Content::Registry(self.repository.clone()),
        })
    }
}
