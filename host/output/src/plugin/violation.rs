//! Rules that a plugin broke, as errors that end its session.
//!
//! wasmtime carries an error of the host through the guest ([`Violation`]), and has errors of its own: traps, and
//! limits that it enforces for the host. All of them become errors in the host's words here.

use std::fmt;

use wasmtime::Trap;

use super::user_limit;
use occystrap_base::error::{Error, Kind};
use occystrap_base::limits;

/// Returns the error for a rule that a plugin broke.
pub fn violation(plugin: &str, rule: impl fmt::Display) -> Error {
    Error::new(Kind::Plugin, format!("plugin '{plugin}' was stopped: {rule}"))
}

/// An error of the host on its way through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub Error);

pub(super) fn trapped(plugin: &str, cause: &wasmtime::Error) -> Error {
    if let Some(Violation(error)) = cause.downcast_ref::<Violation>() {
        return error.clone();
    }
    let what = match cause.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "it crashed (a panic, or out of memory)".to_owned(),
        Some(Trap::StackOverflow) => "its stack overflowed".to_owned(),
        Some(trap) => format!("it crashed: {trap}"),
        None => {
            let cause = cause.root_cause().to_string();
            if !user_limit::exhausted(&cause).is_empty() {
                let error =
                    format!("plugin '{plugin}': the system does not give its memory: {cause}");
                return user_limit::explained(Error::new(Kind::Plugin, error), &cause);
            }
            in_words(&cause)
        }
    };
    violation(plugin, what)
}

/// Returns the message for a limit that wasmtime enforces for the host. wasmtime has no types for these errors,
/// so that their text is compared.
fn in_words(cause: &str) -> String {
    let limit = |part: &str| cause.contains(part);
    if limit("handle limit exceeded") {
        format!("it opened more than {} handles", limits::HANDLES)
    } else if limit("allocated for hostcalls") {
        format!("it passed more than {} MiB in one call", limits::CALL_BYTES >> 20)
    } else if limit("instance count too high") {
        format!("it has more than {} instances", limits::INSTANCES)
    } else if limit("memory count too high") {
        format!("it has more than {} memories", limits::MEMORIES)
    } else if limit("table count too high") {
        format!("it has more than {} tables", limits::TABLES)
    } else if limit("unknown handle") {
        format!("it used a handle that it does not hold ({cause})")
    } else {
        cause.to_owned()
    }
}
