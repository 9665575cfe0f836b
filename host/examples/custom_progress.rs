//! Shows progress and log lines in its own way: `cargo run --example custom_progress [SOURCE]`.
//!
//! Without arguments it moves `tests/fixtures/hello.tar` to a temporary folder, when started from the repository.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::process::ExitCode;

use occystrap::{Process, ProgressSink, ProgressStep, Session, log_subscriber};
use tracing::Level;

/// Prints a line for each transfer that has ended.
struct EndedTransfers;

impl ProgressSink for EndedTransfers {
    fn update(&self, step: &ProgressStep<'_>) {
        if step.ended {
            println!("progress: {} has {} bytes", step.label, step.bytes);
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // Worker threads log as well, so that the subscriber is that of the whole program.
    tracing::subscriber::set_global_default(log_subscriber(Level::INFO, |level, line| {
        println!("log: {level} {line}");
    }))?;
    let session = Session::new()?.progress(EndedTransfers);

    let folder = tempfile::tempdir()?;
    let source = std::env::args().nth(1);
    let source = source.unwrap_or_else(|| "tar://tests/fixtures/hello.tar".to_owned());
    let destination = format!("tar://{}/out.tar", folder.path().display());
    let run = Process::new(source, destination).run(&session)?;

    println!("{}", run.summary_line());
    Ok(run.exit_code(true).into())
}
