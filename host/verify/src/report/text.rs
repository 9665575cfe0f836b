//! What people read of a run.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::unchecked::{self, Unchecked};
use super::{ImageReport, ImageStatus};
use crate::verdict::object::{CheckedObject, Verification};
use occystrap_base::error::{Error, is_unprintable, one_line, with_sides};

/// What is to be said of an image: nothing of one that is well, unless it is part of another, or an
/// artifact. `several` is whether it is not the only one.
pub(super) fn write_image(
    to: &mut dyn Write,
    image: &ImageReport,
    several: bool,
    quiet: bool,
) -> io::Result<()> {
    if let Some(error) = &image.error {
        // One image needs no name: the error says where.
        let named = several && !image.image.is_empty();
        let error = if named { error.clone().within(image.name()) } else { error.clone() };
        let doubtful = image.status == ImageStatus::Unconfirmed && !image.lacks_receipt;
        let severity = if doubtful { "warning" } else { "error" };
        write_as(to, severity, &error)?;
    }
    if let Some(note) = &image.note {
        put(to, &format!("warning: {}: {note}", image.name()))?;
    }
    let problems = || image.verification.iter().flat_map(Verification::problems);
    let unchecked = Unchecked::of(problems());
    let all = image.verification.as_ref().map_or(0, |proof| proof.objects.len());
    // A file of which several things are expected has one fault for all of them.
    let mut told = BTreeSet::new();
    for object in problems().filter(|object| !unchecked.is_told(object)) {
        if !told.insert((&object.location, &object.message)) {
            continue;
        }
        match unchecked.begins_with(object) {
            Some(same) => unchecked::write(to, &image.name(), same, all)?,
            None => write_problem(to, &image.name(), object)?,
        }
    }
    // What helps one of them helps all; where a command does, that is enough.
    let mut unmended = problems().filter(|object| object.repair.is_none());
    if let Some(hint) = unmended.find_map(|object| object.hint.as_ref()) {
        put(to, &format!("hint: {hint}"))?;
    }
    // One command mends them all. One that does not fit on a line, nobody should paste.
    let fits = |command: &&String| !command.contains(is_unprintable);
    if let Some(command) = problems().find_map(|object| object.repair.as_ref()).filter(fits) {
        put(to, &format!("hint: mend it with: {command}"))?;
    }
    if !quiet && (!image.part.is_whole() || image.is_artifact()) {
        put(to, &image.line())?;
    }
    Ok(())
}

/// An error, and its hint on a line of its own.
pub fn write_error(to: &mut dyn Write, error: &Error) -> io::Result<()> {
    write_as(to, "error", error)
}

/// The same for what stands in nobody's way.
pub fn write_warning(to: &mut dyn Write, error: &Error) -> io::Result<()> {
    write_as(to, "warning", error)
}

fn write_as(to: &mut dyn Write, severity: &str, error: &Error) -> io::Result<()> {
    writeln!(to, "{severity}: {error}")?;
    match error.hint_text() {
        Some(hint) => writeln!(to, "hint: {hint}"),
        None => Ok(()),
    }
}

/// One line. What it says comes from receipts, archives and servers.
pub(super) fn put(to: &mut dyn Write, line: &str) -> io::Result<()> {
    writeln!(to, "{}", one_line(line))
}

fn write_problem(to: &mut dyn Write, image: &str, object: &CheckedObject) -> io::Result<()> {
    let severity = if object.status.is_bad() { "error" } else { "warning" };
    let what = match object.index {
        Some(index) => format!("{} {}", object.kind, index + 1),
        None => object.kind.to_owned(),
    };
    let line = format!(
        "{severity}: {image}: {what} '{}': {}: {}",
        object.location,
        object.status.name(),
        object.message
    );
    put(to, &with_sides(line, object.expected.as_deref(), object.found.as_deref()))
}
