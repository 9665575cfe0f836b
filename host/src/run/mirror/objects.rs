//! The objects that a verification or a repair finds: lines for people, events for programs, and a list for its document.

use std::io::Write;
use std::sync::mpsc::Sender;

use serde_json::json;

use super::meanwhile::{lines, showing, write_lines};
use crate::cli::OutputFormat;
use crate::mirror::documents::{Listed, Object};
use crate::mirror::repair::RepairEvents;
use crate::mirror::verify::VerifyEvents;
use crate::run::Host;
use occystrap_base::error::{Error, Result};
use occystrap_base::terminal::table::write_json_line;

/// Does work that finds objects, and shows each when it is found. Returns the result of the work, and the objects.
pub fn listed<T: Send>(
    host: &Host<'_>,
    (out, err): (&mut dyn Write, &mut dyn Write),
    work: impl FnOnce(&Objects) -> Result<T> + Send,
) -> Result<(T, Listed<Object>)> {
    let is_lines = host.global.output_format == OutputFormat::Jsonl;
    let mut listed = Listed::default();
    let show = |object: Object| {
        let written = write_lines(&lines_about(&object), err).and_then(|()| match is_lines {
            true => write_json_line(out, &event(&object)).and_then(|()| out.flush()),
            false => Ok(()),
        });
        listed.push(object);
        written
    };
    let ended = showing(host, |say| work(&Objects(say)), show);
    let value = ended.unwrap_or_else(|_| Err(Error::interrupted()))?;
    Ok((value, listed))
}

fn event(object: &Object) -> serde_json::Value {
    let Object { state, place, message, hint } = object;
    crate::run::event_line(state, json!({ "place": place, "message": message, "hint": hint }))
}

/// Returns the lines about an object.
fn lines_about(object: &Object) -> Vec<String> {
    let Object { state, place, message, hint } = object;
    let first = match *state {
        "damaged" => format!("FAILED {place}"),
        "repaired" => format!("repaired {place}: sent again and read back"),
        "right" => format!("right {place}: read back, nothing was sent"),
        state => format!("{state} {place}"),
    };
    lines(first, message.as_ref(), hint.as_ref())
}

/// Sender of the objects that threads find.
pub struct Objects(Sender<Object>);

impl Objects {
    fn tell(&self, state: &'static str, place: &str, message: Option<&str>, hint: Option<&str>) {
        let (message, hint) = (message.map(str::to_owned), hint.map(str::to_owned));
        // The receiver lives as long as the work.
        let _ = self.0.send(Object { state, place: place.to_owned(), message, hint });
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
