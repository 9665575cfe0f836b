//! Commands and options of `occystrap mirror`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

mod airgap;
mod prove;

pub use self::airgap::{MirrorExportOptions, MirrorImportOptions};
pub use self::prove::{MirrorPruneOptions, MirrorRepairOptions, MirrorVerifyOptions};
use super::quantity::age;
use crate::mirror::report::ReportFile;
use occystrap_base::terminal::shell::quote;

/// Commands of `occystrap mirror`.
#[derive(Subcommand)]
pub enum MirrorCommand {
    /// Show what a run would do: new, changed and unchanged images; writes nothing
    Plan(PlanOptions),
    /// Copy and verify what is new or changed; what was interrupted goes on
    #[command(after_help = RUNNING)]
    Run(MirrorRunOptions),
    /// Try again what failed in the last run
    Retry(MirrorRunOptions),
    /// Show the last run: how many images are done, and which failed
    Status(StatusOptions),
    /// Verify what is there, within a budget: bad, never verified, oldest first
    Verify(MirrorVerifyOptions),
    /// Send again what verification found bad, and read it back
    Repair(MirrorRepairOptions),
    /// List images that no rule names any more; delete them with --yes
    Prune(MirrorPruneOptions),
    /// Write reports of the last run from the ledger, at any time
    #[command(after_help = REPORTING)]
    Report(ReportOptions),
    /// Write what the other side of an air gap lacks as an OCI layout, with receipts and digests
    Export(MirrorExportOptions),
    /// Check an export, load it into a registry, and verify it there
    Import(MirrorImportOptions),
    /// Convert the file of regsync or 'skopeo sync', or a list of references, and print it
    #[command(after_help = CONVERTING)]
    From(FromOptions),
}

/// Options of all commands of `occystrap mirror`.
#[derive(Args, Clone)]
pub struct MirrorOptions {
    /// File that says what should be where (docs/mirroring.md)
    pub file: PathBuf,
    /// Ledger of what was done and proved [default: FILE.ledger]
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
}

impl MirrorOptions {
    /// Returns a command for the same mirror, as a user types it.
    #[must_use]
    pub fn command(&self, name: &str) -> String {
        let quoted = |path: &PathBuf| quote(&path.display().to_string());
        let mut command = format!("occystrap mirror {name} {}", quoted(&self.file));
        if let Some(ledger) = &self.ledger {
            command.push_str(&format!(" --ledger {}", quoted(ledger)));
        }
        command
    }
}

/// Options of `occystrap mirror plan`.
#[derive(Args)]
pub struct PlanOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
    /// Only images with this text in the name of their source or destination; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Exit with 4 if there is something to copy
    #[arg(long)]
    pub exit_code: bool,
}

/// Options of `occystrap mirror run` and `retry`.
#[derive(Args)]
pub struct MirrorRunOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
    /// Only images with this text in the name of their source or destination; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Verify unchanged images again whose proof is older, such as 30d or 12h
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub recheck: Option<u64>,
    /// Stop after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Begin no more images after this time, such as 2h or 30m; the next run goes on
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub max_duration: Option<u64>,
    /// Exit with 3 if an image could not be confirmed
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub report: ReportFiles,
}

/// Reports that a command writes to files.
#[derive(Args, Clone)]
pub struct ReportFiles {
    /// Write a report: json, junit (for CI), html (one page for people) or prometheus (a text file for
    /// node_exporter); several with commas between them, or by repeating the option
    #[arg(long, value_name = "FORMAT=FILE", value_delimiter = ',', value_parser = ReportFile::parse)]
    pub report: Vec<ReportFile>,
}

/// Options of `occystrap mirror report`.
#[derive(Args)]
pub struct ReportOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
    #[command(flatten)]
    pub report: ReportFiles,
}

/// Options of `occystrap mirror from`.
#[derive(Args)]
pub struct FromOptions {
    /// File to convert; - is standard input
    pub file: PathBuf,
    /// Where images go, for files of skopeo and lists, which have no destination
    #[arg(long, value_name = "HOST/PATH")]
    pub to: Option<String>,
    /// Exit with 3 if something could not be converted
    #[arg(long)]
    pub strict: bool,
}

/// Options of `occystrap mirror status`.
#[derive(Args)]
pub struct StatusOptions {
    #[command(flatten)]
    pub mirror: MirrorOptions,
}

const RUNNING: &str = "\
An unchanged image costs two HEAD requests. A blob that several images have is sent once and mounted
elsewhere. An image is verified before its tag is written. One run works on a ledger at a time.

Exit codes: 0 all done, 1 something failed, 2 wrong command line or FILE, 3 UNCONFIRMED with --strict,
130 stopped, or the time of --max-duration is over (run again: it goes on).

With -O jsonl, each line of standard output is an event: planned, started, copied, unchanged, failed, retry,
paused and others; the last line is the document of -O json (docs/mirroring.md).

Examples:
  occystrap mirror run mirror.yaml
  occystrap mirror run mirror.yaml --only library/busybox --recheck 30d
  occystrap mirror run mirror.yaml --report junit=report.xml,html=report.html";

const REPORTING: &str = "\
The reports are those that 'mirror run --report' writes. Without --report, the command prints the document
of -O json. A report replaces only a report of the same format, when it is complete.

Exit codes: 0 written, 1 there was no run yet, or a file could not be written, 2 wrong command line or FILE.

Examples:
  occystrap mirror report mirror.yaml
  occystrap mirror report mirror.yaml --report html=/srv/www/mirror.html
  occystrap mirror report mirror.yaml --report prometheus=/var/lib/node_exporter/mirror.prom";

const CONVERTING: &str = "\
The format is found by the content. The new file is printed on standard output; what could not be converted
is said on standard error, with its line, and is a comment at the beginning of the new file.

Exit codes: 0 converted, 2 nothing in the file could be converted, 3 a part of it with --strict.

Examples:
  occystrap mirror from regsync.yml > mirror.yaml
  occystrap mirror from skopeo.yml --to mirror.example.com/{registry}/{repository} > mirror.yaml
  echo quay.io/prometheus/prometheus:v3.0.0 | occystrap mirror from - --to mirror.example.com/{repository}";
