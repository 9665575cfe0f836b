//! `occystrap verify`, for receipts that the user trusts and, with `--untrusted`, for those of other users.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::{Host, printed};
use crate::cli::{OutputFormat, VerifyOptions};
use crate::{BatchSummary, Level, Verify, VerifyBatch};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::terminal::table::write_json_line;
use occystrap_verify::report::{self, Stream};

/// Verifies what a receipt says, or what a destination says of itself. Returns the exit code.
pub fn run(
    options: &VerifyOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let started = Instant::now();
    let mut stream = match host.global.output_format {
        OutputFormat::Text => Stream::text(err, host.session.bars(), host.global.quiet),
        OutputFormat::Json | OutputFormat::Jsonl => Stream::json(out),
    };
    let level = if options.fast { Level::Fast } else { Level::Full };
    let mut request = Verify::new(options.targets.iter().map(String::as_str)).level(level);
    for server in &options.allow_net {
        request = request.allow_net(server);
    }
    request
        .each(&host.session, |report, several| stream.image(&report, several).map_err(printed))?;
    let tally = stream.end(started.elapsed()).map_err(printed)?;
    Ok(tally.exit_code(true))
}

/// Verifies receipts of other users: a line of JSON for each receipt on standard output as soon as it is known, and the
/// summary at the end on standard error. After an interruption, the summary counts the receipts that have a line.
/// Errors when the command line is wrong or the output cannot be written.
pub fn untrusted(
    options: &VerifyOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let failed =
        |cause: io::Error| Error::io(Kind::Destination, "write to", "standard error", &cause);
    let mut request = VerifyBatch::new(&options.targets)
        .workers(host.global.image_parallel.into())
        .time(Duration::from_secs(options.time_limit))
        .batch_time(Duration::from_secs(options.batch_time_limit));
    for folder in &options.root {
        request = request.root(folder);
    }
    for registry in &options.allow_registry {
        request = request.registry(registry);
    }
    for server in &options.allow_net {
        request = request.allow_net(server);
    }
    let (started, mut counted) = (Instant::now(), BatchSummary::default());
    let ended = request.run_with(
        &host.session,
        |error| report::write_warning(&mut *err, error).map_err(failed),
        |line| {
            counted.count(line);
            write_json_line(out, line).and_then(|()| out.flush()).map_err(|cause| {
                Error::io(Kind::Destination, "write to", "standard output", &cause)
            })
        },
    );
    let (summary, code) = match ended {
        Ok(summary) => {
            let code = summary.exit_code();
            (summary, code)
        }
        // The summary is the last line, even after an interruption.
        Err(error) if error.kind() == Kind::Interrupted => {
            report::write_error(err, &error).map_err(failed)?;
            counted.seconds = started.elapsed().as_secs_f64();
            (counted, error.exit_code())
        }
        Err(error) => return Err(error),
    };
    if !host.global.quiet {
        writeln!(err, "{summary}").map_err(failed)?;
    }
    Ok(code)
}
