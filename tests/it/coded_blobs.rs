//! Blobs and manifests that a registry sends with `Content-Encoding`, or does not send completely: the verdict agrees with
//! what the clients of registries do.

use std::io::Write as _;
use std::process::Command;

use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::push::{push, to};
use crate::support::real::installed;
use crate::support::registry::{ALWAYS, Fault, Registry};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image with one layer, of more bytes than are read whole or of fewer.
fn image(is_large: bool) -> TestImage {
    let length = if is_large { 1_500_000 } else { 1_000 };
    TestImage::with_layers("a/b:1", vec![tar(&[("usr/lib/noise", &noise(7, length))])])
}

fn verify(registry: &Registry, level: &str) -> Ran {
    Sandbox::new().run(&["verify", level, "--retries=2", &to(registry, "a/b:1")])
}

/// What a registry does to each GET of a blob, the exit codes of a fast and a full verification, and what is said where it is
/// not verified.
struct Row {
    what: &'static str,
    fault: Fault,
    fast: i32,
    full: i32,
    says: &'static str,
}

fn rows(stored: &[u8]) -> Vec<Row> {
    let coded = gzip(stored);
    let cut = coded[..coded.len() - 12].to_vec();
    let other = gzip(&[&stored[..stored.len() - 1], b"?"].concat());
    let label = |said: &str| Fault::Header("content-encoding", said.to_owned());
    let row = |what, fault, fast, full, says| Row { what, fault, fast, full, says };
    vec![
        row("compressed for its way", Fault::Coded(coded.clone()), 0, 0, ""),
        row("compressed for those who accept it", Fault::CodedVariant(coded), 0, 0, ""),
        row("identity", label("identity"), 0, 0, ""),
        row("an empty header", label(""), 0, 0, ""),
        row("aws-chunked, as S3 keeps it", label("aws-chunked"), 0, 0, ""),
        row("only said to be compressed", label("gzip"), 1, 1, "Content-Encoding gzip"),
        row("said in capitals", label("GZIP"), 1, 1, "Content-Encoding gzip"),
        row("another blob", Fault::Coded(other), 1, 1, "Content-Encoding gzip"),
        row("compressed and cut", Fault::Coded(cut.clone()), 1, 1, "cannot be decoded"),
        row("no gzip", Fault::Coded(b"some text".to_vec()), 1, 1, "cannot be decoded"),
        // A fast look asks for the last byte, which is not compressed.
        row("cut for those who accept it", Fault::CodedVariant(cut), 0, 1, "cannot be decoded"),
    ]
}

#[test]
fn a_blob_that_is_compressed_on_its_way_is_judged_by_what_clients_decode() {
    let test = "a_blob_that_is_compressed_on_its_way_is_judged_by_what_clients_decode";
    let has_skopeo = installed(test, &["skopeo"]);
    for is_large in [true, false] {
        let image = image(is_large);
        let registry = Registry::start();
        push(&registry, &image, Pack::Gzip);
        let layer = Pack::Gzip.pack(&image.layers[0]);
        for (called, bytes) in [("layer", &layer), ("config", &image.config)] {
            for row in rows(bytes) {
                // A small blob is asked for whole where the last byte comes with the header.
                registry.mend();
                let path = format!("/blobs/{}", Digest::of(bytes));
                registry.fault("GET", &path, row.fault, ALWAYS);
                let what = format!("{called}, large: {is_large}, {}", row.what);
                let full = verify(&registry, "--full");
                assert_eq!(full.code, row.full, "{what}, full: {}{}", full.stdout, full.stderr);
                assert!(row.full == 0 || full.stderr.contains(row.says), "{what}: {}", full.stderr);
                // The config is read by a fast verification as well.
                let fast = if called == "config" { row.full } else { row.fast };
                let ran = verify(&registry, "--fast");
                assert_eq!(ran.code, fast, "{what}, fast: {}{}", ran.stdout, ran.stderr);
                if called == "layer" {
                    let check = Sandbox::new().run(&["check", &to(&registry, "a/b:1")]);
                    assert_eq!(check.code, row.full, "{what}, check: {}", check.stdout);
                }
                // skopeo takes a label that it does not know for none, and this program as well.
                if has_skopeo && is_large {
                    assert_eq!(skopeo_pulls(&registry), row.full == 0, "{what}: skopeo");
                }
            }
        }
    }
}

fn skopeo_pulls(registry: &Registry) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
        .arg(format!("docker://{}/a/b:1", registry.url_host()))
        .arg(format!("dir:{}", folder.path().display()))
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn a_source_is_read_whether_its_content_encoding_is_true_or_not() {
    for is_large in [true, false] {
        let image = image(is_large);
        let registry = Registry::start();
        let source = push(&registry, &image, Pack::Gzip);
        let layer = Pack::Gzip.pack(&image.layers[0]);
        let label = Fault::Header("content-encoding", "gzip".to_owned());
        let compressed = |bytes: &[u8]| Fault::Coded(gzip(bytes));
        for fault in [&(|_: &[u8]| label.clone()) as &dyn Fn(&[u8]) -> Fault, &compressed] {
            for cut in [false, true] {
                registry.mend();
                for bytes in [&layer, &image.config] {
                    let path = format!("/blobs/{}", Digest::of(bytes));
                    if cut && bytes == &layer {
                        registry.fault("GET", &path, Fault::CutAfter(500), 1);
                    }
                    registry.fault("GET", &path, fault(bytes), ALWAYS);
                }
                let sandbox = Sandbox::new();
                sandbox.process(&source, &sandbox.uri("oci-layout", "out"), &[]).verified();
            }
        }
    }
}

#[test]
fn a_manifest_that_always_ends_at_one_byte_is_damaged() {
    let registry = Registry::start();
    push(&registry, &image(false), Pack::Gzip);
    for path in ["/manifests/1", "/manifests/sha256"] {
        for fault in [Fault::CutAfter(30), Fault::CutAfter(0), Fault::Length(9_000)] {
            for level in ["--fast", "--full"] {
                registry.mend();
                registry.fault("GET", path, fault.clone(), ALWAYS);
                let ran = verify(&registry, level);
                ran.exits(1).says("1 FAILED").says("ends at the same byte of the manifest");
                // A network cuts once, or at several bytes.
                registry.mend();
                registry.fault("GET", path, fault.clone(), 1);
                verify(&registry, level).exits(0);
                registry.mend();
                for end in [10, 20, 30] {
                    registry.fault("GET", path, Fault::CutAfter(end), 1);
                }
                verify(&registry, level).exits(3).says("1 UNCONFIRMED");
            }
        }
    }
    registry.mend();
    registry.fault("GET", "/manifests/", Fault::CutAfter(30), ALWAYS);
    let sandbox = Sandbox::new();
    let (source, out) = (to(&registry, "a/b:1"), sandbox.uri("dir", "out"));
    sandbox.process(&source, &out, &["--retries=1"]).exits(1).says("ends at the same byte");
}
