//! Verifies receipts of users who are not trusted: `cargo run --example verify_batch [ROOT RECEIPT...]`.
//!
//! Without arguments it first moves `tests/fixtures/hello.tar` to a temporary folder, when started from the repository.
//! The second receipt then names a destination that is not granted, so it gets no verdict.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use occystrap::{Process, Session, VerifyBatch};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let session = Session::new()?;
    let folder = tempfile::tempdir()?;
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (root, receipts) = match arguments.next() {
        Some(root) => (root, arguments.collect()),
        None => {
            let mut receipts = Vec::new();
            for place in ["granted", "elsewhere"] {
                let receipt = folder.path().join(format!("{place}.json"));
                let destination = folder.path().join(place);
                std::fs::create_dir(&destination)?;
                let destination = format!("tar://{}/hello.tar", destination.display());
                Process::new("tar://tests/fixtures/hello.tar", destination)
                    .receipt(&receipt)
                    .run(&session)?;
                receipts.push(receipt);
            }
            (folder.path().join("granted"), receipts)
        }
    };

    let summary = VerifyBatch::new(receipts).root(root).run(&session, |report| {
        println!("{}: {:?}", report.receipt, report.status);
        Ok(())
    })?;

    println!("{} verified, {} receipts in all", summary.verified, summary.receipts);
    Ok(ExitCode::SUCCESS)
}
