//! `occystrap verify --untrusted`: a line of JSON for each receipt on standard output as it comes, and
//! the summary at the end on standard error.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::web::{self, Trust};
use super::{Host, clients};
use crate::cli::Verify;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits::Allowance;
use occystrap_base::terminal::table::write_json_line;
use occystrap_output::plugin::{Catalog, PluginEngine};
use occystrap_verify::report;
use occystrap_verify::untrusted::{Bounds, Grants, Summary, verify_batch};

/// Verifies receipts. After an interruption, the summary counts those that have a line. Errors when the
/// command line is wrong or the output cannot be written.
pub fn run(
    asked: &Verify,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let (global, mut context) = (host.global, host.context()?);
    context.web = web::access(&asked.allow_net, global, Trust::None)?;
    let receipts: Vec<PathBuf> = asked.targets.iter().map(PathBuf::from).collect();
    if let Some(uri) = receipts.iter().find(|path| path.to_string_lossy().contains("://")) {
        let message =
            format!("'{}' is no receipt", occystrap_net::uri::Uri::hide(&uri.to_string_lossy()));
        return Err(Error::usage(message)
            .hint("--untrusted takes the files that 'occystrap process --receipt FILE' writes"));
    }
    let mut grants = Grants::none().with_settings(clients::of_run(global));
    for folder in &asked.root {
        grants.root(folder)?;
    }
    asked.allow_registry.iter().for_each(|host| grants.registry(host));
    let failed = |cause| Error::io(Kind::Destination, "write to", "standard error", &cause);
    let engine = PluginEngine::cancelled_by(host.cancel, Allowance::untrusted())?;
    let mut catalog = Catalog::new(engine, &[])?.with_installed(host.installed());
    for file in &global.plugin {
        // What is wrong with one is no reason to leave the receipts of others.
        if let Err(error) = catalog.add_file(file) {
            report::write_warning(err, &error).map_err(failed)?;
        }
    }
    let bounds = Bounds {
        workers: global.image_parallel.into(),
        time: Duration::from_secs(asked.time_limit),
        batch_time: Duration::from_secs(asked.batch_time_limit),
        ..Bounds::default()
    };
    let (started, mut counted) = (Instant::now(), Summary::default());
    let ended = verify_batch(&receipts, &catalog, &grants, &bounds, &context, |line| {
        counted.count(line);
        write_json_line(out, line)
            .and_then(|()| out.flush())
            .map_err(|cause| Error::io(Kind::Destination, "write to", "standard output", &cause))
    });
    let (summary, code) = match ended {
        Ok(summary) => {
            let code = summary.exit_code();
            (summary, code)
        }
        // The summary is the last line, whatever ends the batch.
        Err(error) if error.kind() == Kind::Interrupted => {
            report::write_error(err, &error).map_err(failed)?;
            counted.seconds = started.elapsed().as_secs_f64();
            (counted, error.exit_code())
        }
        Err(error) => return Err(error),
    };
    if !global.quiet {
        writeln!(err, "{summary}").map_err(failed)?;
    }
    Ok(code)
}
