//! `docker://` as a destination in Debian's dockerd and Podman.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::engine_store::read;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::landed::assert_in_archive;
use crate::support::push::push;
use crate::support::real_engine::{self, RealEngine};
use crate::support::registry::Registry;
use crate::support::shape::{docker25, legacy};
use crate::support::user::run;

const FAST: &[&str] = &[];
const FULL: &[&str] = &["--verify=full"];

fn archive(sandbox: &Sandbox, image: &TestImage, pack: Pack) -> String {
    legacy(&[image], pack).write(&sandbox.path("source.tar"));
    sandbox.uri("tar", "source.tar")
}

/// The engine exports the image, as `docker save` and `podman save` do.
#[track_caller]
fn holds(engine: &RealEngine, image: &TestImage, name: &str) {
    let sandbox = Sandbox::new();
    let exported: occystrap_base::error::Result<Vec<u8>> = run(async {
        let mut export = engine.client().export(name).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = export.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    });
    let found = run(engine.client().inspect(name)).unwrap().unwrap();
    assert_eq!((found.id, found.diff_ids), (image.id(), image.diff_ids()), "{}", engine.name);
    // Docker links what it has twice, which is for our own reader.
    if let Some(saved) = read(&exported.unwrap()).filter(|_| engine.name == "podman") {
        assert_eq!(saved.config, image.config);
        assert!(saved.layers == image.layers);
    }
    let to = sandbox.uri("tar", "out.tar");
    sandbox.process(&engine.uri(name), &to, FULL).verified();
    let named = TestImage { name: name.to_owned(), ..image.clone() };
    assert_in_archive(&sandbox.path("out.tar"), &named);
}

#[test]
fn from_every_source() {
    let image = TestImage::new("out/source:1");
    let (registry, from) = (Registry::start(), Engine::start());
    from.put(&image, docker25(&[&image], Pack::Gzip).bytes());
    for engine in real_engine::all("from_every_source") {
        let sandbox = Sandbox::new();
        let tar = archive(&sandbox, &image, Pack::Plain);
        sandbox.process(&tar, &sandbox.uri("dir", "dir"), FULL).verified();
        let sources = [
            ("tar", tar),
            ("dir", sandbox.uri("dir", "dir")),
            ("registry", push(&registry, &image, Pack::Gzip)),
            ("docker", from.uri(&image.name)),
        ];
        for (index, (kind, source)) in sources.into_iter().enumerate() {
            let name = format!("out/{kind}:1");
            let receipt = sandbox.path(kind).with_extension("json").display().to_string();
            let level = if index % 2 == 0 { FULL } else { FAST };
            let to = engine.uri(&name);
            sandbox.process(&source, &to, &[level, &["--receipt", &receipt]].concat()).verified();
            holds(engine, &image, &name);
            sandbox.run(&["verify", &receipt]).verified();
            sandbox.run(&["verify", &to, "--fast"]).verified();
        }
        // From the engine into itself, under another name.
        let from = engine.uri("out/tar:1");
        sandbox.process(&from, &engine.uri("out/self:2"), FULL).verified();
        sandbox.run(&["verify", &engine.uri("out/self:2")]).verified();
        sandbox.assert_clean();
    }
}

#[test]
fn odd_layers_in_real_engines() {
    let same = tar(&[("same", &noise(1, 100_000))]);
    let odd = vec![same.clone(), vec![0; 1024], Vec::new(), tar(&[("b", b"b")]), same];
    let image = TestImage::with_layers("out/odd:1", odd);
    for engine in real_engine::all("odd_layers_in_real_engines") {
        let sandbox = Sandbox::new();
        let source = archive(&sandbox, &image, Pack::Gzip);
        sandbox.process(&source, &engine.uri("out/odd:1"), FULL).verified();
        let found = run(engine.client().inspect("out/odd:1")).unwrap().unwrap();
        assert_eq!((found.id, found.diff_ids), (image.id(), image.diff_ids()));

        // Without layers: Docker takes it, and does not give it out again.
        let none = TestImage::with_layers("out/none:1", Vec::new());
        let source = archive(&sandbox, &none, Pack::Plain);
        sandbox.process(&source, &engine.uri("out/none:1"), FAST).verified();
        let said = sandbox.process(&source, &engine.uri("out/none:1"), FULL);
        match engine.name {
            "podman" => said.verified(),
            _ => said.exits(0).says("empty export").says("1 UNCONFIRMED"),
        };
    }
}

#[test]
fn names_that_real_engines_make() {
    let (image, other) = (TestImage::tiny("out/x:1"), TestImage::tiny("out/y:1"));
    for engine in real_engine::all("names_that_real_engines_make") {
        let (sandbox, client) = (Sandbox::new(), engine.client());
        let source = archive(&sandbox, &other, Pack::Plain);
        sandbox.process(&source, &engine.uri("out/other:1"), FULL).verified();
        // The engine has an image of that name from Docker Hub.
        let hub = occystrap_base::oci::ImageName {
            repository: "docker.io/out/hub".into(),
            tag: Some("1".into()),
        };
        run(client.tag(&other.id().to_string(), &hub)).unwrap();
        let source = archive(&sandbox, &image, Pack::Plain);
        for name in [
            "out/hub:1",
            "out-alone:1",
            "quay.io/out/y:1",
            "localhost/out:1",
            "localhost:5000/o/y:1",
        ] {
            sandbox.process(&source, &engine.uri(name), FULL).verified();
            let parsed = occystrap_base::oci::ImageName::parse(name).unwrap();
            for name in [name.to_owned(), parsed.in_full().to_string()] {
                let found = run(client.inspect(&name)).unwrap();
                let id = found.unwrap_or_else(|| panic!("{}: no {name}", engine.name)).id;
                assert_eq!(id, image.id(), "{}: {name}", engine.name);
            }
        }
        let tags = run(client.inspect(&image.id().to_string())).unwrap().unwrap().tags;
        assert!(!tags.contains(&"localhost/out/hub:1".to_owned()), "{tags:?}");
        let old = run(client.inspect("out/other:1")).unwrap().unwrap();
        assert_eq!(old.id, other.id(), "{}", engine.name);
    }
}

#[test]
fn a_failed_or_stopped_load_leaves_no_image() {
    let good = TestImage::with_layers(
        "out/failed:1",
        (1..=3).map(|seed| tar(&[("noise", &noise(seed, 3_000_000))])).collect(),
    );
    let mut wrong = good.clone();
    wrong.layers[2] = tar(&[("other", b"other")]);
    for engine in real_engine::all("a_failed_or_stopped_load_leaves_no_image") {
        for pack in [Pack::Plain, Pack::Gzip] {
            let sandbox = Sandbox::new();
            let source = archive(&sandbox, &wrong, pack);
            let said = sandbox.process(&source, &engine.uri(&wrong.name), FAST);
            said.exits(1).says("expected sha256:");
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(run(engine.client().inspect(&wrong.name)).unwrap(), None, "{}", engine.name);
            sandbox.assert_clean();
        }
        // Ctrl-C at many moments: all or nothing.
        for pause in [0, 30, 60, 100, 200, 400] {
            let sandbox = Sandbox::new();
            let source = archive(&sandbox, &good, Pack::Gzip);
            let name = format!("out/stopped:{pause}");
            let mut command = sandbox.command(&["process", &source, &engine.uri(&name)]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(pause));
            let process = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
            let started = Instant::now();
            let said = Ran::ended(child.wait_with_output().unwrap());
            assert!(started.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(200));
            if let Some(found) = run(engine.client().inspect(&name)).unwrap() {
                assert_eq!(found.diff_ids, good.diff_ids(), "{}: {said:?}", engine.name);
            }
            sandbox.assert_clean();
        }
    }
}
