//! One image through one plugin, from `open` to the commit.

pub mod accept;
pub mod item;
pub mod repair_command;
pub mod target;
use std::cell::Cell;
use std::collections::BTreeSet;

use crate::destination::commit::expected::Terms;
use crate::destination::elsewhere;
use crate::destination::layer_blob::Form;
use crate::destination::occupied;
use crate::destination::prefetch::{self, PlannedLayer};
use crate::destination::size_hint::SizeHints;
use crate::plugin::WriteSession;
use crate::plugin::bindings::{types, writer};
use crate::plugin::handle::Blob;
use crate::plugin::violation::violation;
use crate::receipt::{self, Expectation, ImageIdentity, PluginIdentity, Receipt};
use item::Item;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Kind, Result};
use occystrap_base::oci::{Compression, ImageName, Manifest};
use occystrap_layer::image::{Content, Image, Layer};
use occystrap_net::context::Context;
use target::Target;

/// Ends what runs ahead when the session is given up.
struct Abandon(Cancel);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Write an image or an index. On any error, and when the receipt is refused, the destination is as
/// it was.
pub fn write(
    handed: Item,
    identity: &ImageIdentity,
    source: &str,
    target: &Target,
    context: &Context,
) -> Result<Receipt> {
    let (hints, outdated) = (SizeHints::default(), Cell::new(false));
    let attempt = || {
        let outcome = attempt(handed, identity, source, target, &hints, &outdated, context);
        // The commit has released those that it has made true.
        context.warnings.withdraw();
        outcome
    };
    let name = identity.image_name();
    match attempt() {
        Err(error) if hints.were_wrong() => {
            tracing::info!("{name}: writing anew, without size hints: {error}");
            attempt()
        }
        // Another process has taken back what it wrote, or has written it anew.
        Err(error) if outdated.get() => {
            tracing::info!("{name}: writing anew: {error}");
            attempt()
        }
        outcome => outcome,
    }
}

fn attempt(
    handed: Item,
    identity: &ImageIdentity,
    source: &str,
    target: &Target,
    hints: &SizeHints,
    outdated: &Cell<bool>,
    context: &Context,
) -> Result<Receipt> {
    let context = context.child();
    let _abandon = Abandon(context.cancel.clone());
    let pending = target.stage(handed.is_named(), &context)?;
    let grant = pending.grant();
    let description = target.plugin.description();
    let name = description.name.clone();

    let mut staying = BTreeSet::new();
    let mut session = target.plugin.write(pending, &context.warnings, &context.cancel)?;
    session.open(&request(handed, identity, target))?;
    if let Some(image) = handed.image() {
        let taken = plan(&mut session, image, target, &context)?;
        // A layer that an image has twice is taken once.
        let stays = |layer: &Layer| {
            taken.iter().any(|taken| taken.stays && taken.layer.digest == layer.digest)
        };
        staying
            .extend((0..).zip(&image.layers).filter(|(_, layer)| stays(layer)).map(|(at, _)| at));
        session.write_config(config(image))?;
        let indices: Vec<usize> = taken.iter().map(|taken| taken.index).collect();
        for (index, blob) in
            indices.into_iter().zip(prefetch::start(taken, &grant, hints, &context))
        {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let diff_id = image.layers[index].diff_id;
            session.write_layer(number, diff_id, Blob::Layer(Box::new(blob)))?;
        }
    }
    let (raw, journal, pending) = session.finalize()?;

    let (expectations, state) =
        crate::write::accept::accept(description, raw, handed, &staying, &journal, &pending)?;
    context.cancel.check()?;
    // Something may have appeared there since the run began.
    occupied::check(target)?;
    let replaced =
        handed.image().and_then(|image| Some((image.id, occupied::replaced(target, image.id)?)));
    let written = |one: &&Expectation| !one.role.is_layer_of(&staying);
    let written: Vec<Expectation> = expectations.iter().filter(written).cloned().collect();
    let expected = journal.expected(&written);
    let terms = Terms::new(&expected, &context.cancel);
    let committed = pending.commit(&terms);
    // Also where the new image is there, and what came after that has failed.
    if committed.is_ok() || terms.published.get().is_some() {
        context.warnings.release();
        if let Some((id, replaced)) = replaced {
            let name = identity.image_name();
            context.warnings.say(&occupied::warning(target, &name, id, &replaced));
        }
    }
    if let Err(error) = committed {
        outdated.set(terms.is_outdated.get());
        return Err(match error.kind() {
            Kind::Plugin => violation(&name, error),
            _ => error,
        });
    }
    Ok(Receipt {
        occystrap_receipt: receipt::VERSION,
        plugin: PluginIdentity {
            name,
            version: description.version.clone(),
            sha256: target.plugin.sha256(),
            wit: receipt::WIT_VERSION.to_owned(),
        },
        source: source.to_owned(),
        destination: target.lasting.clone(),
        image: identity.clone(),
        filters: Vec::new(),
        again: None,
        expectations,
        journal: journal.into_written(),
        state,
        is_fresh: true,
        published: terms.published.into_inner().unwrap_or_default(),
    })
}

fn request(handed: Item, identity: &ImageIdentity, target: &Target) -> writer::Request {
    let name = ImageName { repository: identity.name.clone(), tag: identity.tag.clone() };
    let name = target.name(&name);
    let for_guest = |manifest: &Manifest| types::Manifest {
        media_type: manifest.media_type.clone(),
        bytes: manifest.bytes.to_vec(),
    };
    let manifest = handed.image().and_then(|image| image.manifest.as_ref());
    writer::Request {
        name: writer::ImageName {
            repository: name.repository,
            tag: name.tag.filter(|_| handed.is_named()),
        },
        options: target.options.clone(),
        source_manifest: manifest.map(for_guest),
        index: match handed {
            Item::Index { index, .. } => Some(for_guest(&index.manifest)),
            _ => None,
        },
        listed: !handed.is_named(),
    }
}

fn config(image: &Image) -> Blob {
    Blob::Config {
        media_type: "application/vnd.oci.image.config.v1+json",
        bytes: image.config.clone(),
        digest: image.id,
    }
}

/// Ask the plugin which layers it takes, and in which form.
fn plan(
    session: &mut WriteSession,
    image: &Image,
    target: &Target,
    context: &Context,
) -> Result<Vec<PlannedLayer>> {
    let plugin = &target.plugin.description().name;
    // An artifact keeps its manifest, and so every layer, whatever is in it.
    let is_tar = |layer: &Layer| !layer.opaque && image.artifact.is_none();
    let summaries: Vec<writer::LayerSummary> = (image.layers.iter())
        .map(|layer| writer::LayerSummary {
            diff_id: Some(layer.diff_id).filter(|_| is_tar(layer)).map(|known| known.to_string()),
            media_type: layer.media_type.clone(),
            size: layer.size,
            digest: layer.digest.map(|digest| digest.to_string()),
        })
        .collect();
    let decisions = session.plan(&summaries)?;
    if decisions.len() != image.layers.len() {
        let (layers, found) = (image.layers.len(), decisions.len());
        return Err(violation(
            plugin,
            format!("it planned {found} layers, the image has {layers}"),
        ));
    }
    let is_stored = |decision: &writer::Decision| match decision {
        writer::Decision::Skip | writer::Decision::Take(writer::Form::Stored) => true,
        writer::Decision::Take(_) => false,
    };
    let is_kept = image.manifest.is_some() && decisions.iter().all(is_stored);
    let stay = elsewhere::stay(image, is_kept, target, context.web.foreign_layers())?;
    let mut taken = Vec::new();
    for (index, (layer, decision)) in image.layers.iter().zip(decisions).enumerate() {
        let form = match decision {
            writer::Decision::Skip => continue,
            writer::Decision::Take(writer::Form::Stored) => Form::Stored,
            writer::Decision::Take(writer::Form::Uncompressed) => Form::Uncompressed,
            writer::Decision::Take(writer::Form::Gzip) => Form::Compressed(Compression::Gzip),
            writer::Decision::Take(writer::Form::Zstd) => Form::Compressed(Compression::Zstd),
        };
        let label = format!("layer {}/{}", index + 1, image.layers.len());
        let progress = context.progress.layer(&label, layer.size);
        let stays = stay && matches!(layer.content, Content::Elsewhere(_));
        taken.push(PlannedLayer { index, layer: layer.clone(), form, stays, progress });
    }
    Ok(taken)
}
