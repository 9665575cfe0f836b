//! Opening layers for reading, whether they are in a file, in a registry or at other URLs.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::feed::{Feed, FeedReader, FeedTurns};
use super::layer_download::LayerDownload;
use super::stored::Stored;
use crate::image::{Content, Layer};
use occystrap_net::context::Context;

/// Opens one layer for reading.
#[must_use]
pub fn open_one(layer: &Layer, context: &Context) -> Option<Stored> {
    open(std::iter::once(layer), context).pop()
}

/// Opens layers for reading. Downloads begin at once, in this order, [`Context::parallel`] at a time.
pub fn open<'a>(layers: impl Iterator<Item = &'a Layer>, context: &Context) -> Vec<Stored> {
    let turns = FeedTurns::new(context.temp_dir.clone());
    let mut downloads = Vec::new();
    let mut stored = Vec::new();
    for layer in layers {
        stored.push(match &layer.content {
            Content::File(section) => Stored::file(layer, section, &context.cancel),
            Content::Registry(repository) => {
                let feed = Feed::new(Arc::clone(&turns));
                let download =
                    LayerDownload::Registry(Box::new(repository.blob(&layer.descriptor())));
                downloads.push((download, Arc::clone(&feed)));
                Stored::fed(FeedReader::new(feed), layer.place.clone(), &context.cancel)
            }
            Content::Elsewhere(elsewhere) => {
                let feed = Feed::new(Arc::clone(&turns));
                let outside = LayerDownload::elsewhere(elsewhere, layer, context);
                downloads.push((outside, Arc::clone(&feed)));
                Stored::fed(FeedReader::new(feed), layer.place.clone(), &context.cancel)
            }
        });
    }
    let places = Arc::new(Semaphore::new(context.parallel.max(1)));
    context.runtime.spawn(async move {
        // One task gives out the places in order, so that a layer which holds a place while it waits for its turn
        // never keeps an earlier layer from getting a place.
        for (download, feed) in downloads {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            tokio::spawn(async move {
                feed.fill(download).await;
                drop(place);
            });
        }
    });
    stored
}
