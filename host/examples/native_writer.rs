//! The output `tar` without a guest: what `plugins/tar` does, compiled into the program.
//!
//! `cargo xtask bench --only boundary` compares the two; both write the same bytes. It does nothing
//! else: no options, no receipt, no verification.
//!
//!     native_writer registry://127.0.0.1:5000/team/app:1 OUT.tar

// The plugin reads headers as well, when it verifies.
#[allow(dead_code)]
#[path = "../../plugins/docker-save/src/header.rs"]
mod header;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use occystrap_base::files::destination::Destination;
use occystrap_base::oci::PlatformRequest;
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_images::source::Source;
use occystrap_layer::image::Image;
use occystrap_net::context::Context;
use occystrap_net::http::Settings;
use occystrap_net::registry::RegistryClient;
use occystrap_net::uri::Uri;
use occystrap_output::destination::commit::expected::Terms;
use occystrap_output::destination::planned_layer::{PlannedLayer, RequestedForm};
use occystrap_output::destination::prefetch::{self, Route};
use occystrap_output::destination::sink::{FileSink, SinkError};
use occystrap_output::destination::size_hint::SizeHints;
use occystrap_output::destination::staging::Staging;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, archive] = arguments.as_slice() else {
        bail!("usage: native_writer SOURCE OUT.tar");
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let context = Context::new(runtime.handle()).with_parallel(4);
    let client = |_: &Uri| {
        RegistryClient::new(
            &Settings { insecure: true, ..Settings::default() },
            context.cancel.clone(),
        )
    };
    let images =
        Source::parse(&Uri::parse(source)?, &PlatformRequest::default(), client)?.open(&context)?;
    let image = images.first().context("the source holds no image")?;
    write(image, Path::new(archive), &context)?;
    runtime.shutdown_background();
    Ok(())
}

fn write(image: &Image, archive: &Path, context: &Context) -> Result<()> {
    let mut staging = Staging::new(Destination::file(archive)?, context.durable);
    let destination = staging.destination().clone();
    let name = destination.file_name().unwrap_or_default().to_owned();
    let mut sink = FileSink::new(name.clone(), staging.create()?);

    let config = format!("{}.json", image.id.hex());
    framed(&mut sink, &config, &image.config)?;
    let member = |index: usize| format!("{}/layer.tar", image.layers[index].diff_id.hex());
    let blobs = prefetch::start(taken(image), Route::File, &SizeHints::default(), context);
    for (taken, mut blob) in taken(image).into_iter().zip(blobs) {
        let gap = sink.reserve(header::BLOCK as u32).map_err(refused)?;
        let size = blob.splice(&mut sink)?.size;
        sink.fill(gap, &header::render(&member(taken.index), size)).map_err(refused)?;
        pad(&mut sink, size)?;
    }
    let tag = image.name.tag.iter().map(|tag| format!("{}:{tag}", image.name.repository));
    let layers: Vec<String> = (0..image.layers.len()).map(member).collect();
    let tags: Vec<String> = tag.collect();
    let manifest = serde_json::json!([{ "Config": config, "RepoTags": tags, "Layers": layers }]);
    framed(&mut sink, "manifest.json", &serde_json::to_vec(&manifest)?)?;
    sink.write(&[0; 2 * header::BLOCK as usize]).map_err(refused)?;
    sink.keep_promises()?;
    let (_, file) = sink.finish().map_err(refused)?;
    staging.push(name, file);
    staging.commit(&Terms::new(&[], &context.cancel))?;
    Ok(())
}

/// Each layer once, as a plain tar.
fn taken(image: &Image) -> Vec<PlannedLayer> {
    let mut taken: Vec<PlannedLayer> = Vec::new();
    for (index, layer) in image.layers.iter().enumerate() {
        if taken.iter().all(|earlier| earlier.layer.diff_id != layer.diff_id) {
            let (layer, progress) = (layer.clone(), LayerProgress::hidden());
            taken.push(PlannedLayer {
                index,
                layer,
                form: RequestedForm::Uncompressed,
                stays: false,
                progress,
            });
        }
    }
    taken
}

/// A member with bytes that are at hand.
fn framed(sink: &mut FileSink, name: &str, bytes: &[u8]) -> Result<()> {
    let size = bytes.len() as u64;
    sink.write(&header::render(name, size)).map_err(refused)?;
    sink.write(bytes).map_err(refused)?;
    pad(sink, size)
}

fn pad(sink: &mut FileSink, size: u64) -> Result<()> {
    let padding = size.next_multiple_of(header::BLOCK) - size;
    if padding > 0 {
        sink.pad(padding as u32).map_err(refused)?;
    }
    Ok(())
}

fn refused(cause: SinkError) -> anyhow::Error {
    anyhow!("the sink refused: {cause:?}")
}
