//! The report of a run for users.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::unchecked::{self, Shown, Unchecked};
use super::words;
use super::{ImageReport, ImageStatus};
use crate::verdict::object::{CheckedObject, Verification};
use occystrap_base::error::{Error, is_unprintable, one_line, with_sides};

/// Writes the findings about an image. A verified image has none, unless it is part of another image or an artifact.
/// `several` is whether the run has other images.
pub(super) fn write_image(
    to: &mut dyn Write,
    image: &ImageReport,
    several: bool,
    quiet: bool,
) -> io::Result<()> {
    if let Some(error) = &image.error {
        // A single image needs no name: the error says where.
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
    // A file of which several things are expected has the same flaw for all of them.
    let mut lines = BTreeSet::new();
    for object in problems() {
        let message = words::message(object);
        let shown = unchecked.shown(object, &message);
        if matches!(shown, Shown::Already)
            || !lines.insert((object.location.as_str(), message.clone()))
        {
            continue;
        }
        match shown {
            Shown::With(same) => {
                put(to, &unchecked::line(&image.name(), same, &message, all))?;
            }
            _ => write_problem(to, &image.name(), object, &message)?,
        }
    }
    // The first hint is enough: what helps with one object helps with all. Where a command helps, no hint is needed.
    let mut unmended = problems().filter(|object| object.repair.is_none());
    if let Some(hint) = unmended.find_map(|object| object.hint.as_ref()) {
        put(to, &format!("hint: {hint}"))?;
    }
    // One command repairs all. A command with line ends or control characters is not safe to paste.
    let fits = |command: &&String| !command.contains(is_unprintable);
    if let Some(command) = problems().find_map(|object| object.repair.as_ref()).filter(fits) {
        put(to, &format!("hint: repair it with: {command}"))?;
    }
    if !quiet && (!image.part.is_whole() || image.is_artifact()) {
        put(to, &image.line())?;
    }
    Ok(())
}

/// Writes an error, and its hint on the next line.
pub fn write_error(to: &mut dyn Write, error: &Error) -> io::Result<()> {
    write_as(to, "error", error)
}

/// Writes a warning, and its hint on the next line.
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

/// Writes one line. Its text comes from receipts, archives and servers, so that control characters are replaced.
fn put(to: &mut dyn Write, line: &str) -> io::Result<()> {
    writeln!(to, "{}", one_line(line))
}

fn write_problem(
    to: &mut dyn Write,
    image: &str,
    object: &CheckedObject,
    message: &str,
) -> io::Result<()> {
    let severity = if object.status.is_bad() { "error" } else { "warning" };
    let what = match object.index {
        Some(index) => format!("{} {}", object.kind, index + 1),
        None => object.kind.to_owned(),
    };
    let line = format!(
        "{severity}: {image}: {what} '{}': {}: {message}",
        object.location,
        object.status.name(),
    );
    let (expected, found) = words::sides(object);
    put(to, &with_sides(line, expected.as_deref(), found.as_deref()))
}
