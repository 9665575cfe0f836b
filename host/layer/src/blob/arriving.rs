//! A layer on its way here, wherever it comes from. Both kinds check their own bytes.

use bytes::Bytes;

use super::stored::descriptor;
use crate::image::Layer;
use occystrap_base::error::Result;
use occystrap_net::context::Context;
use occystrap_net::registry::Download;
use occystrap_net::web::Elsewhere;
use occystrap_net::web::Outside;

/// A download.
pub(super) enum Arriving {
    /// A blob of a registry.
    Registry(Box<Download>),
    /// A layer that is stored elsewhere.
    Outside(Box<Outside>),
}

impl Arriving {
    /// Returns the download of a layer from the URLs that its manifest names.
    pub(super) fn elsewhere(elsewhere: &Elsewhere, layer: &Layer, context: &Context) -> Self {
        let (counters, cancel) = (context.counters.clone(), context.cancel.clone());
        let (what, place) = (descriptor(layer), layer.place.clone());
        Self::Outside(Box::new(Outside::new(
            elsewhere,
            what,
            place,
            &context.web,
            counters,
            cancel,
        )))
    }

    /// Returns the next bytes; nothing at the end, when they are those that were promised.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Registry(download) => download.next().await,
            Self::Outside(outside) => outside.next().await,
        }
    }
}
