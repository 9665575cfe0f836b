//! Verifies what was written earlier: `cargo run --example verify [RECEIPT|DESTINATION...]`.
//!
//! Without arguments it verifies `tests/fixtures/hello.tar`, when started from the repository.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::process::ExitCode;

use occystrap::{Level, Session, Verify};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut targets: Vec<String> = std::env::args().skip(1).collect();
    if targets.is_empty() {
        targets.push("tar://tests/fixtures/hello.tar".to_owned());
    }

    let run = Verify::new(targets).level(Level::Full).run(&Session::new()?)?;

    for image in run.images() {
        println!("{}: {:?}", image.name(), image.status);
        if let Some(error) = &image.error {
            println!("  {error}");
        }
    }
    println!("{}", run.summary_line());
    Ok(run.exit_code(true).into())
}
