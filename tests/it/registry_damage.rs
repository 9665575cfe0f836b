//! Blobs that are shorter at a registry than it announces: they are damaged, which is not a network error.

use std::time::Duration;

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::push::{push, to};
use crate::support::real::RealRegistry;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape;

/// A layer whose end the registry has lost: it is announced as complete, and sent up to the cut.
#[test]
fn a_layer_without_its_end_is_never_verified() {
    let layers = vec![tar(&[("usr/lib/noise", &noise(7, 3_500_000))])];
    let image = TestImage::with_layers("team/app:1", layers);
    let stored = Pack::Gzip.pack(&image.layers[0]);
    let layer = Digest::of(&stored);
    let (sandbox, from, registry) = (Sandbox::new(), Registry::start(), Registry::start());
    let source = push(&from, &image, Pack::Gzip);
    let (receipt, name) = (sandbox.path("receipt").display().to_string(), to(&registry, "a/b:1"));
    sandbox.process(&source, &name, &["--receipt", &receipt]).verified();
    registry.shorten_blob(layer, 1_000);
    for way in [
        &["verify", "--fast", &receipt, "--retries", "1"][..],
        &["verify", &receipt, "--retries", "1"],
        &["verify", "--fast", &name, "--retries", "1"],
        &["verify", &name, "--retries", "1"],
    ] {
        let ran = sandbox.run(way);
        ran.exits(1).says("does not have the bytes that the registry announces").says("1 FAILED");
        ran.says("remove these bytes from the registry's storage");
    }
    sandbox.run(&["check", "--fast", &name, "--retries", "1"]).exits(1);
    // It is not there for a push either, nor for a mount from its neighbour: both send it again.
    let puts = || registry.requests_of("PUT", "/uploads/").len();
    for to_name in ["a/b:2", "c/d:1"] {
        let before = puts();
        let options = ["--verify=fast", "--retries", "1"];
        sandbox.process(&source, &to(&registry, to_name), &options).exits(1).says("1 FAILED");
        assert!(puts() > before, "{to_name}: the layer was not sent again");
    }
}

/// A server that reads the range, and ends every answer with the whole of it at one byte.
#[test]
fn a_blob_that_ends_at_one_byte_is_damaged_and_not_unconfirmed() {
    let image = TestImage::new("team/app:1");
    let (sandbox, from, registry) = (Sandbox::new(), Registry::start(), Registry::start());
    let source = push(&from, &image, Pack::Gzip);
    let (receipt, name) = (sandbox.path("receipt").display().to_string(), to(&registry, "a/b:1"));
    sandbox.process(&source, &name, &["--receipt", &receipt]).verified();
    let layer = Digest::of(&Pack::Gzip.pack(&image.layers[1]));
    let path = format!("/blobs/{layer}");
    let size = Pack::Gzip.pack(&image.layers[1]).len();
    // The last byte comes, so that only reading all of it tells.
    let last = Fault::Delay(Duration::ZERO);
    registry.fault("GET", &path, last.clone(), 1);
    registry.fault("GET", &path, Fault::CutAfter(1_000), 1);
    registry.fault("GET", &path, Fault::CutAfter(0), ALWAYS);
    let ran = sandbox.run(&["verify", &receipt, "--retries", "1"]);
    ran.exits(1).says("every answer ends at the same byte").says("1 FAILED");
    ran.says(&format!("expected {size} bytes, found 1000"));

    // At several bytes, or silent: the network's.
    registry.mend();
    registry.fault("GET", &path, last, 1);
    for bytes in [1_000, 500, 250] {
        registry.fault("GET", &path, Fault::CutAfter(bytes), 1);
    }
    registry.fault("GET", &path, Fault::status(503), ALWAYS);
    sandbox.run(&["verify", &receipt, "--retries", "3"]).exits(3).says("1 UNCONFIRMED");

    // A source is wrong in the same way.
    from.shorten_blob(layer, 1_000);
    let ran = sandbox.process(&source, &sandbox.uri("dir", "out"), &["--retries", "1"]);
    ran.exits(1)
        .says(&format!("every answer ends at the same byte: expected {size} bytes, found 1000"));
}

/// docker-registry keeps a file that was cut: it announces all of it, from its cache, and takes no other in its
/// place.
#[test]
fn a_layer_that_was_cut_at_docker_registry_is_never_verified() {
    let test = "a_layer_that_was_cut_at_docker_registry_is_never_verified";
    let Some(registry) = RealRegistry::start(test) else { return };
    let layers = vec![tar(&[("usr/lib/noise", &noise(7, 3_500_000))])];
    let image = TestImage::with_layers("team/app:1", layers);
    let sandbox = Sandbox::new();
    shape::oci(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let source = sandbox.uri("tar", "in.tar");
    let receipt = sandbox.path("receipt").display().to_string();
    let options = ["--insecure", "--receipt", &receipt];
    sandbox.process(&source, &registry.uri("a/b:1"), &options).verified();
    let layer = registry.blob_file(Digest::of(&Pack::Gzip.pack(&image.layers[0])));
    let file = std::fs::File::options().write(true).open(layer).unwrap();
    file.set_len(1_000).unwrap();
    for level in ["--fast", "--retries=1"] {
        let name = registry.uri("a/b:1");
        for subject in [&receipt, &name] {
            let ran = sandbox.run(&["verify", "--insecure", subject, level]);
            ran.exits(1).says("1 FAILED").says("remove these bytes from the registry's storage");
        }
    }
    let ran = sandbox.process(&source, &registry.uri("c/d:1"), &["--insecure"]);
    ran.exits(1).says("1 FAILED");
}
