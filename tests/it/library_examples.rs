//! The examples of the public API, run from the repository as their heads say.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::cli::Sandbox;

/// Runs an example.
fn output(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let sandbox = Sandbox::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_occystrap"));
    let example = binary.with_file_name("examples").join(name);
    let hint = "'cargo test --workspace' builds the examples";
    assert!(example.is_file(), "{} does not exist; {hint}", example.display());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let environment = sandbox.command(&[]);
    let mut command = Command::new(example);
    command.args(arguments).current_dir(root).env_clear();
    command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Runs an example and returns what it printed. The names of temporary folders are not part of it.
fn run(name: &str) -> String {
    let output = output(name, &[], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{text}{errors}", output.status);
    text
}

#[test]
fn a_session_masks_the_secrets_of_the_environment() {
    let output =
        output("verify", &["dir:///none/Env+Hunter2"], &[("OCCYSTRAP_PASSWORD", "Env+Hunter2")]);
    // The example prints the name of the target as it was typed, and the error as the library made it.
    let text = String::from_utf8(output.stdout).unwrap();
    let error = text.lines().find(|line| line.contains("cannot open")).unwrap();
    assert!(error.contains("'/none/***'") && !error.contains("Hunter2"), "{text}");
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
