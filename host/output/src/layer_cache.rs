//! The layer cache (`--layer-cache FILE`): what earlier runs, and this one where the source holds several
//! images, made of each layer. An entry says which layer came out of the filters, and as which blob or file it
//! was written. A layer that has an entry, and that the destination still has, is neither fetched nor
//! compressed again.
//!
//! An entry is about one layer, one chain of filters, one compression and one output. It says where to look,
//! never that the layer is there: of a registry the host requests the blob and one byte of it, a file is read.
//! A layer that is kept as the source has it is never replaced by another form of it.
//!
//! What it refuses: a damaged file, which is replaced by an empty cache. What it trusts: that the blob of an
//! entry was made from the layer of that entry. Entries of an image that FAILED are removed.

mod cache_destination;
mod entry;
mod file;
mod key;
mod turn;

#[doc(hidden)]
pub use file::takes;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use self::cache_destination::{CacheDestination, Lookup};
pub use self::entry::StoredLayer;
use self::entry::{CachedLayer, Changes, Entries, bound, landed, now};
use self::file::LAYER_CACHE;
use self::key::{LayerKey, compression, goes_as_it_is, keys, spelled};
pub use self::turn::Turn;
use self::turn::Turns;
use crate::receipt::Receipt;
use crate::write::target::Endpoint;
use crate::write::target::Target;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;
use occystrap_base::oci::{Compression, Digest};
use occystrap_base::parallel::in_parallel;
use occystrap_images::filter::Filters;
use occystrap_layer::image::{Image, Layer};
use occystrap_net::context::Context;

/// The cache of earlier runs and of this one.
#[derive(Default)]
pub struct LayerCache {
    /// The file; `None` for a cache that ends with this run.
    path: Option<PathBuf>,
    /// The entries of the file, and those of this run.
    entries: Mutex<Entries>,
    /// The entries that this run added or used, and has not written yet; `None` for an entry to be removed.
    fresh: Mutex<Changes>,
    turns: Turns,
}

impl LayerCache {
    /// Reads a cache for a destination; a missing file is an empty cache, and a damaged one is replaced by an
    /// empty cache. Errors when the file cannot be read or is no layer cache, when the image will be written to
    /// the same file, and when its folder does not exist.
    pub fn open(path: &Path, target: &Target) -> Result<Self> {
        let entries = file::read(path)?;
        LAYER_CACHE.refuse_if_target(path, target.file())?;
        Ok(Self { path: Some(path.to_owned()), entries: Mutex::new(entries), ..Self::default() })
    }

    /// Returns a cache without a file: images of one source that share layers share the results.
    #[must_use]
    pub fn of_this_run() -> Self {
        Self::default()
    }

    /// Returns whether layers can be found at a destination.
    #[must_use]
    pub fn serves(target: &Target) -> bool {
        CacheDestination::serves(target)
    }

    /// Waits while another image makes layers that this image needs as well. The returned turn lasts as long as
    /// the work on this image. Errors when the user interrupts.
    pub fn turn(
        &self,
        image: &Image,
        filters: &Filters,
        target: &Target,
        context: &Context,
    ) -> Result<Turn<'_>> {
        let work = |layer: &Layer| !filters.is_empty() || is_compressed(layer, target);
        let wanted = || {
            let keys = keys(image, filters, target).unwrap_or_default();
            let layers = keys.into_iter().zip(&image.layers).filter(|(_, layer)| work(layer));
            let known = lock(&self.entries);
            layers.map(|(key, _)| key).filter(|key| !known.contains_key(key)).collect()
        };
        self.turns.take(wanted, &context.cancel)
    }

    /// Returns the layers of an image as the destination has them; `None` for a layer without an entry, and for
    /// one that the destination no longer has. Errors when a registry cannot be reached, or stores wrong bytes.
    pub fn known(
        &self,
        image: &Image,
        filters: &Filters,
        target: &Target,
        context: &Context,
    ) -> Result<Vec<Option<Layer>>> {
        let nothing = vec![None; image.layers.len()];
        let Some(keys) = keys(image, filters, target) else { return Ok(nothing) };
        if !keys.iter().any(|key| lock(&self.entries).contains_key(key)) {
            return Ok(nothing);
        }
        let Some(held) = CacheDestination::at(target, context)? else { return Ok(nothing) };
        let jobs: Vec<(&Layer, LayerKey)> = image.layers.iter().zip(keys).collect();
        let found = in_parallel(&jobs, context.parallel, |(layer, key)| {
            let known = lock(&self.entries).get(key).cloned()?;
            if filters.is_empty() && known.diff_id != layer.diff_id {
                // Without filters the content must be the same: the entry is about compression only.
                return self.drop_entry(layer, key);
            }
            let found = match form(layer, &known, filters, target) {
                Form::AtTheSource => (*layer).clone(),
                Form::Unseen => return None,
                Form::AtTheDestination => match held.find(layer, &known, context) {
                    Lookup::There(found) => {
                        let place = &layer.place;
                        tracing::info!(
                            "{place}: the destination has it already, as {}",
                            known.blob
                        );
                        *found
                    }
                    Lookup::Gone => return None,
                    Lookup::Wrong => return self.drop_entry(layer, key),
                    Lookup::Damaged(error) => return Some(Err(error)),
                },
            };
            let used = CachedLayer { used: now(), ..known };
            lock(&self.fresh).insert(key.clone(), Some(used));
            Some(Ok(found))
        });
        found.into_iter().map(Option::transpose).collect()
    }

    /// Returns what the destination has of a layer that a source stores under this digest: the size of the layer there, and
    /// the digest of the blob that the filters made of it. Whether the destination still has that blob is not asked.
    #[must_use]
    pub fn made_of(
        &self,
        stored: Digest,
        filters: &Filters,
        target: &Target,
    ) -> Option<(StoredLayer, Digest)> {
        let spelled = spelled(filters)?;
        let output = &target.plugin.description().name;
        let entries = lock(&self.entries);
        let of_filters =
            entries.iter().filter(|(key, _)| key.filters == spelled && key.output == *output);
        of_filters
            .filter_map(|(_, known)| Some((known.source?, known.blob)))
            .find(|(source, _)| source.digest == stored)
    }

    /// Removes an entry that is wrong, so that the layer is made again.
    fn drop_entry(&self, layer: &Layer, key: &LayerKey) -> Option<Result<Layer>> {
        tracing::warn!(
            "{}: its entry in the layer cache is wrong, so that the layer is made again",
            layer.place
        );
        lock(&self.entries).remove(key);
        None
    }

    /// Adds entries for the layers of an image. `after` is the image that came out of the filters.
    pub fn learn(
        &self,
        image: &Image,
        after: &Image,
        filters: &Filters,
        target: &Target,
        receipt: &Receipt,
    ) {
        let Some(keys) = keys(image, filters, target) else { return };
        for (index, (key, after)) in keys.into_iter().zip(&after.layers).enumerate() {
            let before = image.layers.get(index).and_then(stored);
            let Some((blob, size, at)) = landed(receipt, index) else { continue };
            // No entry is needed where the source itself names this blob, and for a plain layer in a directory,
            // which the output finds by its diff-id.
            let plain = blob == after.diff_id && !matches!(target.endpoint, Endpoint::File(_));
            if filters.is_empty() && (before == Some(blob) || plain) {
                continue;
            }
            let media_type = match after.digest == Some(blob) {
                true => after.media_type.clone(),
                false => compression(target).layer_media_type().to_owned(),
            };
            let source = image
                .layers
                .get(index)
                .and_then(|layer| Some(StoredLayer { digest: layer.digest?, size: layer.size }));
            let diff_id = after.diff_id;
            let known = CachedLayer { diff_id, blob, size, media_type, at, source, used: now() };
            lock(&self.entries).insert(key.clone(), known.clone());
            lock(&self.fresh).insert(key, Some(known));
        }
        bound(&mut lock(&self.entries));
    }

    /// Removes the entries of an image that FAILED.
    pub fn forget(&self, image: &Image, filters: &Filters, target: &Target) {
        let mut entries = lock(&self.entries);
        let known = |key: &LayerKey| entries.remove(key).is_some();
        let keys = keys(image, filters, target).into_iter().flatten();
        let forgotten: Changes = keys.filter(known).map(|key| (key, None)).collect();
        if self.path.is_some() && !forgotten.is_empty() {
            tracing::warn!("the layer cache drops its entries for {}", image.name);
            lock(&self.fresh).extend(forgotten);
        }
    }

    /// Writes the changes of this run to the file, and keeps what other processes have added meanwhile. Errors
    /// when the file cannot be written.
    pub fn save(&self, cancel: &Cancel) -> Result<()> {
        let fresh = std::mem::take(&mut *lock(&self.fresh));
        let Some(path) = self.path.as_ref().filter(|_| !fresh.is_empty()) else { return Ok(()) };
        file::update(path, cancel, |entries| {
            for (key, known) in fresh {
                match known {
                    Some(known) => entries.insert(key, known),
                    None => entries.remove(&key),
                };
            }
            bound(entries);
        })
    }
}

/// The form in which a layer that has an entry is written.
enum Form {
    /// As the source has it.
    AtTheSource,
    /// As the destination has it.
    AtTheDestination,
    /// As the source has it, but a filter has not read the layer yet.
    Unseen,
}

fn form(layer: &Layer, known: &CachedLayer, filters: &Filters, target: &Target) -> Form {
    // A destination with plain layers stores each in one form only.
    let kept = known.blob != known.diff_id && goes_as_it_is(layer, target);
    match layer.diff_id == known.diff_id {
        // 0.5.0 kept the bytes of a layer in which such a filter changes nothing.
        true if filters.write_all() => Form::Unseen,
        true if stored(layer) == Some(known.blob) => Form::AtTheSource,
        // A filter must read every layer: its media type may be wrong.
        true if kept && !filters.is_empty() => Form::Unseen,
        true if kept => Form::AtTheSource,
        _ => Form::AtTheDestination,
    }
}

/// Returns whether a layer is compressed while it is moved, if no filter changes it.
fn is_compressed(layer: &Layer, target: &Target) -> bool {
    let compresses =
        matches!(target.endpoint, Endpoint::Repository(..) | Endpoint::TaggedDirectory(..));
    compresses && !goes_as_it_is(layer, target)
}

/// Returns the digest of a layer as the source has it.
fn stored(layer: &Layer) -> Option<Digest> {
    let plain = layer.media_type == Compression::None.layer_media_type();
    layer.digest.or_else(|| plain.then_some(layer.diff_id))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
