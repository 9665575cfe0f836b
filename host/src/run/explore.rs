//! `occystrap explore`.

use super::Host;
use crate::cli::{ExploreOptions, OutputFormat};
use crate::explore;
use occystrap_base::error::{Error, Result};
use occystrap_images::explore::open;

/// Runs `occystrap explore`. Errors when there is no terminal, and when the image cannot be read.
pub fn run(options: &ExploreOptions, host: &Host<'_>) -> Result<u8> {
    if host.global.output_format == OutputFormat::Json {
        let error = Error::usage("'explore' has no JSON output");
        return Err(error.hint("'occystrap info --tree -O json SOURCE' prints the same numbers"));
    }
    let context = host.session.context()?;
    let source = host.session.source(&options.source)?;
    explore::check_terminal(&source.display)?;
    let image = open(&source, &context)?;
    explore::show(&image, &context).map(|()| 0)
}
