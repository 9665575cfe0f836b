//! An export as the source of images.

use std::collections::HashMap;
use std::sync::Arc;

use super::receipts::Receipts;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::ImageName;
use occystrap_images::source::Source;
use occystrap_images::source::exported::ExportedLayout;
use occystrap_images::source::held::HeldImage;
use occystrap_net::registry::Referrer;
use occystrap_net::uri::Uri;

/// An export from which images are loaded.
pub struct LoadedExport {
    /// URI of the layout, as other commands read it.
    pub uri: Uri,
    /// The layout.
    pub layout: Arc<ExportedLayout>,
    /// The receipts.
    pub receipts: Receipts,
    /// The numbers of the images, by the names of their destinations (`MirrorDestination::name`).
    pub numbers: HashMap<String, usize>,
}

impl LoadedExport {
    /// Returns the source of the image that goes to a destination.
    pub fn source(&self, destination: &str) -> Result<Source> {
        let number = self
            .numbers
            .get(destination)
            .ok_or_else(|| Error::source(format!("the export has no image for '{destination}'")))?;
        let receipt = self.receipts.get(*number)?;
        let name = ImageName { repository: receipt.repository.clone(), tag: receipt.tag.clone() };
        let mut uri = self.uri.clone();
        uri.set_default("image", &name.to_string());
        let image = HeldImage {
            store: Arc::clone(&self.layout) as Arc<_>,
            name,
            root: receipt.digest,
            manifests: receipt.manifests().map(|what| (what.digest, what)).collect(),
            referrers: receipt.referrers.iter().map(Referrer::from).collect(),
            keeps_plain: false,
        };
        Ok(Source::held(Arc::new(image), uri.display(), Some(uri)))
    }
}
