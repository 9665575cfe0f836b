//! Opening layers for reading, wherever they are.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::arriving::Arriving;
use super::feed::{Feed, FeedReader, Turns};
use super::stored::{Stored, descriptor};
use crate::image::{Content, Layer};
use occystrap_net::context::Context;

/// Open one layer for reading.
#[must_use]
pub fn open_one(layer: &Layer, context: &Context) -> Option<Stored> {
    open(std::iter::once(layer), context).pop()
}

/// Open layers for reading. Those of a registry begin to be downloaded, in this order, some at a
/// time.
pub fn open<'a>(layers: impl Iterator<Item = &'a Layer>, context: &Context) -> Vec<Stored> {
    let turns = Turns::new(context.temp_dir.clone());
    let mut downloads = Vec::new();
    let mut stored = Vec::new();
    for layer in layers {
        stored.push(match &layer.content {
            Content::File(section) => Stored::file(layer, section, &context.cancel),
            Content::Registry(repository) => {
                let feed = Feed::new(Arc::clone(&turns));
                let download = Arriving::Registry(Box::new(repository.blob(&descriptor(layer))));
                downloads.push((download, Arc::clone(&feed)));
                Stored::fed(FeedReader::new(feed), layer.place.clone(), &context.cancel)
            }
            Content::Elsewhere(elsewhere) => {
                let feed = Feed::new(Arc::clone(&turns));
                let outside = Arriving::elsewhere(elsewhere, layer, context);
                downloads.push((outside, Arc::clone(&feed)));
                Stored::fed(FeedReader::new(feed), layer.place.clone(), &context.cancel)
            }
        });
    }
    let places = Arc::new(Semaphore::new(context.parallel.max(1)));
    context.runtime.spawn(async move {
        // One task gives out the places, in order: a layer that waits for its turn while it holds
        // a place never keeps an earlier one from getting its own.
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
