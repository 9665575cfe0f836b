//! Stores that keep manifests, configs and layers by their digest: a repository of a registry, an OCI image layout.
//!
//! What it refuses: manifests and configs that differ from their descriptors. [`Lenient`] is the view of a store for
//! code that reports what is wrong with an image, and so reads on where a move would stop.

use bytes::Bytes;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::document::{IndexDocument, ManifestDocument};
use occystrap_base::oci::{Descriptor, Digest, MOST_LAYERS, Manifest, json, reading, types};
use occystrap_layer::image::Content;

/// How deep indexes may be nested. An index of indexes is legal; deeper nesting is an attack.
pub const DEEPEST: usize = 3;

/// Manifests of one index. Docker Hub's largest indexes list some thirty platforms and as many attestations.
pub const MOST_MANIFESTS: usize = 1_000;

/// Bytes of the manifests and configs of one index, in memory while it is moved. Sixty of each have a megabyte.
pub const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// A manifest or an index as a store returned it. Only its digest was compared.
pub struct StoredManifest {
    /// The document.
    pub manifest: Manifest,
    /// The reason why some clients refuse the answer of the registry.
    pub refused: Option<Error>,
}

/// A store that keeps manifests, configs and layers by their digest.
pub trait ContentStore {
    /// Returns the name of the store for errors.
    fn place(&self) -> &str;

    /// Returns the reference by which clients get exactly this manifest, `HOST/NAME@DIGEST`; `None` where the store
    /// is not a registry.
    fn reference(&self, _digest: Digest) -> Option<String> {
        None
    }

    /// Returns whether the media type of a manifest in the store takes precedence over the one in its descriptor.
    /// Clients of a registry go by the answer; readers of a layout go by its lists.
    fn has_own_media_types(&self) -> bool {
        false
    }

    /// Reads a manifest or an index, and compares its digest. Errors (`NotFound`) when it is not there.
    fn fetch(&self, what: &Descriptor) -> Result<StoredManifest>;

    /// Reads a small blob. Its digest is compared only where the store does so anyway. `called` names it in errors.
    fn stored_blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes>;

    /// Returns where the bytes of a layer are. A registry is not asked.
    fn content(&self, digest: Digest) -> Result<Content>;

    /// Returns whether a blob is there. Called for layers whose descriptor has URLs.
    fn has(&self, what: &Descriptor) -> Result<bool>;

    /// Reads a manifest or an index, and compares digest, size and media type.
    fn manifest(&self, what: &Descriptor) -> Result<Manifest> {
        let manifest = self.fetch(what)?.manifest;
        self.check_size(&manifest, what)?;
        manifest.check_media_type(what, self.place())?;
        Ok(manifest)
    }

    /// Reads a small blob, and compares its digest. `called` names it in errors.
    fn blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes> {
        let bytes = self.stored_blob(what, called, limit)?;
        let found = Digest::of(&bytes);
        if found != what.digest {
            let what_of = format!("{}: digest of the {called}", self.place());
            return Err(Error::mismatch(what_of, what.digest, found));
        }
        Ok(bytes)
    }

    /// Compares the size of a manifest with its descriptor.
    fn check_size(&self, manifest: &Manifest, what: &Descriptor) -> Result<()> {
        let place = self.reference(what.digest).unwrap_or_else(|| self.place().to_owned());
        manifest.check_size(what.size, &place)
    }
}

/// A store for views: it returns a config whatever its digest, and a manifest of another media type where the store's
/// own media types count. The view reports these differences.
pub struct Lenient<'a>(pub &'a dyn ContentStore);

impl ContentStore for Lenient<'_> {
    fn place(&self) -> &str {
        self.0.place()
    }

    fn reference(&self, digest: Digest) -> Option<String> {
        self.0.reference(digest)
    }

    fn has_own_media_types(&self) -> bool {
        self.0.has_own_media_types()
    }

    fn fetch(&self, what: &Descriptor) -> Result<StoredManifest> {
        self.0.fetch(what)
    }

    fn stored_blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes> {
        self.0.stored_blob(what, called, limit)
    }

    fn content(&self, digest: Digest) -> Result<Content> {
        self.0.content(digest)
    }

    fn has(&self, what: &Descriptor) -> Result<bool> {
        self.0.has(what)
    }

    fn manifest(&self, what: &Descriptor) -> Result<Manifest> {
        let manifest = self.fetch(what)?.manifest;
        self.check_size(&manifest, what)?;
        if !self.has_own_media_types() {
            manifest.check_media_type(what, self.place())?;
        }
        Ok(manifest)
    }

    fn blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes> {
        self.stored_blob(what, called, limit)
    }
}

/// Parses the manifest of an image or an artifact. Errors when it is neither, or lists more than [`MOST_LAYERS`]
/// layers.
pub fn parse(manifest: &Manifest, place: &str) -> Result<ManifestDocument> {
    let digest = manifest.digest;
    types::manifest(&manifest.bytes)
        .map_err(|wrong| wrong.refused(place, &format!("the manifest {digest}")))?;
    let parsed = json::parse::<ManifestDocument>(&manifest.bytes).map_err(|cause| {
        Error::source(format!("{place}: the manifest {digest} is not one of an image: {cause}"))
    })?;
    if parsed.layers().len() > MOST_LAYERS {
        let what = format!("{place}: number of layers");
        return Err(Error::mismatch(what, format!("at most {MOST_LAYERS}"), parsed.layers().len()));
    }
    Ok(parsed)
}

/// Parses an index. Errors when it is not an index, or can be read in two ways.
pub fn parse_index(bytes: &[u8], place: &str) -> Result<IndexDocument> {
    reading::manifest(bytes).map_err(|why| reading::refused(place, "the image index", &why))?;
    types::manifest(bytes).map_err(|wrong| wrong.refused(place, "the image index"))?;
    json::parse(bytes)
        .map_err(|cause| Error::source(format!("{place}: not an image index: {cause}")))
}
