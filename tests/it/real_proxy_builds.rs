//! What a batch build does: many images on the same base images, pushed by dockerd through `occystrap proxy`, a few at a
//! time; and the same again with a few of them changed.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::proxy::ProxyProcess;
use crate::support::real::{RealRegistry, installed};
use crate::support::real_engine::{self, RealEngine};
use crate::support::relay::{Passed, Relay};
use crate::support::shape::legacy;

const FILTERS: &[&str] = &["-f", "normalize-timestamps", "-f", "exclude:pattern=etc/motd"];

/// Number of images.
const IMAGES: usize = 16;
/// Base images, each on the one before.
const LEVELS: usize = 5;
/// Layers that each image adds to the one below it.
const OWN: usize = 2;
/// Images that are pushed at the same time.
const AT_ONCE: usize = 4;

fn layers(of: &str, build: usize) -> Vec<Vec<u8>> {
    (0..OWN)
        .map(|layer| {
            // Only the last layer differs from build to build.
            let build = if layer + 1 == OWN { build } else { 0 };
            let name = format!("{of}-{layer}-{build}");
            let seed = name.bytes().fold(17, |seed, byte| seed * 31 + u64::from(byte));
            tar(&[(&name, &noise(seed, 20_000)), ("etc/motd", name.as_bytes())])
        })
        .collect()
}

/// The images of a build. `build` is 0 or, for those that change, the number of the build.
fn image(number: usize, build: usize) -> TestImage {
    let mut all: Vec<Vec<u8>> =
        (0..=number % LEVELS).flat_map(|level| layers(&format!("base{level}"), 0)).collect();
    all.extend(layers(&format!("image{number}"), build));
    TestImage::with_layers(&format!("built/image{number}:1"), all)
}

fn load(engine: &RealEngine, sandbox: &Sandbox, images: &[TestImage]) {
    let images: Vec<&TestImage> = images.iter().collect();
    legacy(&images, Pack::Plain).write(&sandbox.path("in.tar"));
    engine.import(&sandbox.path("in.tar")).unwrap();
}

fn is_changed(number: &usize) -> bool {
    number % 4 == 1
}

/// Loads the images that a build changes. Returns their number.
fn load_changed(engine: &RealEngine, sandbox: &Sandbox, build: usize) -> usize {
    let numbers = (0..IMAGES).filter(is_changed);
    let images: Vec<TestImage> = numbers.map(|number| image(number, build)).collect();
    load(engine, sandbox, &images);
    images.len()
}

fn docker(engine: &RealEngine, arguments: &[&str]) {
    let socket = format!("unix://{}", engine.socket().display());
    let output = Command::new("docker").args(["-H", &socket]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {said}");
}

/// Pushes all images to a registry, a few at a time.
fn push_all(engine: &RealEngine, host: &str) {
    let next = Mutex::new(0..IMAGES);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(number) = { next.lock().unwrap().next() } {
                    let target = format!("{host}/kolla/image{number}:1");
                    docker(engine, &["tag", &format!("built/image{number}:1"), &target]);
                    docker(engine, &["push", "-q", &target]);
                }
            });
        }
    });
}

/// Blobs whose upload was finished: docker-registry gets their digest then.
fn uploaded(passed: &[Passed]) -> Vec<String> {
    let ends = passed.iter().filter(|one| one.line.contains("/blobs/uploads/"));
    ends.filter_map(|one| Some(one.line.rsplit_once("digest=")?.1.to_owned())).collect()
}

#[test]
fn a_batch_build_moves_each_layer_once_and_the_next_build_only_what_changed() {
    let test = "a_batch_build_moves_each_layer_once_and_the_next_build_only_what_changed";
    if !installed(test, &["docker"]) {
        return;
    }
    let (Some(engine), Some(registry)) = (real_engine::dockerd(test), RealRegistry::start(test))
    else {
        return;
    };
    let sandbox = Sandbox::new();
    let behind = Relay::start(registry.host());
    let cache = sandbox.path("layers.json").display().to_string();
    let options = [FILTERS, &["--layer-cache", &cache]].concat();
    let proxy = ProxyProcess::start(&sandbox, behind.host(), &options);
    let front = Relay::start(proxy.host());

    let first: Vec<TestImage> = (0..IMAGES).map(|number| image(number, 0)).collect();
    let distinct: BTreeSet<Digest> = first.iter().flat_map(TestImage::diff_ids).collect();
    load(engine, &sandbox, &first);
    push_all(engine, front.host());
    // Each layer and each config once, also where dockerd sends a layer twice at the same time.
    let blobs = uploaded(&behind.take());
    let without_twins: BTreeSet<&String> = blobs.iter().collect();
    assert_eq!(blobs.len(), without_twins.len(), "sent twice: {blobs:?}");
    assert_eq!(blobs.len(), distinct.len() + IMAGES);
    front.take();

    // The next build: four images have another last layer and another config.
    let changed = load_changed(engine, &sandbox, 1);
    push_all(engine, front.host());
    for relay in [&front, &behind] {
        assert_eq!(uploaded(&relay.take()).len(), changed * 2);
    }
    proxy.stop().exits(0).says(&format!("{0}/{0} verified", 2 * IMAGES));

    // Another process and another host for dockerd, which sends all layers again: the file says what became of them.
    let proxy = ProxyProcess::start(&sandbox, behind.host(), &options);
    let front = Relay::start(proxy.host());
    let changed = load_changed(engine, &sandbox, 2);
    push_all(engine, front.host());
    assert_eq!(uploaded(&behind.take()).len(), changed * 2);
    proxy.stop().exits(0).says(&format!("{IMAGES}/{IMAGES} verified"));

    for number in (0..IMAGES).filter(is_changed) {
        let uri = registry.uri(&format!("kolla/image{number}:1"));
        sandbox.run(&["--insecure", "verify", &uri]).verified();
    }
}
