//! What became of layers in earlier runs (`--layer-cache FILE`), and in this one where the source holds
//! several images: which one came out of the filters, and as which blob or file it landed. A layer of
//! which that is known, and which the destination still has, is neither fetched nor compressed again.
//!
//! An entry is about one layer, one chain of filters, one compression and one output. It says what to
//! look for, never that it is there: a registry is asked for it, and for a byte of it, and a file is read.
//! A layer that goes as the source has it is never replaced by another form of it. What it refuses: a
//! file that was damaged, which begins anew. What it trusts: that what an entry names is what became of
//! its layer; entries of an image that FAILED are forgotten.

mod entry;
mod file;
mod held;
mod key;
mod turn;

#[doc(hidden)]
pub use file::takes;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use self::entry::{Changes, Entries, Known, bound, landed, now};
use self::file::LAYER_CACHE;
use self::held::{Found, Held};
use self::key::{Key, compression, goes_as_it_is, keys};
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

/// The memory of earlier runs, and of this one.
#[derive(Default)]
pub struct LayerCache {
    /// `None` where nothing is kept beyond this run.
    path: Option<PathBuf>,
    /// As the file had them, and what this run added.
    entries: Mutex<Entries>,
    /// What this run added or made use of, and has not yet written; `None` is to be forgotten.
    fresh: Mutex<Changes>,
    turns: Turns,
}

impl LayerCache {
    /// Read a cache for a destination; one that is not there yet is empty. Errors when it cannot be read,
    /// when something else is there, or the image will be, and when its folder is not there. What is
    /// damaged begins anew.
    pub fn open(path: &Path, target: &Target) -> Result<Self> {
        let entries = file::read(path)?;
        LAYER_CACHE.apart(path, target.file())?;
        Ok(Self { path: Some(path.to_owned()), entries: Mutex::new(entries), ..Self::default() })
    }

    /// One without a file: images of one source that share layers share what was made of them.
    #[must_use]
    pub fn of_this_run() -> Self {
        Self::default()
    }

    /// Whether it is of use for a destination.
    #[must_use]
    pub fn serves(target: &Target) -> bool {
        Held::serves(target)
    }

    /// Wait while another image is at work on layers that this one has as well, and would make anew.
    /// What is returned lasts as long as the work on this one. Errors when the user interrupts.
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

    /// Layers of an image as the destination has them already: `None` where that is not known, or
    /// not so any more. Errors when a registry cannot be asked, or keeps wrong bytes.
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
        let Some(held) = Held::at(target, context)? else { return Ok(nothing) };
        let jobs: Vec<(&Layer, Key)> = image.layers.iter().zip(keys).collect();
        let found = in_parallel(&jobs, context.parallel, |(layer, key)| {
            let known = lock(&self.entries).get(key).cloned()?;
            if filters.is_empty() && known.diff_id != layer.diff_id {
                // It only was compressed.
                return self.doubt(layer, key);
            }
            let found = match form(layer, &known, filters, target) {
                Form::AtTheSource => (*layer).clone(),
                Form::Unseen => return None,
                Form::AtTheDestination => match held.find(layer, &known, context) {
                    Found::There(found) => {
                        let place = &layer.place;
                        tracing::info!("{place}: made before, as {}", known.blob);
                        *found
                    }
                    Found::Gone => return None,
                    Found::Wrong => return self.doubt(layer, key),
                    Found::Damaged(error) => return Some(Err(error)),
                },
            };
            let used = Known { used: now(), ..known };
            lock(&self.fresh).insert(key.clone(), Some(used));
            Some(Ok(found))
        });
        found.into_iter().map(Option::transpose).collect()
    }

    /// An entry that cannot be right.
    fn doubt(&self, layer: &Layer, key: &Key) -> Option<Result<Layer>> {
        tracing::warn!("{}: what the layer cache has of it is not so, and made again", layer.place);
        lock(&self.entries).remove(key);
        None
    }

    /// Remember what became of an image. `after` is what came out of the filters.
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
            // The source says so itself; or it is plain in a directory, where an output finds it by its
            // diff-id.
            let plain = blob == after.diff_id && !matches!(target.endpoint, Endpoint::File(_));
            if filters.is_empty() && (before == Some(blob) || plain) {
                continue;
            }
            let media_type = match after.digest == Some(blob) {
                true => after.media_type.clone(),
                false => compression(target).layer_media_type().to_owned(),
            };
            let known = Known { diff_id: after.diff_id, blob, size, media_type, at, used: now() };
            lock(&self.entries).insert(key.clone(), known.clone());
            lock(&self.fresh).insert(key, Some(known));
        }
        bound(&mut lock(&self.entries));
    }

    /// Forget what was known of an image that is not what it must be.
    pub fn forget(&self, image: &Image, filters: &Filters, target: &Target) {
        let mut entries = lock(&self.entries);
        let known = |key: &Key| entries.remove(key).is_some();
        let keys = keys(image, filters, target).into_iter().flatten();
        let forgotten: Changes = keys.filter(known).map(|key| (key, None)).collect();
        if self.path.is_some() && !forgotten.is_empty() {
            tracing::warn!("the layer cache forgets what it knew of {}", image.name);
            lock(&self.fresh).extend(forgotten);
        }
    }

    /// Add what this run learned to the file, beside what others added meanwhile. Errors when it
    /// cannot be written.
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

/// In which form a layer goes of which something is known.
enum Form {
    /// As the source at hand has it.
    AtTheSource,
    /// As the destination has it.
    AtTheDestination,
    /// As the source has it, if that is what it says: nobody has looked.
    Unseen,
}

fn form(layer: &Layer, known: &Known, filters: &Filters, target: &Target) -> Form {
    // Where layers are unpacked they have one form.
    let kept = known.blob != known.diff_id && goes_as_it_is(layer, target);
    match layer.diff_id == known.diff_id {
        true if stored(layer) == Some(known.blob) => Form::AtTheSource,
        // A filter looks into every layer, whatever its config calls it.
        true if kept && !filters.is_empty() => Form::Unseen,
        true if kept => Form::AtTheSource,
        _ => Form::AtTheDestination,
    }
}

/// Whether a layer is compressed on its way, if no filter changes it.
fn is_compressed(layer: &Layer, target: &Target) -> bool {
    let compresses =
        matches!(target.endpoint, Endpoint::Repository(..) | Endpoint::TaggedDirectory(..));
    compresses && !goes_as_it_is(layer, target)
}

/// Digest of a layer as the source has it.
fn stored(layer: &Layer) -> Option<Digest> {
    let plain = layer.media_type == Compression::None.layer_media_type();
    layer.digest.or_else(|| plain.then_some(layer.diff_id))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
