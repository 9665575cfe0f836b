//! What a run says at its end: to a person, to a program, and to a script's `$?`.

mod unchecked;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use self::unchecked::Unchecked;
use crate::context::Context;
use crate::error::{Error, Kind};
use crate::image::{ImageName, Part};
use crate::pipeline::landed_bytes;
use crate::receipt::{Receipt, Role};
use crate::verify::derive::Found;
use crate::verify::{Object, Outcome, Verification, is_unconfirmed};

/// Exit code when something could not be confirmed.
const UNCONFIRMED: u8 = 3;

/// What became of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Everything was looked at and is right.
    Verified,
    /// Something wrong was seen.
    Failed,
    /// Something could not be looked at.
    Unconfirmed,
    /// Nobody looked.
    NotVerified,
    /// It could not be moved.
    Error,
}

/// One image of a run.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    source: String,
    destination: String,
    image: String,
    tag: String,
    /// Such as `linux/arm64/v8`, where it is known.
    platform: Option<String>,
    kind: &'static str,
    /// What became of it.
    pub status: Status,
    layers: usize,
    bytes: u64,
    seconds: f64,
    retries: u64,
    rate_limits: u64,
    /// Why it could not be moved, or looked at.
    pub error: Option<Error>,
    verification: Option<Verification>,
    #[serde(skip)]
    part: Part,
    #[serde(skip)]
    note: Option<String>,
    /// It landed, and what the user asked to have written down of it was not.
    #[serde(skip)]
    lacks_receipt: bool,
}

impl ImageReport {
    /// An image that is being moved.
    #[must_use]
    pub fn started(source: &str, destination: &str, name: &ImageName) -> Self {
        Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            image: name.repository.clone(),
            tag: name.tag.clone().unwrap_or_default(),
            platform: None,
            kind: "image",
            part: Part::Whole,
            status: Status::Error,
            layers: 0,
            bytes: 0,
            seconds: 0.0,
            retries: 0,
            rate_limits: 0,
            error: None,
            verification: None,
            note: None,
            lacks_receipt: false,
        }
    }

    /// A source that could not be read.
    #[must_use]
    pub fn failed(source: &str, destination: &str, error: Error, context: &Context) -> Self {
        let name = ImageName { repository: String::new(), tag: None };
        let mut report = Self::started(source, destination, &name);
        report.error = Some(error);
        report.finish(Duration::ZERO, context)
    }

    /// What is to be verified, and could not even be opened. Why it could not be looked at is no
    /// news of the image itself; that it is not there, or nothing of its kind, is.
    #[must_use]
    pub fn unopened(display: &str, error: Error, context: &Context) -> Self {
        let status = match error.kind() {
            Kind::Usage | Kind::Interrupted => Status::Error,
            _ if is_unconfirmed(&error) => Status::Unconfirmed,
            _ => Status::Failed,
        };
        Self { status, ..Self::failed(display, display, error, context) }
    }

    /// An image of which there is a receipt.
    #[must_use]
    pub fn of_receipt(receipt: &Receipt) -> Self {
        let platform = match &receipt.image.part {
            Part::Platform(platform) => Some(platform.as_str()),
            Part::Whole | Part::Index | Part::Nested(_) => None,
        };
        Self::started(&receipt.source, &receipt.destination, &receipt.image.image_name())
            .about(receipt.image.part.clone(), platform)
    }

    /// An image of which there is a receipt, but not the plugin that could look at it: no news of
    /// the image itself.
    #[must_use]
    pub fn without_plugin(receipt: &Receipt, error: Error) -> Self {
        Self { status: Status::Unconfirmed, error: Some(error), ..Self::of_receipt(receipt) }
    }

    /// An image that was found without a receipt.
    #[must_use]
    pub fn found(destination: &str, found: Found) -> Self {
        let mut report = Self::started(destination, destination, &found.name)
            .about(found.part, found.platform.as_deref());
        (report.layers, report.bytes) = (found.layers, found.bytes);
        report.judge(Some(found.verification));
        report
    }

    /// Which part of an image it is, and what that is for.
    #[must_use]
    pub fn about(mut self, part: Part, platform: Option<&str>) -> Self {
        self.kind = if part.is_index() { "index" } else { "image" };
        self.platform = platform.map(str::to_owned);
        self.part = part;
        self
    }

    /// It could not be moved, or not be finished.
    pub fn fail(&mut self, error: Error) {
        self.status = Status::Error;
        self.error = Some(error);
    }

    /// It was written, and maybe verified.
    pub fn landed(&mut self, receipt: &Receipt, proof: Option<Verification>, note: Option<&str>) {
        let layers = receipt.expectations.iter().filter(|e| matches!(e.role, Role::Layer(_)));
        self.layers = layers.count();
        self.bytes = landed_bytes(receipt);
        self.note = note.map(str::to_owned);
        self.judge(proof);
    }

    /// It landed, and its receipt could not be written: neither may be forgotten over the other.
    pub fn without_receipt(&mut self, error: Error) {
        self.error = Some(error.within("the image has landed, but its receipt was not written"));
        self.lacks_receipt = true;
    }

    /// It is done.
    #[must_use]
    pub fn finish(mut self, took: Duration, context: &Context) -> Self {
        self.seconds = seconds(took);
        self.retries = context.counters.retries();
        self.rate_limits = context.counters.rate_limits();
        self
    }

    fn judge(&mut self, proof: Option<Verification>) {
        self.status = match proof.as_ref().map(Verification::outcome) {
            None => Status::NotVerified,
            Some(Outcome::Verified) => Status::Verified,
            Some(Outcome::Failed) => Status::Failed,
            Some(Outcome::Unconfirmed) => Status::Unconfirmed,
        };
        self.verification = proof;
    }

    /// What became of a part of a multi-platform image.
    fn line(&self) -> String {
        let outcome = match self.status {
            Status::Verified => "verified",
            Status::Failed => "FAILED",
            Status::Unconfirmed => "UNCONFIRMED",
            Status::NotVerified => "not verified",
            Status::Error => return format!("{}: not moved", self.name()),
        };
        match self.part {
            Part::Index | Part::Nested(_) => format!("{}: {outcome}", self.name()),
            _ => {
                let (layers, bytes) = (self.layers, size(self.bytes));
                format!("{}: {layers} layers, {bytes}, {outcome}", self.name())
            }
        }
    }

    /// How lines about it begin.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.image.as_str(), self.tag.as_str()) {
            ("", _) => self.source.clone(),
            (image, "") => format!("{image}{}", self.part),
            (image, tag) => format!("{image}:{tag}{}", self.part),
        }
    }
}

/// Everything that one command did.
#[derive(Debug, Serialize)]
pub struct Run {
    images: Vec<ImageReport>,
    summary: Summary,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    images: usize,
    succeeded: usize,
    failed: usize,
    layers: usize,
    bytes: u64,
    seconds: f64,
    retries: u64,
    rate_limits: u64,
    verified: usize,
    verify_failed: usize,
    unconfirmed: usize,
}

impl Run {
    /// Sum up.
    #[must_use]
    pub fn new(images: Vec<ImageReport>, took: Duration) -> Self {
        let count = |status| images.iter().filter(|image| image.status == status).count();
        let failed = count(Status::Error);
        let summary = Summary {
            images: images.len(),
            succeeded: images.len() - failed,
            failed,
            layers: images.iter().map(|image| image.layers).sum(),
            bytes: images.iter().map(|image| image.bytes).sum(),
            seconds: seconds(took),
            // Images of one run share a connection, and so its troubles.
            retries: images.iter().map(|image| image.retries).max().unwrap_or_default(),
            rate_limits: images.iter().map(|image| image.rate_limits).max().unwrap_or_default(),
            verified: count(Status::Verified),
            verify_failed: count(Status::Failed),
            unconfirmed: count(Status::Unconfirmed),
        };
        Self { images, summary }
    }

    /// Of a command that was not begun: its ends as the user named them, without secrets.
    #[must_use]
    pub fn refused(source: &str, destination: &str, error: Error) -> Self {
        let name = ImageName { repository: String::new(), tag: None };
        let mut report = ImageReport::started(source, destination, &name);
        report.error = Some(error);
        Self::new(vec![report], Duration::ZERO)
    }

    /// The exit code. `strict` is for those who take no doubt for an answer.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        let errors = || self.images.iter().filter_map(|image| image.error.as_ref());
        if let Some(stopped) = errors().find(|error| error.kind() == Kind::Interrupted) {
            return stopped.exit_code();
        }
        if self.summary.failed == self.summary.images
            && self.summary.images > 0
            && errors().all(|error| error.kind() == Kind::Usage)
        {
            return errors().next().map_or(0, Error::exit_code);
        }
        // Nothing looked at is nothing done.
        if self.images.is_empty() {
            return 1;
        }
        if self.images.iter().any(|image| image.lacks_receipt) {
            return 1;
        }
        match (self.summary.failed + self.summary.verify_failed, self.summary.unconfirmed) {
            (0, 0) => 0,
            (0, _) if strict => UNCONFIRMED,
            (0, _) => 0,
            _ => 1,
        }
    }

    /// The document for programs, as one line of JSON and a newline.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *to, self)?;
        writeln!(to)
    }

    /// Findings and errors, one line each, and the summary. `quiet` leaves out what is well.
    pub fn write_text(&self, to: &mut dyn Write, quiet: bool) -> io::Result<()> {
        for image in &self.images {
            if let Some(error) = &image.error {
                // One image needs no name: the error says where.
                let named = self.images.len() > 1 && !image.image.is_empty();
                let error = if named { error.clone().within(image.name()) } else { error.clone() };
                let doubtful = image.status == Status::Unconfirmed && !image.lacks_receipt;
                let severity = if doubtful { "warning" } else { "error" };
                write_as(to, severity, &error)?;
            }
            if let Some(note) = &image.note {
                writeln!(to, "warning: {}: {note}", image.name())?;
            }
            let problems = || image.verification.iter().flat_map(Verification::problems);
            let unchecked = Unchecked::of(problems());
            let all = image.verification.as_ref().map_or(0, |proof| proof.objects.len());
            for object in problems().filter(|object| !unchecked.is_told(object)) {
                match unchecked.begins_with(object) {
                    Some(same) => unchecked::write(to, &image.name(), same, all)?,
                    None => write_problem(to, &image.name(), object)?,
                }
            }
            // What helps one of them helps all; where a command does, that is enough.
            let mut unmended = problems().filter(|object| object.repair.is_none());
            if let Some(hint) = unmended.find_map(|object| object.hint.as_ref()) {
                writeln!(to, "hint: {hint}")?;
            }
            // One command mends them all.
            if let Some(command) = problems().find_map(|object| object.repair.as_ref()) {
                writeln!(to, "hint: mend it with: {command}")?;
            }
            if !quiet && !image.part.is_whole() {
                writeln!(to, "{}", image.line())?;
            }
        }
        if !quiet {
            writeln!(to, "{}", self.summary_line())?;
        }
        Ok(())
    }

    /// The last line, which someone with 200 images reads.
    #[must_use]
    pub fn summary_line(&self) -> String {
        let sum = &self.summary;
        let mut line = format!(
            "Summary: {}/{} images, {} layers, {}, {:.1}s",
            sum.succeeded,
            sum.images,
            sum.layers,
            size(sum.bytes),
            sum.seconds
        );
        if sum.retries > 0 {
            line += &format!(", {} retries", sum.retries);
        }
        if sum.rate_limits > 0 {
            line += &format!(", {} rate limits", sum.rate_limits);
        }
        let unverified =
            self.images.iter().filter(|image| image.status == Status::NotVerified).count();
        let receipt = match self.images.iter().any(|image| image.lacks_receipt) {
            true => ", no receipt",
            false => "",
        };
        if sum.succeeded > 0 && unverified == sum.succeeded {
            return line + ", not verified" + receipt;
        }
        line += &format!(", {}/{} verified", sum.verified, sum.images);
        if sum.verify_failed > 0 {
            line += &format!(", {} FAILED", sum.verify_failed);
        }
        if sum.unconfirmed > 0 {
            line += &format!(", {} UNCONFIRMED", sum.unconfirmed);
        }
        line + receipt
    }
}

/// What an image is called where it is shown: as its source is, when it has no name.
#[must_use]
pub fn title(image: &str, tag: &str, source: &str) -> String {
    match (image, tag) {
        ("" | "unknown", "") => source.to_owned(),
        (image, "") => image.to_owned(),
        (image, tag) => format!("{image}:{tag}"),
    }
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

fn write_problem(to: &mut dyn Write, image: &str, object: &Object) -> io::Result<()> {
    let severity = if object.status.is_bad() { "error" } else { "warning" };
    let what = match object.index {
        Some(index) => format!("{} {}", object.kind, index + 1),
        None => object.kind.to_owned(),
    };
    write!(
        to,
        "{severity}: {image}: {what} '{}': {}: {}",
        object.location,
        object.status.name(),
        object.message
    )?;
    match (&object.expected, &object.found) {
        // An error's message names both sides itself.
        (Some(expected), Some(found))
            if object.message.ends_with(&format!("expected {expected}, found {found}")) => {}
        (Some(expected), Some(found)) => write!(to, ": expected {expected}, found {found}")?,
        (Some(expected), None) => write!(to, ": expected {expected}")?,
        (None, Some(found)) => write!(to, ": found {found}")?,
        (None, None) => {}
    }
    writeln!(to)
}

/// Decimal units, as storage is sold: `8.3 GB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.95 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// To the microsecond.
fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_000), "1.0 kB");
        assert_eq!(size(999_960), "1.0 MB");
        assert_eq!(size(8_300_000_000), "8.3 GB");
    }
}
