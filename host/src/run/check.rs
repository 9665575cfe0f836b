//! `occystrap check`.

use std::io::Write;

use super::{Host, printed};
use crate::cli::{Check, OutputFormat};
use occystrap_base::error::Result;
use occystrap_base::terminal::table::Paper;
use occystrap_images::check::{self, CheckScope};
use occystrap_images::level::Level;

/// Check every image of a source. What is wrong with one is a finding; errors are about the command line.
pub fn run(asked: &Check, host: &Host<'_>, out: &mut dyn Write) -> Result<u8> {
    let context = host.context()?;
    let source = host.source(&asked.source)?;
    let level = if asked.fast { Level::Fast } else { Level::Full };
    if asked.all_platforms {
        source.check_all_platforms()?;
    }
    let scope = CheckScope { level, all_platforms: asked.all_platforms };
    let report = check::check(&source, scope, &context)?;
    match host.global.output_format {
        OutputFormat::Text => report.write_text(out, &Paper::stdout(), host.global.quiet),
        OutputFormat::Json => report.write_json(out),
    }
    .map_err(printed)?;
    Ok(report.exit_code())
}
