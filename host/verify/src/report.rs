//! What a run says at its end: to a person, to a program, and to a script's `$?`.

mod image;
mod stream;
mod tally;
mod text;
mod unchecked;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

pub use self::image::{ImageReport, ImageStatus};
pub use self::stream::Stream;
pub use self::tally::Tally;
pub use self::text::{write_error, write_warning};
use occystrap_base::error::Error;
use occystrap_base::oci::ImageName;
use occystrap_base::terminal::table;

/// Exit code when something could not be confirmed.
const UNCONFIRMED: u8 = 3;

/// Everything that one command did.
#[derive(Debug, Serialize)]
pub struct Run {
    images: Vec<ImageReport>,
    #[serde(rename = "summary")]
    tally: Tally,
}

impl Run {
    /// Sum up.
    #[must_use]
    pub fn new(images: Vec<ImageReport>, took: Duration) -> Self {
        let mut tally = Tally::default();
        images.iter().for_each(|image| tally.count(image));
        tally.end(took);
        Self { images, tally }
    }

    /// Of a command that was not begun: its ends as the user named them, without secrets.
    #[must_use]
    pub fn refused(source: &str, destination: &str, error: Error) -> Self {
        let name = ImageName { repository: String::new(), tag: None };
        let mut report = ImageReport::started(source, destination, &name);
        report.error = Some(error);
        Self::new(vec![report], Duration::ZERO)
    }

    /// The images, in the order of the source.
    #[must_use]
    pub fn images(&self) -> &[ImageReport] {
        &self.images
    }

    /// The exit code. `strict` is for those who take no doubt for an answer.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        self.tally.exit_code(strict)
    }

    /// The document for programs, as JSON and a newline.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        table::write_json(to, self)
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
        self.tally.summary_line()
    }
}

/// To the microsecond.
fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e6
}
