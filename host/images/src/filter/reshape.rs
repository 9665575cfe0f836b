//! Filters that work on an image as a whole: they replace, add or remove layers, or change the config alone.
//!
//! Such a filter has its own place in the chain. The filters before it have finished, and those after it see the image
//! that it made.

use super::config::Edits;
use super::manifest::{self, ManifestParts};
use super::rewrite::{MemberVerdict, Pass};
use super::{Applied, FilterOutcome};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::raw_object::list;
use occystrap_base::oci::{Digest, RawObject};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::Member;
use occystrap_net::context::Context;

/// A filter that works on an image as a whole.
pub trait Reshape: Send + Sync {
    /// Returns whether it reads layers. One that does not read them changes the config alone.
    fn reads_layers(&self) -> bool {
        true
    }

    /// Returns the new image.
    fn reshape(&self, image: &Image, context: &Context) -> Result<Reshaped>;
}

/// An image that was reshaped.
pub struct Reshaped {
    /// The image.
    pub image: Image,
    /// For each of its layers, the index that the layer had before; `None` for a new layer.
    pub from: Vec<Option<usize>>,
}

impl Reshaped {
    /// Returns an image that stayed as it is.
    #[must_use]
    pub fn same(image: &Image) -> Self {
        Self { image: image.clone(), from: (0..image.layers.len()).map(Some).collect() }
    }
}

/// Returns an image with other layers and another config, which must fit each other. An image whose config says
/// the same as before stays as it is.
#[must_use]
pub fn with(image: &Image, layers: Vec<Layer>, config: String, context: &Context) -> Image {
    let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
    if read(config.as_bytes()) == read(&image.config) {
        // Only its spaces differ, and it has the same diff-ids.
        return image.clone();
    }
    let id = Digest::of(config.as_bytes());
    tracing::info!("{}: filtered, now {id}", image.name);
    let parts = ManifestParts { config: config.as_bytes(), layers: &layers, edits: None };
    let manifest = manifest::of(image, &parts, context);
    Image { config: config.into(), id, layers, manifest, note: None, ..image.clone() }
}

/// A config that is being changed. Everything that is not replaced keeps its bytes.
pub struct ConfigEdit<'a> {
    object: RawObject<'a>,
    place: String,
}

impl<'a> ConfigEdit<'a> {
    /// Parses the config of an image. Errors when it is not an object, or has a key twice.
    pub fn of(image: &'a Image) -> Result<Self> {
        let place = format!("'{}'", image.name);
        let parsed = match std::str::from_utf8(&image.config) {
            Ok(text) => RawObject::parse(text).map_err(|cause| refused(&place, &cause)),
            Err(cause) => Err(refused(&place, &cause)),
        };
        Ok(Self { object: parsed?, place })
    }

    /// Lets `change` change the config. Errors, which name the image, as `change` does.
    pub fn change(
        &mut self,
        change: impl FnOnce(&mut RawObject<'a>) -> serde_json::Result<()>,
    ) -> Result<()> {
        change(&mut self.object).map_err(|cause| refused(&self.place, &cause))
    }

    /// Replaces the digests of the layers, the lowest first.
    pub fn diff_ids(&mut self, layers: &[Layer]) -> Result<()> {
        let digests: Vec<String> =
            layers.iter().map(|layer| format!("\"{}\"", layer.diff_id)).collect();
        self.change(|object| {
            let mut rootfs = object.object("rootfs")?;
            rootfs.set("diff_ids", list(&digests));
            let rootfs = rootfs.render();
            object.set("rootfs", rootfs);
            Ok(())
        })
    }

    /// Returns the config as text.
    #[must_use]
    pub fn finish(self) -> String {
        self.object.render()
    }
}

fn refused(place: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::source(format!("{place}: the image config cannot be changed: {cause}"))
}

/// A filter that works on the whole image, as the passes over layers see it: it changes no member.
pub struct NoPass;

impl Applied for NoPass {
    fn pass(&self, _index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(Self)
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn edit(&self, _edits: &mut Edits) {}

    fn end(&self, _outcome: &FilterOutcome<'_>) -> Result<()> {
        Ok(())
    }
}

impl Pass for NoPass {
    fn member(&mut self, _member: &mut Member) -> Result<MemberVerdict> {
        Ok(MemberVerdict::Same)
    }
}
