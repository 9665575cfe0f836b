//! Everything that an image of a mirror consists of, by its documents. Layers are not fetched.
//!
//! What it refuses: layers that the source itself does not have, because the other side cannot fetch them.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use crate::mirror::exported::document::{ExportedObject, ExportedRole};
use crate::mirror::referrers;
use crate::mirror::services::Services;
use crate::pipeline;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Descriptor, Digest, Manifest};
use occystrap_images::source::Source;
use occystrap_layer::image::{Content, Image, Whole};
use occystrap_mirror::document::Platforms;
use occystrap_mirror::expand::MirrorItem;
use occystrap_net::context::Blocking;
use occystrap_net::registry::{Referrer, Repository};
use occystrap_net::uri::Uri;

/// What an image consists of.
pub struct Collected {
    /// Digest of its manifest or index.
    pub root: Digest,
    /// Everything, each object once: referrers, images, indexes.
    pub objects: Vec<ExportedObject>,
    /// The bytes of manifests and configs.
    pub documents: Vec<(Digest, Bytes)>,
    /// The layers, and where they are.
    pub layers: Vec<(Descriptor, Repository)>,
    /// What refers to it.
    pub referrers: Vec<Referrer>,
}

impl Collected {
    /// Returns a digest over everything that the image consists of.
    #[must_use]
    pub fn content(&self) -> Digest {
        let mut lines: Vec<String> =
            self.objects.iter().map(|object| object.digest.to_string()).collect();
        lines.extend(self.referrers.iter().map(|one| format!("{} {}", one.subject, one.digest)));
        lines.sort_unstable();
        Digest::of(format!("{}\n{}", self.root, lines.join("\n")).as_bytes())
    }
}

/// Reads manifests and configs of an image, with the platforms and the referrers that the file of the mirror wants.
pub fn collect(item: &MirrorItem<'_>, services: &Services<'_>) -> Result<Collected> {
    let context = services.context.clone().with_own_warnings();
    let mut session = services.session.clone();
    let settings = &item.entry.settings;
    let uri = Uri::parse(&format!("registry://{}", item.source))?;
    let wholes = match &settings.platforms {
        Platforms::Listed(listed) => match listed.as_slice() {
            [one] => {
                session = session.platform(one.clone());
                let images = source(&uri, &session, services)?.open(&context)?.into_iter();
                images.map(|image| Whole::Image(Box::new(image))).collect()
            }
            several => {
                let wanted: Vec<_> = several.iter().map(|one| one.platform()).collect();
                source(&uri, &session, services)?.open_platforms(&wanted, &context)?
            }
        },
        Platforms::All => source(&uri, &session, services)?.open_wholes(&context)?,
    };
    let source = source(&uri, &session, services)?;
    let mut collector = Collector::default();
    let mut root = None;
    for whole in &wholes {
        root = collector.whole(whole)?;
    }
    let Some(root) = root else {
        return Err(Error::source(format!("{}: has no manifest", item.source)));
    };
    let mut found = Vec::new();
    if let (Some(wanted), Some(repository)) =
        (referrers::wanted(item, services), source.repository(&context)?)
    {
        let repository = Blocking::new(repository, &context);
        let subjects: Vec<Digest> = collector.manifests().collect();
        let listed = repository.wait(repository.find_referrers(&subjects, &wanted))?;
        let bytes = AtomicU64::new(0);
        for referrer in listed {
            let name = item.source.name();
            let opened =
                pipeline::referrers::open(&source, &wanted, &referrer, &name, &bytes, &context)?;
            if let Some(whole) = opened {
                collector.whole(&whole)?;
                found.push(referrer);
            }
        }
    }
    for warning in context.warnings.lines() {
        tracing::warn!("{warning}");
    }
    let Collector { objects, documents, layers, .. } = collector;
    Ok(Collected { root, objects, documents, layers, referrers: found })
}

fn source(uri: &Uri, session: &crate::Session, services: &Services<'_>) -> Result<Source> {
    session.source_of(uri, &services.clients)
}

#[derive(Default)]
struct Collector {
    seen: BTreeSet<Digest>,
    objects: Vec<ExportedObject>,
    documents: Vec<(Digest, Bytes)>,
    layers: Vec<(Descriptor, Repository)>,
}

impl Collector {
    /// Adds an image or an index with all that it lists. Returns the digest of its manifest or index.
    fn whole(&mut self, whole: &Whole) -> Result<Option<Digest>> {
        match whole {
            Whole::Image(image) => self.image(image),
            Whole::Family(family) => {
                for member in &family.members {
                    self.image(&member.image)?;
                }
                let indexes = family.indexes.iter().map(|index| self.manifest(&index.manifest));
                Ok(indexes.last())
            }
        }
    }

    fn image(&mut self, image: &Image) -> Result<Option<Digest>> {
        let Some(manifest) = &image.manifest else { return Ok(None) };
        for layer in &image.layers {
            let what = layer.descriptor();
            let from = match &layer.content {
                Content::Registry(from) => from.clone(),
                Content::File(_) | Content::Elsewhere(_) => {
                    let message =
                        format!("{}: the source does not have the layer itself", layer.place);
                    return Err(Error::source(message).hint(
                        "an export cannot carry it; 'occystrap process --foreign-layers fetch' makes an image that has it",
                    ));
                }
            };
            if self.object(ExportedRole::Layer, what.digest, what.size, None) {
                self.layers.push((what, from));
            }
        }
        self.document(ExportedRole::Config, image.id, &image.config, None);
        Ok(Some(self.manifest(manifest)))
    }

    fn manifest(&mut self, manifest: &Manifest) -> Digest {
        let media_type = Some(manifest.media_type.clone());
        self.document(ExportedRole::Manifest, manifest.digest, &manifest.bytes, media_type);
        manifest.digest
    }

    /// Adds a document. It stays one where it is a layer as well, such as the empty config of an artifact: an import reads
    /// documents from the export, also where an earlier export carried the same bytes.
    fn document(
        &mut self,
        role: ExportedRole,
        digest: Digest,
        bytes: &Bytes,
        media_type: Option<String>,
    ) {
        if self.documents.iter().any(|(known, _)| *known == digest) {
            return;
        }
        self.objects.retain(|object| object.digest != digest);
        self.layers.retain(|(layer, _)| layer.digest != digest);
        self.seen.remove(&digest);
        self.object(role, digest, bytes.len() as u64, media_type);
        self.documents.push((digest, bytes.clone()));
    }

    /// Adds an object. Returns whether it is new.
    fn object(
        &mut self,
        role: ExportedRole,
        digest: Digest,
        size: u64,
        media_type: Option<String>,
    ) -> bool {
        let is_new = self.seen.insert(digest);
        if is_new {
            self.objects.push(ExportedObject { role, digest, size, media_type, carried_to: None });
        }
        is_new
    }

    fn manifests(&self) -> impl Iterator<Item = Digest> {
        let manifests = self.objects.iter().filter(|object| object.role == ExportedRole::Manifest);
        manifests.map(|object| object.digest)
    }
}
