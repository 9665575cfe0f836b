//! `occystrap process`: the whole command line is understood before anything is fetched.

use std::io::Write;

use super::clients::Clients;
use super::repeat_options;
use super::web::{self, Trust};
use super::{Host, printed, report};
use crate::cli::{CompressionName, Global, OutputFormat, Process};
use crate::pipeline;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::state_file::same;
use occystrap_base::terminal::results::Results;
use occystrap_images::filter::{FilterInputs, Filters};
use occystrap_images::source::Source;
use occystrap_net::uri::Uri;
use occystrap_output::layer_cache::LayerCache;
use occystrap_output::write::target::Target;

/// Move images, and verify them.
pub fn run(
    asked: &Process,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let mut context = host.context()?;
    context.durable = asked.fsync;
    context.web = web::access(&asked.allow_net, host.global, Trust::Own)?
        .with_foreign_layers(asked.foreign_layers());
    let request = prepare(asked, host)?;
    if let Some(folder) = request.target.folder() {
        // What the user has typed is named, with that.
        let place = folder.url(context.web.allow()).clone();
        context.web = context.web.with_place(place);
    }
    if let Some(folder) = request.target.spool() {
        context.import_dir = folder;
    }
    if asked.dry_run {
        let plan = pipeline::dry_run(&request, &context)?;
        let written = match host.global.output_format {
            OutputFormat::Text => plan.write_text(out),
            OutputFormat::Json => plan.write_json(out),
        };
        written.map_err(printed)?;
        return Ok(plan.exit_code());
    }
    let run = pipeline::process(&request, &context);
    report(&run, host.global, out, err).map_err(printed)?;
    Ok(run.exit_code(asked.strict))
}

fn prepare(asked: &Process, host: &Host<'_>) -> Result<pipeline::Process> {
    let global = host.global;
    let uri = Uri::parse(&asked.source)?;
    // One for both ends, which may be one host.
    let clients = Clients::new(global, host.cancel);
    let source = Source::parse(&uri, &host.wanted(&uri)?, |uri| clients.of(uri))?;
    let destination = Uri::parse(&asked.destination)?;
    let client = |uri: &Uri| clients.of(uri);
    let target = Target::parse(&destination, &host.catalog()?, client, host.cancel)?
        .with_default("compression", global.compression.map(CompressionName::name))
        .forced(asked.force(|name| std::env::var(name).ok())?);
    if asked.all_platforms {
        source.check_all_platforms()?;
        check_all_platforms(&target)?;
    }
    target.check_options(host.cancel)?;
    let layer_cache = layer_cache(asked, global, &target)?;
    let level = asked.level(|name| std::env::var(name).ok())?;
    if asked.strict && level.is_none() {
        return Err(Error::usage("--strict is about verification, and nothing is to be verified")
            .hint("leave out --strict, or --no-verify and OCCYSTRAP_VERIFY"));
    }
    let results = match global.output_format {
        OutputFormat::Text => Results::printed(host.progress),
        OutputFormat::Json => Results::beside_document(host.progress),
    };
    let inputs = FilterInputs { environment: &|name| std::env::var(name).ok(), results: &results };
    let filters = Filters::parse(&asked.filter, &inputs)?;
    Ok(pipeline::Process {
        all_platforms: asked.all_platforms,
        files: repeat_options::options(asked, global, &target),
        source,
        filters,
        layer_cache,
        target,
        level,
        receipt: asked.receipt.clone(),
        image_parallel: global.image_parallel.into(),
    })
}

/// Whether every platform can be kept here.
fn check_all_platforms(target: &Target) -> Result<()> {
    let (plugin, place) = (target.plugin.description(), &target.display);
    if !plugin.oci_manifests {
        return Err(Error::usage(format!("'{place}' holds one platform of an image"))
            .hint("--all-platforms needs registry:// or oci-layout:// as destination"));
    }
    if target.option("compression").is_some_and(|value| !value.is_empty()) {
        let message =
            "--all-platforms keeps every digest, so that layers cannot be compressed anew";
        return Err(Error::usage(message).hint("leave out the option 'compression'"));
    }
    Ok(())
}

/// What becomes of layers: what the user's file knows of it, or this run alone.
fn layer_cache(asked: &Process, global: &Global, target: &Target) -> Result<Option<LayerCache>> {
    match &global.layer_cache {
        Some(_) if asked.all_platforms => {
            tracing::warn!("--layer-cache means nothing to --all-platforms: no layer is changed");
            Ok(None)
        }
        Some(_) if !LayerCache::serves(target) => {
            tracing::warn!("--layer-cache means nothing to '{}'", target.display);
            Ok(None)
        }
        Some(path) if asked.receipt.as_ref().is_some_and(|receipt| same(receipt, path)) => {
            let path = path.display();
            Err(Error::usage(format!("'{path}' cannot be the receipt and the layer cache")))
        }
        Some(path) => LayerCache::open(path, target).map(Some),
        None if asked.all_platforms || target.holds_one() => Ok(None),
        None => Ok(Some(LayerCache::of_this_run())),
    }
}
