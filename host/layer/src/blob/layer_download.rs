//! The download of a layer: from a registry, or from the URLs that its manifest names. Both kinds compare size and
//! digest themselves.

use bytes::Bytes;

use crate::image::Layer;
use occystrap_base::error::Result;
use occystrap_net::context::Context;
use occystrap_net::registry::Download;
use occystrap_net::web::{Elsewhere, ForeignLayerDownload};

/// The download of a layer.
pub(super) enum LayerDownload {
    /// A blob of a registry.
    Registry(Box<Download>),
    /// A layer at other URLs.
    ForeignLayer(Box<ForeignLayerDownload>),
}

impl LayerDownload {
    /// Returns the download of a layer from the URLs that its manifest names.
    pub(super) fn elsewhere(elsewhere: &Elsewhere, layer: &Layer, context: &Context) -> Self {
        let (counters, cancel) = (context.counters.clone(), context.cancel.clone());
        let (what, place) = (layer.descriptor(), layer.place.clone());
        Self::ForeignLayer(Box::new(ForeignLayerDownload::new(
            elsewhere,
            what,
            place,
            &context.web,
            counters,
            cancel,
        )))
    }

    /// Returns the next bytes, or `None` at the end. Errors at the end when size or digest differ.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Registry(download) => download.next().await,
            Self::ForeignLayer(download) => download.next().await,
        }
    }
}
