//! Mistakes on the command line, differences to 0.4.17, and environment variables.

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

fn with(sandbox: &Sandbox, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = sandbox.command(arguments);
    command.envs(environment.iter().copied());
    Ran::of(command)
}

#[test]
fn commands_of_0_4_17_name_what_to_type() {
    let sandbox = Sandbox::new();
    let mut transcript = String::new();
    for line in [
        "recreate-image /srv app 1 app.tar",
        "--verbose fetch-to-extracted docker.io library/busybox latest out --use-unique-names",
        "docker-to-tarfile app 1 app.tar --socket /run/docker.sock",
        "search-layers-tarfile app.tar x",
        "search-layers me:hunter2@host:5000 a/b 1 *.conf --regex",
        "tarfile-to-extracted in.tar",
        "fetch-to-mounts docker.io library/busybox latest out",
        "reshape a b",
    ] {
        let said = sandbox.run(&line.split(' ').collect::<Vec<_>>());
        transcript += &format!("## {line}\n{}", said.exits(2).stderr);
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn options_of_0_4_17_stand_before_the_command() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let process = |option: &str| sandbox.run(&[option, "process", "tar://in.tar", "dir://x"]);
    process("--no-verify").exits(0).says("not verified");
    process("--verify").verified();
    process("--verify-full").verified();
}

#[test]
fn a_document_says_what_is_missing_and_what_is_known() {
    let sandbox = Sandbox::new();
    let said = sandbox.run(&["process", "-O", "json", "registry://me:hunter2@host/foo"]);
    let document = said.exits(2).json();
    let image = &document["images"][0];
    assert_eq!(image["source"], "registry://host/foo");
    let message = image["error"]["message"].as_str().unwrap();
    assert!(message.contains("were not provided: <DESTINATION>"), "{message}");
    assert!(!said.stdout.contains("hunter2"));
}

#[test]
fn the_environment_is_blamed_for_what_it_says() {
    let sandbox = Sandbox::new();
    let process = ["info", "tar://not-there"];
    let said = with(&sandbox, &process, &[("OCCYSTRAP_RETRIES", "many")]);
    said.exits(2).says("error: invalid value 'many' for the variable OCCYSTRAP_RETRIES");
    assert!(!said.stderr.contains("--retries"), "{}", said.stderr);
    let said =
        with(&sandbox, &["info", "tar://x", "--retries", "many"], &[("OCCYSTRAP_RETRIES", "1")]);
    said.exits(2).says("for '--retries <N>'");
    for name in [
        "PARALLEL",
        "IMAGE_PARALLEL",
        "RETRIES",
        "RATE_LIMIT",
        "COMPRESSION",
        "CA_BUNDLE",
        "TEMP_DIR",
        "LAYER_CACHE",
    ] {
        let said = with(&sandbox, &process, &[(&format!("OCCYSTRAP_{name}"), "")]);
        said.exits(1).says("cannot open 'not-there'");
    }
}
