//! The files of `--report`: `junit=report.xml,html=report.html`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use super::{MirrorReport, ReportFault, html, json, junit, prometheus};
use occystrap_base::error::Result;
use occystrap_base::files::new_file::NewFile;
use occystrap_base::files::state_file::StateFile;
use occystrap_base::secret::MaskedLines;

/// Largest report that is replaced, in bytes: a test case has about 300 bytes, and a mirror at most a million images.
const LARGEST: u64 = 1024 * 1024 * 1024;

/// Format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Junit,
    Html,
    Prometheus,
}

impl Format {
    /// All formats with their names.
    const ALL: [(&'static str, Self); 4] = [
        ("json", Self::Json),
        ("junit", Self::Junit),
        ("html", Self::Html),
        ("prometheus", Self::Prometheus),
    ];

    /// Returns the rules for its file: a report replaces only a report of the same format.
    fn file(self) -> StateFile {
        let is_one: fn(&[u8]) -> bool = match self {
            Self::Json => |bytes| bytes.starts_with(json::BEGINNING.as_bytes()),
            Self::Junit => |bytes| bytes.starts_with(junit::BEGINNING.as_bytes()),
            Self::Html => |bytes| bytes.starts_with(html::BEGINNING.as_bytes()),
            Self::Prometheus => |bytes| bytes.starts_with(prometheus::BEGINNING.as_bytes()),
        };
        StateFile { what: "report", largest: LARGEST, is_one }
    }
}

/// A file of `--report`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    format: Format,
    file: PathBuf,
}

impl ReportFile {
    /// Parses `FORMAT=FILE`. Errors with a text for the command line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = Format::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let (name, file) = match text.split_once('=') {
            Some((name, file)) if !file.is_empty() => (name, file),
            _ => {
                return Err(format!(
                    "expected FORMAT=FILE, such as html=report.html, found '{text}'"
                ));
            }
        };
        let found = Format::ALL.iter().find(|(known, _)| *known == name);
        match found {
            Some((_, format)) => Ok(Self { format: *format, file: file.into() }),
            None => Err(format!("expected one of {known}, found '{name}'")),
        }
    }

    /// Checks that the file can be written, before a run that takes hours. Errors when it cannot, and when something else
    /// than a report of this format is there.
    pub fn check(&self) -> Result<()> {
        self.format.file().check(&self.file, None)
    }

    /// Writes a report. The file gets its name when it is complete, in the place of an earlier report.
    pub fn write(&self, report: &MirrorReport<'_>) -> Result<()> {
        let kind = self.format.file();
        let real = kind.resolve(&self.file)?;
        let new = NewFile::at(&real).map_err(|cause| kind.write_failed(&self.file, &cause))?;
        let written = {
            let mut to = BufWriter::new(new.file());
            self.compose(report, &mut to).and_then(|()| Ok(to.flush()?))
        };
        match written {
            Ok(()) => new.publish().map_err(|cause| kind.write_failed(&self.file, &cause)),
            Err(ReportFault::Ledger(error)) => Err(error),
            Err(ReportFault::Write(cause)) => Err(kind.write_failed(&self.file, &cause)),
        }
    }

    fn compose(&self, report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
        // A JSON document masks its own text.
        if self.format == Format::Json {
            return json::write(report, to);
        }
        let mut to = MaskedLines::new(to);
        match self.format {
            Format::Junit => junit::write(report, &mut to),
            Format::Html => html::write(report, &mut to),
            _ => prometheus::write(report, &mut to),
        }?;
        Ok(to.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_its_format() {
        let target = ReportFile::parse("html=a/b=c.html").unwrap();
        assert_eq!((target.format, target.file), (Format::Html, PathBuf::from("a/b=c.html")));
        let wrong = ["", "html", "html=", "pdf=x"].map(|text| ReportFile::parse(text).unwrap_err());
        insta::assert_debug_snapshot!(wrong);
    }
}
