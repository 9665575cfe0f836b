//! The examples of the public API, run from the repository as their heads say.

use std::path::Path;
use std::process::Command;

use crate::support::cli::Sandbox;

/// Runs an example and returns what it printed. The names of temporary folders are not part of it.
fn run(name: &str) -> String {
    let sandbox = Sandbox::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_occystrap"));
    let example = binary.with_file_name("examples").join(name);
    let hint = "'cargo test --workspace' builds the examples";
    assert!(example.is_file(), "{} does not exist; {hint}", example.display());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let environment = sandbox.command(&[]);
    let mut command = Command::new(example);
    command.current_dir(root).env_clear();
    command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{text}{errors}", output.status);
    text
}

#[test]
fn process_moves_an_image_and_verifies_it() {
    let text = run("process");
    assert!(text.contains(": Verified\nSummary: 1/1 images"), "{text}");
    assert!(text.ends_with(", 1/1 verified\n"), "{text}");
}

#[test]
fn verify_reports_each_image() {
    let text = run("verify");
    assert!(text.contains(": Verified\nSummary: 1/1 images"), "{text}");
}

#[test]
fn verify_batch_gives_no_verdict_on_what_was_not_granted() {
    let text = run("verify_batch");
    assert!(text.contains("granted.json: Verified\n"), "{text}");
    assert!(!text.contains("elsewhere.json: Verified\n"), "{text}");
    assert!(text.ends_with("1 verified, 2 receipts in all\n"), "{text}");
}

#[test]
fn custom_progress_receives_progress_and_log_lines() {
    let text = run("custom_progress");
    for part in ["\nlog: INFO ", "progress: ", " bytes\n", "Summary: 1/1 images"] {
        assert!(format!("\n{text}").contains(part), "{part}: {text}");
    }
}
