//! The report of a run: the text for users, the JSON for programs, and the exit code for scripts.
//!
//! The texts about objects are made here and nowhere else.

mod image;
mod object;
mod stream;
mod tally;
mod text;
mod unchecked;
mod words;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

pub use self::image::{ImageReport, ImageStatus};
pub use self::object::ObjectReport;
pub use self::stream::Stream;
pub use self::tally::Tally;
pub use self::text::{write_error, write_warning};
pub use self::words::{error_of, message};
use occystrap_base::error::Error;
use occystrap_base::oci::ImageName;
use occystrap_base::terminal::table;

/// The exit code when an image is UNCONFIRMED.
const UNCONFIRMED: u8 = 3;

/// The images of one command, and their counts.
#[derive(Debug, Serialize)]
pub struct Run {
    images: Vec<ImageReport>,
    #[serde(rename = "summary")]
    tally: Tally,
}

impl Run {
    /// Counts the images of a run.
    #[must_use]
    pub fn new(images: Vec<ImageReport>, took: Duration) -> Self {
        let mut tally = Tally::default();
        images.iter().for_each(|image| tally.count(image));
        tally.end(took);
        Self { images, tally }
    }

    /// Returns the report of a command that was not started. Source and destination are as the user named them, without
    /// secrets.
    #[must_use]
    pub fn refused(source: &str, destination: &str, error: Error) -> Self {
        let name = ImageName { repository: String::new(), tag: None };
        let mut report = ImageReport::started(source, destination, &name);
        report.error = Some(error);
        Self::new(vec![report], Duration::ZERO)
    }

    /// Returns the images, in the order of the source.
    #[must_use]
    pub fn images(&self) -> &[ImageReport] {
        &self.images
    }

    /// Returns the exit code. With `strict`, an UNCONFIRMED image is no success.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        self.tally.exit_code(strict)
    }

    /// Writes the JSON for programs, and a newline.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        table::write_json(to, self)
    }

    /// Writes findings and errors, one line each, and the summary. `quiet` leaves out verified images and the summary.
    pub fn write_text(&self, to: &mut dyn Write, quiet: bool) -> io::Result<()> {
        for image in &self.images {
            text::write_image(to, image, self.images.len() > 1, quiet)?;
        }
        if !quiet {
            writeln!(to, "{}", self.summary_line())?;
        }
        Ok(())
    }

    /// Returns the last line of the text.
    #[must_use]
    pub fn summary_line(&self) -> String {
        self.tally.summary_line()
    }
}

/// Returns the seconds of a duration, rounded to microseconds.
fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e6
}
