//! Registries that fail or lie, through the binary: the messages for the user, and the state of the destination.

use occystrap_base::oci::Digest;
use serde_json::json;

use crate::support::bystander::Bystander;
use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, gzip};
use crate::support::push::push;
use crate::support::registry::{ALWAYS, Auth, Fault, Registry};
use crate::support::shape::oci_manifest;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Runs with one retry: the waits between retries are tested elsewhere.
const ONE_RETRY: &[&str] = &["--retries", "1"];

fn path_of(stored: &[u8]) -> String {
    format!("/blobs/{}", Digest::of(stored))
}

/// A transcript with one case for each fault, each met by every request for the second layer.
#[test]
fn a_layer_that_does_not_arrive() {
    let image = TestImage::new("team/app:1");
    let stored = gzip(&image.layers[1]);
    let mut flipped = stored.clone();
    flipped[300_000] ^= 1;
    let mut old = Bystander::new();
    for (what, fault) in [
        ("closes mid-body, every time", Fault::CutAfter(1_000)),
        ("closes before the body, every time", Fault::CutAfter(0)),
        ("other bytes of the same length", Fault::Body(flipped)),
        ("other bytes", Fault::Body(b"something else".to_vec())),
        ("nothing", Fault::Body(Vec::new())),
        ("more than announced, in chunks", Fault::Chunked([&stored[..], b"!"].concat())),
        ("less than announced, in chunks", Fault::Chunked(stored[..1_000].to_vec())),
        ("a wrong Content-Length", Fault::Length(stored.len() as u64 + 1)),
        ("a web page", Fault::Html),
        ("not there", Fault::status(404)),
        ("out of order, every time", Fault::status(503)),
        ("forbidden", Fault::status(403)),
    ] {
        let registry = Registry::start();
        let source = push(&registry, &image, Pack::Gzip);
        registry.fault("GET", &path_of(&stored), fault, ALWAYS);
        old.refuses_source(what, &source, ONE_RETRY, || ());
    }
    let registry = Registry::start();
    let source = push(&registry, &image, Pack::Gzip);
    let again = format!("{}/v2/team/app{}", registry.base(), path_of(&stored));
    registry.fault("GET", "/blobs/", Fault::Redirect(again), ALWAYS);
    old.refuses_source("a redirect loop", &source, ONE_RETRY, || ());
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn a_manifest_that_does_not_arrive() {
    let image = TestImage::new("team/app:1");
    let mut old = Bystander::new();
    let schema_1 = json!({ "schemaVersion": 1, "name": "team/app", "tag": "1", "fsLayers": [], "history": [] });
    let other = oci_manifest(&TestImage::tiny("other:1"), Pack::Gzip);
    for (what, fault) in [
        ("a web page", Fault::Html),
        ("not there", Fault::status(404)),
        ("wants a login", Fault::status(401)),
        ("closes mid-body, every time", Fault::CutAfter(100)),
        ("over 4 MiB", Fault::Body(vec![b' '; (4 << 20) + 1])),
        ("over 4 MiB, in chunks", Fault::Chunked(vec![b' '; (4 << 20) + 1])),
        ("other bytes than Docker-Content-Digest says", Fault::Body(other.into())),
        ("a redirect loop", Fault::Redirect("/v2/team/app/manifests/1".into())),
        ("a redirect to a file", Fault::Redirect("file:///etc/passwd".into())),
    ] {
        let registry = Registry::start();
        let source = push(&registry, &image, Pack::Gzip);
        registry.fault("GET", "/manifests/", fault, ALWAYS);
        old.refuses_source(what, &source, ONE_RETRY, || ());
    }
    for (what, media_type, manifest) in [
        (
            "schema 1",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            schema_1.to_string().as_str(),
        ),
        ("not JSON", OCI_MANIFEST, "{"),
        ("null", OCI_MANIFEST, "null"),
        ("an empty object", OCI_MANIFEST, "{}"),
        ("an index without images", OCI_INDEX, r#"{"schemaVersion":2,"manifests":[]}"#),
        ("of another media type", "application/vnd.example.song+json", "{}"),
    ] {
        let registry = Registry::start();
        let source = push(&registry, &image, Pack::Gzip);
        registry.put_manifest("team/app", "1", media_type, manifest);
        old.refuses_source(what, &source, ONE_RETRY, || ());
    }
    let registry = Registry::start();
    let source = push(&registry, &image, Pack::Gzip);
    registry.require(Auth::basic("me", "hunter2"));
    old.refuses_source("a login, and none was given", &source, ONE_RETRY, || ());
    let wrong = ["--username", "me", "--password", "hunter3"];
    old.refuses_source("a login, and a wrong password", &source, &wrong, || ());
    assert!(!old.transcript.contains("hunter"));
    let gone = "registry://127.0.0.1:1/team/app:1?insecure=true";
    old.refuses_source("nobody listens", gone, ONE_RETRY, || ());
    let unknown = "registry://registry.invalid/team/app:1";
    old.refuses_source("a host that does not exist", unknown, &["--retries", "0"], || ());
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn an_image_that_is_not_what_its_manifest_says() {
    let image = TestImage::new("team/app:1");
    let mut old = Bystander::new();
    let mut case = |what: &str, lying: &dyn Fn(&mut TestImage)| {
        let registry = Registry::start();
        let mut other = image.clone();
        lying(&mut other);
        let source = push(&registry, &other, Pack::Gzip);
        old.refuses_source(what, &source, ONE_RETRY, || ());
    };
    // The manifest is right about the blobs; the config is wrong about the layers.
    case("a layer with another diff-id", &|image| image.layers[1][100] ^= 1);
    case("two layers in the wrong order", &|image| image.layers.swap(0, 2));
    case("a layer too few", &|image| drop(image.layers.pop()));
    case("a layer too many", &|image| image.layers.push(vec![0; 1024]));
    case("a config that is none", &|image| image.config = b"hello".to_vec());
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn a_cut_layer_is_resumed_and_the_retries_are_told() {
    let image = TestImage::new("team/app:1");
    let stored = gzip(&image.layers[1]);
    let sandbox = Sandbox::new();
    for (scheme, name) in [("dir", "out"), ("tar", "out.tar")] {
        let registry = Registry::start();
        let source = push(&registry, &image, Pack::Gzip);
        registry.fault("GET", &path_of(&stored), Fault::CutAfter(200_000), 1);
        registry.fault("GET", &path_of(&stored), Fault::too_many("0"), 1);
        let said = sandbox.process(&source, &sandbox.uri(scheme, name), &["--verify=full"]);
        said.verified().says(", 2 retries, 1 rate limit, 1/1 verified");
        let ranges: Vec<_> = registry.requests_of("GET", &path_of(&stored));
        assert_eq!(ranges[2].header("range"), "bytes=200000-");
    }
    sandbox.assert_clean();
}

#[test]
fn every_compression_arrives_from_a_registry() {
    let image = TestImage::new("team/app:1");
    for pack in Pack::ALL {
        let registry = Registry::start();
        let source = push(&registry, &image, pack);
        let sandbox = Sandbox::new();
        let mut local = image.clone();
        local.name = format!("{}/team/app:1", registry.url_host());
        for (scheme, name) in [("dir", "out"), ("tar", "out.tar")] {
            sandbox.process(&source, &sandbox.uri(scheme, name), &["--verify=full"]).verified();
        }
        crate::support::landed::assert_in_directory(&sandbox.path("out"), &local);
        crate::support::landed::assert_in_archive(&sandbox.path("out.tar"), &local);
        sandbox.assert_clean();
    }
}
