//! Log lines for programs that keep them in their own way.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use occystrap_base::secret;

/// Returns a subscriber that calls `sink` with each log line up to `level`, without passwords and tokens.
///
/// Log lines are events of the crate `tracing`, with targets that begin with `occystrap`. Worker threads log as well, so
/// the subscriber must be the global one. A program with a subscriber of its own needs no sink; it should pass each line
/// through [`mask`](crate::mask), which removes secrets.
///
/// ```
/// let subscriber = occystrap::log_subscriber(tracing::Level::INFO, |level, line| {
///     println!("{level}: {line}");
/// });
/// tracing::subscriber::set_global_default(subscriber).unwrap();
/// ```
pub fn log_subscriber(
    level: Level,
    sink: impl Fn(Level, &str) + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let ours = Targets::new().with_target("occystrap", level);
    tracing_subscriber::registry().with(Sink(sink)).with(ours)
}

struct Sink<F>(F);

impl<S: Subscriber, F: Fn(Level, &str) + 'static> Layer<S> for Sink<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0(
            *event.metadata().level(),
            &secret::mask(&format!("{}{}", line.message, line.fields)),
        );
    }
}

/// Message of an event, and its fields as ` name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
