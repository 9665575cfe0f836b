//! Layers that a filter reads more than once: those of a registry are kept in a file while they are read for the first
//! time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use occystrap_base::error::Result;
use occystrap_base::files::scratch;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::files::{Hashed, Section, Spooled};
use occystrap_base::oci::Compression;
use occystrap_layer::blob::{PlainReader, Stored, encoded, produce, read_checked, read_layers};
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::Context;

/// Lets `read` read every layer once, several at a time, the whole of each compared with its digests. Returns the layers,
/// all of them in files, and what `read` returned for each.
pub fn read_to_files<T: Send>(
    layers: &[Layer],
    context: &Context,
    read: impl Fn(usize, &Layer, &mut PlainReader) -> Result<T> + Sync,
) -> Result<(Vec<Layer>, Vec<T>)> {
    let read = |index: usize, layer: &Layer, stored: Stored, context: &Context| {
        let (stored, file) = match layer.content {
            Content::File(_) => (stored, None),
            Content::Registry(_) | Content::Elsewhere(_) => {
                let file = Arc::new(scratch::create(&context.temp_dir)?);
                (stored.copied_to(Arc::clone(&file), Arc::new(AtomicBool::new(false))), Some(file))
            }
        };
        let made = read_checked(layer, stored, |plain| read(index, layer, plain))?;
        let content = match file {
            Some(file) => Content::File(Section::new(file, 0, layer.size)),
            None => layer.content.clone(),
        };
        Ok((Layer { content, ..layer.clone() }, made))
    };
    let all = read_layers(layers, |_, _| true, "filter", context, read)?;
    Ok(all.into_iter().flatten().unzip())
}

/// Lets `make` write a new layer to a file from which the destination can take it over, compressed with zstd if `zstd`.
/// `place` is its name in errors.
pub fn new_layer(
    place: String,
    zstd: bool,
    context: &Context,
    make: impl FnOnce(&mut (dyn std::io::Write + Send)) -> Result<()>,
) -> Result<Layer> {
    let folder = &context.import_dir;
    let file = scratch::create_unnamed(folder)?;
    let ((), moved) = produce(file.file(), make)?;
    layer_in_file(file, moved, zstd, place, context)
}

/// Returns whether the source has a layer compressed with zstd.
#[must_use]
pub fn is_zstd(layer: &Layer) -> bool {
    layer.media_type.ends_with("zstd")
}

/// Returns a layer whose tar is in a file, compressed with zstd if `zstd`. Outputs compress a plain one themselves, with gzip.
pub fn layer_in_file(
    file: UnnamedFile,
    moved: Hashed,
    zstd: bool,
    place: String,
    context: &Context,
) -> Result<Layer> {
    let failed = |cause: &std::io::Error| scratch::failed("create", &context.import_dir, cause);
    let diff_id = moved.digest;
    let section = Spooled::section(file, moved).map_err(|cause| failed(&cause))?;
    let plain = Layer::in_file(section.clone(), diff_id, None, Compression::None, place.clone());
    if !zstd {
        return Ok(plain);
    }
    let file = scratch::create_unnamed(&context.import_dir)?;
    let stored = Stored::file(&plain, &section, &context.cancel);
    let how = Compression::Zstd;
    let packed = encoded(&plain, stored, file.file(), 0, how, context.cores())?;
    let section = Spooled::section(file, packed).map_err(|cause| failed(&cause))?;
    Ok(Layer::in_file(section, diff_id, Some(packed.digest), how, place))
}
