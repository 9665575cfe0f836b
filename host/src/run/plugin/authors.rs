//! What those who write plugins ask for: a crate to begin with, and a judgement.

use std::io::{self, Write};
use std::path::Path;

use crate::cli::{Global, OutputFormat};
use crate::plugin_kit::conformance;
use crate::plugin_kit::scaffold;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits::Allowance;
use occystrap_net::context::Context;
use occystrap_output::plugin::embedded::EMBEDDED;
use occystrap_output::plugin::{PluginEngine, component_file};

/// `occystrap plugin new`.
pub fn new(name: &str, folder: Option<&Path>, out: &mut dyn Write) -> Result<u8> {
    let folder = folder.unwrap_or(Path::new(name));
    scaffold::write(name, folder)?;
    let file = scaffold::file_name(name);
    writeln!(
        out,
        "made '{place}'. Next:\n  cd {place}\n  cargo plugin    \
         builds target/wasm32-unknown-unknown/release/{file}.wasm\n  \
         cargo test      runs the conformance kit on it",
        place = folder.display()
    )
    .map_err(|cause| printed(&cause))?;
    Ok(0)
}

/// `occystrap plugin test`.
pub fn test(
    name: &str,
    options: &[(String, String)],
    global: &Global,
    context: &Context,
    out: &mut dyn Write,
) -> Result<u8> {
    let engine = PluginEngine::cancelled_by(&context.cancel, Allowance::default())?;
    let known = EMBEDDED.iter().find(|known| known.name == name);
    let report = match known {
        Some(known) => conformance::run(&engine, name, known.component, options, context)?,
        None => {
            let bytes = component_file::read(Path::new(name))?;
            conformance::run(&engine, name, &bytes, options, context)?
        }
    };
    match global.output_format {
        OutputFormat::Text => report.write_text(out, global.quiet),
        OutputFormat::Json => report.write_json(out),
    }
    .map_err(|cause| printed(&cause))?;
    Ok(report.exit_code())
}

fn printed(cause: &io::Error) -> Error {
    Error::io(Kind::Destination, "write to", "standard output", cause)
}
