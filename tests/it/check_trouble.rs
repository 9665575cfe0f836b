//! `check` of images that are damaged or out of reach, from every kind of source: its text and its JSON document.

use serde_json::Value;

use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::layer::{dir, file, hardlink, layer};
use crate::support::push::push;
use crate::support::registry::{ALWAYS, Auth, Fault, Registry};
use crate::support::shape;

fn check(sandbox: &Sandbox, source: &str, more: &[&str]) -> Ran {
    sandbox.run(&[&["check", "-O", "json", source], more].concat())
}

fn findings(said: &Ran) -> Vec<String> {
    let document = said.json();
    let results = document["images"][0]["results"].as_array().unwrap();
    let text = |result: &Value, key: &str| result[key].as_str().unwrap_or_default().to_owned();
    let line = |result: &Value| {
        let layer = result["layer"].as_u64().map_or_else(String::new, |layer| format!(" {layer}"));
        format!("{} {}{layer}", text(result, "severity"), text(result, "check"))
    };
    results.iter().map(line).filter(|line| line != "info oci-media-type").collect()
}

fn image() -> TestImage {
    TestImage::with_layers(
        "team/app:1",
        vec![tar(&[("a", &[7; 300_000])]), tar(&[("b", b"two")]), tar(&[("c", b"three")])],
    )
}

#[test]
fn damaged_layers_in_files() {
    let sandbox = Sandbox::new();
    let image = image();
    let stored = Pack::Gzip.pack(&image.layers[1]);
    let path =
        |content: &[u8]| format!("blobs/sha256/{}", occystrap_base::oci::Digest::of(content).hex());
    let run = |content: Option<Vec<u8>>, more: &[&str]| {
        let mut archive = shape::oci(&[&image], Pack::Gzip);
        match content {
            Some(content) => archive.set(&path(&stored), content),
            None => archive.remove(&path(&stored)),
        }
        archive.write(&sandbox.path("in.tar"));
        findings(check(&sandbox, &sandbox.uri("tar", "in.tar"), more).exits(1))
    };
    // Another layer, well packed.
    let other = Pack::Gzip.pack(&tar(&[("b", b"2!!")]));
    let mut expected = vec!["error diff-id 1", "error layer-digest 1"];
    if other.len() != stored.len() {
        expected.push("error layer-size 1");
    }
    assert_eq!(run(Some(other), &[]), expected);
    // The same one, packed in another way.
    let again = Pack::JoinedMembers.pack(&image.layers[1]);
    assert_eq!(run(Some(again.clone()), &[]), ["error layer-digest 1", "error layer-size 1"]);
    assert_eq!(run(Some(again), &["--fast"]), ["error layer-size 1"]);
    let mut flipped = stored.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    assert_eq!(run(Some(flipped), &[]), ["error layer-digest 1", "unchecked layers"]);
    let cut = stored[..stored.len() - 9].to_vec();
    let expected = ["error layer-digest 1", "error layer-size 1", "unchecked layers"];
    assert_eq!(run(Some(cut), &[]), expected);
    for more in [&["--fast"][..], &[]] {
        assert_eq!(run(None, more)[0], "error layer-missing 1");
    }
}

#[test]
fn damaged_layers_without_a_promise() {
    let sandbox = Sandbox::new();
    let image = image();
    for pack in [Pack::Gzip, Pack::Zstd, Pack::ZstdFrames] {
        let mut archive = shape::podman(&[&image], pack);
        let name = format!("{}.tar", image.diff_ids()[0].hex());
        let good = archive.get(&name).to_vec();
        archive.set(&name, good[..good.len() / 2].to_vec());
        archive.write(&sandbox.path("in.tar"));
        let said = check(&sandbox, &sandbox.uri("tar", "in.tar"), &[]);
        let mut found = findings(said.exits(1));
        found.retain(|line| line != "warning zstd-compat");
        assert_eq!(found, ["error layer-data 0", "unchecked layers"], "{pack:?}");
        // More bytes than expected are not reported as fewer.
        for more in [&b"x"[..], b"garbage", &[0; 512]] {
            archive.set(&name, [&good[..], more].concat());
            archive.write(&sandbox.path("in.tar"));
            let said = sandbox.run(&["check", &sandbox.uri("tar", "in.tar")]);
            assert!(!said.stdout.contains("too early"), "{pack:?}: {}", said.stdout);
            if pack == Pack::Gzip {
                assert!(said.stdout.contains("something that is no gzip follows its end"));
            }
        }
    }
}

#[test]
fn damaged_directories() {
    let sandbox = Sandbox::new();
    let image = TestImage::new("team/app:1");
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", "out"));
    sandbox.process(&from, &to, &[]).verified();
    assert_eq!(findings(check(&sandbox, &to, &[]).exits(0)), [""; 0]);
    let path = sandbox.path("out").join(image.layer_path(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(findings(check(&sandbox, &to, &[]).exits(1)), ["error diff-id 1"]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(findings(check(&sandbox, &to, &["--fast"]).exits(1)), ["error layer-missing 1"]);
}

#[test]
fn damaged_layers_at_a_registry() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = image();
    let source = push(&registry, &image, Pack::Gzip);
    let first = occystrap_base::oci::Digest::of(&Pack::Gzip.pack(&image.layers[0])).to_string();
    registry.fault("GET", &first, Fault::Status(404, Vec::new()), ALWAYS);
    assert_eq!(findings(check(&sandbox, &source, &["--fast"]).exits(1)), ["error layer-missing 0"]);
    let expected = ["error layer-missing 0", "unchecked layers"];
    assert_eq!(findings(check(&sandbox, &source, &[]).exits(1)), expected);
}

#[test]
fn out_of_reach_is_not_wrong() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = image();
    let source = push(&registry, &image, Pack::Gzip);
    let first = occystrap_base::oci::Digest::of(&Pack::Gzip.pack(&image.layers[0])).to_string();
    registry.fault("GET", &first, Fault::Status(503, Vec::new()), ALWAYS);
    let said = check(&sandbox, &source, &["--retries", "0"]);
    assert_eq!(findings(said.exits(3)), ["unchecked layer-data 0", "unchecked layers"]);
    registry.require(Auth::basic("me", "hunter2"));
    let said = check(&sandbox, &source, &["--retries", "0"]);
    assert_eq!(findings(said.exits(3)), ["unchecked source"]);
    let said = check(&sandbox, "registry://127.0.0.1:1/x:1?insecure=true", &["--retries", "0"]);
    assert_eq!(findings(said.exits(3)), ["unchecked source"]);
    let said = check(&sandbox, &sandbox.uri("tar", "not-there.tar"), &[]);
    assert_eq!(findings(said.exits(1)), ["error source"]);
}

#[test]
fn images_in_engines() {
    let (sandbox, engine) = (Sandbox::new(), Engine::start());
    let image = image();
    engine.put(&image, shape::legacy(&[&image], Pack::Plain).bytes());
    let source = engine.uri("team/app:1");
    assert_eq!(findings(check(&sandbox, &source, &["--fast"]).exits(0)), [""; 0]);
    assert_eq!(engine.requests("GET", "/get"), 0);
    assert_eq!(findings(check(&sandbox, &source, &[]).exits(0)), [""; 0]);
    sandbox.assert_clean();
    // An export of something else.
    let mut other = image.clone();
    other.layers[1] = tar(&[("b", b"2!!")]);
    engine.put(&image, shape::legacy(&[&other], Pack::Plain).bytes());
    let found = findings(check(&sandbox, &source, &[]).exits(1));
    assert_eq!(found, ["error diff-id 1"]);
    let other = TestImage::tiny("team/app:1");
    engine.put(&image, shape::legacy(&[&other], Pack::Plain).bytes());
    let found = findings(check(&sandbox, &source, &[]).exits(1));
    assert_eq!(found, ["error config-digest", "error diff-id"]);
}

/// Something of every severity.
fn bad(sandbox: &Sandbox) -> String {
    let upper = vec![
        dir("srv").mode(0o777),
        file("srv/tool", b"x").mode(0o4755),
        file("srv/open", b"x").mode(0o666),
        file("etc/.wh.nothing", b""),
        file("../../escape", b""),
        hardlink("srv/link", "etc/nowhere"),
        file("etc/motd", b"once more"),
        file("old", b"").mtime(-5),
    ];
    let lower = vec![dir("etc"), file("etc/motd", &[b'x'; 5_000])];
    let mut image = TestImage::with_layers("team/app:1", vec![layer(&lower), layer(&upper)]);
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["rootfs"]["type"] = "\u{1b}[2Jlayers".into();
    config["config"]["ArgsEscaped"] = true.into();
    image.config = config.to_string().into_bytes();
    let mut archive = shape::docker25(&[&image], Pack::Zstd);
    archive.remove("index.json");
    archive.write(&sandbox.path("in.tar"));
    sandbox.uri("tar", "in.tar")
}

#[test]
fn people_see_the_worst_first() {
    let sandbox = Sandbox::new();
    let source = bad(&sandbox);
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("COLUMNS", "100");
        Ran::of(command)
    };
    let said = run(&["check", &source]);
    assert_eq!(said.exits(1).stderr, "");
    insta::assert_snapshot!("text", sandbox.redact(&said.stdout));
    let said = run(&["check", "--quiet", &source]);
    insta::assert_snapshot!("quiet", sandbox.redact(&said.exits(1).stdout));
    let said = run(&["check", "--fast", &source]);
    insta::assert_snapshot!("fast", sandbox.redact(&said.exits(1).stdout));
}

#[test]
fn programs_see_all_of_it() {
    let sandbox = Sandbox::new();
    let said = check(&sandbox, &bad(&sandbox), &[]);
    insta::assert_snapshot!("json", sandbox.redact(&said.exits(1).stdout));
}

#[test]
fn every_image_of_an_archive_is_checked() {
    let sandbox = Sandbox::new();
    let (good, bad) = (TestImage::tiny("a:1"), TestImage::new("b:1"));
    let mut archive = shape::legacy(&[&good, &bad], Pack::Gzip);
    archive.set(&bad.config_path(), b"{}".to_vec());
    archive.write(&sandbox.path("in.tar"));
    let document = check(&sandbox, &sandbox.uri("tar", "in.tar"), &[]).exits(1).json();
    let status: Vec<_> =
        document["images"].as_array().unwrap().iter().map(|image| &image["status"]).collect();
    assert_eq!(status, ["ok", "errors"]);
    let one = format!("{}?image=a:1", sandbox.uri("tar", "in.tar"));
    check(&sandbox, &one, &[]).exits(0);
}

#[test]
fn an_interruption_is_none_of_the_image() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let source = push(&registry, &image(), Pack::Gzip);
    registry.fault("GET", "/blobs/", Fault::Delay(std::time::Duration::from_secs(20)), ALWAYS);
    let child = sandbox
        .command(&["check", &source])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let said = Ran::ended(child.wait_with_output().unwrap());
    assert_eq!(said.exits(130).stdout, "");
    said.says("interrupted");
}
