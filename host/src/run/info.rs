//! `occystrap info`, and `--tree`.

use std::io::Write;

use super::{Host, printed};
use crate::cli::{Info, OutputFormat};
use occystrap_base::error::Result;
use occystrap_base::terminal::table::Paper;
use occystrap_images::info;
use occystrap_images::source::Source;
use occystrap_images::usage;
use occystrap_net::context::Context;

/// Describe what a source has. Errors when it cannot be looked at, or has nothing for the platform that
/// was asked for; what it has instead is told all the same.
pub fn run(asked: &Info, host: &Host<'_>, out: &mut dyn Write) -> Result<u8> {
    let context = host.context()?;
    let source = host.source(&asked.source)?;
    if asked.tree {
        return tree(&source, &context, host, out);
    }
    let wanted = source.wanted();
    let info = info::info(&source, &context)?;
    match host.global.output_format {
        OutputFormat::Text => info.write_text(out, &Paper::stdout()),
        OutputFormat::Json => info.write_json(wanted, out),
    }
    .map_err(printed)?;
    match info.absent(wanted) {
        Some(error) => Err(error.clone()),
        None => Ok(0),
    }
}

fn tree(source: &Source, context: &Context, host: &Host<'_>, out: &mut dyn Write) -> Result<u8> {
    let usage = usage::usage(source, context)?;
    match host.global.output_format {
        OutputFormat::Text => usage.write_text(out, &Paper::stdout()),
        OutputFormat::Json => usage.write_json(out),
    }
    .map_err(printed)?;
    Ok(0)
}
