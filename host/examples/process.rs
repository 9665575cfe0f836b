//! Moves an image to a directory and verifies it: `cargo run --example process [SOURCE DESTINATION]`.
//!
//! Without arguments it moves `tests/fixtures/hello.tar` to a temporary folder, when started from the repository.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::process::ExitCode;

use occystrap::{Level, Process, Session};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut arguments = std::env::args().skip(1);
    let source = arguments.next().unwrap_or_else(|| "tar://tests/fixtures/hello.tar".to_owned());
    let destination = arguments.next();
    let destination =
        destination.unwrap_or_else(|| format!("dir://{}/images", folder.path().display()));

    let run = Process::new(source, destination)
        .verify(Level::Full)
        .receipt(folder.path().join("receipt.json"))
        .run(&Session::new()?)?;

    for image in run.images() {
        println!("{}: {:?}", image.name(), image.status);
    }
    println!("{}", run.summary_line());
    Ok(run.exit_code(true).into())
}
