//! Unusual answers of registries, with the verdicts of the clients of registries: an image that all of them pull is
//! verified, and one that some client cannot pull is not.

use std::io::Write as _;

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::push::{push, to};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::user::{User, run};

/// An image with one layer that is larger than what is read whole, and its stored layer.
fn large() -> (TestImage, Vec<u8>) {
    let layers = vec![tar(&[("usr/lib/noise", &noise(7, 1_500_000))])];
    let image = TestImage::with_layers("a/b:1", layers);
    let stored = Pack::Gzip.pack(&image.layers[0]);
    (image, stored)
}

/// A registry that has an image, the one layer of it, and where clients ask for that.
fn serving(image: &TestImage) -> (Registry, Digest, String) {
    let registry = Registry::start();
    push(&registry, image, Pack::Gzip);
    let layer = Digest::of(&Pack::Gzip.pack(&image.layers[0]));
    let path = format!("/blobs/{layer}");
    (registry, layer, path)
}

fn verify(registry: &Registry, level: &str) -> Ran {
    let retries = if level == "--fast" { "--retries=2" } else { "--retries=1" };
    Sandbox::new().run(&["verify", level, retries, &to(registry, "a/b:1")])
}

const LEVELS: [&str; 2] = ["--fast", "--full"];

#[track_caller]
fn exits(registry: &Registry, code: i32, what: &str) {
    for level in LEVELS {
        let ran = verify(registry, level);
        assert_eq!(ran.code, code, "{what}: {level}: {}{}", ran.stdout, ran.stderr);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_manifest_is_asked_for_with_gzip_as_clients_do_and_decoded() {
    let image = TestImage::tiny("a/b:1");
    let (registry, ..) = serving(&image);
    let (_, manifest) = registry.manifest("a/b", "1").unwrap();
    let coded = gzip(&manifest);
    for fault in [Fault::Coded(coded.clone()), Fault::CodedVariant(coded.clone())] {
        registry.mend();
        registry.fault("GET", "/manifests/", fault, ALWAYS);
        exits(&registry, 0, "coded");
    }
    // Only clients that accept it get the variant of a cache that is cut, or that is of another image.
    let other = [&manifest[..], b" "].concat();
    for (body, words) in [
        (coded[..coded.len() - 12].to_vec(), "cannot be decoded"),
        (gzip(&other), "HEAD reports another digest"),
    ] {
        registry.mend();
        registry.fault("GET", "/manifests/1", Fault::CodedVariant(body), ALWAYS);
        for level in LEVELS {
            verify(&registry, level).exits(1).says(words);
        }
    }
    // More than a manifest may have.
    registry.mend();
    let bomb = gzip(&vec![b' '; 5 * 1024 * 1024]);
    registry.fault("GET", "/manifests/1", Fault::Coded(bomb), ALWAYS);
    verify(&registry, "--fast").exits(1).says("more than 4194304 bytes");
    for request in registry.requests() {
        // A coded answer to a range would not be a part of the blob.
        let expected = match (request.method.as_str(), request.header("range")) {
            ("GET", "") => "gzip",
            ("GET", _) => "identity",
            _ => continue,
        };
        assert_eq!(request.header("accept-encoding"), expected, "{}", request.path);
    }
}

#[test]
fn a_blob_that_is_compressed_on_its_way_is_decoded_and_not_damaged() {
    let (image, stored) = large();
    let (registry, _, path) = serving(&image);
    registry.fault("GET", &path, Fault::Coded(gzip(&stored)), ALWAYS);
    exits(&registry, 0, "coded");
}

#[test]
fn the_head_of_a_blob_decides_nothing_for_readers() {
    let (image, _) = large();
    let (registry, ..) = serving(&image);
    for fault in [
        Fault::Length(0),
        Fault::Length(7),
        Fault::status(403),
        Fault::status(404),
        Fault::status(500),
        Fault::status(503),
        Fault::NoHeader("content-length"),
    ] {
        registry.mend();
        let what = format!("{fault:?}");
        registry.fault("HEAD", "/blobs/", fault, ALWAYS);
        exits(&registry, 0, &what);
    }
}

#[test]
fn a_refused_range_of_a_blob_is_asked_for_as_clients_ask() {
    let (image, _) = large();
    let (registry, _, path) = serving(&image);
    for status in [400, 403, 404, 405, 416, 500, 501] {
        registry.mend();
        registry.fault("GET", &path, Fault::RangeStatus(status), ALWAYS);
        exits(&registry, 0, &status.to_string());
    }
}

#[test]
fn a_blob_whose_last_byte_is_refused_is_read_to_its_end() {
    let (image, stored) = large();
    let (registry, layer, path) = serving(&image);
    registry.set_blob("a/b", layer, &stored[..stored.len() - 10]);
    let full = Fault::Length(stored.len() as u64);
    // It announces all, refuses the last byte without a word on the size, and sends the rest in chunks.
    for head in [full, Fault::NoHeader("content-length"), Fault::status(405)] {
        for refusal in [Fault::RefuseRange, Fault::RangeStatus(416)] {
            registry.mend();
            registry.fault("HEAD", &path, head.clone(), ALWAYS);
            registry.fault("GET", &path, refusal, 1);
            registry.fault("GET", &path, Fault::NoHeader("content-length"), ALWAYS);
            verify(&registry, "--fast").exits(1).says("1 FAILED");
        }
    }
}

#[test]
fn the_last_byte_is_asked_for_by_the_size_that_is_promised() {
    let (image, stored) = large();
    let (registry, layer, path) = serving(&image);
    let size = stored.len() as u64;
    let last = format!("bytes={0}-{0}", size - 1);
    registry.fault("HEAD", &path, Fault::NoHeader("content-length"), ALWAYS);
    let user = User::new();
    let repository = user.open(&registry.url_host());
    for (promised, fault, asked) in [
        (Some(size), Fault::IgnoreSuffix, vec![last.clone()]),
        (None, Fault::IgnoreSuffix, vec!["bytes=-1".to_owned(), last.clone()]),
    ] {
        registry.fault("GET", &path, fault, ALWAYS);
        let before = registry.requests_of("GET", &path).len();
        assert_eq!(run(repository.find_blob(layer, promised)).unwrap(), Some(size));
        let requests = registry.requests_of("GET", &path);
        let ranges: Vec<_> = requests[before..].iter().map(|one| one.header("range")).collect();
        assert_eq!(ranges, asked);
    }
}

#[test]
fn a_body_without_its_end_is_no_blob() {
    let (image, _) = large();
    let (registry, _, path) = serving(&image);
    registry.fault("GET", &path, Fault::NoEnd, ALWAYS);
    verify(&registry, "--full").exits(1).says("unexpected EOF");
    // Once may be the network.
    registry.mend();
    registry.fault("GET", &path, Fault::NoEnd, 1);
    verify(&registry, "--full").exits(0);
    // A small one is read whole by a fast verification as well.
    let small = TestImage::with_layers("a/b:1", vec![tar(&[("etc/motd", b"hello")])]);
    let (registry, _, path) = serving(&small);
    registry.fault("GET", &path, Fault::NoEnd, ALWAYS);
    for level in LEVELS {
        verify(&registry, level).exits(1).says("unexpected EOF");
    }
}

#[test]
fn the_twin_of_a_media_type_in_head_is_accepted() {
    let image = TestImage::tiny("a/b:1");
    let (registry, ..) = serving(&image);
    assert_eq!(registry.manifest("a/b", "1").unwrap().0, OCI_MANIFEST);
    let twin = Fault::Header("content-type", DOCKER_MANIFEST.to_owned());
    registry.fault("HEAD", "/manifests/", twin, ALWAYS);
    exits(&registry, 0, "twin");
}

#[test]
fn the_digest_in_the_head_of_a_get_binds_where_clients_resolve_by_get() {
    let image = TestImage::tiny("a/b:1");
    let (registry, ..) = serving(&image);
    let wrong = Fault::Header("docker-content-digest", Digest::of(b"other").to_string());
    for path in ["/manifests/1", "/manifests/sha256"] {
        registry.mend();
        registry.fault("GET", path, wrong.clone(), ALWAYS);
        exits(&registry, 0, path);
    }
    for head in [Fault::status(405), Fault::NoHeader("docker-content-digest")] {
        registry.mend();
        registry.fault("HEAD", "/manifests/", head, ALWAYS);
        registry.fault("GET", "/manifests/1", wrong.clone(), ALWAYS);
        for level in LEVELS {
            verify(&registry, level).exits(1).says("GET by tag reports another digest");
        }
    }
}
