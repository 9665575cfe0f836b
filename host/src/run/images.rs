//! The commands that read images and write nothing: `check`, `info`, `search`.

use std::io::{self, Write};

use super::{Host, html, printed};
use crate::cli::{CheckOptions, InfoOptions, OutputFormat, SearchOptions};
use occystrap_base::error::{Error, Result};
use occystrap_base::terminal::table::Paper;
use occystrap_images::artifact::images_alone;
use occystrap_images::check::{self, CheckScope};
use occystrap_images::info;
use occystrap_images::level::Level;
use occystrap_images::search::{self, FoundImage, Pattern};
use occystrap_images::source::Source;
use occystrap_images::usage::{self, Rule};
use occystrap_net::context::Context;

/// Runs `occystrap check` on every image of a source. Problems of an image are findings; errors are about the command
/// line.
pub fn check(options: &CheckOptions, host: &Host<'_>, out: &mut dyn Write) -> Result<u8> {
    let context = host.session.context()?;
    let source = host.session.source(&options.source)?;
    let level = if options.fast { Level::Fast } else { Level::Full };
    if options.all_platforms {
        source.check_all_platforms()?;
    }
    let extent = CheckScope { level, all_platforms: options.all_platforms };
    let report = check::check(&source, extent, &options.gate(), &context)?;
    match host.global.output_format {
        OutputFormat::Text => report.write_text(out, &Paper::stdout(), host.global.quiet),
        OutputFormat::Json | OutputFormat::Jsonl => report.write_json(out),
    }
    .map_err(printed)?;
    Ok(report.exit_code())
}

/// Runs `occystrap info`. Errors when the source cannot be read, or has nothing for the platform that was requested;
/// the platforms that it has are printed nevertheless.
pub fn info(options: &InfoOptions, host: &Host<'_>, out: &mut dyn Write) -> Result<u8> {
    let context = host.session.context()?;
    let source = host.session.source(&options.source)?;
    if let Some(file) = &options.html {
        return html::run(file, &source, &context, host, out);
    }
    if options.tree {
        return tree(&source, options, &context, host, out);
    }
    let wanted = source.wanted();
    let info = info::info(&source, &context)?;
    match host.global.output_format {
        OutputFormat::Text => info.write_text(out, &Paper::stdout()),
        OutputFormat::Json | OutputFormat::Jsonl => info.write_json(wanted, out),
    }
    .map_err(printed)?;
    match info.absent(wanted) {
        Some(error) => Err(error.clone()),
        None => Ok(0),
    }
}

/// Runs `occystrap info --tree`, and applies the rules of the command line.
fn tree(
    source: &Source,
    options: &InfoOptions,
    context: &Context,
    host: &Host<'_>,
    out: &mut dyn Write,
) -> Result<u8> {
    let mut rules: Vec<Rule> =
        options.fail_if.iter().map(|text| Rule::parse(text)).collect::<Result<_>>()?;
    if let Some(file) = &options.dive_ci {
        rules.extend(usage::dive_ci::read(file)?);
    }
    let usage = usage::usage(source, rules, context)?;
    let mut out = io::BufWriter::new(out);
    let written = match host.global.output_format {
        OutputFormat::Text => usage.write_text(options.top, &mut out, &Paper::stdout()),
        OutputFormat::Json | OutputFormat::Jsonl => usage.write_json(options.top, &mut out),
    };
    match written.and_then(|()| out.flush()) {
        // The reader may stop early, as `head` does.
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(printed(cause)),
        _ => Ok(usage.exit_code()),
    }
}

/// Runs `occystrap search` on every image of a source.
pub fn search(options: &SearchOptions, host: &Host<'_>, out: &mut dyn Write) -> Result<u8> {
    let context = host.session.context()?;
    let format = host.global.output_format;
    if options.script_friendly && format == OutputFormat::Json {
        return Err(Error::usage("--script-friendly and -O json are two formats: choose one"));
    }
    let pattern = Pattern::parse(&options.pattern, options.regex)?;
    let source = host.session.source(&options.source)?;
    let instead = "'occystrap info' describes it";
    let (images, artifacts) = images_alone(source.open(&context)?, instead)?;
    let found: Vec<FoundImage> = images
        .iter()
        .map(|image| {
            search::search(image, &pattern, options.layer.map(|layer| layer - 1), &context)
        })
        .collect::<Result<_>>()?;
    let mut out = io::BufWriter::new(out);
    let written = match (format, options.script_friendly) {
        (OutputFormat::Json | OutputFormat::Jsonl, _) => {
            search::write_json(&source.display, &found, &artifacts, &mut out)
        }
        (_, true) => search::write_script(&found, &mut out),
        (_, false) => search::write_text(&found, found.len() > 1, &mut out),
    };
    match written.and_then(|()| out.flush()) {
        // The reader may stop early, as `head` does.
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(printed(cause)),
        _ => Ok(0),
    }
}
