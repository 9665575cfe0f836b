//! Log lines on standard error.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::Global;
use occystrap_base::terminal::progress::Progress;

/// Starts logging to standard error, above the progress bars, at the level that the options set.
pub fn start(progress: &Progress, global: &Global) {
    let progress = progress.clone();
    let level = match (global.quiet, global.debug, global.verbose) {
        (true, _, _) => LevelFilter::ERROR,
        (_, true, _) => LevelFilter::DEBUG,
        (_, _, true) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || progress.stderr())
        .with_ansi(false)
        .event_format(Lines);
    // Only lines of occystrap, which `Progress::stderr` masks: libraries log whole requests with their secrets.
    let ours = Targets::new().with_target("occystrap", level);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

/// Format of log lines: `warning: ...` like errors and findings; lines of `--verbose` have no such prefix.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let word = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG | Level::TRACE => "debug: ",
        };
        writer.write_str(word)?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
