//! Applies filters to an image: to its layers in parallel, then to its config.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::Applied;
use super::config::Edits;
use super::rewrite::{Passes, read_through, rewrite};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::files::Spooled;
use occystrap_base::files::unnamed::Unnamed;
use occystrap_base::oci::{Compression, Digest};
use occystrap_layer::blob::{PlainReader, Stored, read_checked, read_layers, rewrite_with};
use occystrap_layer::image::{Content, Image, Layer};
use occystrap_net::context::Context;

/// Applies filters to an image. Changed layers are written to files without names in the folder from which the
/// destination can adopt them. Returns the image, and the uncompressed size of each layer in bytes; `None` for a layer
/// that was not read.
pub fn apply(
    image: &Image,
    applied: &[Box<dyn Applied + '_>],
    mut known: Vec<Option<Layer>>,
    context: &Context,
) -> Result<(Image, Vec<Option<u64>>)> {
    known.resize_with(image.layers.len(), || None);
    let wanted = |index: usize, layer: &Layer| {
        !layer.opaque && known[index].is_none() && !applied.is_empty()
    };
    let filter = |index: usize, layer: &Layer, stored: Stored, context: &Context| {
        let passes = applied.iter().map(|applied| applied.pass(index)).collect();
        let read_only = applied.iter().all(|applied| applied.is_read_only());
        filter(layer, stored, passes, read_only, context)
    };
    let filtered = read_layers(&image.layers, wanted, "filter", context, filter)?;
    let sizes = filtered.iter().map(|filtered| filtered.as_ref().map(|(_, size)| *size)).collect();
    let layers = image.layers.iter().zip(known).zip(filtered);
    let layers = layers.map(|((layer, known), filtered)| {
        known.or(filtered.map(|(layer, _)| layer)).unwrap_or_else(|| layer.clone())
    });
    Ok((finish(image, layers.collect(), applied)?, sizes))
}

/// Filters one layer. Returns it, and its uncompressed size in bytes.
fn filter(
    layer: &Layer,
    mut stored: Stored,
    mut passes: Passes<'_>,
    read_only: bool,
    context: &Context,
) -> Result<(Layer, u64)> {
    let changed = Arc::new(AtomicBool::new(false));
    // The source is read once: if the layer stays as it was, it is read from this copy later.
    let copy = match layer.content {
        Content::Registry(_) | Content::Elsewhere(_) => {
            let folder = &context.temp_dir;
            let file = tempfile::tempfile_in(folder);
            let file = Arc::new(file.map_err(|cause| cannot_create(folder, &cause))?);
            stored = stored.copied_to(Arc::clone(&file), Arc::clone(&changed));
            Some(file)
        }
        Content::File(_) => None,
    };
    let place = &layer.place;
    let (filtered, size) = if read_only {
        let read = |plain: &mut PlainReader| {
            read_through(&mut *plain, place, &mut passes).and_then(|()| plain.read_rest(place))
        };
        (None, read_checked(layer, stored, read)?)
    } else {
        change(layer, stored, &mut passes, &changed, context)?
    };
    let filtered = match (filtered, copy) {
        (Some(filtered), _) => filtered,
        (None, Some(file)) => {
            Layer { content: Content::File(Section::new(file, 0, layer.size)), ..layer.clone() }
        }
        (None, None) => layer.clone(),
    };
    Ok((filtered, size))
}

/// Writes a layer as the passes change it. Returns the new layer, or `None` if no pass changed it, and its size.
fn change(
    layer: &Layer,
    stored: Stored,
    passes: &mut Passes<'_>,
    changed: &AtomicBool,
    context: &Context,
) -> Result<(Option<Layer>, u64)> {
    let folder = &context.import_dir;
    let failed = |cause: &std::io::Error| cannot_create(folder, cause);
    let directory = Dir::open_ambient_dir(folder, ambient_authority());
    let directory = Arc::new(directory.map_err(|cause| failed(&cause))?);
    let file = Unnamed::create(&directory).map_err(|cause| failed(&cause))?;
    let place = &layer.place;
    // Rewriting takes as long as reading. If one thread did both, the third one, which hashes and writes, would wait.
    let (moved, size) = read_checked(layer, stored.read_ahead(true), |plain| {
        let (size, moved) = rewrite_with(plain, file.file(), |plain, to| {
            rewrite(&mut *plain, place, passes, to, changed, &context.temp_dir)?;
            plain.read_rest(place)
        })?;
        Ok((moved, size))
    })?;
    if !changed.load(Ordering::Relaxed) {
        return Ok((None, size));
    }
    let section = Spooled::section(file, moved).map_err(|cause| failed(&cause))?;
    let (diff_id, place) = (moved.digest, layer.place.clone());
    let filtered = Layer::in_file(section, diff_id, None, Compression::None, place);
    Ok((Some(filtered), moved.size))
}

/// Returns the image with its new layers and a config that fits them.
fn finish(image: &Image, layers: Vec<Layer>, applied: &[Box<dyn Applied + '_>]) -> Result<Image> {
    let place = format!("'{}'", image.name);
    let mut edits = Edits::new(&image.config, &place)?;
    let is_new = |(new, old): (&Layer, &Layer)| new.diff_id != old.diff_id;
    if layers.iter().zip(&image.layers).any(is_new) {
        edits.diff_ids(layers.iter().map(|layer| layer.diff_id));
    }
    applied.iter().for_each(|applied| applied.edit(&mut edits));
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
    Ok(Image {
        config: config.into(),
        id,
        layers,
        manifest: None,
        note: image.note.clone().filter(|_| id == image.id),
        ..image.clone()
    })
}

fn cannot_create(folder: &std::path::Path, cause: &std::io::Error) -> Error {
    Error::io(Kind::Destination, "create a temporary file in", folder.display(), cause)
        .hint("choose another folder with --temp-dir")
}
