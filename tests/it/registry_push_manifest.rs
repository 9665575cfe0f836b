//! Requests around uploads: blobs that are already there, mounts, and manifests.

use bytes::Bytes;
use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use occystrap_net::registry::BlobProof;

use crate::registry_push_trouble::tokens_asked;
use crate::support::image::noise;
use crate::support::pusher::{LAYER, Pusher, WHOLE, holds, methods, push};
use crate::support::registry::{ALWAYS, Auth, Fault, Registry};
use crate::support::user::{User, descriptor, pull, run, seen};

#[test]
fn a_blob_that_is_there_is_seen_and_counted() {
    let registry = Registry::start();
    registry.put_blob(LAYER);
    registry.put_blob(b"");
    registry.put_blob(b"1");
    let pusher = Pusher::new(User::new());
    let repository = pusher.to(&registry, "a/b");
    let stat = |bytes: &[u8]| run(repository.stat_blob(Digest::of(bytes)));
    assert_eq!(stat(LAYER).unwrap(), Some(LAYER.len() as u64));
    assert_eq!(stat(b"").unwrap(), Some(0));
    assert_eq!(stat(b"1").unwrap(), Some(1));
    assert_eq!(stat(b"2").unwrap(), None);
    assert_eq!(methods(&registry), "HEAD GET HEAD GET HEAD GET HEAD");
    let asked = registry.requests_of("GET", "/blobs/");
    let ranges: Vec<_> = asked.iter().map(|one| one.header("range")).collect();
    assert_eq!(ranges, ["bytes=20-20", "bytes=0-0", "bytes=0-0"], "the last byte");

    // Servers may ignore a range: not all of it is read.
    let big = noise(8, 30_000_000);
    registry.put_blob(&big);
    registry.fault("GET", "/blobs/", Fault::IgnoreRange, 1);
    assert_eq!(stat(&big).unwrap(), Some(big.len() as u64));
    registry.fault("GET", "/blobs/", Fault::HangAfter(10), 1);
    assert_eq!(stat(LAYER).unwrap(), Some(LAYER.len() as u64));
}

#[test]
fn a_head_that_lies_is_not_believed() {
    let registry = Registry::start();
    registry.put_blob(LAYER);
    let pusher = Pusher::new(User::new());
    let repository = pusher.to(&registry, "a/b");
    let stat = || run(repository.stat_blob(Digest::of(LAYER)));
    registry.fault("GET", "/blobs/", Fault::status(404), 1);
    assert_eq!(stat().unwrap(), None);
    registry.fault("HEAD", "/blobs/", Fault::Length(7), 1);
    let error = stat().unwrap_err();
    assert_eq!(error.kind(), Kind::Source);
    assert!(
        error.to_string().contains("expected 7 bytes in the answer to HEAD, found 21"),
        "{error}"
    );
    registry.fault("GET", "/blobs/", Fault::Header("content-range", "bytes 20-20/9".into()), 1);
    assert!(stat().unwrap_err().to_string().contains("found 9 in the answer to GET"));
    // Announced, and then nothing comes.
    registry.fault("GET", "/blobs/", Fault::CutAfter(0), 1);
    assert_eq!(stat().unwrap(), Some(LAYER.len() as u64));
    registry.fault("GET", "/blobs/", Fault::CutAfter(0), ALWAYS);
    let before = registry.requests().len();
    assert_eq!(stat().unwrap(), None);
    // A head, the last byte twice, and the first.
    assert_eq!(registry.requests().len(), before + 4);
}

#[test]
fn a_blob_is_mounted() {
    for auth in [Auth::Open, Auth::basic("me", "hunter2"), Auth::bearer("me", "hunter2")] {
        let registry = Registry::start();
        registry.set_blob("x/y", Digest::of(LAYER), LAYER);
        registry.require(auth);
        let pusher = Pusher::new(User::new().named("me", "hunter2"));
        let to = pusher.to(&registry, "a/b");
        assert!(run(to.mount_blob(Digest::of(LAYER), LAYER.len() as u64, "x/y")).unwrap());
        let known = to.known_blob(Digest::of(LAYER)).unwrap();
        assert_eq!((known.size, known.proof), (LAYER.len() as u64, BlobProof::Seen));
        holds(&registry, LAYER);
        assert!(registry.requests_of("PUT", "").is_empty());
        if let Some(asked) = tokens_asked(&registry).first() {
            assert!(
                asked.contains("a%2Fb%3Apull%2Cpush&scope=repository%3Ax%2Fy%3Apull&"),
                "{asked}"
            );
        }
    }
}

#[test]
fn a_mount_that_is_refused_is_no_error() {
    let registry = Registry::start();
    registry.set_blob("x/y", Digest::of(LAYER), LAYER);
    let pusher = Pusher::new(User::new());
    let (to, from) = (pusher.to(&registry, "a/b"), pusher.from(&registry, "x/y"));
    let size = LAYER.len() as u64;
    let mount = |bytes: &[u8]| run(to.mount_blob(Digest::of(bytes), size, "x/y")).unwrap();
    for status in [400, 401, 403, 404, 405, 500, 501, 503] {
        registry.fault("POST", "mount=", Fault::status(status), 1);
        assert!(!mount(LAYER), "{status}");
    }
    assert!(!mount(b"not there"));
    assert_eq!(registry.open_uploads(), 0, "the upload that it began is cancelled");
    assert_eq!(registry.requests_of("DELETE", "/uploads/").len(), 1);
    registry.refuse_mounts();
    assert!(!mount(LAYER));
    assert_eq!(registry.open_uploads(), 0);

    // No request is sent if it makes no sense.
    let before = registry.requests().len();
    let other = Registry::start();
    assert!(!run(to.mount_blob(Digest::of(LAYER), size, "a/b")).unwrap());
    assert!(to.same_registry(&from) && !to.same_registry(&pusher.from(&other, "x/y")));
    assert_eq!(registry.requests().len(), before);
    assert!(other.requests().is_empty());
}

#[test]
fn a_mounted_blob_that_is_not_there_is_not_mounted() {
    let registry = Registry::start();
    registry.set_blob("x/y", Digest::of(LAYER), LAYER);
    registry.fault("GET", "/blobs/", Fault::status(404), ALWAYS);
    let pusher = Pusher::new(User::new());
    let to = pusher.to(&registry, "a/b");
    assert!(!run(to.mount_blob(Digest::of(LAYER), LAYER.len() as u64, "x/y")).unwrap());
    assert_eq!(to.known_blob(Digest::of(LAYER)), None);
}

pub fn manifest_of(config: &[u8], layer: &[u8]) -> Bytes {
    let one = |bytes: &[u8]| {
        let digest = Digest::of(bytes).to_string();
        serde_json::json!({"mediaType": "x/y", "digest": digest, "size": bytes.len()})
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": one(config), "layers": [one(layer)],
    });
    serde_json::to_vec(&manifest).unwrap().into()
}

#[test]
fn a_manifest_is_stored_byte_for_byte() {
    let registry = Registry::start();
    registry.put_blob(b"{}");
    registry.put_blob(LAYER);
    let pusher = Pusher::new(User::new());
    let repository = pusher.to(&registry, "a/b");
    let bytes = manifest_of(b"{}", LAYER);
    let digest = Digest::of(&bytes).to_string();
    for target in ["v1", &digest] {
        run(repository.push_manifest(target, OCI_MANIFEST, bytes.clone())).unwrap();
        let held = registry.manifest("a/b", target).unwrap();
        assert_eq!(held, (OCI_MANIFEST.to_owned(), bytes.clone()));
        assert_eq!(run(repository.manifest(target)).unwrap().bytes, bytes);
    }
    registry.fault("PUT", "/manifests/", Fault::status(500), 2);
    run(repository.push_manifest("v2", OCI_MANIFEST, bytes.clone())).unwrap();
    assert_eq!(pusher.user.counters.retries(), 2);

    for target in [&Digest::of(b"x").to_string(), "", "../x", "a b"] {
        let error = run(repository.push_manifest(target, OCI_MANIFEST, bytes.clone())).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{target}");
    }
}

#[test]
fn a_manifest_that_is_refused_says_why() {
    let registry = Registry::start();
    registry.put_blob(b"{}");
    let pusher = Pusher::new(User::new());
    let repository = pusher.to(&registry, "a/b");
    let bytes = manifest_of(b"{}", LAYER);
    let refused = |media_type: &str| -> Error {
        let error = run(repository.push_manifest("v1", media_type, bytes.clone())).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}/a/b:v1: ", registry.url_host())));
        error
    };
    let error = refused(OCI_MANIFEST);
    assert!(error.to_string().ends_with("(400 Bad Request): MANIFEST_BLOB_UNKNOWN: no"), "{error}");
    assert!(error.hint_text().unwrap().contains("does not have a blob"), "{}", seen(&error));
    for status in [404, 422] {
        registry.fault("PUT", "/manifests/", Fault::status(status), 1);
        assert!(refused(OCI_MANIFEST).to_string().ends_with(": FAULT: no"));
    }

    registry.put_blob(LAYER);
    registry.docker_only();
    let error = refused(OCI_MANIFEST);
    assert!(error.hint_text().unwrap().contains("Docker's media types only"), "{}", seen(&error));
    run(repository.push_manifest("v1", DOCKER_MANIFEST, bytes.clone())).unwrap();

    registry.say_digest(Digest::of(b"another"));
    let error = refused(DOCKER_MANIFEST);
    assert_eq!(error.kind(), Kind::Destination);
    assert!(error.to_string().contains("stored something else"), "{error}");
}

#[test]
fn a_change_after_the_push_is_seen() {
    let registry = Registry::start();
    let pusher = Pusher::new(User::new());
    let repository = pusher.to(&registry, "a/b");
    for bytes in [b"{}", LAYER] {
        push(&pusher, &registry, bytes, WHOLE).unwrap();
    }
    let bytes = manifest_of(b"{}", LAYER);
    run(repository.push_manifest("v1", OCI_MANIFEST, bytes.clone())).unwrap();
    registry.set_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(LAYER, b"{}"));
    assert_ne!(run(repository.manifest("v1")).unwrap().bytes, bytes);
    registry.remove_manifest("a/b", "v1");
    assert_eq!(run(repository.manifest("v1")).unwrap_err().kind(), Kind::NotFound);
    registry.set_blob("a/b", Digest::of(LAYER), b"A layer of some bytes");
    let error = run(pull(&repository, &descriptor(LAYER))).unwrap_err();
    assert_eq!(error.kind(), Kind::Source);
}
