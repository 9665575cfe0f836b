//! `occystrap process`: from its options to a request of the public API.

use std::io::Write;

use super::{Host, printed};
use crate::Process;
use crate::cli::{CompressionName, OutputFormat, ProcessOptions};
use occystrap_base::error::{Error, Result};

/// Moves images and verifies them. Returns the exit code.
pub fn run(
    options: &ProcessOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let request = request(options, host)?;
    if options.dry_run {
        let plan = request.dry_run(&host.session)?;
        match host.global.output_format {
            OutputFormat::Text => plan.write_text(out),
            OutputFormat::Json | OutputFormat::Jsonl => plan.write_json(out),
        }
        .map_err(printed)?;
        return Ok(plan.exit_code());
    }
    let run = request.run(&host.session)?;
    match host.global.output_format {
        OutputFormat::Text => run.write_text(err, host.global.quiet),
        OutputFormat::Json | OutputFormat::Jsonl => run.write_json(out),
    }
    .map_err(printed)?;
    Ok(run.exit_code(options.strict))
}

fn request(options: &ProcessOptions, host: &Host<'_>) -> Result<Process> {
    let environment = |name: &str| std::env::var(name).ok();
    let level = options.level(environment)?;
    if options.strict && level.is_none() {
        return Err(Error::usage("--strict needs a verification, but verification is off")
            .hint("remove --strict, or remove --no-verify and OCCYSTRAP_VERIFY"));
    }
    let mut request = Process::new(&options.source, &options.destination)
        .verify(level)
        .all_platforms(options.all_platforms)
        .foreign_layers(options.foreign_layers())
        .durable(options.fsync)
        .force(options.force(environment)?)
        .results_on_stderr(host.global.output_format == OutputFormat::Json);
    if let Some(types) = &options.referrers {
        request = request.referrers(types.iter().filter(|kind| *kind != "all"));
    }
    for filter in &options.filter {
        request = request.filter(filter);
    }
    for server in &options.allow_net {
        request = request.allow_net(server);
    }
    if let Some(file) = &options.receipt {
        request = request.receipt(file);
    }
    if let Some(file) = &host.global.layer_cache {
        request = request.layer_cache(file);
    }
    if let Some(compression) = host.global.compression {
        request = request.compression(CompressionName::value(compression));
    }
    Ok(request)
}
