//! `occystrap mirror from`.

use std::io::Write;

use super::super::{Host, printed};
use super::all_but_last;
use crate::cli::{FromOptions, OutputFormat};
use crate::mirror::file::read_other;
use occystrap_base::error::{Error, Result, printable};
use occystrap_mirror::convert;

/// Exit code with `--strict` where something is not converted.
const PARTLY: u8 = 3;

/// Prints a converted file. Returns the exit code.
pub fn run(
    options: &FromOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    if host.global.output_format != OutputFormat::Text {
        let error = Error::usage("'mirror from' prints a YAML file, and no document");
        return Err(error.hint("leave out -O json"));
    }
    let (name, text) = read_other(&options.file)?;
    let converted = convert::from(&name, &text, options.to.as_deref())
        .map_err(|errors| all_but_last(errors, err))?;
    out.write_all(converted.file.as_bytes()).map_err(printed)?;
    for one in &converted.not_converted {
        writeln!(err, "{}", printable(&one.to_string())).map_err(printed)?;
    }
    Ok(match options.strict && !converted.not_converted.is_empty() {
        true => PARTLY,
        false => 0,
    })
}
