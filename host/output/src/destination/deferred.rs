//! Layers that have a place in a file before they are there.
//!
//! Where the size of a layer is known beforehand, a splice only reserves its place, and all layers of a file are
//! moved side by side when the file is finished. What it refuses: content that does not fill its place exactly.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::adopt::move_layer;
use super::planned_layer::PlannedLayer;
use super::size_hint::SizeHints;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::Hashed;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_layer::blob::Stored;
use occystrap_net::context::Context;

/// A layer that is to be moved to a place of a known size.
pub struct DeferredLayer {
    /// The layer.
    pub planned: PlannedLayer,
    /// Its bytes at the source.
    pub stored: Stored,
    /// The size in bytes that is expected of it, in the form that was asked for.
    pub size: u64,
    /// Notes a size that was wrong.
    pub hints: SizeHints,
    /// Cancelled when one of the layers fails.
    pub context: Context,
}

impl DeferredLayer {
    fn keep(self, file: &UnnamedFile, at: u64) -> Result<Hashed> {
        let moved = move_layer(&self.planned, self.stored, file, at, &self.context);
        self.planned.progress.finish();
        let moved = moved?;
        if moved.size == self.size {
            return Ok(moved);
        }
        self.hints.fail();
        let what = format!("{}: size, as its last bytes tell it", self.planned.layer.place);
        Err(Error::mismatch(what, self.size, moved.size))
    }
}

/// Returns how many layers are moved at a time: downloads run side by side as the user allows, decompression as there
/// are cores.
pub(super) fn workers(layers: usize, context: &Context) -> usize {
    context.parallel.min(context.cores()).clamp(1, layers.max(1))
}

/// Moves every layer to its offset in a file, side by side, and returns what was written at each offset. The first
/// failure ends all.
pub fn keep_all(
    promises: Vec<(u64, DeferredLayer)>,
    file: &UnnamedFile,
) -> Result<Vec<(u64, Hashed)>> {
    let Some((_, first)) = promises.first() else { return Ok(Vec::new()) };
    let (cancel, workers) = (first.context.cancel.clone(), workers(promises.len(), &first.context));
    let mut promises = promises;
    // The order in which their downloads have begun.
    promises.sort_by_key(|(_, promise)| std::cmp::Reverse(promise.planned.layer.size));
    let queue = Mutex::new(VecDeque::from(promises));
    let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        while let Some((at, promise)) = next() {
            match promise.keep(file, at) {
                Ok(moved) => done.lock().unwrap_or_else(PoisonError::into_inner).push((at, moved)),
                Err(error) => {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return cancel.cancel();
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => {
            // There may be a second try, with bars of its own.
            while let Some((_, promise)) = next() {
                promise.planned.progress.finish();
            }
            Err(error)
        }
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::destination::planned_layer::RequestedForm;
    use occystrap_base::files::Section;
    use occystrap_base::oci::{Compression, Digest};
    use occystrap_base::terminal::progress::LayerProgress;
    use occystrap_layer::blob::feed::{Feed, FeedReader, FeedTurns};
    use occystrap_layer::image::Layer;

    struct Bench {
        runtime: tokio::runtime::Runtime,
        folder: tempfile::TempDir,
        hints: SizeHints,
    }

    impl Bench {
        fn new() -> Self {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            Self { runtime, folder: tempfile::tempdir().unwrap(), hints: SizeHints::default() }
        }

        fn context(&self) -> Context {
            let context = Context::new(self.runtime.handle()).with_parallel(4);
            context.with_temp_dir(self.folder.path())
        }

        fn file(&self) -> UnnamedFile {
            let authority = cap_std::ambient_authority();
            let folder = cap_std::fs::Dir::open_ambient_dir(self.folder.path(), authority);
            UnnamedFile::create(&Arc::new(folder.unwrap())).unwrap()
        }

        /// A plain layer that says it has `size` bytes.
        fn promise(&self, bytes: &[u8], size: u64, context: &Context) -> DeferredLayer {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            let section = Section::new(file.into(), 0, bytes.len() as u64);
            let (diff_id, place) = (Digest::of(bytes), "a layer".to_owned());
            let layer = Layer::in_file(section.clone(), diff_id, None, Compression::None, place);
            let stored = Stored::file(&layer, &section, &context.cancel);
            let (form, progress) = (RequestedForm::Uncompressed, LayerProgress::hidden());
            let planned = PlannedLayer { index: 0, layer, form, stays: false, progress };
            let (hints, context) = (self.hints.clone(), context.clone());
            DeferredLayer { planned, stored, size, hints, context }
        }
    }

    #[test]
    fn content_comes_to_its_place_whatever_the_order() {
        let bench = Bench::new();
        let (context, file) = (bench.context(), bench.file());
        let small = bench.promise(b"small", 5, &context);
        let large = bench.promise(&[1; 600_000], 600_000, &context);
        let mut kept = keep_all(vec![(10, small), (20, large)], &file).unwrap();
        kept.sort_by_key(|(at, _)| *at);
        let moved = |bytes: &[u8]| Hashed { size: bytes.len() as u64, digest: Digest::of(bytes) };
        assert_eq!(kept, [(10, moved(b"small")), (20, moved(&[1; 600_000]))]);
        assert!(!bench.hints.were_wrong());
    }

    #[test]
    fn a_layer_that_does_not_fill_its_place_is_blamed_on_the_hint() {
        for size in [4, 6] {
            let bench = Bench::new();
            let promise = bench.promise(b"bytes", size, &bench.context());
            let error = keep_all(vec![(0, promise)], &bench.file()).unwrap_err();
            assert!(error.to_string().contains(&format!("expected {size}, found 5")), "{error}");
            assert!(bench.hints.were_wrong());
        }
    }

    #[test]
    fn the_first_failure_ends_those_that_wait() {
        let bench = Bench::new();
        let context = bench.context();
        // Smaller than the other, whose turn comes even where there is one core.
        let mut waits = bench.promise(b"it", 2, &context);
        // A download that never gets a byte.
        let feed = Feed::new(FeedTurns::new(bench.folder.path().to_owned()));
        waits.stored = Stored::fed(FeedReader::new(feed), "it".to_owned(), &context.cancel);
        let mut wrong = bench.promise(b"bytes", 5, &context);
        wrong.planned.layer.diff_id = Digest::of(b"others");
        let started = Instant::now();
        let error = keep_all(vec![(0, waits), (2, wrong)], &bench.file()).unwrap_err();
        assert!(error.to_string().contains("diff-id"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        assert!(!bench.hints.were_wrong());
    }
}
