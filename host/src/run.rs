//! From a parsed command line to an exit code.

mod again;
mod clients;
mod plugin;
mod untrusted;

use std::io::{self, Write};
use std::sync::Arc;

use clap::CommandFactory;

use self::clients::Clients;
use crate::cancel::Cancel;
use crate::check;
use crate::cli::{
    Check, Cli, Command, CompressionName, Global, Info, OutputFormat, Process, Search, Verify,
};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::filter::Filters;
use crate::image::Platform;
use crate::info;
use crate::input::Source;
use crate::layer_cache::LayerCache;
use crate::manual;
use crate::output::Target;
use crate::pipeline;
use crate::plugin::{Catalog, Installed, PluginEngine};
use crate::progress::Progress;
use crate::registry::Counters;
use crate::report::Run;
use crate::results::Results;
use crate::search::{self, FoundImage, Pattern};
use crate::terminal::Paper;
use crate::uri::Uri;
use crate::usage;
use crate::verify::Level;

/// Do what was asked, and say how it went: results on `out`, everything else on `err`.
pub fn run(
    cli: Cli,
    cancel: &Cancel,
    runtime: &tokio::runtime::Handle,
    progress: &Progress,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let ends = match (&cli.command, cli.global.output_format) {
        (Command::Process(asked), OutputFormat::Json) => {
            Some((Uri::hide(&asked.source), Uri::hide(&asked.destination)))
        }
        (Command::Verify(asked), OutputFormat::Json) => {
            Some((Uri::hide(&asked.target), Uri::hide(&asked.target)))
        }
        _ => None,
    };
    let outcome = run_command(cli, cancel, runtime, progress, out, err);
    if let (Some((source, destination)), Err(error)) = (ends, &outcome) {
        // Who reads documents gets one, whatever happens. A broken pipe gets nothing.
        let _ = Run::refused(&source, &destination, error.clone()).write_json(out);
    }
    outcome
}

fn run_command(
    cli: Cli,
    cancel: &Cancel,
    runtime: &tokio::runtime::Handle,
    progress: &Progress,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let Cli { command, global, .. } = cli;
    let printed =
        |cause: io::Error| Error::io(Kind::Destination, "write to", "standard output", &cause);
    match command {
        Command::Process(process) => {
            let mut context = context(&global, process.fsync, cancel, runtime, progress)?;
            let request = prepare(&global, &process, &context)?;
            if let Some(folder) = request.target.spool() {
                context.spool = folder;
            }
            let run = pipeline::process(&request, &context);
            report(&run, &global, out, err).map_err(printed)?;
            Ok(run.exit_code(process.strict))
        }
        Command::Verify(asked) if asked.untrusted => {
            let context = context(&global, false, cancel, runtime, progress)?;
            untrusted::run(&asked, &global, &context, out, err)
        }
        Command::Verify(Verify { target, fast, .. }) => {
            let context = context(&global, false, cancel, runtime, progress)?;
            let clients = Clients::new(&global, &context.cancel);
            let client = |uri: &Uri| clients.of(uri);
            let subject = pipeline::subject(&target, &catalog(&global)?, client, &context.cancel)?;
            let level = if fast { Level::Fast } else { Level::Full };
            let run = pipeline::verify_subject(&subject, level, &context);
            report(&run, &global, out, err).map_err(printed)?;
            Ok(run.exit_code(true))
        }
        Command::Search(search) => {
            let context = context(&global, false, cancel, runtime, progress)?;
            let (source, pattern) = prepare_search(&global, &search, &context)?;
            let images = source.open(&context)?;
            let found: Vec<FoundImage> = images
                .iter()
                .map(|image| search::search(image, &pattern, &context))
                .collect::<Result<_>>()?;
            let mut out = io::BufWriter::new(out);
            let shown = match (global.output_format, search.script_friendly) {
                (OutputFormat::Json, _) => search::write_json(&source.display, &found, &mut out),
                (_, true) => search::write_script(&found, &mut out),
                (_, false) => search::write_text(&found, found.len() > 1, &mut out),
            };
            match shown.and_then(|()| out.flush()) {
                // 'head' has seen enough.
                Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(printed(cause)),
                _ => Ok(0),
            }
        }
        Command::Check(Check { source, fast }) => {
            let context = context(&global, false, cancel, runtime, progress)?;
            let clients = Clients::new(&global, &context.cancel);
            let wanted = wanted(&global);
            let source = Source::parse(&Uri::parse(&source)?, &wanted, |uri| clients.of(uri))?;
            let level = if fast { Level::Fast } else { Level::Full };
            let report = check::check(&source, level, &context)?;
            match global.output_format {
                OutputFormat::Text => report.write_text(out, &Paper::stdout(), global.quiet),
                OutputFormat::Json => report.write_json(out),
            }
            .map_err(printed)?;
            Ok(report.exit_code())
        }
        Command::Info(Info { source, tree }) => {
            let context = context(&global, false, cancel, runtime, progress)?;
            let clients = Clients::new(&global, &context.cancel);
            let wanted = wanted(&global);
            let source = Source::parse(&Uri::parse(&source)?, &wanted, |uri| clients.of(uri))?;
            if tree {
                let usage = usage::usage(&source, &context)?;
                match global.output_format {
                    OutputFormat::Text => usage.write_text(out, &Paper::stdout()),
                    OutputFormat::Json => usage.write_json(out),
                }
                .map_err(printed)?;
                return Ok(0);
            }
            let info = info::info(&source, &context)?;
            match global.output_format {
                OutputFormat::Text => info.write_text(out, &Paper::stdout()),
                OutputFormat::Json => info.write_json(out),
            }
            .map_err(printed)?;
            match info.absent(&wanted) {
                Some(error) => Err(error.clone()),
                None => Ok(0),
            }
        }
        Command::Plugin { command } => {
            plugin::run(&command, &global, &plugin::Host { cancel, runtime }, out, err)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "occystrap", out);
            Ok(0)
        }
        Command::Man { output: None } => {
            manual::write(Cli::command(), out).map_err(printed)?;
            Ok(0)
        }
        Command::Man { output: Some(folder) } => {
            manual::write_pages(Cli::command(), &folder).map(|()| 0).map_err(|cause| {
                Error::io(Kind::Destination, "write manual pages to", folder.display(), &cause)
            })
        }
    }
}

fn prepare_search(
    global: &Global,
    search: &Search,
    context: &Context,
) -> Result<(Source, Pattern)> {
    if search.script_friendly && global.output_format == OutputFormat::Json {
        return Err(Error::usage("--script-friendly and -O json are two forms: choose one"));
    }
    let pattern = Pattern::parse(&search.pattern, search.regex)?;
    let clients = Clients::new(global, &context.cancel);
    let uri = Uri::parse(&search.source)?;
    let source = Source::parse(&uri, &wanted(global), |uri| clients.of(uri))?;
    Ok((source, pattern))
}

fn prepare(global: &Global, process: &Process, context: &Context) -> Result<pipeline::Process> {
    let uri = Uri::parse(&process.source)?;
    let clients = Clients::new(global, &context.cancel);
    let source = Source::parse(&uri, &wanted(global), |uri| clients.of(uri))?;
    let destination = Uri::parse(&process.destination)?;
    let client = |uri: &Uri| clients.of(uri);
    let target = Target::parse(&destination, &catalog(global)?, client, &context.cancel)?
        .with_default("compression", global.compression.map(CompressionName::name));
    if process.all_platforms {
        check_all_platforms(&uri, &target)?;
    }
    target.check_options(&context.cancel)?;
    let layer_cache = match &global.layer_cache {
        Some(_) if !LayerCache::serves(&target) => {
            tracing::warn!("--layer-cache means nothing to '{}'", target.display);
            None
        }
        Some(path) => Some(LayerCache::open(path)?),
        None => None,
    };
    let results = match global.output_format {
        OutputFormat::Text => Results::printed(&context.progress),
        OutputFormat::Json => Results::beside_document(&context.progress),
    };
    let filters = Filters::parse(&process.filter, |name| std::env::var(name).ok(), &results)?;
    Ok(pipeline::Process {
        all_platforms: process.all_platforms,
        files: again::files(global, &target),
        source,
        filters,
        layer_cache,
        target,
        level: process.level(|name| std::env::var(name).ok())?,
        receipt: process.receipt.clone(),
        image_parallel: global.image_parallel.into(),
    })
}

/// The platform that is asked for.
fn wanted(global: &Global) -> Platform {
    Platform {
        os: global.os.clone(),
        architecture: global.architecture.clone(),
        variant: global.variant.clone().filter(|variant| !variant.is_empty()),
    }
}

/// Whether every platform can be taken from there, and kept here.
fn check_all_platforms(source: &Uri, target: &Target) -> Result<()> {
    const CHOICES: [&str; 4] = ["os", "arch", "architecture", "variant"];
    if let Some(choice) = CHOICES.into_iter().find(|name| source.option(name).is_some()) {
        return Err(Error::usage(format!(
            "'?{choice}=' chooses one platform, --all-platforms all"
        )));
    }
    let (plugin, place) = (target.plugin.description(), &target.display);
    if !plugin.oci_manifests {
        return Err(Error::usage(format!("'{place}' holds one platform of an image"))
            .hint("--all-platforms needs registry:// or oci-layout:// as destination"));
    }
    let compression = target.options.iter().find(|(name, _)| name == "compression");
    if compression.is_some_and(|(_, value)| !value.is_empty()) {
        let message =
            "--all-platforms keeps every digest, so that layers cannot be compressed anew";
        return Err(Error::usage(message).hint("leave out the option 'compression'"));
    }
    Ok(())
}

fn context(
    global: &Global,
    durable: bool,
    cancel: &Cancel,
    runtime: &tokio::runtime::Handle,
    progress: &Progress,
) -> Result<Context> {
    let temp_dir = global.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
    if !temp_dir.is_dir() {
        return Err(Error::usage(format!(
            "the temporary folder '{}' is not there",
            temp_dir.display()
        )));
    }
    Ok(Context {
        runtime: runtime.clone(),
        cancel: cancel.clone(),
        progress: progress.clone(),
        counters: Arc::new(Counters::default()),
        parallel: global.parallel.into(),
        spool: temp_dir.clone(),
        temp_dir,
        durable,
    })
}

fn catalog(global: &Global) -> Result<Catalog> {
    let catalog = Catalog::new(PluginEngine::new()?, &global.plugin)?;
    Ok(catalog.with_installed(installed(global)))
}

/// Where the user's plugins are. `None` where there is no home to keep them in.
fn installed(global: &Global) -> Option<Installed> {
    let named = global.plugin_dir.clone().filter(|folder| !folder.as_os_str().is_empty());
    named.map(Installed::at).or_else(|| Installed::of_user(|name| std::env::var_os(name)))
}

fn report(run: &Run, global: &Global, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    match global.output_format {
        OutputFormat::Text => run.write_text(err, global.quiet),
        OutputFormat::Json => run.write_json(out),
    }
}
