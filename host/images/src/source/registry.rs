//! `registry://`: an image by tag or digest, for one platform.

use bytes::Bytes;

use super::content_store::{ContentStore, StoredManifest};
use super::platforms::Alone;
use super::resolve::{narrow, some_platforms, whole};
use occystrap_base::error::{Kind, Result};
use occystrap_base::oci::{Descriptor, Digest, Platform};
use occystrap_layer::image::{Content, Image, Whole};
use occystrap_net::context::{Blocking, Context};
use occystrap_net::registry::{FetchedManifest, Reference, RegistryClient, Repository};

/// Fetches manifest and config of an image.
pub fn open(
    reference: &Reference,
    client: &RegistryClient,
    platform: &Platform,
    context: &Context,
) -> Result<Image> {
    let store = RepositoryStore::open(reference, client, context)?;
    narrow(
        &store,
        store.root(reference)?.manifest,
        None,
        platform,
        Alone::IfUnsaid,
        reference.name(),
    )
}

/// Fetches manifests and configs of every platform of an image.
pub fn open_whole(
    reference: &Reference,
    client: &RegistryClient,
    context: &Context,
) -> Result<Whole> {
    let store = RepositoryStore::open(reference, client, context)?;
    whole(&store, store.root(reference)?.manifest, reference.name())
}

/// Fetches manifests and configs of these platforms of an image.
pub fn open_platforms(
    reference: &Reference,
    client: &RegistryClient,
    wanted: &[Platform],
    context: &Context,
) -> Result<Whole> {
    let store = RepositoryStore::open(reference, client, context)?;
    some_platforms(&store, store.root(reference)?.manifest, wanted, reference.name())
}

/// A repository as a content store, with calls that block.
pub struct RepositoryStore {
    repository: Blocking<Repository>,
    place: String,
}

impl RepositoryStore {
    /// Returns the store of the repository that a reference names. No request is made.
    pub fn open(reference: &Reference, client: &RegistryClient, context: &Context) -> Result<Self> {
        let repository = client.repository(reference, context.counters.clone())?;
        let place = repository.place();
        Ok(Self { repository: Blocking::new(repository, context), place })
    }

    /// Fetches the manifest that the user named, with the other parts of the registry's answer.
    pub fn root(&self, reference: &Reference) -> Result<FetchedManifest> {
        self.repository.wait(self.repository.fetch_manifest(&reference.target()))
    }
}

impl ContentStore for RepositoryStore {
    fn place(&self) -> &str {
        &self.place
    }

    fn reference(&self, digest: Digest) -> Option<String> {
        Some(format!("{}@{digest}", self.place))
    }

    fn has_own_media_types(&self) -> bool {
        true
    }

    fn fetch(&self, what: &Descriptor) -> Result<StoredManifest> {
        let digest = what.digest.to_string();
        let fetched = self.repository.wait(self.repository.fetch_manifest(&digest))?;
        let refused = self.repository.check_headers(&digest, &fetched).err();
        Ok(StoredManifest { manifest: fetched.manifest, refused })
    }

    fn stored_blob(&self, what: &Descriptor, _called: &str, limit: u64) -> Result<Bytes> {
        self.repository.wait(self.repository.blob_bytes(what, limit))
    }

    fn content(&self, _digest: Digest) -> Result<Content> {
        Ok(Content::Registry(Repository::clone(&self.repository)))
    }

    fn has(&self, what: &Descriptor) -> Result<bool> {
        let found = self.repository.wait(self.repository.find_blob(what.digest, Some(what.size)));
        match found {
            Ok(found) => Ok(found.is_some()),
            // Some registries answer "denied" for a blob that they do not have.
            Err(error) if error.kind() == Kind::Auth => Ok(false),
            Err(error) => Err(error),
        }
    }
}
