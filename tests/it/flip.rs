//! One flipped bit anywhere in an output: a full verification of its receipt always fails.

use std::path::{Path, PathBuf};

use occystrap::pipeline;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Error;
use occystrap_images::level::Level;
use occystrap_output::plugin::{Catalog, PluginEngine};
use occystrap_verify::subject::Subject;

use crate::support::cli::Sandbox;
use crate::support::context::context;
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

/// Verifies in this process, because a process for each of some thousand bits takes minutes.
struct Verifier {
    runtime: tokio::runtime::Runtime,
    subject: [Result<Subject, (String, Error)>; 1],
}

impl Verifier {
    fn new(receipt: &Path) -> Self {
        let catalog = Catalog::new(PluginEngine::new().unwrap(), &[]).unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            subject: [Ok(Subject::parse(
                receipt.to_str().unwrap(),
                &catalog,
                |_| unreachable!(),
                &Cancel::default(),
            )
            .unwrap())],
        }
    }

    fn exit_code(&self, level: Level) -> u8 {
        let context = context(&self.runtime);
        pipeline::verify_subjects(&self.subject, level, 1, &context).exit_code(true)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Flips one bit of every `step`th byte, each another bit.
fn every_flip_is_found(scheme: &str, name: &str, step: usize) {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let receipt = sandbox.path("receipt");
    let more = ["--receipt", receipt.to_str().unwrap()];
    sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri(scheme, name), &more).verified();
    let verifier = Verifier::new(&receipt);
    assert_eq!(verifier.exit_code(Level::Full), 0);
    let out = sandbox.path(name);
    let files = if out.is_dir() { files(&out) } else { vec![out] };
    for file in files {
        let good = std::fs::read(&file).unwrap();
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at / step % 8);
            std::fs::write(&file, &bad).unwrap();
            assert_eq!(
                verifier.exit_code(Level::Full),
                1,
                "bit of byte {at} of {}",
                file.display()
            );
        }
        for length in [0, 1, good.len() / 2, good.len() - 1] {
            std::fs::write(&file, &good[..length]).unwrap();
            // The catalog is shared, and its last byte is a newline without meaning.
            if !(file.ends_with("catalog.json") && length == good.len() - 1) {
                assert_eq!(
                    verifier.exit_code(Level::Full),
                    1,
                    "{} cut to {length}",
                    file.display()
                );
            }
        }
        std::fs::write(&file, good).unwrap();
    }
    assert_eq!(verifier.exit_code(Level::Full), 0);
}

#[test]
fn anywhere_in_a_directory() {
    every_flip_is_found("dir", "out", 2);
}

#[test]
fn anywhere_in_an_archive() {
    every_flip_is_found("tar", "out.tar", 3);
}
