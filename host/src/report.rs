//! What a run says at its end: to a person, to a program, and to a script's `$?`.

mod image;
mod text;
mod unchecked;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

pub use self::image::{ImageReport, ImageStatus};
pub use self::text::{title, write_error, write_warning};
use crate::error::{Error, Kind};
use crate::image::ImageName;
use crate::size::size;
use crate::terminal;

/// Exit code when something could not be confirmed.
const UNCONFIRMED: u8 = 3;

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
        let failed = count(ImageStatus::Error);
        let summary = Summary {
            images: images.len(),
            succeeded: images.len() - failed,
            failed,
            layers: images.iter().map(|image| image.layers).sum(),
            bytes: images.iter().map(|image| image.bytes).fold(0, u64::saturating_add),
            seconds: seconds(took),
            // Images of one run share a connection, and so its troubles.
            retries: images.iter().map(|image| image.retries).max().unwrap_or_default(),
            rate_limits: images.iter().map(|image| image.rate_limits).max().unwrap_or_default(),
            verified: count(ImageStatus::Verified),
            verify_failed: count(ImageStatus::Failed),
            unconfirmed: count(ImageStatus::Unconfirmed),
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

    /// The document for programs, as JSON and a newline.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        terminal::write_json(to, self)
    }

    /// Findings and errors, one line each, and the summary. `quiet` leaves out what is well.
    pub fn write_text(&self, to: &mut dyn Write, quiet: bool) -> io::Result<()> {
        for image in &self.images {
            text::write_image(to, image, self.images.len() > 1, quiet)?;
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
            self.images.iter().filter(|image| image.status == ImageStatus::NotVerified).count();
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

/// To the microsecond.
fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e6
}
