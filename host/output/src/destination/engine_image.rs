//! A container engine and one image name in it, as seen by code that waits: a plugin's host calls,
//! and the checks.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::archive::{Archive, Contents};
use super::given_name::GivenName;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::oci::{Digest, Hasher, ImageName};
use occystrap_base::terminal::progress::{LayerProgress, Progress};
use occystrap_base::warnings::Warnings;
use occystrap_images::source::docker;
use occystrap_net::context::{Blocking, Context};
use occystrap_net::docker::{Engine, Inspected, Load};

/// How much of a layer is sent at once.
const PIECE: usize = 256 * 1024;

/// Bytes of an archive that wait for the engine at the most: two pieces on their way to the connection,
/// one that is held back and one that is being written, of [`occystrap_base::limits::PAD`] each.
const ON_ITS_WAY: usize = 4 * occystrap_base::limits::PAD as usize;

/// An engine, and the one name that the user gave. Cheap to clone.
#[derive(Clone)]
pub struct EngineImage {
    engine: Blocking<Engine>,
    image: ImageName,
    cancel: Cancel,
    progress: Progress,
    warnings: Warnings,
}

impl EngineImage {
    /// An image name in an engine.
    #[must_use]
    pub fn new(engine: Engine, image: ImageName, context: &Context) -> Self {
        let (engine, cancel) = (Blocking::new(engine, context), context.cancel.clone());
        let (progress, warnings) = (context.progress.clone(), context.warnings.clone());
        Self { engine, image, cancel, progress, warnings }
    }

    /// The name.
    #[must_use]
    pub fn image(&self) -> &ImageName {
        &self.image
    }

    /// The engine's address.
    #[must_use]
    pub fn place(&self) -> &str {
        self.engine.place()
    }

    /// What the engine says of the image; `None` when it has none of that name.
    pub fn inspect(&self) -> Result<Option<EngineImageInfo>> {
        self.engine.wait(async {
            let Some(image) = self.engine.inspect(&self.image.to_string()).await? else {
                return Ok(None);
            };
            let id_is_manifest = self.engine.about().await?.containerd_store;
            let Inspected { id, diff_ids, size, .. } = image;
            Ok(Some(EngineImageInfo { id, id_is_manifest, diff_ids, size }))
        })
    }

    /// Whether an image that the engine has is not the one with this config and these layers.
    async fn is_another(&self, old: &Inspected, config: Digest, diff_ids: &[Digest]) -> bool {
        // In containerd's store an ID says nothing of the config.
        old.diff_ids != diff_ids
            || (old.id != config
                && self.engine.about().await.is_ok_and(|about| !about.containerd_store))
    }

    /// The error for an engine that has no image of that name.
    #[must_use]
    pub fn absent(&self) -> Error {
        self.engine.absent(&self.image.to_string())
    }

    /// Export the image of about so many bytes and hash it; `None` when the engine has none of that
    /// name.
    pub fn export(&self, about: u64) -> Result<Option<Exported>> {
        let (name, progress) = (self.image.to_string(), self.progress.stream("verify", about));
        match docker::hash(&self.engine, &name, progress, &self.cancel) {
            Ok((config, layers)) => Ok(Some(Exported { config, layers })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Start to load an archive.
    #[must_use]
    pub fn load(&self) -> ArchiveUpload {
        let load = self.engine.load(self.engine.runtime());
        ArchiveUpload { named: self.clone(), load, archive: Archive::new(), size: 0 }
    }
}

/// An archive on its way into an engine. Dropped before its end, it loads nothing.
pub struct ArchiveUpload {
    named: EngineImage,
    load: Load,
    archive: Archive,
    /// Bytes so far.
    size: u64,
}

/// A whole archive that the engine has, but for its last bytes.
pub struct CompleteUpload {
    named: EngineImage,
    load: Load,
    size: u64,
    config: Digest,
    diff_ids: Vec<Digest>,
}

/// What an engine says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImageInfo {
    /// Of its config, or of a manifest.
    pub id: Digest,
    /// Whether the ID is that of a manifest, as engines with containerd's image store have it.
    pub id_is_manifest: bool,
    /// Of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// Bytes of the uncompressed layers, as the engine counts.
    pub size: u64,
}

/// What an image in an engine was found to be, when it was exported and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Of the config.
    pub config: Digest,
    /// Of the uncompressed layers, lowest first.
    pub layers: Vec<Digest>,
}

impl ArchiveUpload {
    /// Bytes of memory that it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        let sent = usize::try_from(self.size).unwrap_or(usize::MAX);
        size_of::<Self>() + self.archive.held() + sent.min(ON_ITS_WAY)
    }

    /// Append bytes of the plugin's own.
    pub fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.archive.framing(&bytes)?;
        self.send(bytes.into())
    }

    /// Append part of a file, and compare it with its digest.
    pub fn splice(
        &mut self,
        section: &Section,
        digest: Digest,
        place: &str,
        progress: &LayerProgress,
    ) -> Result<()> {
        progress.begin("load", section.size);
        self.archive.blob(digest, section.size)?;
        let mut hasher = Hasher::default();
        let mut done = 0;
        while done < section.size {
            self.named.cancel.check()?;
            let wanted = (section.size - done).min(PIECE as u64) as usize;
            let mut piece = vec![0; wanted];
            read(&section.file, &mut piece, section.offset + done, place)?;
            hasher.update(&piece);
            done += wanted as u64;
            self.send(piece.into())?;
            progress.add(wanted as u64);
        }
        let found = hasher.finish();
        match found == digest {
            true => Ok(()),
            false => Err(Error::mismatch(format!("{place}: digest of the layer"), digest, found)),
        }
    }

    /// Append a small blob.
    pub fn splice_bytes(&mut self, bytes: Bytes, digest: Digest) -> Result<()> {
        self.archive.blob(digest, bytes.len() as u64)?;
        self.send(bytes)
    }

    /// The archive is whole: what it holds. Errors when that is not one image under the name that
    /// was granted.
    pub fn finish(self) -> Result<(Contents, CompleteUpload)> {
        let Self { named, load, archive, size } = self;
        let contents = archive.finish(&named.image)?;
        let diff_ids = contents.layers.iter().map(|(diff_id, _)| *diff_id).collect();
        let config = contents.config.0;
        Ok((contents, CompleteUpload { named, load, size, config, diff_ids }))
    }

    fn send(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        self.named.engine.wait(self.load.write(bytes))
    }
}

impl CompleteUpload {
    /// Bytes of the archive.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Let the engine load it, under the name that was asked for. Errors when it says that it did
    /// not; whether it has it is not asked here.
    pub fn commit(self) -> Result<()> {
        let Self { named, load, config, diff_ids, .. } = self;
        named.engine.wait(async {
            let _waiting = named.progress.waiting("engine loads");
            let name = GivenName::before(&named.engine, &named.image).await;
            // The verification reports what cannot be looked at.
            let old = named.engine.inspect(&named.image.to_string()).await.ok().flatten();
            let loaded = load.finish().await.map_err(|error| too_deep(error, diff_ids.len()))?;
            tracing::debug!(names = ?loaded.names, "loaded");
            if let Some(old) = old
                && named.is_another(&old, config, &diff_ids).await
            {
                let (image, place) = (&named.image, named.place());
                let message =
                    format!("'{image}' was another image in {place}, with the ID {}", old.id);
                named.warnings.say(&message);
            }
            name.settle(&loaded, config, &diff_ids).await
        })
    }
}

/// Docker mounts all layers of a container at once, and takes no image with more than 125 of them.
fn too_deep(error: Error, layers: usize) -> Error {
    if !error.to_string().contains("max depth exceeded") {
        return error;
    }
    error.hint(format!(
        "the image has {layers} layers, Docker takes at most 125: build it with fewer, or load it into Podman"
    ))
}

fn read(file: &File, piece: &mut [u8], at: u64, place: &str) -> Result<()> {
    file.read_exact_at(piece, at).map_err(|cause| Error::io(Kind::Source, "read", place, &cause))
}
