//! Checking that a destination holds what a receipt promises.
//!
//! The host looks first, at everything it understands; then the plugin looks, in a fresh instance
//! that can only read; the report is the union, and a disagreement of the two is a finding of its
//! own. *Unchecked* is never counted as verified.

pub mod check;
pub mod derive;
pub mod memory;
pub mod object;

use std::path::Path;

pub use object::{Object, Outcome, Status, Verification};

use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};
use crate::output::Destination;
use crate::plugin::Plugin;
use crate::plugin::bindings::verifier::{self, Finding, Problem};
use crate::plugin::description::Target;
use crate::plugin::limits;
use crate::receipt::Receipt;

/// How far a verification goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything exists, with the recorded size; JSON parses.
    Fast,
    /// Also, every byte is read back and hashed.
    Full,
}

/// Verify a receipt against the destination at `path`. Errors only when the user interrupts:
/// everything else is a finding.
pub fn verify(
    receipt: &Receipt,
    plugin: &Plugin,
    path: &Path,
    level: Level,
    repair: Option<&str>,
    cancel: &Cancel,
) -> Result<Verification> {
    let destination = match plugin.description().destination {
        Target::Directory => Destination::directory(path),
        Target::File => Destination::file(path),
    };
    let destination = match destination {
        Ok(destination) => destination,
        Err(error) => return Ok(Verification::unreachable(level, receipt, path, &error, repair)),
    };
    let memory = memory::Memory::default();
    let mut objects = check::objects(
        &receipt.expectations,
        &receipt.journal,
        &destination,
        level,
        &memory,
        cancel,
    )?;
    let said = plugin.verify(&destination, &memory, cancel).and_then(|session| {
        let level = match level {
            Level::Fast => verifier::Level::Fast,
            Level::Full => verifier::Level::Full,
        };
        session.verify(&receipt.for_guest(), level)
    });
    let name = &plugin.description().name;
    match said {
        Ok(findings) => union(&mut objects, findings, name, &destination),
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            objects.push(Object::of_plugin(whole(&destination), error.to_string()));
        }
    }
    for object in objects.iter_mut().filter(|object| object.status.is_bad()) {
        object.repair = repair.map(str::to_owned);
    }
    Ok(Verification { level, objects })
}

/// Put what the plugin found beside what the host found.
fn union(
    objects: &mut Vec<Object>,
    findings: Vec<Finding>,
    plugin: &str,
    destination: &Destination,
) {
    // What stands between the parts of a file only the host's journal knows.
    let between = |object: &Object| {
        object.digest.is_none() && object.status == Status::DigestMismatch && object.kind == "image"
    };
    let host_found = objects.iter().any(|object| object.status.is_bad() && !between(object));
    if findings.is_empty() && host_found {
        objects.push(Object::of_plugin(
            whole(destination),
            format!("plugin '{plugin}' found nothing wrong where the host did"),
        ));
    }
    for finding in findings.into_iter().take(limits::RECEIPT_ITEMS) {
        let location = destination.display(&finding.subject);
        match objects.iter_mut().find(|object| object.location == location) {
            // The host has said it already, in its own words.
            Some(object) if object.status.is_bad() => {}
            Some(object) => object.accuse(plugin, finding),
            None => {
                let mut object = Object::at(location);
                object.accuse(plugin, finding);
                objects.push(object);
            }
        }
    }
}

/// What the user named.
fn whole(destination: &Destination) -> String {
    match destination.file_name() {
        Some(name) => destination.display(name),
        None => destination.folder().display().to_string(),
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Missing => Self::Missing,
            Problem::SizeMismatch => Self::SizeMismatch,
            Problem::DigestMismatch => Self::DigestMismatch,
            Problem::Unreadable => Self::Unreadable,
        }
    }
}

/// Whether an error says that something could not be looked at, rather than that it is wrong.
#[must_use]
pub fn is_unconfirmed(error: &Error) -> bool {
    matches!(error.kind(), Kind::Network | Kind::Auth)
}
