//! `docker://` as a source, against an engine in this process: every layout, and every mistake of an engine.

use std::process::Stdio;
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;

use crate::support::bystander::Bystander;
use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::landed::{assert_in_archive, assert_in_directory};
use crate::support::registry::{ALWAYS, Fault};
use crate::support::shape::{self, Archive};

type Shape = fn(&[&TestImage], Pack) -> Archive;

const SHAPES: [(&str, Shape); 4] = [
    ("docker 1.10 to 24", shape::legacy),
    ("docker 25", shape::docker25),
    ("podman", shape::podman),
    ("an oci layout alone", shape::oci),
];

fn with(image: &TestImage, archive: impl Into<bytes::Bytes>) -> Engine {
    let engine = Engine::start();
    engine.put(image, archive.into());
    engine
}

#[track_caller]
fn lands(engine: &Engine, image: &TestImage, ask: &str) {
    let sandbox = Sandbox::new();
    for (scheme, name) in [("dir", "new/out"), ("tar", "out.tar")] {
        let to = sandbox.uri(scheme, name);
        sandbox.process(&engine.uri(ask), &to, &["--verify=full"]).verified();
    }
    assert_in_directory(&sandbox.path("new/out"), image);
    assert_in_archive(&sandbox.path("out.tar"), image);
    sandbox.assert_clean();
}

#[test]
fn every_layout_with_every_compression() {
    let image = TestImage::new("team/app:1");
    for (name, shape) in SHAPES {
        for pack in [Pack::Plain, Pack::Gzip, Pack::ZstdFrames] {
            println!("{name} {pack:?}");
            lands(&with(&image, shape(&[&image], pack).bytes()), &image, "team/app:1");
        }
    }
}

#[test]
fn odd_layers() {
    let same = tar(&[("a", b"the same in two places")]);
    // No bytes, two empty blocks, a name that begins as JSON does, and one layer twice.
    let layers = vec![same.clone(), Vec::new(), vec![0; 1024], tar(&[("{", b"json?")]), same];
    let image = TestImage::with_layers("odd:latest", layers);
    for (_, shape) in SHAPES {
        lands(&with(&image, shape(&[&image], Pack::Plain).bytes()), &image, "odd");
    }
    let none = TestImage::with_layers("none:latest", Vec::new());
    lands(&with(&none, shape::legacy(&[&none], Pack::Plain).bytes()), &none, "none");
}

#[test]
fn an_image_by_its_id() {
    let image = TestImage::new("team/app:1");
    let engine = with(&image, shape::docker25(&[&image], Pack::Plain).bytes());
    for ask in [image.id().to_string(), image.id().hex(), image.id().hex()[..12].to_owned()] {
        lands(&engine, &image, &ask);
    }
}

#[test]
fn an_id_of_containerd_is_that_of_a_manifest() {
    let image = TestImage::new("team/app:1");
    let engine = with(&image, shape::docker25(&[&image], Pack::Gzip).bytes());
    engine.edit("team/app:1", |said| said["Id"] = Digest::of(b"manifest").to_string().into());
    let sandbox = Sandbox::new();
    let said = sandbox.process(&engine.uri("team/app:1"), &sandbox.uri("dir", "out"), &[]);
    said.exits(1).says("digest of the exported config");
    engine.containerd();
    lands(&engine, &image, "team/app:1");
}

/// Both outputs refuse an image with the same words, over what is there and in a new folder.
#[track_caller]
fn refused(what: &str, engine: &Engine, says: &str) {
    let old = Bystander::new();
    for (scheme, to) in [("dir", "out"), ("tar", "out.tar"), ("dir", "new/folder")] {
        let to = old.sandbox.uri(scheme, to);
        let said = old.sandbox.process(&engine.uri("team/app:1"), &to, &[]);
        let text = old.failed(what, &said);
        assert!(text.contains(says), "{what}: '{says}' is not in: {text}");
    }
}

#[test]
fn exports_that_are_not_what_was_promised() {
    let image = TestImage::new("team/app:1");
    let whole = |shape: Shape| shape(&[&image], Pack::Plain);
    let changed = |edit: &dyn Fn(&mut Archive)| {
        let mut archive = whole(shape::legacy);
        edit(&mut archive);
        archive.bytes()
    };
    let layer = whole(shape::legacy).0[1].0.clone();
    let other = shape::legacy(&[&TestImage::tiny("team/app:1")], Pack::Plain).bytes();
    let mut flipped = whole(shape::docker25);
    flipped.0[1].1[700] ^= 1;
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("nothing", Vec::new(), "no manifest.json"),
        ("no tar", vec![b'x'; 2000], "is not a tar archive"),
        ("another image", other, "number of layers in the export"),
        ("a flipped bit", flipped.bytes(), "its diff-id"),
        ("no manifest", changed(&|archive| archive.remove("manifest.json")), "no manifest.json"),
        ("no layer", changed(&|archive| archive.remove(&layer)), "which is not there"),
        ("a layer twice", changed(&|archive| archive.push(&layer, "x")), "two members are named"),
        (
            "a manifest that leads out",
            changed(&|archive| {
                archive
                    .edit("manifest.json", |list| list[0]["Layers"][0] = "../../etc/passwd".into());
            }),
            "leads out of it",
        ),
        (
            "another config",
            changed(&|archive| {
                let config = format!("{}.json", image.id().hex());
                archive.edit(&config, |config| config["os"] = "plan9".into());
            }),
            "digest of the config",
        ),
    ];
    for (what, archive, says) in cases {
        refused(what, &with(&image, archive), says);
    }
    let bytes = whole(shape::legacy).bytes();
    for (at, says) in
        [(300, "middle of a header"), (600, "middle of a member"), (9_000, "middle of a member")]
    {
        refused("the end is missing", &with(&image, bytes[..at].to_vec()), says);
    }
}

#[test]
fn engines_that_fail() {
    let image = TestImage::new("team/app:1");
    let archive = shape::legacy(&[&image], Pack::Plain).bytes();
    let reason = b"{\"errorDetail\":{\"message\":\"disk on fire\"},\"error\":\"disk on fire\"}";
    let cases = [
        ("/get", Fault::CutAfter(9_000), "the connection to unix:///"),
        (
            "/get",
            Fault::Body([&archive[..9_000], reason].concat()),
            "gave up the export: disk on fire",
        ),
        (
            "/get",
            Fault::status(500),
            "answered 500 Internal Server Error: the fault that was asked for",
        ),
        ("/get", Fault::status(404), "has no image 'team/app:1'"),
        ("/json", Fault::status(404), "has no image 'team/app:1'"),
        ("/json", Fault::Html, "an answer that the Docker Engine API does not describe"),
    ];
    for (path, fault, says) in cases {
        let engine = with(&image, archive.clone());
        engine.fault("GET", path, fault, ALWAYS);
        refused(says, &engine, says);
    }
    let engine = with(&image, archive.clone());
    engine.edit("team/app:1", |said| said["Id"] = Digest::of(b"other").to_string().into());
    refused("another ID", &engine, "digest of the exported config");
    let engine = with(&image, archive);
    engine.edit("team/app:1", |said| {
        said["RootFS"]["Layers"][1] = Digest::of(b"other").to_string().into();
    });
    refused("another layer", &engine, "diff-id of layer 2");
}

#[test]
fn a_layer_is_written_once() {
    // A file without a name gets one: no byte of the layer is written a second time.
    let image = TestImage::with_layers("big:1", vec![tar(&[("zeros", &[0; 3_000_000])])]);
    let engine = with(&image, shape::podman(&[&image], Pack::Plain).bytes());
    let sandbox = Sandbox::new();
    let written = sandbox.path("written");
    let script = r#""$@" && cat /proc/$$/io >"$W""#;
    let mut command = std::process::Command::new("sh");
    // The shell's own count has its children's in it, once they have ended.
    command.args(["-c", script, "sh"]).arg(env!("CARGO_BIN_EXE_occystrap"));
    command.args(["process", &engine.uri("big:1"), &sandbox.uri("dir", "out"), "--no-verify"]);
    command.env("W", &written).env("XDG_CACHE_HOME", sandbox.path("tmp"));
    Ran::of(command).exits(0);
    let written = std::fs::read_to_string(written).unwrap();
    let count = written.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    let count: usize = count.parse().unwrap();
    assert!((3_000_000..5_000_000).contains(&count), "{count} bytes were written");
}

#[test]
fn platform_and_name_of_the_uri_are_checked() {
    let image = TestImage::tiny("team/app:1");
    let engine = with(&image, shape::legacy(&[&image], Pack::Plain).bytes());
    let sandbox = Sandbox::new();
    let to = sandbox.uri("dir", "out");
    let uri = |more: &str| format!("{}{more}", engine.uri("team/app:1"));
    sandbox
        .process(&uri("&arch=arm64"), &to, &[])
        .exits(1)
        .says("is for linux/amd64, and not for linux/arm64");
    sandbox.process(&uri("&image=x"), &to, &[]).exits(2).says("has no option 'image'");
    sandbox.process("docker://a b", &to, &[]).exits(2).says("is not the name of an image");
    assert_eq!(engine.requests("GET", "/get"), 0);
    sandbox.process(&uri("&arch=amd64&os=linux"), &to, &[]).verified();
}

#[test]
fn the_environment_names_the_engine() {
    let image = TestImage::tiny("team/app:1");
    let engine = with(&image, shape::legacy(&[&image], Pack::Plain).bytes());
    let sandbox = Sandbox::new();
    let run = |host: &str| {
        let mut command =
            sandbox.command(&["process", "docker://team/app:1", &sandbox.uri("dir", "out")]);
        command.env("DOCKER_HOST", host);
        Ran::of(command)
    };
    run(&engine.address().to_string()).verified();
    let said = run("unix:///nowhere/engine.sock");
    said.exits(1).says("cannot connect to unix:///nowhere/engine.sock: no such file");
    said.says("name its socket with ?socket=PATH");
    run("ssh://host").exits(2).says("ssh -L");
}

#[test]
fn a_signal_while_the_export_hangs() {
    let image = TestImage::new("team/app:1");
    let archive = shape::legacy(&[&image], Pack::Plain).bytes();
    for fault in
        [Fault::HangAfter(0), Fault::HangAfter(200_000), Fault::Delay(Duration::from_secs(60))]
    {
        for (scheme, to) in [("dir", "out"), ("tar", "out.tar"), ("dir", "new/folder")] {
            for (signal, code) in
                [(rustix::process::Signal::INT, 130), (rustix::process::Signal::KILL, 137)]
            {
                let engine = with(&image, archive.clone());
                engine.fault("GET", "/get", fault.clone(), ALWAYS);
                let old = Bystander::new();
                let to = old.sandbox.uri(scheme, to);
                let mut command = old.sandbox.command(&["process", &engine.uri("team/app:1"), &to]);
                let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                let until = Instant::now() + Duration::from_secs(10);
                while engine.requests("GET", "/get") == 0 {
                    assert!(Instant::now() < until, "the image was not asked for");
                    std::thread::sleep(Duration::from_millis(5));
                }
                std::thread::sleep(Duration::from_millis(50));
                let process = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(process, signal).unwrap();
                let said = Ran::ended(child.wait_with_output().unwrap());
                said.exits(code);
                old.untouched(&format!("{to} {fault:?}"));
            }
        }
    }
}
