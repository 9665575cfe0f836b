//! Whole images to a registry, through the binary: what is sent, what is not sent, and what the registry has afterwards.

use std::time::Duration;

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::LARGEST_MANIFEST;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::push::{holds, holds_blobs, push, push_docker, to};
use crate::support::registry::{Auth, Fault, Location, Registry};
use crate::support::shape::{self, oci_manifest};

const FULL: &[&str] = &["--verify=full"];

/// Bodies of blobs that were sent.
fn uploads(registry: &Registry) -> Vec<usize> {
    let sent = registry.requests_of("PUT", "/uploads/");
    let parts = registry.requests_of("PATCH", "/uploads/");
    parts.iter().chain(&sent).map(|one| one.body.len()).filter(|size| *size > 0).collect()
}

#[test]
fn an_image_keeps_its_digest() {
    let (image, sandbox) = (TestImage::new("team/app:1"), Sandbox::new());
    for pack in [Pack::Gzip, Pack::Zstd, Pack::JoinedMembers, Pack::ZstdFrames] {
        let (from, registry) = (Registry::start(), Registry::start());
        let source = push(&from, &image, pack);
        let options = [FULL, &["-O", "json", "-v"]].concat();
        let said = sandbox.process(&source, &to(&registry, "copy/app:2"), &options);
        holds(&registry, "copy/app:2", &image, pack);
        let digest = Digest::of(oci_manifest(&image, pack).as_bytes()).to_string();
        let document = said.json();
        let known = [&document["images"][0]["status"], &document["images"][0]["digest"]];
        assert_eq!(known, ["verified", digest.as_str()]);
        assert!(said.stderr.contains(&format!("verified, {digest}\n")), "{}", said.stderr);
        // The manifest is the last thing that was sent.
        let sent = registry.requests();
        let last = sent.iter().rposition(|one| one.method == "PUT").unwrap();
        assert!(sent[last].path.ends_with("/manifests/2"), "{}", sent[last].path);
        assert_eq!(registry.requests_of("PUT", "/manifests/").len(), 1);
    }
    let (from, registry) = (Registry::start(), Registry::start());
    let source = push_docker(&from, &image);
    sandbox.process(&source, &to(&registry, "copy/app:2"), FULL).verified();
    let (media_type, manifest) = registry.manifest("copy/app", "2").unwrap();
    assert_eq!(media_type, "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(manifest, shape::docker_manifest(&image));
    sandbox.assert_clean();
}

#[test]
fn an_archive_keeps_its_digest_where_it_has_one() {
    let (image, sandbox, registry) =
        (TestImage::new("team/app:1"), Sandbox::new(), Registry::start());
    shape::oci(&[&image], Pack::Zstd).write(&sandbox.path("oci.tar"));
    sandbox.process(&sandbox.uri("tar", "oci.tar"), &to(&registry, "a/b:1"), FULL).verified();
    holds(&registry, "a/b:1", &image, Pack::Zstd);

    // Compressed layers without a manifest get one, and keep their bytes.
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("legacy.tar"));
    sandbox.process(&sandbox.uri("tar", "legacy.tar"), &to(&registry, "c/d:1"), FULL).verified();
    holds_blobs(&registry, "c/d", &image, Pack::Gzip);
    sandbox.process(&to(&registry, "c/d:1"), &sandbox.uri("dir", "back"), FULL).verified();
    for (index, layer) in image.layers.iter().enumerate() {
        let path = format!("back/{}", image.layer_path(index));
        assert!(std::fs::read(sandbox.path(&path)).unwrap() == *layer);
    }
}

#[test]
fn a_second_run_sends_nothing() {
    let (image, sandbox) = (TestImage::new("team/app:1"), Sandbox::new());
    let (from, registry) = (Registry::start(), Registry::start());
    let source = push(&from, &image, Pack::Gzip);
    let destination = to(&registry, "copy/app:1");
    sandbox.process(&source, &destination, &[]).verified();
    let (sent, fetched) = (registry.requests().len(), from.requests().len());

    sandbox.process(&source, &destination, &[]).verified();
    let again = &registry.requests()[sent..];
    let count = |method: &str, part: &str| {
        again.iter().filter(|one| one.method == method && one.path.contains(part)).count()
    };
    assert_eq!((count("POST", ""), count("PATCH", "")), (0, 0));
    assert_eq!((count("PUT", "/uploads/"), count("PUT", "/manifests/")), (0, 0));
    // Four blobs. Before the push, a head and the last byte of each; in the verification, the last byte of each
    // layer, and the config whole.
    assert_eq!((count("HEAD", "/blobs/"), count("GET", "/blobs/")), (4, 8));
    let gets = again.iter().filter(|one| one.method == "GET" && one.path.contains("/blobs/"));
    assert_eq!(gets.filter(|one| one.header("range").is_empty()).count(), 1);
    // And of the source nothing but the manifest and the config.
    let asked: Vec<_> = from.requests()[fetched..].iter().map(|one| one.path.clone()).collect();
    assert_eq!(asked.iter().filter(|path| path.contains("/blobs/")).count(), 1, "{asked:?}");

    // A blob that is damaged at the destination is sent again.
    let layer = Pack::Gzip.pack(&image.layers[1]);
    registry.set_blob("copy/app", Digest::of(&layer), b"short");
    sandbox.process(&source, &destination, FULL).verified();
    holds(&registry, "copy/app:1", &image, Pack::Gzip);
}

#[test]
fn blobs_are_mounted_from_a_neighbour() {
    let (image, sandbox, registry) =
        (TestImage::new("team/app:1"), Sandbox::new(), Registry::start());
    // Pushed, so that its blobs are in one repository and not in all.
    shape::oci(&[&image], Pack::Gzip).write(&sandbox.path("oci.tar"));
    sandbox.process(&sandbox.uri("tar", "oci.tar"), &to(&registry, "a/b:1"), &[]).verified();
    let before = registry.requests().len();
    sandbox.process(&to(&registry, "a/b:1"), &to(&registry, "c/d:1"), FULL).verified();
    holds(&registry, "c/d:1", &image, Pack::Gzip);
    let after = &registry.requests()[before..];
    assert_eq!(after.iter().filter(|one| one.path.contains("mount=sha256")).count(), 3);
    // The config is small, and here already.
    let moved: usize =
        after.iter().filter(|one| one.path.contains("/uploads/")).map(|one| one.body.len()).sum();
    assert_eq!(moved, image.config.len());

    // If the registry refuses the mount, the blobs are sent.
    registry.refuse_mounts();
    sandbox.process(&to(&registry, "a/b:1"), &to(&registry, "e/f:1"), FULL).verified();
    holds(&registry, "e/f:1", &image, Pack::Gzip);
    assert_eq!(registry.open_uploads(), 0);
}

/// Only a full verification reads bytes that are only in the registry.
#[test]
fn a_mounted_blob_that_was_damaged_is_found_in_full() {
    let (image, sandbox, registry) =
        (TestImage::new("team/app:1"), Sandbox::new(), Registry::start());
    shape::oci(&[&image], Pack::Gzip).write(&sandbox.path("oci.tar"));
    sandbox.process(&sandbox.uri("tar", "oci.tar"), &to(&registry, "a/b:1"), &[]).verified();
    let layer = Pack::Gzip.pack(&image.layers[1]);
    registry.set_blob("a/b", Digest::of(&layer), vec![0; layer.len()]);
    for name in ["c/d:1", "e/f:1"] {
        sandbox.process(&to(&registry, "a/b:1"), &to(&registry, name), &[]).verified();
        let full = sandbox.process(&to(&registry, "a/b:1"), &to(&registry, name), FULL);
        full.exits(1).says("has other content").says("0/1 verified, 1 FAILED");
    }
    let sent = registry.requests_of("PUT", "/blobs/uploads/").len();
    assert_eq!(sent, 4 + 2, "the first push, and each copy's config");
}

#[test]
fn a_manifest_may_be_as_large_as_registries_take() {
    let (image, sandbox) = (TestImage::tiny("team/app:1"), Sandbox::new());
    let (from, registry) = (Registry::start(), Registry::start());
    let source = push(&from, &image, Pack::Gzip);
    let (media_type, manifest) = from.manifest("team/app", "1").unwrap();
    let mut manifest = manifest.to_vec();
    let rest = LARGEST_MANIFEST - manifest.len() - r#","annotations":{"a":""}"#.len();
    manifest.truncate(manifest.len() - 1);
    let annotation = format!(r#","annotations":{{"a":"{}"}}}}"#, "x".repeat(rest));
    manifest.extend_from_slice(annotation.as_bytes());
    assert_eq!(manifest.len(), LARGEST_MANIFEST);
    from.put_manifest("team/app", "1", &media_type, manifest.clone());
    sandbox.process(&source, &to(&registry, "a/b:1"), FULL).verified();
    assert!(registry.manifest("a/b", "1").unwrap().1 == manifest);
    sandbox.process(&source, &sandbox.uri("oci-layout", "layout:1"), FULL).verified();
}

#[test]
fn a_host_that_is_both_ends_is_asked_at_one_pace() {
    let (image, sandbox, registry) =
        (TestImage::new("team/app:1"), Sandbox::new(), Registry::start());
    shape::oci(&[&image], Pack::Gzip).write(&sandbox.path("oci.tar"));
    let source = to(&registry, "a/b:1");
    sandbox.process(&sandbox.uri("tar", "oci.tar"), &source, &[]).verified();
    // Layers come and go at the same time.
    registry.refuse_mounts();
    // Other settings make another client, of the same pace. At a pace of its own it would be early by a
    // request, and so that is longer than a busy machine makes the first one late.
    for (destination, rate, apart) in [
        ("copy/app:1?insecure=true", "20", Duration::from_millis(50)),
        ("copy/app:2?insecure=true&username=a&password=b", "4", Duration::from_millis(250)),
    ] {
        let before = registry.requests().len();
        let to = format!("registry://{}/{destination}", registry.url_host());
        sandbox.process(&source, &to, &["--rate-limit", rate]).verified();
        let requests = registry.requests().split_off(before);
        let took = requests.last().unwrap().at - requests[0].at;
        let least = apart * u32::try_from(requests.len() - 1).unwrap();
        // A request may be late on its way, and the one behind it not.
        assert!(requests.len() > 8, "{}", requests.len());
        assert!(took + Duration::from_millis(150) > least, "{took:?} for {}", requests.len());
    }
}

#[test]
fn parts_are_as_large_as_the_user_says() {
    let (image, sandbox) = (TestImage::new("team/app:1"), Sandbox::new());
    let from = Registry::start();
    let source = push(&from, &image, Pack::Gzip);
    for (option, least, largest) in [
        ("chunk_size=200000", None, 200_000),
        ("chunk_size=64k", None, 65_536),
        ("chunk_size=1", None, 4_096),
        ("chunk_size=64k", Some(300_000), 300_000),
    ] {
        for location in [Location::Relative, Location::Absolute, Location::Query] {
            let registry = Registry::start();
            registry.set_locations(location.clone());
            if let Some(least) = least {
                registry.set_least_chunk(least);
            }
            let destination = format!("{}&{option}", to(&registry, "a/b:1"));
            sandbox.process(&source, &destination, FULL).verified();
            holds(&registry, "a/b:1", &image, Pack::Gzip);
            assert_eq!(
                uploads(&registry).into_iter().max(),
                Some(largest),
                "{option} {location:?}"
            );
        }
    }
    // Without the option each blob goes in one request.
    let registry = Registry::start();
    sandbox.process(&source, &to(&registry, "a/b:1"), FULL).verified();
    assert_eq!(registry.requests_of("PATCH", "").len(), 0);
}

#[test]
fn layers_that_are_alike_and_layers_of_nothing() {
    let sandbox = Sandbox::new();
    let (one, empty) = (tar(&[("a", &noise(3, 50_000))]), tar(&[]));
    let image = TestImage::with_layers(
        "team/twins:1",
        vec![one.clone(), empty.clone(), one.clone(), empty, one],
    );
    let (from, registry) = (Registry::start(), Registry::start());
    let source = push(&from, &image, Pack::Gzip);
    sandbox.process(&source, &to(&registry, "a/b:1"), FULL).verified();
    holds(&registry, "a/b:1", &image, Pack::Gzip);
    assert_eq!(uploads(&registry).len(), 3, "two layers and a config");
    // From each blob once: it is large.
    let downloads = from.requests_of("GET", "/blobs/");
    assert_eq!(downloads.len(), 3, "{downloads:?}");

    // An image without layers.
    let bare = TestImage::with_layers("team/bare:1", vec![]);
    let source = push(&from, &bare, Pack::Gzip);
    sandbox.process(&source, &to(&registry, "a/bare:1"), FULL).verified();
    holds(&registry, "a/bare:1", &bare, Pack::Gzip);
}

#[test]
fn transfers_overlap_as_the_user_says() {
    let sandbox = Sandbox::new();
    let layers = (0..12).map(|n| tar(&[("a", &noise(n, 10_000))])).collect();
    let image = TestImage::with_layers("team/many:1", layers);
    let from = Registry::start();
    let source = push(&from, &image, Pack::Gzip);
    for (parallel, most) in [("1", 1), ("4", 4)] {
        let registry = Registry::start();
        let pause = std::time::Duration::from_millis(40);
        registry.fault("PUT", "/uploads/", Fault::Delay(pause), usize::MAX);
        sandbox.process(&source, &to(&registry, "a/b:1"), &["-j", parallel]).verified();
        holds(&registry, "a/b:1", &image, Pack::Gzip);
        // The blob that a request is about is in the query; while it is on its way, others may start.
        let puts = registry.requests_of("PUT", "/uploads/");
        let overlap = |one: &std::time::Instant| {
            puts.iter().filter(|put| put.at <= *one && *one < put.at + pause).count()
        };
        let seen = puts.iter().map(|put| overlap(&put.at)).max().unwrap();
        assert!(seen <= most, "{seen} uploads at once with -j {parallel}");
        assert!(parallel == "1" || seen > 1, "no two uploads at once with -j {parallel}");
    }
}

#[test]
fn every_way_to_name_a_user() {
    let image = TestImage::new("team/app:1");
    let from = Registry::start();
    let source = push(&from, &image, Pack::Gzip);
    for auth in [Auth::basic("me", "hunter2"), Auth::bearer("me", "hunter2")] {
        let registry = Registry::start();
        registry.require(auth);
        let host = registry.url_host();
        let plain = format!("registry://{host}/a/b:1?insecure=true");
        let in_uri = format!("registry://me:hunter2@{host}/a/b:2?insecure=true");
        let in_query =
            format!("registry://{host}/a/b:3?insecure=true&username=me&password=hunter2");
        let named = ["--username", "me", "--password", "hunter2"];
        for (destination, more) in [(&plain, &named[..]), (&in_uri, &[]), (&in_query, &[])] {
            let sandbox = Sandbox::new();
            sandbox.process(&source, destination, &[more, FULL].concat()).verified();
        }
        for tag in ["1", "2", "3"] {
            holds(&registry, &format!("a/b:{tag}"), &image, Pack::Gzip);
        }
        // If the registry uses tokens, the first one allows to push, and that of the verification to pull.
        if registry.tokens_given() > 0 {
            let scopes: Vec<_> =
                registry.requests_of("GET", "/token").into_iter().map(|one| one.path).collect();
            assert!(
                scopes.iter().any(|one| one.contains("scope=repository%3Aa%2Fb%3Apull%2Cpush"))
            );
            assert!(scopes.len() <= 6, "{scopes:?}");
        }
        let sandbox = Sandbox::new();
        let refused =
            sandbox.process(&source, &plain, &["--username", "me", "--password", "wr0ng"]);
        refused.exits(1).says("hint: ");
    }
}
