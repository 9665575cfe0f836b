//! The events of a run, as the user gets them: lines for people, lines of progress, and events for programs (`-O jsonl`).

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mirror::run::{EndedRun, RunEvents};
use crate::run::event_line;
use occystrap_base::terminal::board::Board;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::record::{BegunRun, Ending, FinishedItem, PlanChanges, UnnamedItems};
use occystrap_net::context::Context;

/// What a run says, for the thread that writes.
pub enum Said {
    /// Lines about one thing, on standard error, with nothing between them.
    Text(Vec<String>),
    /// An event, a line on standard output.
    Event(Value),
}

/// All receivers of the events of a run.
pub struct Receivers<T> {
    /// Lines for people.
    pub lines: T,
    /// Events for programs, where they are wanted.
    pub events: Option<JsonLines>,
    /// Lines of progress.
    pub board: Board,
}

impl<T: RunEvents> RunEvents for Receivers<T> {
    fn planned(&self, begun: &BegunRun, changes: PlanChanges, unnamed: UnnamedItems) {
        let images = changes.new + changes.changed + changes.same + changes.ended;
        self.board.begin(images, changes.ended);
        self.lines.planned(begun, changes, unnamed);
        if let Some(events) = &self.events {
            events.planned(begun, changes, unnamed);
        }
    }

    fn started(&self, item: &MirrorItem<'_>) {
        self.board.started(&item.source.to_string());
        self.lines.started(item);
        if let Some(events) = &self.events {
            events.started(item);
        }
    }

    fn paused(&self, host: &str, pulls_left: u64, pause: Duration) {
        self.lines.paused(host, pulls_left, pause);
        if let Some(events) = &self.events {
            events.paused(host, pulls_left, pause);
        }
    }

    fn ended(&self, item: &MirrorItem<'_>, record: &FinishedItem, wait: Option<i64>) {
        let name = item.source.to_string();
        match record.ending {
            Ending::Retry { .. } => self.board.postponed(&name),
            Ending::Failed(_) | Ending::Blocked => self.board.ended(&name, true),
            Ending::Done(..) => self.board.ended(&name, false),
        }
        self.lines.ended(item, record, wait);
        if let Some(events) = &self.events {
            events.ended(item, record, wait);
        }
    }
}

/// Events as JSON: `{"event": "copied", "at": ..., ...}`.
pub struct JsonLines(Sender<Said>);

impl JsonLines {
    /// Sends events to the thread that writes.
    pub fn new(to: Sender<Said>) -> Self {
        Self(to)
    }

    fn tell(&self, event: &str, more: Value) {
        // The receiver lives as long as the run.
        let _ = self.0.send(Said::Event(event_line(event, more)));
    }
}

/// Shortest pause that lines for people name.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// Sends the pauses that hosts ask for: an event for each, where `has_events`, and a line for each long one, where
/// `has_lines`.
pub fn watch_pauses(to: Sender<Said>, has_lines: bool, has_events: bool, context: &Context) {
    let events = has_events.then(|| JsonLines::new(to.clone()));
    // Every request in work meets the same pause.
    let ends = Mutex::new(BTreeMap::<String, Instant>::new());
    context.counters.traffic().watch_pauses(move |host, wait| {
        if let Some(events) = &events {
            events.tell("paused", json!({ "host": host, "seconds": wait.as_secs() }));
        }
        let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_known = ends.get(host).is_some_and(|end| now + wait / 2 < *end);
        if has_lines && wait >= LONG_PAUSE && !is_known {
            ends.insert(host.to_owned(), now + wait);
            let line = format!("{host} asks for a pause of {} s", wait.as_secs());
            // The receiver lives as long as the run.
            let _ = to.send(Said::Text(vec![line]));
        }
    });
}

/// Returns the last event of a run.
pub fn finished(ended: &EndedRun, exit_code: u8) -> Value {
    let state = if ended.is_finished { "finished" } else { "stopped" };
    let took = ended.took.as_secs_f64();
    event_line(state, json!({ "run": ended.id, "exit_code": exit_code, "seconds": took }))
}

impl RunEvents for JsonLines {
    fn planned(&self, begun: &BegunRun, changes: PlanChanges, unnamed: UnnamedItems) {
        self.tell(
            "planned",
            json!({
                "run": begun.id,
                "resumed": begun.resumed,
                "images": changes.new + changes.changed + changes.same + changes.ended,
                "new": changes.new,
                "changed": changes.changed,
                "ended_before": changes.ended,
                "extra": unnamed.extra,
                "forgotten": unnamed.forgotten,
            }),
        );
    }

    fn started(&self, item: &MirrorItem<'_>) {
        self.tell("started", named(item));
    }

    fn paused(&self, host: &str, pulls_left: u64, pause: Duration) {
        let seconds = pause.as_secs();
        self.tell("paused", json!({ "host": host, "seconds": seconds, "pulls_left": pulls_left }));
    }

    fn ended(&self, item: &MirrorItem<'_>, record: &FinishedItem, wait: Option<i64>) {
        let mut more = named(item);
        let (event, verdict) = match record.ending {
            Ending::Done(outcome, verdict) => (outcome.word(), Some(verdict)),
            Ending::Failed(verdict) => ("failed", Some(verdict)),
            Ending::Blocked => ("blocked", None),
            Ending::Retry { .. } => ("retry", None),
        };
        more["verdict"] = json!(verdict);
        more["digest"] = json!(record.want_digest);
        more["bytes_sent"] = json!(record.bytes_sent);
        more["bytes_mounted"] = json!(record.bytes_mounted);
        if let Some(wait) = wait {
            more["seconds"] = json!(wait);
        }
        if let Some(error) = &record.error {
            more["error"] = json!(error);
        }
        self.tell(event, more);
    }
}

fn named(item: &MirrorItem<'_>) -> Value {
    json!({ "source": item.source.to_string(), "destination": item.destination.name })
}
