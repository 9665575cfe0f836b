//! `occystrap proxy`: from its options to the run, and what is printed of it.

use std::io::Write;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Host, event_line, printed};
use crate::cli::{OutputFormat, ProxyOptions};
use crate::proxy::event::ProxyEvent;
use crate::proxy::serve::Proxy;
use occystrap_base::error::{Error, Result, printable};
use occystrap_base::terminal::table::write_json_line;
use occystrap_verify::report::{ImageStatus, Stream, Tally, write_error, write_warning};

/// Runs the proxy until a signal ends it. Returns the exit code.
pub fn run(
    options: &ProxyOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    if host.global.output_format == OutputFormat::Json {
        return Err(Error::usage("a proxy has no end at which one document could be printed")
            .hint("-O jsonl prints a line for each image"));
    }
    let proxy = Proxy::open(options.settings(host.global)?, &host.session)?;
    let is_jsonl = host.global.output_format == OutputFormat::Jsonl;
    let (url, metrics) = (proxy.url()?, proxy.metrics_url()?);
    match is_jsonl {
        true => write_json_line(
            out,
            &event_line("listening", json!({ "url": url, "metrics": metrics })),
        ),
        false => writeln!(out, "listening on {url}").and_then(|()| match &metrics {
            Some(metrics) => writeln!(out, "metrics at {metrics}"),
            None => Ok(()),
        }),
    }
    .and_then(|()| out.flush())
    .map_err(printed)?;
    let started = Instant::now();
    let (mut tally, mut has_images) = (Tally::default(), false);
    let quiet = host.global.quiet;
    proxy.serve(&host.session, |event| match event {
        ProxyEvent::Moved { run, receipt } => {
            for image in run.images() {
                has_images = true;
                tally.count(image);
                if is_jsonl {
                    let mut more = serde_json::to_value(image).unwrap_or_default();
                    if let (Value::Object(more), Some(error)) = (&mut more, &receipt) {
                        more.insert("receipt_error".to_owned(), json!(error));
                    }
                    write_json_line(out, &event_line("image", more)).map_err(printed)?;
                    continue;
                }
                Stream::text(err, host.session.bars(), quiet)
                    .image(image, true)
                    .map_err(printed)?;
                let is_named = image.status != ImageStatus::Error && image.is_whole();
                if !quiet && is_named {
                    writeln!(err, "{}", printable(&image.line())).map_err(printed)?;
                }
            }
            out.flush().map_err(printed)?;
            match receipt {
                Some(error) if !is_jsonl => write_error(err, &error).map_err(printed),
                _ => Ok(()),
            }
        }
        ProxyEvent::Warning(message) if is_jsonl => {
            let more = json!({ "message": message });
            write_json_line(out, &event_line("warning", more)).map_err(printed)
        }
        ProxyEvent::Warning(message) => {
            write_warning(err, &Error::destination(message)).map_err(printed)
        }
        ProxyEvent::Stopping if is_jsonl => {
            write_json_line(out, &event_line("stopping", json!({}))).map_err(printed)
        }
        ProxyEvent::Stopping if !quiet => {
            writeln!(err, "Stopping: what has begun is finished. A second signal ends at once")
                .map_err(printed)
        }
        ProxyEvent::Stopping => Ok(()),
        ProxyEvent::GivenUp => {
            let error =
                Error::destination("the time of --grace is over: images in work were given up");
            write_warning(err, &error).map_err(printed)
        }
    })?;
    tally.end(started.elapsed());
    // A proxy to which no client pushed has not failed.
    let code = if has_images { tally.exit_code(options.strict) } else { 0 };
    if is_jsonl {
        let more = json!({ "exit_code": code, "seconds": started.elapsed().as_secs_f64() });
        write_json_line(out, &event_line("stopped", more)).map_err(printed)?;
    } else if !quiet {
        writeln!(err, "{}", tally.summary_line()).map_err(printed)?;
    }
    Ok(code)
}
