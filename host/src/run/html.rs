//! `occystrap info --html`.

use std::io::Write;
use std::path::Path;

use super::{Host, printed};
use crate::cli::OutputFormat;
use occystrap_base::error::Result;
use occystrap_base::files::new_file::NewFile;
use occystrap_base::files::state_file::StateFile;
use occystrap_images::html;
use occystrap_images::source::Source;
use occystrap_net::context::Context;

/// The pages that this program writes. A page replaces only a page.
const PAGE: StateFile = StateFile { what: "page", largest: 64 * 1024 * 1024, is_one: is_page };

/// Returns whether bytes begin as every page does.
fn is_page(bytes: &[u8]) -> bool {
    bytes.starts_with(b"<!DOCTYPE html>")
}

/// Writes the page about a source to `file`, and prints what it says in short. The file gets its name when it is
/// complete. Errors when the source cannot be read, or the file not be written.
pub fn run(
    file: &Path,
    source: &Source,
    context: &Context,
    host: &Host<'_>,
    out: &mut dyn Write,
) -> Result<u8> {
    // The layers are read only if their page can be written.
    PAGE.check(file, None)?;
    let real = PAGE.resolve(file)?;
    let page = html::page(source, context)?;
    let failed = |cause: &std::io::Error| PAGE.write_failed(file, cause);
    let new = NewFile::at(&real).map_err(|cause| failed(&cause))?;
    page.write(&mut new.file()).map_err(|cause| failed(&cause))?;
    context.cancel.check()?;
    new.publish().map_err(|cause| failed(&cause))?;
    let shown = file.to_string_lossy();
    match host.global.output_format {
        OutputFormat::Text => page.write_text(&shown, out),
        OutputFormat::Json | OutputFormat::Jsonl => page.write_json(&shown, out),
    }
    .map_err(printed)?;
    Ok(0)
}
