//! `dockerpush://`: Debian's dockerd and Podman push their images to this program.

use occystrap_base::oci::{Digest, ImageName};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::landed::{assert_in_archive, assert_in_directory};
use crate::support::real_engine::{self, RealEngine};
use crate::support::registry::Registry;
use crate::support::shape::legacy;
use crate::support::user::run;

const FULL: &[&str] = &["--verify=full"];

/// Loads an image into an engine.
fn load(engine: &RealEngine, sandbox: &Sandbox, image: &TestImage) {
    legacy(&[image], Pack::Plain).write(&sandbox.path("source.tar"));
    engine.import(&sandbox.path("source.tar")).unwrap();
}

/// `dockerpush://NAME?socket=PATH`.
fn uri(engine: &RealEngine, name: &str) -> String {
    engine.uri(name).replace("docker://", "dockerpush://")
}

fn names(engine: &RealEngine) -> Vec<String> {
    run(engine.client().names()).unwrap()
}

#[test]
fn a_pushed_image_is_the_one_that_is_exported() {
    for engine in real_engine::all("a_pushed_image_is_the_one_that_is_exported") {
        let sandbox = Sandbox::new();
        let image = TestImage::new("pushed/app:1");
        load(engine, &sandbox, &image);
        let source = uri(engine, "pushed/app:1");
        let ran = sandbox.run(&["-v", "process", &source, &sandbox.uri("dir", "out")]);
        ran.verified();
        assert_in_directory(&sandbox.path("out"), &image);
        let name = ran.stderr.lines().find_map(|line| line.split_once(" layers to ")).unwrap().1;
        assert!(name.starts_with("127.0.0.1:"), "{name}");
        assert!(!names(engine).iter().any(|known| known == name), "{}: {name} stays", engine.name);
        sandbox.process(&source, &sandbox.uri("tar", "out.tar"), FULL).verified();
        assert_in_archive(&sandbox.path("out.tar"), &image);
        let by_id = uri(engine, &image.id().hex()[..12]);
        sandbox.process(&by_id, &sandbox.uri("dir", "by-id"), FULL).verified();
        sandbox.assert_clean();
    }
}

#[test]
fn a_layer_that_the_registry_has_is_not_pushed_again() {
    for engine in real_engine::all("a_layer_that_the_registry_has_is_not_pushed_again") {
        let (sandbox, registry) = (Sandbox::new(), Registry::start());
        let image = TestImage::new(&format!("again/{}:1", engine.name));
        load(engine, &sandbox, &image);
        let source = uri(engine, &image.name);
        let to = |tag: &str| format!("registry://{}/app:{tag}?insecure=true", registry.url_host());
        sandbox.process(&source, &to("v1"), FULL).verified();
        let sent = registry.requests_of("POST", "/blobs/uploads/").len();
        assert_eq!(sent, image.layers.len() + 1, "{}", engine.name);
        let again = sandbox.run(&["--debug", "process", &source, &to("v2")]);
        again.verified();
        assert_eq!(registry.requests_of("POST", "/blobs/uploads/").len(), sent, "{}", engine.name);
        // Podman knows no digests of layers that it has pushed to another port.
        if engine.name == "podman" {
            continue;
        }
        // Nor does the engine read the layers.
        let uploads = again.stderr.lines().filter(|line| line.contains(" PATCH /v2/occystrap/"));
        assert!(uploads.count() <= 1, "{}: {}", engine.name, again.stderr);
        assert_eq!(registry.manifest("app", "v1"), registry.manifest("app", "v2"));
    }
}

#[test]
fn a_name_that_a_killed_process_left_is_removed() {
    for engine in real_engine::all("a_name_that_a_killed_process_left_is_removed") {
        let sandbox = Sandbox::new();
        let image = TestImage::new("left/app:1");
        load(engine, &sandbox, &image);
        // Nothing listens on a port that was just closed.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let left = ImageName {
            repository: format!("{closed}/occystrap/{}", &Digest::of(b"left").hex()[..32]),
            tag: Some("x".to_owned()),
        };
        run(engine.client().tag(&image.name, &left)).unwrap();
        sandbox.process(&uri(engine, "left/app:1"), &sandbox.uri("dir", "out"), &[]).verified();
        // Another run may have removed it before: it is gone in any case.
        assert!(!names(engine).contains(&left.to_string()), "{}", engine.name);
    }
}

#[test]
fn filters_read_what_is_pushed() {
    for engine in real_engine::all("filters_read_what_is_pushed") {
        let (sandbox, registry) = (Sandbox::new(), Registry::start());
        let image = TestImage::new("filtered/app:1");
        load(engine, &sandbox, &image);
        let to = |name: &str| format!("registry://{}/{name}:1?insecure=true", registry.url_host());
        let filter = ["-f", "exclude:pattern=etc/motd"];
        sandbox.process(&uri(engine, "filtered/app:1"), &to("pushed"), &filter).verified();
        sandbox.process(&engine.uri("filtered/app:1"), &to("exported"), &filter).verified();
        let config = |name: &str| {
            let (_, manifest) = registry.manifest(name, "1").unwrap();
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
            manifest["config"]["digest"].clone()
        };
        assert_eq!(config("pushed"), config("exported"), "{}", engine.name);
    }
}

#[test]
fn an_engine_that_cannot_push_here_is_named() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["process", "dockerpush://app", &sandbox.uri("dir", "out")]);
    command.env("DOCKER_HOST", "tcp://192.0.2.1:2375");
    let ran = crate::support::cli::Ran::of(command);
    ran.exits(2).says("is at another machine").says("use docker://");
}
