//! Report of the conformance test: a table for people, a JSON document for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use occystrap_base::error::printable;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table;
use occystrap_output::plugin::Plugin;

/// Result of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The plugin kept the contract.
    Passed,
    /// The plugin broke it: a description.
    Failed(String),
    /// The case does not apply to the plugin, or cannot be run: a description.
    Skipped(String),
    /// The case needs a server that the test does not have: a description. The test is then incomplete.
    Lacking(&'static str),
}

/// Line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Rule that the plugin must keep.
    pub case: &'static str,
    /// `pass`, `fail` or `skip`.
    pub result: &'static str,
    /// Reason why it did not pass.
    pub why: Option<String>,
    /// Duration of the case.
    pub seconds: f64,
}

/// Results of all cases.
#[derive(Debug, Serialize)]
pub struct Report {
    plugin: About,
    cases: Vec<Row>,
    summary: ConformanceSummary,
    /// Whether a case lacked a server.
    #[serde(skip)]
    is_incomplete: bool,
}

#[derive(Debug, Serialize)]
struct About {
    name: String,
    version: Option<String>,
    sha256: Digest,
    /// Size of the component, in bytes.
    size: usize,
    imports: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct ConformanceSummary {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Exit code of a run in which nothing failed and something could not be tried, the same as for a verification.
const NOT_ALL_TRIED: u8 = 3;

/// Longest reason, in characters: the rest of a longer one does not help.
const LONGEST_REASON: usize = 600;

impl Report {
    /// Starts the report of a component that has not been asked for its description.
    #[must_use]
    pub fn new(name: &str, sha256: Digest, size: usize) -> Self {
        let name = printable(name);
        let plugin = About { name, version: None, sha256, size, imports: Vec::new() };
        Self {
            plugin,
            cases: Vec::new(),
            summary: ConformanceSummary::default(),
            is_incomplete: false,
        }
    }

    /// Adds the description of the plugin.
    pub fn of(&mut self, plugin: &Plugin) {
        let description = plugin.description();
        self.plugin.name.clone_from(&description.name);
        self.plugin.version = Some(description.version.clone());
        self.plugin.imports =
            plugin.permissions().iter().map(|known| known.interface.to_owned()).collect();
    }

    /// Adds the result of a case.
    pub fn add(&mut self, case: &'static str, answer: Answer, took: Duration) {
        self.is_incomplete |= matches!(answer, Answer::Lacking(_));
        let (result, why) = match answer {
            Answer::Passed => ("pass", None),
            Answer::Failed(why) => ("fail", Some(why)),
            Answer::Skipped(why) => ("skip", Some(why)),
            Answer::Lacking(why) => ("skip", Some(why.to_owned())),
        };
        *match result {
            "pass" => &mut self.summary.passed,
            "fail" => &mut self.summary.failed,
            _ => &mut self.summary.skipped,
        } += 1;
        let why = why.map(|why| {
            let why = printable(&why);
            match why.char_indices().nth(LONGEST_REASON) {
                Some((at, _)) => format!("{}...", &why[..at]),
                None => why,
            }
        });
        let seconds = (took.as_secs_f64() * 1e6).round() / 1e6;
        self.cases.push(Row { case, result, why, seconds });
    }

    /// Returns every case.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.cases
    }

    /// Returns 0 if all cases passed, 1 if a case failed, 3 if a case could not be run.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        // A case that does not apply to a plugin counts as passed; a case that lacks a server does not.
        match self.summary.failed {
            0 if self.is_incomplete => NOT_ALL_TRIED,
            0 => 0,
            _ => 1,
        }
    }

    /// Writes the table.
    pub fn write_text(&self, to: &mut dyn Write, quiet: bool) -> io::Result<()> {
        let About { name, version, size, sha256, .. } = &self.plugin;
        if !quiet {
            let version = version.as_deref().unwrap_or_default();
            writeln!(to, "{name} {version} ({size} bytes, {})", sha256.short())?;
        }
        let widest = self.cases.iter().map(|row| row.case.len()).max().unwrap_or_default();
        for row in self.cases.iter().filter(|row| !quiet || row.result == "fail") {
            let result = if row.result == "fail" { "FAIL" } else { row.result };
            match &row.why {
                Some(why) => writeln!(to, "  {result}  {:widest$}  {why}", row.case)?,
                None => writeln!(to, "  {result}  {}", row.case)?,
            }
        }
        if quiet {
            return Ok(());
        }
        let ConformanceSummary { passed, failed, skipped } = self.summary;
        write!(to, "{passed} passed")?;
        if failed > 0 {
            write!(to, ", {failed} FAILED")?;
        }
        if skipped > 0 {
            write!(to, ", {skipped} skipped")?;
        }
        writeln!(to)
    }

    /// Writes the JSON document.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        table::write_json(to, self)
    }
}
