//! `docker://` as a destination when something fails: occystrap reports only what is true, and loads only complete images.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::engine_store::Held;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::push::push;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape::{self, Archive};

const FAST: &[&str] = &[];
const FULL: &[&str] = &["--verify=full"];

fn image() -> TestImage {
    TestImage::new("team/app:1")
}

/// Moves the image into an engine.
fn load(sandbox: &Sandbox, engine: &Engine, more: &[&str]) -> Ran {
    shape::legacy(&[&image()], Pack::Gzip).write(&sandbox.path("source.tar"));
    let source = sandbox.uri("tar", "source.tar");
    sandbox.process(&source, &engine.uri("team/app:1"), more)
}

/// Returns the output of a run, without the path of the socket.
fn said(sandbox: &Sandbox, engine: &Engine, ran: &Ran) -> String {
    let text = ran.stderr.replace(&engine.socket().display().to_string(), "[S]");
    sandbox.redact(&text)
}

#[test]
fn a_load_that_fails_is_an_error() {
    let line = "{\"status\":\"Loading layer\"}\n{\"errorDetail\":{\"message\":\"no space left on device\"},\"error\":\"no space left on device\"}\n";
    let mut transcript = String::new();
    for (what, fault) in [
        ("an error in an answer of 200", Fault::Body(line.into())),
        ("a refusal", Fault::status(500)),
        ("no right", Fault::status(403)),
        ("a web page", Fault::Html),
        ("a connection that breaks", Fault::CutAfter(10)),
        ("a line without end", Fault::Body(vec![b'x'; 100_000])),
    ] {
        for level in [FAST, FULL, &["--no-verify"]] {
            let (engine, sandbox) = (Engine::start(), Sandbox::new());
            engine.forgets();
            engine.fault("POST", "/load", fault.clone(), ALWAYS);
            let receipt = sandbox.path("receipt.json").display().to_string();
            let ran = load(&sandbox, &engine, &[level, &["--receipt", &receipt]].concat());
            ran.exits(1).says("Summary: 0/1 images");
            assert!(!sandbox.path("receipt.json").exists(), "{what}: nothing was written");
            assert!(engine.names().is_empty());
            sandbox.assert_clean();
            if level == FAST {
                writeln!(transcript, "## {what}\n{}", said(&sandbox, &engine, &ran)).unwrap();
            }
        }
    }
    insta::assert_snapshot!(transcript);
}

type Change = fn(&mut Held);
type Trouble = fn(&Engine);

/// The export, changed.
fn export(held: &mut Held, edit: impl FnOnce(&mut Archive)) {
    let mut archive = shape::legacy(&[&image()], Pack::Plain);
    edit(&mut archive);
    held.archive = archive.bytes().into();
}

#[test]
fn another_image_in_the_engine_is_failed() {
    let fast: [(&str, Change); 5] = [
        ("another ID", |held| held.inspected["Id"] = Digest::of(b"x").to_string().into()),
        ("another layer", |held| {
            held.inspected["RootFS"]["Layers"][1] = Digest::of(b"x").to_string().into();
        }),
        ("a layer less", |held| {
            held.inspected["RootFS"]["Layers"].as_array_mut().unwrap().pop();
        }),
        ("a layer more", |held| {
            let layers = held.inspected["RootFS"]["Layers"].as_array_mut().unwrap();
            layers.push(Digest::of(b"x").to_string().into());
        }),
        ("an ID that is none", |held| held.inspected["Id"] = "sha256:00".into()),
    ];
    let full: [(&str, Change); 7] = [
        ("the bytes of a layer", |held| {
            export(held, |archive| {
                let mut layer = archive.0.iter_mut().filter(|(name, _)| name.ends_with("tar"));
                layer.nth(1).unwrap().1[700] ^= 1;
            });
        }),
        ("the bytes of the config", |held| {
            export(held, |archive| {
                let name = format!("{}.json", image().id().hex());
                archive.edit(&name, |config| config["os"] = "plan9".into());
            });
        }),
        ("a layer less in the export", |held| {
            export(held, |archive| {
                archive.edit("manifest.json", |list| {
                    list[0]["Layers"].as_array_mut().unwrap().pop();
                });
            });
        }),
        ("a layer more in the export", |held| {
            export(held, |archive| {
                archive.edit("manifest.json", |list| {
                    let layers = list[0]["Layers"].as_array_mut().unwrap();
                    layers.push(layers[0].clone());
                });
            });
        }),
        ("a layer that is not there", |held| {
            export(held, |archive| {
                let name = archive.0[1].0.clone();
                archive.remove(&name);
            });
        }),
        ("half an export", |held| held.archive = held.archive.slice(..200_000)),
        ("two images", |held| {
            let other = TestImage::tiny("other:1");
            held.archive = shape::legacy(&[&image(), &other], Pack::Plain).bytes().into();
        }),
    ];
    let mut transcript = String::new();
    let fast = fast.map(|(what, change)| (what, change, FAST));
    let full = full.map(|(what, change)| (what, change, FULL));
    for (what, change, level) in fast.into_iter().chain(full) {
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        engine.on_load(change);
        let ran = load(&sandbox, &engine, level);
        println!("{what}");
        writeln!(transcript, "## {what}\n{}", said(&sandbox, &engine, &ran)).unwrap();
        ran.exits(1).says("0/1 verified, 1 FAILED");
        // A fast verification does not export the image.
        let fast = load(&sandbox, &engine, FAST);
        if level == FULL {
            fast.verified();
        } else {
            load(&sandbox, &engine, FULL).exits(1);
        }
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn containerds_store_is_read_to_the_layers() {
    let (engine, sandbox) = (Engine::start(), Sandbox::new());
    engine.containerd();
    engine.on_load(|held| {
        let mut archive = shape::docker25(&[&image()], Pack::Gzip);
        let other = shape::docker25(&[&TestImage::tiny("x:1")], Pack::Gzip).0.remove(0).1;
        archive.0[1].1 = other;
        held.archive = archive.bytes().into();
    });
    load(&sandbox, &engine, FAST).verified();
    let ran = load(&sandbox, &engine, FULL);
    ran.exits(1).says("layer 2'").says("expected sha256:").says("found sha256:");
    // An ID that is no config's, and nothing says that it need not be.
    let (engine, sandbox) = (Engine::start(), Sandbox::new());
    engine.on_load(|held| held.inspected["Id"] = Digest::of(b"manifest").to_string().into());
    load(&sandbox, &engine, FAST).exits(1).says("config 'team/app:1': digest-mismatch");
}

#[test]
fn an_image_that_is_not_there_after_all() {
    let mut transcript = String::new();
    for level in [FAST, FULL] {
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        engine.forgets();
        let ran = load(&sandbox, &engine, level);
        ran.exits(1).says("1 FAILED");
        transcript = said(&sandbox, &engine, &ran);
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn an_engine_that_does_not_answer_is_unconfirmed() {
    let mut transcript = String::new();
    let faults: [(&str, Trouble); 4] = [
        ("gone", Engine::leaves),
        ("500", |engine| engine.fault("GET", "/json", Fault::status(500), ALWAYS)),
        ("broken", |engine| engine.fault("GET", "/json", Fault::CutAfter(5), ALWAYS)),
        ("no info", |engine| engine.fault("GET", "/info", Fault::status(503), ALWAYS)),
    ];
    for (what, fault) in faults {
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        fault(&engine);
        let receipt = sandbox.path("receipt.json").display().to_string();
        let ran = load(&sandbox, &engine, &["--receipt", &receipt]);
        ran.exits(0).says("0/1 verified, 1 UNCONFIRMED");
        writeln!(transcript, "## {what}\n{}", said(&sandbox, &engine, &ran)).unwrap();
        assert_eq!(engine.names(), ["team/app:1"], "{what}");
        let ran = sandbox.run(&["verify", &receipt]);
        ran.exits(3).says("0/1 verified, 1 UNCONFIRMED");
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        fault(&engine);
        load(&sandbox, &engine, &["--strict"]).exits(3);
    }
    // The export breaks: what inspect said is right, and no more is known.
    let (engine, sandbox) = (Engine::start(), Sandbox::new());
    engine.fault("GET", "/get", Fault::CutAfter(9_000), ALWAYS);
    let ran = load(&sandbox, &engine, FULL);
    ran.exits(0).says("1 UNCONFIRMED");
    writeln!(transcript, "## a broken export\n{}", said(&sandbox, &engine, &ran)).unwrap();
    insta::assert_snapshot!(transcript);
}

#[test]
fn damage_in_the_engines_store_is_found_and_trouble_is_not_damage() {
    let layer = "0198344180c3ac7bc7fb917d20a9ab204e593d27f8dae2c5a95c9f32afe5bd6b";
    let gone = format!("open /var/lib/docker/vfs/dir/{layer}/f1: no such file or directory");
    let full = "write /var/lib/docker/tmp/x: no space left on device";
    let mut transcript = String::new();
    for (reason, in_the_middle, code, word) in [
        ("file integrity checksum failed for \"f1\"", false, 1, "1 FAILED"),
        ("file integrity checksum failed for \"f1\"", true, 1, "1 FAILED"),
        (&gone, false, 1, "1 FAILED"),
        (full, false, 3, "1 UNCONFIRMED"),
    ] {
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        let receipt = sandbox.path("receipt.json").display().to_string();
        load(&sandbox, &engine, &["--receipt", &receipt]).verified();
        let text = serde_json::json!(reason);
        let line = format!("{{\"errorDetail\":{{\"message\":{text}}},\"error\":{text}}}");
        let whole = shape::legacy(&[&image()], Pack::Plain).bytes();
        match in_the_middle {
            true => {
                let body = [&whole[..2_048], line.as_bytes()].concat();
                engine.fault("GET", "/get", Fault::Body(body), ALWAYS);
            }
            false => engine.fails("/get", reason),
        }
        for target in [&receipt, &engine.uri("team/app:1")] {
            let ran = sandbox.run(&["verify", target]);
            ran.exits(code).says(word);
            writeln!(transcript, "## {reason}\n{}", said(&sandbox, &engine, &ran)).unwrap();
        }
        // Everything that is known without an export is right.
        sandbox.run(&["verify", &receipt, "--fast"]).verified();
        let ran = sandbox.process(&engine.uri("team/app:1"), &sandbox.uri("dir", "out"), FAST);
        ran.exits(1).says(reason);
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn an_image_with_more_layers_than_docker_takes() {
    let (engine, sandbox) = (Engine::start(), Sandbox::new());
    engine.forgets();
    // Docker 20.10's answer to 130 layers.
    let line =
        "{\"errorDetail\":{\"message\":\"max depth exceeded\"},\"error\":\"max depth exceeded\"}\n";
    engine.fault("POST", "/load", Fault::Body(line.into()), ALWAYS);
    let ran = load(&sandbox, &engine, FAST);
    ran.exits(1).says("max depth exceeded\nhint: the image has 3 layers, Docker takes at most 125");
}

#[test]
fn a_slow_engine_is_waited_for() {
    let (engine, sandbox) = (Engine::start(), Sandbox::new());
    for (method, path) in [("GET", "/json"), ("GET", "/info"), ("GET", "/get"), ("POST", "/load")] {
        engine.fault(method, path, Fault::Delay(Duration::from_millis(300)), ALWAYS);
    }
    load(&sandbox, &engine, FULL).verified();
}

#[test]
fn a_failing_source_loads_nothing() {
    let image = image();
    let mut wrong = image.clone();
    // The last layer is not what the config promises.
    wrong.layers[2] = tar(&[("usr/bin/false", b"other")]);
    let registry = Registry::start();
    let engine = Engine::start();
    for pack in [Pack::Plain, Pack::Gzip] {
        let sandbox = Sandbox::new();
        shape::legacy(&[&wrong], pack).write(&sandbox.path("wrong.tar"));
        let to = engine.uri("team/app:1");
        for source in [sandbox.uri("tar", "wrong.tar"), push(&registry, &wrong, pack)] {
            let ran = sandbox.process(&source, &to, FAST);
            ran.exits(1).says("layer").says("expected sha256:").says("Summary: 0/1 images");
        }
        sandbox.assert_clean();
    }
    assert!(engine.loaded().is_empty() && engine.names().is_empty());
    // A registry that ends in the middle of the last layer.
    let sandbox = Sandbox::new();
    let source = push(&registry, &image, Pack::Gzip);
    let last = Digest::of(&Pack::Gzip.pack(&image.layers[2]));
    registry.fault("GET", &format!("/blobs/{last}"), Fault::CutAfter(20), ALWAYS);
    let ran = sandbox.process(&source, &engine.uri("team/app:1"), &["--retries", "0"]);
    ran.exits(1);
    assert!(engine.loaded().is_empty() && engine.names().is_empty());
    sandbox.assert_clean();
}

#[test]
fn hostile_exports_end_the_verification_and_nothing_else() {
    let whole = shape::legacy(&[&image()], Pack::Plain);
    let edited = |edit: &dyn Fn(&mut Archive)| {
        let mut archive = whole.clone();
        edit(&mut archive);
        archive.bytes()
    };
    let endless = {
        // A header that promises what no disk holds, and much of it.
        let mut bytes = vec![0; 40_000_000];
        let mut header = shape::header("endless", 0);
        header.set_size(u64::MAX / 4);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        bytes
    };
    let members = |count: usize, size: usize| {
        let mut archive = Archive::default();
        (0..count).for_each(|n| archive.push(format!("{n}"), vec![7; size]));
        archive.bytes()
    };
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("no end", endless, "expected"),
        ("no tar", vec![b'x'; 100_000], "is not a tar"),
        ("nothing", Vec::new(), "manifest.json"),
        ("too many members", members(2_100, 1_024), "at most"),
        (
            "a manifest of 20 MB",
            edited(&|archive| archive.set("manifest.json", vec![b'['; 20_000_000])),
            "manifest.json",
        ),
        (
            "deep JSON",
            edited(&|archive| archive.set("manifest.json", vec![b'['; 1_000_000])),
            "manifest.json",
        ),
        (
            "a name that leads out",
            edited(&|archive| {
                archive.edit("manifest.json", |list| {
                    list[0]["Config"] = "../../../etc/passwd".into();
                });
            }),
            "leads out",
        ),
        ("a member that leads out", edited(&|archive| archive.0[1].0 = "../../escaped".into()), ""),
        (
            "a bomb",
            edited(&|archive| {
                let zeros = Pack::Zstd.pack(&vec![0; 200_000_000]);
                archive.0[1].1 = zeros;
            }),
            "layer 1",
        ),
    ];
    for (what, archive, says) in cases {
        println!("{what}");
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        let archive = Bytes::from(archive);
        engine.on_load(move |held| held.archive = archive.clone());
        let ran = load(&sandbox, &engine, FULL);
        ran.exits(1).says("1 FAILED").says(says);
        assert!(ran.stderr.len() < 20_000, "{what}: {} bytes", ran.stderr.len());
        assert!(!sandbox.path("escaped").exists());
        sandbox.assert_clean();
        // It is harmless as a source as well.
        sandbox.process(&engine.uri("team/app:1"), &sandbox.uri("dir", "out"), FAST).exits(1);
        assert!(!sandbox.path("out").exists());
        sandbox.assert_clean();
    }
    // The run does not wait for data after the end of an archive.
    let (engine, sandbox) = (Engine::start(), Sandbox::new());
    engine.on_load(|held| {
        let more = [held.archive.as_ref(), &vec![0; 30_000_000]].concat();
        held.archive = more.into();
    });
    load(&sandbox, &engine, FULL).verified();
}

#[test]
fn hostile_answers() {
    for (what, fault) in [
        ("huge", Fault::Chunked(vec![b' '; 17 * 1024 * 1024])),
        ("deep", Fault::Body(vec![b'['; 1_000_000])),
        ("html", Fault::Html),
        ("layers", {
            let layers = vec![Digest::of(b"x").to_string(); 5_000];
            let id = image().id().to_string();
            let said = serde_json::json!({ "Id": id, "RootFS": { "Layers": layers } });
            Fault::Body(said.to_string().into())
        }),
    ] {
        println!("{what}");
        let (engine, sandbox) = (Engine::start(), Sandbox::new());
        engine.fault("GET", "/json", fault, ALWAYS);
        let ran = load(&sandbox, &engine, FULL);
        ran.exits(1).says("1 FAILED");
        assert!(ran.stderr.len() < 20_000, "{what}: {} bytes", ran.stderr.len());
    }
}
