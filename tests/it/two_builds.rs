//! One Dockerfile built twice by each of Docker's classic builder, Podman and umoci: with `canonical` and
//! `normalize-timestamps:config=true`, both builds are one image.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::real::installed;
use crate::support::real_engine::{self, RealEngine};

const FILTERS: &[&str] =
    &["--verify=full", "-f", "canonical", "-f", "normalize-timestamps:config=true"];

const DOCKERFILE: &str =
    "FROM scratch\nCOPY f d /a/\nENV X=1\nCOPY d /b/d\nLABEL a=b\nCMD [\"/x\"]\n";

fn context(folder: &Path) {
    std::fs::create_dir_all(folder.join("d/e")).unwrap();
    std::fs::write(folder.join("f"), "hello").unwrap();
    std::fs::write(folder.join("d/y"), "x").unwrap();
    std::fs::write(folder.join("d/e/-"), "z").unwrap();
    std::fs::write(folder.join("Dockerfile"), DOCKERFILE).unwrap();
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).env("DOCKER_BUILDKIT", "0").output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// The digest of the manifest in a layout, and the config.
fn landed(sandbox: &Sandbox, folder: &str) -> (String, String) {
    let read = |path: String| std::fs::read(sandbox.path(folder).join(path)).unwrap();
    let parse = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
    let index = parse(read("index.json".into()));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = parse(read(format!("blobs/sha256/{}", &digest[7..])));
    let config = manifest["config"]["digest"].as_str().unwrap();
    let config = read(format!("blobs/sha256/{}", &config[7..]));
    (digest, String::from_utf8(config).unwrap())
}

fn two_builds(engine: &RealEngine, program: &str, connect: &str) {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("context");
    context(&folder);
    let socket = format!("unix://{}", engine.socket().display());
    for number in ["1", "2"] {
        let name = format!("real/two-builds:{number}");
        let folder = folder.to_str().unwrap();
        run(program, &[connect, &socket, "build", "-q", "--no-cache", "-t", &name, folder]);
        let to = sandbox.uri("oci-layout", &format!("out{number}:1"));
        let localhost = if engine.name == "podman" { "localhost/" } else { "" };
        sandbox.process(&engine.uri(&format!("{localhost}{name}")), &to, FILTERS).verified();
        // The second build is of another second.
        std::thread::sleep(Duration::from_millis(1_100));
        std::fs::write(sandbox.path("context/f"), "hello").unwrap();
    }
    let (one, other) = (landed(&sandbox, "out1"), landed(&sandbox, "out2"));
    assert_eq!(one.1, other.1, "{}", engine.name);
    assert_eq!(one.0, other.0, "{}", engine.name);
}

#[test]
fn two_builds_with_docker_are_one_image() {
    let test = "two_builds_with_docker_are_one_image";
    if let (true, Some(engine)) = (installed(test, &["docker"]), real_engine::dockerd(test)) {
        two_builds(engine, "docker", "-H");
    }
}

#[test]
fn two_builds_with_podman_are_one_image() {
    if let Some(engine) = real_engine::podman("two_builds_with_podman_are_one_image") {
        two_builds(engine, "podman", "--url");
    }
}

#[test]
fn two_builds_with_umoci_are_one_image() {
    if !installed("two_builds_with_umoci_are_one_image", &["umoci"]) {
        return;
    }
    let sandbox = Sandbox::new();
    for number in ["1", "2"] {
        let (layout, bundle) =
            (sandbox.path(&format!("u{number}")), sandbox.path(&format!("b{number}")));
        let (layout, bundle) = (layout.to_str().unwrap(), bundle.to_str().unwrap());
        let image = format!("{layout}:1");
        run("umoci", &["init", "--layout", layout]);
        run("umoci", &["new", "--image", &image]);
        run("umoci", &["unpack", "--image", &image, bundle]);
        context(&Path::new(bundle).join("rootfs"));
        run("umoci", &["repack", "--image", &image, bundle]);
        let to = sandbox.uri("oci-layout", &format!("out{number}:1"));
        let from = sandbox.uri("oci-layout", &format!("u{number}:1"));
        sandbox.process(&from, &to, FILTERS).verified();
        std::thread::sleep(Duration::from_millis(1_100));
    }
    assert_eq!(landed(&sandbox, "out1"), landed(&sandbox, "out2"));
}
