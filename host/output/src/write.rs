//! Driving an output plugin: one image or index through one session, from `open` to the commit.
//!
//! The code that is written into is in `destination`. What it refuses: to make anything visible before the receipt of the
//! plugin is accepted ([`accept`]).

pub mod accept;
pub mod dry_run;
pub mod foreign_layers;
pub mod item;
pub mod occupied;
pub mod plan;
pub mod repair_command;
pub mod target;

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::destination::commit::expected::Terms;
use crate::destination::planned_layer::PlannedLayer;
use crate::destination::prefetch::{self, Route};
use crate::destination::remote::RepositoryReader;
use crate::destination::size_hint::SizeHints;
use crate::plugin::handle::Blob;
use crate::plugin::violation::violation;
use crate::receipt::identity::PluginIdentity;
use crate::receipt::{self, Expectation, ImageIdentity, Receipt};
use item::Item;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{FaultOrigin, Kind, Result};
use occystrap_base::oci::config_type;
use occystrap_layer::image::{Image, Layer};
use occystrap_net::context::Context;
use target::Target;

/// A check of the blobs in a repository before a manifest names them.
pub type BeforeCommit<'a> = &'a dyn Fn(&[Expectation], &RepositoryReader) -> Result<()>;

/// Ends the fetches that run ahead when the session is given up.
struct Abandon(Cancel);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Writes an image or an index. On any error, and when the receipt is refused, the destination is left as it was.
///
/// `before_commit` checks what was sent to a repository before a manifest names it; its error ends the write.
pub fn write(
    item: Item,
    identity: &ImageIdentity,
    source: &str,
    target: &Target,
    before_commit: Option<BeforeCommit>,
    context: &Context,
) -> Result<Receipt> {
    let (hints, outdated) = (SizeHints::default(), Cell::new(false));
    let attempt = || {
        let attempts = Attempts { hints: &hints, outdated: &outdated, before_commit };
        let outcome = attempts.attempt(item, identity, source, target, context);
        // The commit has released the warnings that it made true.
        context.warnings.withdraw();
        outcome
    };
    let name = identity.image_name();
    match attempt() {
        Err(error) if hints.were_wrong() => {
            tracing::info!("{name}: writing anew, without size hints: {error}");
            attempt()
        }
        // What this run knew of the repository is outdated.
        Err(error) if error.origin() == Some(FaultOrigin::LostBlob) => {
            tracing::info!("{name}: writing anew: {error}");
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

/// What the attempts to write one image share.
struct Attempts<'a> {
    hints: &'a SizeHints,
    /// Whether another process changed the destination, so that one more attempt may succeed.
    outdated: &'a Cell<bool>,
    before_commit: Option<BeforeCommit<'a>>,
}

impl Attempts<'_> {
    fn attempt(
        &self,
        item: Item,
        identity: &ImageIdentity,
        source: &str,
        target: &Target,
        context: &Context,
    ) -> Result<Receipt> {
        let Self { hints, outdated, before_commit } = *self;
        let context = context.child();
        let _abandon = Abandon(context.cancel.clone());
        let pending = target.stage(item.is_named(), &context)?;
        let route = Route::of(&pending);
        let description = target.plugin.description();
        let name = description.name.clone();

        let mut staying = BTreeSet::new();
        let mut session = target.plugin.write(pending, &context.warnings, &context.cancel)?;
        session.open(&item.request(identity, target))?;
        if let Some(image) = item.image() {
            let layers = plan::plan(&mut session, item, image, target, &context)?;
            let image_name = identity.image_name();
            layers.iter().for_each(|layer| tracing::info!("{image_name}: {layer}"));
            let taken: Vec<PlannedLayer> =
                layers.iter().filter_map(|layer| layer.planned(&context)).collect();
            // A layer that an image has twice is taken once.
            let stays = |layer: &Layer| {
                taken.iter().any(|taken| taken.stays && taken.layer.digest == layer.digest)
            };
            staying.extend(
                (0..).zip(&image.layers).filter(|(_, layer)| stays(layer)).map(|(at, _)| at),
            );
            session.write_config(config(image))?;
            let indices: Vec<usize> = taken.iter().map(|taken| taken.index).collect();
            for (index, blob) in
                indices.into_iter().zip(prefetch::start(taken, route, hints, &context))
            {
                let number = u32::try_from(index).unwrap_or(u32::MAX);
                let diff_id = image.layers[index].diff_id;
                session.write_layer(number, diff_id, Blob::Layer(Box::new(blob)))?;
            }
        }
        let (raw, journal, pending) = session.finalize()?;

        let (expectations, state) =
            crate::write::accept::accept(description, raw, item, &staying, &journal, &pending)?;
        let manifest = accept::written_manifest(&expectations, &journal, &pending);
        if let (Some(check), Some(remote)) = (before_commit, pending.repository()) {
            check(&expectations, remote)?;
        }
        context.cancel.check()?;
        // Something may have appeared there since the run began.
        occupied::check(target)?;
        let replaced =
            item.image().and_then(|image| Some((image.id, occupied::replaced(target, image.id)?)));
        let written = |one: &&Expectation| !one.role.is_layer_of(&staying);
        let written: Vec<Expectation> = expectations.iter().filter(written).cloned().collect();
        let paths = written.iter().filter_map(|one| one.place.path()).collect();
        let expected = journal.expected(&paths);
        let terms = Terms::new(&expected, &context.cancel);
        let committed = pending.commit(&terms);
        // Also where the new image is there, and something after the commit point has failed.
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
            manifest,
            published: terms.published.into_inner().unwrap_or_default(),
        })
    }
}

fn config(image: &Image) -> Blob {
    Blob::Config { media_type: config_type::OCI, bytes: image.config.clone(), digest: image.id }
}
