//! What a verification or a repair tells while it works: lines for people, events for programs, and a list for its
//! document.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::json;

use super::events;
use crate::cli::OutputFormat;
use crate::mirror::documents::{Listed, Object};
use crate::mirror::repair::RepairEvents;
use crate::mirror::verify::VerifyEvents;
use crate::run::Host;
use occystrap_base::error::{Error, Result, printable};
use occystrap_base::terminal::table::write_json_line;

/// Runs work whose events are shown while it runs. Returns its result, and the objects that it told of.
pub fn told<T: Send>(
    host: &Host<'_>,
    (out, err): (&mut dyn Write, &mut dyn Write),
    work: impl FnOnce(&Objects) -> Result<T> + Send,
) -> Result<(T, Listed<Object>)> {
    let (say, said) = channel();
    let is_lines = host.global.output_format == OutputFormat::Jsonl;
    thread::scope(|scope| {
        let worker = scope.spawn(move || work(&Objects(Mutex::new(say))));
        let mut listed = Listed::default();
        for object in said {
            // The work goes on without its reader.
            let _ = host.session.bars().above(|| {
                for line in lines(&object) {
                    writeln!(err, "{}", printable(&line))?;
                }
                match is_lines {
                    true => write_json_line(out, &event(&object)).and_then(|()| out.flush()),
                    false => Ok(()),
                }
            });
            listed.push(object);
        }
        let outcome = worker.join().unwrap_or_else(|_| Err(Error::interrupted()));
        outcome.map(|value| (value, listed))
    })
}

fn event(object: &Object) -> serde_json::Value {
    let Object { state, place, message, hint } = object;
    events::line(state, json!({ "place": place, "message": message, "hint": hint }))
}

/// Returns the lines about an object.
fn lines(object: &Object) -> Vec<String> {
    let Object { state, place, message, hint } = object;
    let mut lines = vec![match *state {
        "damaged" => format!("FAILED {place}"),
        "repaired" => format!("repaired {place}: sent again and read back"),
        "right" => format!("right {place}: read back, nothing was sent"),
        state => format!("{state} {place}"),
    }];
    lines.extend(message.as_ref().map(|message| format!("  {message}")));
    lines.extend(hint.as_ref().map(|hint| format!("  hint: {hint}")));
    lines
}

/// Sender of the objects that threads tell of.
pub struct Objects(Mutex<Sender<Object>>);

impl Objects {
    fn tell(&self, state: &'static str, place: &str, message: Option<&str>, hint: Option<&str>) {
        let (message, hint) = (message.map(str::to_owned), hint.map(str::to_owned));
        let object = Object { state, place: place.to_owned(), message, hint };
        // The receiver lives as long as the work.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(object);
    }

    fn tell_error(&self, state: &'static str, place: &str, why: &Error) {
        self.tell(state, place, Some(&why.to_string()), why.hint_text());
    }
}

impl VerifyEvents for Objects {
    fn bad(&self, place: &str, found: &str) {
        self.tell("damaged", place, Some(found), None);
    }

    fn unchecked(&self, place: &str, why: &Error) {
        self.tell_error("unchecked", place, why);
    }
}

impl RepairEvents for Objects {
    fn repaired(&self, place: &str) {
        self.tell("repaired", place, None, None);
    }

    fn right(&self, place: &str) {
        self.tell("right", place, None, None);
    }

    fn kept(&self, place: &str, found: &str, hint: &str) {
        self.tell("kept-damaged", place, Some(found), Some(hint));
    }

    fn failed(&self, place: &str, why: &Error) {
        self.tell_error("failed", place, why);
    }
}
