//! Unusual answers of registries that other tools accept: the image is copied all the same. Each row was reported of a
//! registry, or of a proxy in front of one.

use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;

use crate::registry_push_manifest::manifest_of;
use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::push::{holds, push as put, to};
use crate::support::pusher::{LAYER, Pusher, WHOLE, push};
use crate::support::registry::{ALWAYS, Auth, Fault, Location, Registry};
use crate::support::user::{User, run, seen};

type Faults = Vec<(&'static str, &'static str, Fault, usize)>;

fn status(status: u16, location: &str) -> Fault {
    Fault::Status(status, vec![("location", location.to_owned())])
}

/// Oddities of a registry that gets an image, and those that are left after it was pushed.
fn rows() -> Vec<(&'static str, Faults)> {
    let length = || Fault::NoHeader("content-length");
    let no_digest = || Fault::Header("docker-content-digest", String::new());
    let (blobs, uploads, manifests) = ("/blobs/sha256", "/blobs/uploads/", "/manifests/");
    let moved = "/v2/new/b/blobs/uploads/";
    let mut rows: Vec<(&str, Faults)> = vec![
        ("HEAD of a blob says 0", vec![("HEAD", blobs, Fault::Length(0), ALWAYS)]),
        ("HEAD of a blob says no length", vec![("HEAD", blobs, length(), ALWAYS)]),
        ("307 for an upload", vec![("POST", uploads, status(307, moved), 3)]),
        ("308 for an upload", vec![("POST", uploads, status(308, moved), 3)]),
        ("307 for a manifest", vec![("PUT", manifests, status(307, "/v2/new/b/manifests/1"), 1)]),
        ("308 for a manifest", vec![("PUT", manifests, status(308, "/v2/new/b/manifests/1"), 1)]),
        ("204 for an upload", vec![("POST", uploads, Fault::OtherStatus(204), ALWAYS)]),
        ("200 for an upload", vec![("POST", uploads, Fault::OtherStatus(200), ALWAYS)]),
        ("204 for a part", vec![("PATCH", uploads, Fault::OtherStatus(204), ALWAYS)]),
        ("202 for a blob", vec![("PUT", uploads, Fault::OtherStatus(202), ALWAYS)]),
        ("200 for a manifest", vec![("PUT", manifests, Fault::OtherStatus(200), ALWAYS)]),
        (
            "empty digests",
            vec![
                ("HEAD", manifests, no_digest(), ALWAYS),
                ("GET", manifests, no_digest(), ALWAYS),
                ("PUT", manifests, no_digest(), ALWAYS),
            ],
        ),
    ];
    for refusal in [400, 405, 501] {
        rows.push(("HEAD of a blob is refused", vec![("HEAD", blobs, Fault::status(refusal), 9)]));
    }
    for refusal in [400, 403, 405, 501] {
        let range = Fault::RangeStatus(refusal);
        rows.push(("a part of a blob is refused", vec![("GET", blobs, range, ALWAYS)]));
    }
    for refusal in [400, 401, 403, 404, 405, 409, 500, 501, 502, 503] {
        rows.push(("a mount is refused", vec![("POST", "mount=", Fault::status(refusal), ALWAYS)]));
    }
    rows.push((
        "a mount leads away",
        vec![("POST", "mount=", status(307, "http://x.invalid/"), 9)],
    ));
    rows
}

#[test]
fn an_image_is_pushed_to_registries_that_answer_oddly() {
    let image = TestImage::tiny("a/b:1");
    for (what, faults) in rows() {
        let registry = Registry::start();
        let source = put(&registry, &image, Pack::Gzip);
        for digest in [&image.config, &Pack::Gzip.pack(&image.layers[0])].map(|one| Digest::of(one))
        {
            // Blobs that a test puts there are in all repositories.
            let bytes = registry.blob("a/b", digest).unwrap();
            registry.remove_blob("a/b", digest);
            registry.set_blob("a/b", digest, bytes);
        }
        for (method, path, fault, times) in &faults {
            registry.fault(method, path, fault.clone(), *times);
        }
        let target = to(&registry, "new/b:1");
        for level in ["--verify=fast", "--verify=full"] {
            let options = ["--retries=0", level];
            let ran = Sandbox::new().process(&source, &target, &options);
            assert_eq!(ran.code, 0, "{what} {faults:?}: {}", ran.stderr);
            ran.verified();
        }
        holds(&registry, "new/b:1", &image, Pack::Gzip);
    }
}

#[test]
fn an_upload_that_is_redirected_to_another_host_goes_there_without_the_login() {
    for (code, location) in [(307, Location::Relative), (308, Location::Absolute)] {
        let (registry, other) = (Registry::start(), Registry::start());
        registry.require(Auth::basic("me", "hunter2"));
        other.set_locations(location);
        let there = format!("{}/v2/a/b/blobs/uploads/", other.base());
        // The 401 of the login comes first and has no redirect.
        registry.fault("POST", "/uploads/", Fault::status(401).challenged(), 1);
        registry.fault("POST", "/uploads/", status(code, &there), ALWAYS);
        let pusher = Pusher::new(User::new().named("me", "hunter2"));
        push(&pusher, &registry, LAYER, WHOLE).unwrap();
        assert!(other.blob("a/b", Digest::of(LAYER)).is_some_and(|held| held == LAYER));
        assert!(other.requests().iter().all(|one| one.header("authorization").is_empty()));
        let asked = registry.requests_of("POST", "/uploads/");
        assert!(asked.iter().any(|one| one.header("authorization").starts_with("Basic ")));
    }
}

#[test]
fn redirects_of_what_is_pushed_that_no_tool_follows_are_named() {
    let other = Registry::start();
    let there = other.url_host().replace("127.0.0.1", "localhost");
    let away = format!("http://{there}/v2/a/b/manifests/1?sig=a-signature-of-twenty-bytes");
    let pushed = |registry: &Registry| {
        registry.put_blob(b"{}");
        registry.put_blob(LAYER);
        let repository = Pusher::new(User::new()).to(registry, "a/b");
        run(repository.push_manifest("1", OCI_MANIFEST, manifest_of(b"{}", LAYER))).unwrap_err()
    };
    let blob =
        |registry: &Registry| push(&Pusher::new(User::new()), registry, LAYER, WHOLE).unwrap_err();
    type Push<'a> = &'a dyn Fn(&Registry) -> Error;
    for (method, path, code, send) in [
        ("PUT", "/manifests/", 307, &pushed as Push<'_>),
        ("PUT", "/manifests/", 308, &pushed),
        ("PUT", "/manifests/", 302, &pushed),
        ("POST", "/uploads/", 301, &blob),
        ("POST", "/uploads/", 303, &blob),
        ("PUT", "/uploads/", 307, &blob),
    ] {
        let registry = Registry::start();
        registry.fault(method, path, status(code, &away), ALWAYS);
        let error = send(&registry);
        let text = seen(&error);
        let redirects = format!("{} redirects to {there} ({code} ", registry.url_host());
        assert!(text.contains(&redirects), "{method} {text}");
        assert!(text.contains("which is not followed when pushing"), "{text}");
        assert!(!text.contains("a-signature"), "{text}");
    }
    assert!(other.requests().is_empty());
}

#[test]
fn an_upload_that_leaves_tls_at_its_own_host_names_the_header_that_the_proxy_lacks() {
    let registry = Registry::start_tls();
    let own = registry.base().replace("https://", "http://");
    for (place, hint) in
        [(own, "X-Forwarded-Proto: https"), ("http://x.invalid".into(), "--insecure")]
    {
        registry.set_locations(Location::Elsewhere(place));
        let mut user = User::new();
        user.settings.insecure = false;
        user.settings.ca_bundle = Some(user.file("ca.pem", registry.certificate()));
        let error = push(&Pusher::new(user), &registry, LAYER, WHOLE).unwrap_err();
        assert!(error.to_string().contains("from HTTPS to plain HTTP at"), "{error}");
        assert!(error.hint_text().unwrap().contains(hint), "{}", seen(&error));
    }
}

#[test]
fn unsupported_requests_are_not_retried() {
    for code in [501, 505] {
        let registry = Registry::start();
        registry.fault("POST", "/uploads/", Fault::status(code), ALWAYS);
        let pusher = Pusher::new(User::new());
        let error = push(&pusher, &registry, LAYER, WHOLE).unwrap_err();
        assert!(error.to_string().contains(&code.to_string()), "{error}");
        assert_eq!((pusher.user.counters.retries(), registry.requests().len()), (0, 1));
        // A mount is an optimisation: neither is any other fault of the server.
        registry.mend();
        registry.set_blob("x/y", Digest::of(LAYER), LAYER);
        registry.fault("POST", "mount=", Fault::status(500), ALWAYS);
        let to = pusher.to(&registry, "a/b");
        assert!(!run(to.mount_blob(Digest::of(LAYER), LAYER.len() as u64, "x/y")).unwrap());
        assert_eq!(pusher.user.counters.retries(), 0);
    }
}

#[test]
fn a_manifest_that_is_there_is_not_pushed_again() {
    let image = TestImage::tiny("a/b:1");
    let registry = Registry::start();
    let source = put(&registry, &image, Pack::Gzip);
    let target = to(&registry, "new/b:1");
    let puts = || registry.requests_of("PUT", "/manifests/").len();
    Sandbox::new().process(&source, &target, &[]).verified();
    assert_eq!(puts(), 1);
    // Harbor, Artifactory, ECR and a proxy that forbids to overwrite.
    for code in [412, 403, 400, 409] {
        registry.fault("PUT", "/manifests/", Fault::status(code), ALWAYS);
        for level in ["--verify=fast", "--verify=full"] {
            Sandbox::new().process(&source, &target, &[level]).verified();
        }
        assert_eq!(puts(), 1, "{code}");
        registry.mend();
    }
    // Something is not right with it: it is pushed.
    let (kind, manifest) = registry.manifest("new/b", "1").unwrap();
    let digest = Digest::of(&manifest).to_string();
    type Spoil<'a> = &'a dyn Fn();
    for (what, spoil) in [
        ("the tag is gone", &(|| registry.remove_manifest("new/b", "1")) as Spoil<'_>),
        ("the digest is gone", &|| registry.remove_manifest("new/b", &digest)),
        ("other bytes", &|| {
            registry.set_manifest("new/b", "1", &kind, [&manifest[..], b" "].concat())
        }),
        ("another type", &|| registry.set_manifest("new/b", "1", "text/plain", &manifest)),
        ("HEAD fails", &|| registry.fault("HEAD", "new/b/manifests", Fault::status(500), 1)),
        ("GET fails", &|| registry.fault("GET", "new/b/manifests/1", Fault::status(404), 1)),
    ] {
        let before = puts();
        spoil();
        Sandbox::new().process(&source, &target, &[]).verified();
        assert_eq!(puts(), before + 1, "{what}");
    }
    // An immutable tag of another image.
    let other = [&manifest[..], b" "].concat();
    registry.set_manifest("new/b", "1", &kind, other);
    registry.fault("PUT", "/manifests/", Fault::status(412), ALWAYS);
    let ran = Sandbox::new().process(&source, &target, &[]);
    ran.exits(1).says("refused the manifest (412 Precondition Failed)");
}

#[test]
fn an_immutable_tag_that_has_the_image_is_no_failure_however_the_registry_answers() {
    let image = TestImage::tiny("a/b:1");
    let registry = Registry::start();
    let source = put(&registry, &image, Pack::Gzip);
    let target = to(&registry, "new/b:1");
    Sandbox::new().process(&source, &target, &[]).verified();
    let refused = || registry.fault("PUT", "new/b/manifests/", Fault::status(409), ALWAYS);
    // The answers of registries that are no obstacle to their clients.
    for fault in [Fault::status(405), Fault::Header("docker-content-digest", String::new())] {
        registry.fault("HEAD", "new/b/manifests/1", fault.clone(), ALWAYS);
        refused();
        Sandbox::new().process(&source, &target, &[]).verified();
        registry.mend();
    }
    // The answer to the first try is lost; the registry has the manifest by then.
    registry.remove_manifest("new/b", "1");
    registry.fault("PUT", "new/b/manifests/", Fault::OtherStatus(500), 1);
    refused();
    Sandbox::new().process(&source, &target, &["--retries=1"]).verified();
    registry.mend();
    // A blob that clients reject is not called right because it exists.
    let (_, manifest) = registry.manifest("new/b", "1").unwrap();
    registry.set_manifest("new/b", "1", "text/plain", &manifest);
    refused();
    let ran = Sandbox::new().process(&source, &target, &[]);
    ran.exits(1).says("another Content-Type");
}

#[test]
fn a_registry_that_takes_no_blob_in_one_request_gets_it_by_patch() {
    let invalid = br#"{"errors":[{"code":"DIGEST_INVALID"}]}"#;
    for refusal in [
        Fault::status(405),
        Fault::status(411),
        Fault::status(501),
        Fault::Answer(400, invalid.to_vec()),
    ] {
        let registry = Registry::start();
        registry.fault("PUT", "/uploads/", refusal.clone(), 1);
        let pusher = Pusher::new(User::new());
        push(&pusher, &registry, LAYER, WHOLE).unwrap();
        assert!(registry.blob("a/b", Digest::of(LAYER)).is_some_and(|held| held == LAYER));
        assert_eq!(registry.requests_of("PATCH", "/uploads/").len(), 1, "{refusal:?}");
        // If that is refused as well, the user sees the error.
        registry.fault("PUT", "/uploads/", refusal.clone(), ALWAYS);
        let other = &LAYER[1..];
        let error = push(&pusher, &registry, other, WHOLE).unwrap_err();
        assert!(error.to_string().contains("refused the blob"), "{error}");
    }
}

#[test]
fn headers_that_go_reads_are_read() {
    let many: String = (0..300).map(|n| format!("X-{n}: {n}\r\n")).collect();
    for odd in ["X-Policy: a;\r\n  b\r\n", "X Y: 1\r\n", "X-Y : 1\r\n", &many] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let answer = format!("HTTP/1.1 404 Not Found\r\n{odd}Content-Length: 0\r\n\r\n");
        // Ends with the test binary.
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            for mut client in listener.incoming().flatten() {
                while client.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                    let _ = client.write_all(answer.as_bytes());
                }
            }
        });
        let image = format!("registry://{host}/a/b:1");
        let ran = Sandbox::new().run(&["info", "--insecure", "--retries=0", &image]);
        ran.exits(1).says("image not found");
    }
}

#[test]
fn a_writer_takes_the_word_of_a_get_over_that_of_a_head() {
    let registry = Registry::start();
    registry.put_blob(LAYER);
    let storage = Registry::start();
    storage.fault("HEAD", "/x", Fault::status(403), ALWAYS);
    let length = LAYER.len() as u64;
    for fault in [
        Fault::Length(0),
        Fault::NoHeader("content-length"),
        Fault::status(405),
        Fault::status(501),
        // A URL that is signed for GET.
        Fault::Redirect(format!("{}/x?sig=s3cret", storage.base())),
    ] {
        registry.mend();
        registry.fault("HEAD", "/blobs/", fault.clone(), ALWAYS);
        let repository = Pusher::new(User::new()).to(&registry, "a/b");
        let found = run(repository.stat_blob(Digest::of(LAYER)));
        assert_eq!(found.unwrap(), Some(length), "{fault:?}");
        // The last byte counts whatever HEAD says.
        registry.shorten_blob(Digest::of(LAYER), LAYER.len() - 1);
        let error = run(repository.stat_blob(Digest::of(LAYER))).unwrap_err();
        assert_eq!(error.kind(), Kind::Source, "{fault:?}: {error}");
    }
}
