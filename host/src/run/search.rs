//! `occystrap search`.

use std::io::{self, Write};

use super::{Host, printed};
use crate::cli::{OutputFormat, Search};
use occystrap_base::error::{Error, Result};
use occystrap_images::search::{self, FoundImage, Pattern};

/// Find files in every image of a source.
pub fn run(asked: &Search, host: &Host<'_>, out: &mut dyn Write) -> Result<u8> {
    let context = host.context()?;
    let format = host.global.output_format;
    if asked.script_friendly && format == OutputFormat::Json {
        return Err(Error::usage("--script-friendly and -O json are two forms: choose one"));
    }
    let pattern = Pattern::parse(&asked.pattern, asked.regex)?;
    let source = host.source(&asked.source)?;
    let images = source.open(&context)?;
    let instead = "'occystrap info' describes it";
    images.iter().try_for_each(|image| image.check_is_image(instead))?;
    let found: Vec<FoundImage> = images
        .iter()
        .map(|image| search::search(image, &pattern, &context))
        .collect::<Result<_>>()?;
    let mut out = io::BufWriter::new(out);
    let shown = match (format, asked.script_friendly) {
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
