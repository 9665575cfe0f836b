//! A machine without a container engine: the same error as for an engine that does not answer, and not a usage error.

use crate::support::cli::Sandbox;
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage};
use crate::support::push::push;
use crate::support::real::skip;
use crate::support::registry::Registry;
use crate::support::shape;

/// The usual sockets may be there on this machine: then this cannot be tried.
fn an_engine_is_here(test: &str) -> bool {
    let usual = ["/var/run/docker.sock", "/run/podman/podman.sock"];
    let found = usual.into_iter().find(|path| std::path::Path::new(path).exists());
    if let Some(found) = found {
        skip(test, &format!("{found} is there"));
    }
    found.is_some()
}

#[test]
fn a_loaded_image_is_unconfirmed_without_its_engine() {
    if an_engine_is_here("a_loaded_image_is_unconfirmed_without_its_engine") {
        return;
    }
    let (sandbox, engine) = (Sandbox::new(), Engine::start());
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let mut command =
        sandbox.command(&["process", "tar://in.tar", "docker://app:1", "--receipt", "receipt"]);
    command.env("DOCKER_HOST", format!("unix://{}", engine.socket().display()));
    crate::support::cli::Ran::of(command).verified();
    for subject in ["receipt", "docker://app:1"] {
        let said = sandbox.run(&["verify", subject]);
        said.exits(3).says("no container engine was found").says("0/1 verified, 1 UNCONFIRMED");
    }
}

#[test]
fn a_move_fails_with_a_summary() {
    if an_engine_is_here("a_move_fails_with_a_summary") {
        return;
    }
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let said = sandbox.process("tar://in.tar", "docker://app:1", &[]);
    said.exits(1).says("no container engine was found").says("Summary: 0/1 images");
    let source = push(&Registry::start(), &TestImage::new("app:1"), Pack::Gzip);
    let said = sandbox.process(&source, "docker://app:1", &["--all-platforms"]);
    said.exits(2).says("holds one platform");
}
