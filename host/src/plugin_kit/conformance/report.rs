//! What the kit found: a table for people, a document for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use occystrap_base::error::printable;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table;
use occystrap_output::plugin::Plugin;

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The plugin did what the contract says.
    Passed,
    /// It did not; in words.
    Failed(String),
    /// It was not tried; in words.
    Skipped(String),
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What the plugin should do.
    pub case: &'static str,
    /// `pass`, `fail` or `skip`.
    pub result: &'static str,
    /// Why it did not pass.
    pub why: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    plugin: About,
    cases: Vec<Row>,
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct About {
    name: String,
    version: Option<String>,
    sha256: Digest,
    /// Bytes of the component.
    size: usize,
    imports: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// The exit code of a run in which nothing failed and something could not be tried: as for a
/// verification.
const NOT_ALL_TRIED: u8 = 3;

/// A reason of more characters tells nobody more.
const LONGEST_REASON: usize = 600;

impl Report {
    /// Of a component of which nothing is known but its bytes.
    #[must_use]
    pub fn new(name: &str, sha256: Digest, size: usize) -> Self {
        let name = printable(name);
        let plugin = About { name, version: None, sha256, size, imports: Vec::new() };
        Self { plugin, cases: Vec::new(), summary: Summary::default() }
    }

    /// What the plugin says of itself.
    pub fn of(&mut self, plugin: &Plugin) {
        let description = plugin.description();
        self.plugin.name.clone_from(&description.name);
        self.plugin.version = Some(description.version.clone());
        self.plugin.imports =
            plugin.permissions().iter().map(|known| known.interface.to_owned()).collect();
    }

    /// What became of a case.
    pub fn add(&mut self, case: &'static str, answer: Answer, took: Duration) {
        let (result, why) = match answer {
            Answer::Passed => ("pass", None),
            Answer::Failed(why) => ("fail", Some(why)),
            Answer::Skipped(why) => ("skip", Some(why)),
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

    /// Every case.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.cases
    }

    /// 0 when all passed, 1 when something failed, 3 when something could not be tried.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        // What does not concern a plugin is no doubt about it; a missing server is.
        let untried = |row: &Row| {
            row.result == "skip" && row.why.as_deref().is_some_and(|why| why.starts_with("needs "))
        };
        match self.summary.failed {
            0 if self.cases.iter().any(untried) => NOT_ALL_TRIED,
            0 => 0,
            _ => 1,
        }
    }

    /// The table.
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
        let Summary { passed, failed, skipped } = self.summary;
        write!(to, "{passed} passed")?;
        if failed > 0 {
            write!(to, ", {failed} FAILED")?;
        }
        if skipped > 0 {
            write!(to, ", {skipped} skipped")?;
        }
        writeln!(to)
    }

    /// The document for programs.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        table::write_json(to, self)
    }
}
