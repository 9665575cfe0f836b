//! A request to move images: everything that was parsed and checked before the first byte is fetched.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Digest, ImageName, Platform, PlatformPart};
use occystrap_images::filter::Filters;
use occystrap_images::level::Level;
use occystrap_images::source::Source;
use occystrap_net::context::Context;
use occystrap_net::registry::WantedReferrers;
use occystrap_output::layer_cache::LayerCache;
use occystrap_output::receipt::{Bundle, Receipt, RepeatCommand};
use occystrap_output::write::target::Target;
use occystrap_verify::report::ImageReport;

/// Where the receipts of a request are kept.
pub enum ReceiptStore {
    /// Nowhere.
    None,
    /// In a file.
    File(PathBuf),
    /// Here.
    Memory(Mutex<Vec<Receipt>>),
}

impl ReceiptStore {
    /// Returns the receipts that were kept in memory.
    #[must_use]
    pub fn into_memory(self) -> Vec<Receipt> {
        match self {
            Self::Memory(kept) => kept.into_inner().unwrap_or_else(PoisonError::into_inner),
            Self::None | Self::File(_) => Vec::new(),
        }
    }
}

/// Several platforms of an image.
pub struct PlatformSelection {
    /// The platforms, at least one.
    pub wanted: Vec<Platform>,
    /// Whether a new index lists what is moved alone. Else the index keeps its bytes, and lists what is absent.
    pub rewrites_index: bool,
}

/// Request of one run: what is moved to where, and how.
pub struct Request {
    /// Where the images are.
    pub source: Source,
    /// Filters that change images or search them.
    pub filters: Filters,
    /// Record of layers that were processed earlier.
    pub layer_cache: Option<Arc<LayerCache>>,
    /// Where the images go.
    pub target: Target,
    /// How much is verified; `None` for no verification.
    pub level: Option<Level>,
    /// Whether blobs in a registry are verified before a manifest names them, so that a tag never names an image that was
    /// not verified.
    pub proves_before_tag: bool,
    /// Whether the destination gets the image under its digest alone, without a tag.
    pub is_untagged: bool,
    /// Where receipts are kept.
    pub receipts: ReceiptStore,
    /// Number of images that are moved in parallel.
    pub image_parallel: usize,
    /// Whether every platform of each image is moved, and the index that lists them.
    pub all_platforms: bool,
    /// The platforms that are moved, with the index; `None` for all or for one alone, as `all_platforms` says.
    pub platforms: Option<PlatformSelection>,
    /// Referrers that are moved with each image.
    pub referrers: Option<WantedReferrers>,
    /// Options that name files and servers, for the command that repeats the run ([`RepeatCommand::options`]).
    pub repeat_options: Vec<String>,
}

impl Request {
    /// Returns the command that repeats the move of an image. `digest` is that of the manifest or index that the source
    /// had this time. Returns `None` where no command leads to the image again.
    pub(super) fn repeat_command(&self, digest: Option<Digest>) -> Option<RepeatCommand> {
        let Self { source, target, all_platforms, repeat_options, .. } = self;
        RepeatCommand::new(source, digest, *all_platforms, target, repeat_options)
    }

    /// Keeps receipts where the request says.
    pub(super) fn write_receipts(&self, receipts: Vec<Receipt>) -> Result<()> {
        match &self.receipts {
            _ if receipts.is_empty() => Ok(()),
            ReceiptStore::None => Ok(()),
            ReceiptStore::File(path) => Bundle::new(receipts).write(path),
            ReceiptStore::Memory(kept) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = receipts;
                Ok(())
            }
        }
    }

    /// Starts the report of an image or of a part of it.
    pub(super) fn report(
        &self,
        name: &ImageName,
        part: PlatformPart,
        platform: Option<&str>,
    ) -> ImageReport {
        ImageReport::started(&self.source.display, &self.target.display, name).about(part, platform)
    }

    /// Returns the report of a run that failed before it had an image.
    pub(super) fn failed(&self, error: Error, context: &Context) -> ImageReport {
        ImageReport::failed(&self.source.display, &self.target.display, error, context)
    }
}
