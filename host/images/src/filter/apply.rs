//! Applies filters to an image: to its layers in parallel, then to its config.

use std::io::sink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::arrange::{Arranged, Arranging, list_folders, roots};
use super::config::Edits;
use super::local_layers::{is_zstd, layer_in_file};
use super::rewrite::{Passes, read_through, rewrite};
use super::{Form, Working, manifest};
use occystrap_base::error::Result;
use occystrap_base::files::scratch;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::files::{Hashed, Section};
use occystrap_base::oci::Digest;
use occystrap_base::parallel::in_parallel;
use occystrap_layer::blob::transfer::copy;
use occystrap_layer::blob::{PlainReader, Stored, read_checked, read_layers, rewrite_with};
use occystrap_layer::image::{Content, Image, Layer};
use occystrap_net::context::Context;

/// Applies filters to an image. Changed layers are written to files without names in the folder from which the
/// destination can adopt them. Returns the image, and the uncompressed size of each layer in bytes; `None` for a layer
/// that was not read.
pub fn apply(
    image: &Image,
    working: &[Working<'_>],
    mut known: Vec<Option<Layer>>,
    context: &Context,
) -> Result<(Image, Vec<Option<u64>>)> {
    known.resize_with(image.layers.len(), || None);
    let sees = |index: usize| working.iter().filter(move |working| index >= working.spared);
    let wanted = |index: usize, layer: &Layer| {
        !layer.opaque && known[index].is_none() && sees(index).next().is_some()
    };
    let filter = |index: usize, layer: &Layer, stored: Stored, context: &Context| {
        let work = Work {
            passes: sees(index).map(|working| working.applied.pass(index)).collect(),
            read_only: sees(index).all(|working| working.applied.is_read_only()),
            form: sees(index)
                .map(|working| working.applied.form())
                .max()
                .unwrap_or(Form::AsChanged),
        };
        filter(layer, stored, work, context)
    };
    let mut filtered = read_layers(&image.layers, wanted, "filter", context, filter)?;
    assemble(image, working, &mut filtered, context)?;
    let sizes = filtered.iter().map(|filtered| filtered.as_ref().map(|filtered| filtered.size));
    let sizes = sizes.collect();
    let layers = image.layers.iter().zip(known).zip(filtered);
    let layers = layers.map(|((layer, known), filtered)| {
        known.or(filtered.map(|filtered| filtered.layer)).unwrap_or_else(|| layer.clone())
    });
    Ok((finish(image, layers.collect(), working, context)?, sizes))
}

/// The work on one layer.
struct Work<'a> {
    passes: Passes<'a>,
    /// Whether the passes keep every member as it is.
    read_only: bool,
    form: Form,
}

/// A layer that the filters have read.
struct Filtered {
    /// The layer after the filters; while `spooled` has its members, still the layer before the filters.
    layer: Layer,
    /// Its uncompressed size in bytes.
    size: u64,
    /// The members from which the canonical form of the layer is made.
    spooled: Option<Spool>,
}

/// The members of a layer in a file, and their order.
struct Spool {
    arranged: Arranged,
    file: UnnamedFile,
    moved: Hashed,
    /// Whether a layer whose tar stays the same keeps its compressed bytes.
    keep: bool,
}

/// Filters one layer.
fn filter(
    layer: &Layer,
    mut stored: Stored,
    mut work: Work<'_>,
    context: &Context,
) -> Result<Filtered> {
    let is_new = matches!(work.form, Form::Written | Form::Canonical) && !work.read_only;
    let changed = Arc::new(AtomicBool::new(is_new));
    // The source is read once: if the layer stays as it was, it is read from this copy later.
    let copy = match layer.content {
        Content::Registry(_) | Content::Elsewhere(_) if !is_new => {
            let file = Arc::new(scratch::create(&context.temp_dir)?);
            stored = stored.copied_to(Arc::clone(&file), Arc::clone(&changed));
            Some(file)
        }
        _ => None,
    };
    let place = &layer.place;
    let mut filtered = if work.read_only {
        let read = |plain: &mut PlainReader| {
            let read = read_through(&mut *plain, place, &mut work.passes);
            read.and_then(|()| plain.read_rest(place))
        };
        let size = read_checked(layer, stored, read)?;
        Filtered { layer: layer.clone(), size, spooled: None }
    } else {
        change(layer, stored, work, &changed, context)?
    };
    if let (Some(file), false) = (copy, changed.load(Ordering::Relaxed)) {
        filtered.layer.content = Content::File(Section::new(file, 0, layer.size));
    }
    Ok(filtered)
}

/// Writes a layer as the passes change it, unless nothing changes. Sets `changed` if something does.
fn change(
    layer: &Layer,
    stored: Stored,
    mut work: Work<'_>,
    changed: &AtomicBool,
    context: &Context,
) -> Result<Filtered> {
    let file = scratch::create_unnamed(&context.import_dir)?;
    let place = &layer.place;
    let passes = &mut work.passes;
    let mut arranging = match work.form {
        Form::Canonical | Form::CanonicalOrKept => Some(Arranging::new(&context.temp_dir)),
        Form::AsChanged | Form::Written => None,
    };
    // Rewriting takes as long as reading. If one thread did both, the third one, which hashes and writes, would wait.
    let (moved, size) = read_checked(layer, stored.read_ahead(true), |plain| {
        let (size, moved) = rewrite_with(plain, file.file(), |plain, to| {
            let arranging = arranging.as_mut();
            rewrite(&mut *plain, place, passes, to, changed, &context.temp_dir, arranging)?;
            plain.read_rest(place)
        })?;
        Ok((moved, size))
    })?;
    if let Some(arranging) = arranging {
        let arranged = arranging.finish(place)?;
        let keep = work.form == Form::CanonicalOrKept;
        let spooled = Some(Spool { arranged, file, moved, keep });
        return Ok(Filtered { layer: layer.clone(), size, spooled });
    }
    if !changed.load(Ordering::Relaxed) {
        return Ok(Filtered { layer: layer.clone(), size, spooled: None });
    }
    written(layer, file, moved, context)
}

/// Returns a layer that was written, compressed with zstd if the source has it so.
fn written(layer: &Layer, file: UnnamedFile, moved: Hashed, context: &Context) -> Result<Filtered> {
    let place = layer.place.clone();
    let layer = layer_in_file(file, moved, is_zstd(layer), place, context)?;
    Ok(Filtered { layer, size: moved.size, spooled: None })
}

/// Makes the layers whose canonical form was prepared.
fn assemble(
    image: &Image,
    working: &[Working<'_>],
    filtered: &mut [Option<Filtered>],
    context: &Context,
) -> Result<()> {
    let needs_lower = |filtered: &Option<Filtered>| {
        let spool = filtered.as_ref().and_then(|filtered| filtered.spooled.as_ref());
        spool.is_some_and(|spool| spool.arranged.needs_lower())
    };
    // Nothing is below the lowest layer, but it may leave out folders.
    if let Some(last) = filtered.iter().rposition(needs_lower) {
        list_folders_up_to(last, image, working, filtered, context)?;
    }
    let arranged = filtered
        .iter()
        .map(|filtered| filtered.as_ref()?.spooled.as_ref().map(|spool| &spool.arranged));
    let roots = roots(&arranged.collect::<Vec<_>>());
    let jobs = filtered.iter_mut().zip(roots).filter_map(|(filtered, root)| {
        Some((filtered.as_mut().filter(|filtered| filtered.spooled.is_some())?, root))
    });
    let jobs: Vec<_> = jobs.map(Mutex::new).collect();
    let workers = context.cores().min(context.parallel);
    let made = in_parallel(&jobs, workers, |job| {
        let mut job = job.lock().unwrap_or_else(PoisonError::into_inner);
        let (filtered, root) = &mut *job;
        let Some(Spool { arranged, file, moved, keep }) = filtered.spooled.take() else {
            return Ok(());
        };
        let layer = &filtered.layer;
        let (file, moved) = match arranged.assemble(&file.shared(), root.as_ref())? {
            None => (file, moved),
            Some(mut assembled) => {
                let to = scratch::create_unnamed(&context.import_dir)?;
                let (place, cancel) = (&layer.place, &context.cancel);
                let moved = copy(&mut assembled, Some(to.file()), place, cancel)?;
                (to, moved)
            }
        };
        if !(keep && moved.digest == layer.diff_id) {
            **filtered = written(layer, file, moved, context)?;
        }
        Ok(())
    });
    made.into_iter().collect()
}

/// Lists the folders that layers leave out, up to the last layer that leaves one out. Layers below that the filters do
/// not see are read for their folders.
fn list_folders_up_to(
    last: usize,
    image: &Image,
    working: &[Working<'_>],
    filtered: &mut [Option<Filtered>],
    context: &Context,
) -> Result<()> {
    let is_arranged =
        |index: usize| filtered[index].as_ref().is_some_and(|filtered| filtered.spooled.is_some());
    let unread = |index: usize, layer: &Layer| index < last && !layer.opaque && !is_arranged(index);
    let only_arrange = |_: usize, layer: &Layer, stored: Stored, context: &Context| {
        read_checked(layer, stored, |plain| {
            let mut arranging = Arranging::new(&context.temp_dir);
            let (mut none, changed, mut nowhere) = (Vec::new(), AtomicBool::new(false), sink());
            let (place, folder, to) = (&layer.place, &context.temp_dir, Some(&mut arranging));
            rewrite(&mut *plain, place, &mut none, &mut nowhere, &changed, folder, to)?;
            arranging.finish(place)
        })
    };
    let mut layers = read_layers(&image.layers, unread, "folders", context, only_arrange)?;
    layers.truncate(last + 1);
    let mut spools = Vec::new();
    for (index, filtered) in filtered.iter_mut().enumerate().take(last + 1) {
        if let Some(filtered) = filtered
            && let Some(Spool { arranged, file, moved, keep }) = filtered.spooled.take()
        {
            layers[index] = Some(arranged);
            spools.push((index, file, moved, keep));
        }
    }
    let written: Vec<usize> = spools.iter().map(|(index, ..)| *index).collect();
    let is_written = |index| written.contains(&index);
    list_folders(&mut layers, is_written, |index, folder| {
        let seeing = working.iter().filter(|working| index >= working.spared);
        seeing.for_each(|working| working.applied.listed(folder));
    })?;
    for (index, file, moved, keep) in spools {
        if let (Some(filtered), Some(arranged)) = (&mut filtered[index], layers[index].take()) {
            filtered.spooled = Some(Spool { arranged, file, moved, keep });
        }
    }
    Ok(())
}

/// Returns the image with its new layers, and a config and a manifest that fit them.
fn finish(
    image: &Image,
    layers: Vec<Layer>,
    working: &[Working<'_>],
    context: &Context,
) -> Result<Image> {
    let place = format!("'{}'", image.name);
    let mut edits = Edits::new(&image.config, &place)?;
    let is_new = |(new, old): (&Layer, &Layer)| new.diff_id != old.diff_id;
    if layers.iter().zip(&image.layers).any(is_new) {
        edits.diff_ids(layers.iter().map(|layer| layer.diff_id));
    }
    working.iter().for_each(|working| working.applied.edit(&mut edits));
    let config = edits.finish();
    let same = |(new, old): (&Layer, &Layer)| new.digest == old.digest;
    if config == image.config && layers.iter().zip(&image.layers).all(same) {
        // The manifest still fits as well.
        return Ok(Image { layers, ..image.clone() });
    }
    let id = Digest::of(&config);
    if id != image.id {
        tracing::info!("{}: filtered, now {id}", image.name);
    }
    let parts = manifest::ManifestParts { config: &config, layers: &layers, edits: Some(&edits) };
    let manifest = manifest::of(image, &parts, context);
    Ok(Image {
        config: config.into(),
        id,
        layers,
        manifest,
        note: image.note.clone().filter(|_| id == image.id),
        ..image.clone()
    })
}
