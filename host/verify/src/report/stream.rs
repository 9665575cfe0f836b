//! A report of many images that is written image by image: the same bytes as of [`super::Run`], without keeping the images.

use std::io::{self, Write};
use std::time::Duration;

use super::{ImageReport, Tally, text};
use occystrap_base::terminal::progress::Progress;
use occystrap_base::terminal::table;

/// Writes the report of a run while it goes on.
pub struct Stream<'a> {
    to: To<'a>,
    tally: Tally,
    is_empty: bool,
}

enum To<'a> {
    /// The document of [`super::Run::write_json`], byte for byte.
    Json(&'a mut dyn Write),
    /// The text of [`super::Run::write_text`], above the bars.
    Text { to: &'a mut dyn Write, progress: &'a Progress, quiet: bool },
}

impl<'a> Stream<'a> {
    /// Returns a report for programs.
    pub fn json(to: &'a mut dyn Write) -> Self {
        Self { to: To::Json(to), tally: Tally::default(), is_empty: true }
    }

    /// Returns a report for users. `quiet` leaves out verified images and the summary.
    pub fn text(to: &'a mut dyn Write, progress: &'a Progress, quiet: bool) -> Self {
        let to = To::Text { to, progress, quiet };
        Self { to, tally: Tally::default(), is_empty: true }
    }

    /// Writes the report of an image. `several` is whether the run has other images.
    pub fn image(&mut self, image: &ImageReport, several: bool) -> io::Result<()> {
        self.tally.count(image);
        let is_first = std::mem::take(&mut self.is_empty);
        match &mut self.to {
            To::Json(to) => {
                let before = if is_first { "{\n  \"images\": [\n    " } else { ",\n    " };
                write!(to, "{before}{}", table::json_within(image, 4)?)
            }
            To::Text { to, progress, quiet } => {
                progress.above(|| text::write_image(&mut **to, image, several, *quiet))
            }
        }
    }

    /// Writes the summary.
    pub fn end(mut self, took: Duration) -> io::Result<Tally> {
        self.tally.end(took);
        match self.to {
            To::Json(to) => {
                let before = if self.is_empty { "{\n  \"images\": [" } else { "\n  " };
                let summary = table::json_within(&self.tally, 2)?;
                writeln!(to, "{before}],\n  \"summary\": {summary}\n}}")?;
            }
            To::Text { to, quiet, .. } if !quiet => writeln!(to, "{}", self.tally.summary_line())?,
            To::Text { .. } => {}
        }
        Ok(self.tally)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Run;
    use super::*;
    use occystrap_base::error::Error;
    use occystrap_base::oci::ImageName;

    fn reports(count: usize) -> Vec<ImageReport> {
        let report = |index: usize| {
            let name = ImageName { repository: format!("a\u{9b}b\n{index}"), tag: None };
            let mut report = ImageReport::started("s", "d", &name);
            report.fail(Error::source("it is wrong").hint("mend it"));
            report
        };
        (0..count).map(report).collect()
    }

    #[test]
    fn a_stream_writes_what_a_run_writes_at_its_end() {
        let took = Duration::from_millis(1500);
        for count in [0, 1, 3] {
            let run = Run::new(reports(count), took);
            let (mut json, mut text) = (Vec::new(), Vec::new());
            run.write_json(&mut json).unwrap();
            run.write_text(&mut text, false).unwrap();

            let (mut streamed, progress) = (Vec::new(), Progress::hidden());
            let mut stream = Stream::json(&mut streamed);
            reports(count).iter().for_each(|one| stream.image(one, count > 1).unwrap());
            assert_eq!(stream.end(took).unwrap().exit_code(true), run.exit_code(true));
            assert_eq!(String::from_utf8(streamed).unwrap(), String::from_utf8(json).unwrap());

            let mut streamed = Vec::new();
            let mut stream = Stream::text(&mut streamed, &progress, false);
            reports(count).iter().for_each(|one| stream.image(one, count > 1).unwrap());
            stream.end(took).unwrap();
            assert_eq!(String::from_utf8(streamed).unwrap(), String::from_utf8(text).unwrap());
        }
    }
}
