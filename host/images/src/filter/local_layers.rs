//! Layers that a filter reads more than once: those of a registry are kept in a file while they are read for the first
//! time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use occystrap_base::error::Result;
use occystrap_base::files::scratch;
use occystrap_base::files::{Section, Spooled};
use occystrap_base::oci::Compression;
use occystrap_layer::blob::{PlainReader, Stored, produce, read_checked, read_layers};
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

/// Lets `make` write a new layer to a file from which the destination can take it over. `place` is its name in errors.
pub fn new_layer(
    place: String,
    context: &Context,
    make: impl FnOnce(&mut (dyn std::io::Write + Send)) -> Result<()>,
) -> Result<Layer> {
    let folder = &context.import_dir;
    let file = scratch::create_unnamed(folder)?;
    let ((), moved) = produce(file.file(), make)?;
    let section =
        Spooled::section(file, moved).map_err(|cause| scratch::failed("create", folder, &cause))?;
    Ok(Layer::in_file(section, moved.digest, None, Compression::None, place))
}
