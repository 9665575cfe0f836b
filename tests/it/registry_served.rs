//! A manifest that some clients of the registry do not get: each command that verifies reports it and names the clients.
//! What all of them accept is verified, with at most two more requests.

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::json;

use crate::registry_matrix::{NAME, World};
use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::push::{push, push_docker, to};
use crate::support::registry::{ALWAYS, Fault, Registry};

/// Every way to verify the tag, each with a code of its own: a receipt, the name, one that is not
/// trusted, and `check`; fast and in full.
fn verdicts(sandbox: &Sandbox, registry: &Registry) -> Vec<(String, Ran)> {
    let (receipt, name) = (sandbox.path("receipt").display().to_string(), to(registry, NAME));
    let host = registry.url_host();
    let untrusted = ["--untrusted", "--allow-registry", &host, "--insecure"];
    let ways: [&[&str]; 7] = [
        &["verify", &receipt],
        &["verify", &receipt, "--fast"],
        &["verify", &name],
        &["verify", &name, "--fast"],
        &["check", &name],
        &["check", &name, "--fast"],
        &[&["verify", &receipt], &untrusted[..]].concat(),
    ];
    let run = |way: &[&str]| (way.join(" "), sandbox.run(way));
    ways.into_iter().map(run).collect()
}

/// A registry with an old image under the tag, onto which another one is pushed.
fn pushed(fault: &dyn Fn(&Registry, Vec<u8>), more: &[&str]) -> (Sandbox, Registry, Ran) {
    let (from, image) = (Registry::start(), TestImage::tiny(NAME));
    let source = push_docker(&from, &image);
    let world = World::new();
    let (sandbox, registry, old) = (Sandbox::new(), world.registry, world.old);
    fault(&registry, old);
    let receipt = sandbox.path("receipt").display().to_string();
    let options = [&["--receipt", &receipt], more].concat();
    let ran = sandbox.process(&source, &to(&registry, NAME), &options);
    (sandbox, registry, ran)
}

/// A fault: where, how, and which clients reject it.
type Row = (&'static str, fn(&Registry, Vec<u8>), &'static [&'static str]);

fn typed(registry: &Registry, content_type: &str) {
    for method in ["GET", "HEAD"] {
        let fault = Fault::Header("content-type", content_type.to_owned());
        registry.fault(method, "/manifests/", fault, ALWAYS);
    }
}

const ROWS: [Row; 7] = [
    (
        "HEAD of the tag is stale",
        |registry, old| {
            let fault = Fault::Manifest(DOCKER_MANIFEST, old);
            registry.fault("HEAD", "/manifests/1", fault, ALWAYS);
        },
        &["HEAD reports another digest, which Docker and containerd pull"],
    ),
    (
        "the manifest is not there by digest",
        |registry, _| registry.fault("GET", "/manifests/sha256", Fault::status(404), ALWAYS),
        &["does not have the manifest under its digest", "Docker and containerd pull it"],
    ),
    (
        "another manifest by digest",
        |registry, old| {
            let fault = Fault::Manifest(DOCKER_MANIFEST, old);
            registry.fault("GET", "/manifests/sha256", fault, ALWAYS);
        },
        &["GET by digest gives another manifest, which Docker pulls"],
    ),
    (
        "text/plain",
        |registry, _| typed(registry, "text/plain"),
        &[
            "HEAD, GET by tag and GET by digest answer with another Content-Type",
            "rejected by Docker, containerd, Podman and skopeo",
            "expected application/vnd.docker.distribution.manifest.v2+json, found text/plain",
        ],
    ),
    ("an index", |registry, _| typed(registry, OCI_INDEX), &["rejected by Docker, containerd"]),
    (
        "no Content-Type",
        |registry, _| {
            for method in ["GET", "HEAD"] {
                let fault = Fault::NoHeader("content-type");
                registry.fault(method, "/manifests/", fault, ALWAYS);
            }
        },
        &["no Content-Type, rejected by Docker, containerd, Podman and skopeo", "found none"],
    ),
    (
        "HEAD is refused",
        |registry, _| registry.fault("HEAD", "/manifests/", Fault::status(404), ALWAYS),
        &["HEAD is refused although GET is not", "containerd"],
    ),
];

#[test]
fn an_image_that_a_client_does_not_get_is_never_verified() {
    for (what, fault, words) in ROWS {
        for level in ["--verify=fast", "--verify=full"] {
            let (sandbox, registry, ran) = pushed(&fault, &[level]);
            ran.exits(1).says("1 FAILED");
            for word in words {
                ran.says(word);
            }
            if what == "HEAD of the tag is stale" {
                ran.says("digest-mismatch");
            }
            // Pushing again mends what is not there, and no answer that is changed on its way.
            let pushes_again = what == "the manifest is not there by digest";
            let hints = [
                ("hint: repair it with: occystrap process ", pushes_again),
                (
                    "changes this answer: check their configuration; pushing again does not help",
                    !pushes_again,
                ),
            ];
            for (hint, is_given) in hints {
                assert_eq!(ran.stderr.contains(hint), is_given, "{what}: {}", ran.stderr);
            }
            if level == "--verify=fast" {
                continue;
            }
            for (way, ran) in verdicts(&sandbox, &registry) {
                assert_eq!(ran.code, 1, "{what}: {way}: {}{}", ran.stdout, ran.stderr);
                let all = format!("{}{}", ran.stdout, ran.stderr);
                // JSON has both sides in fields of their own.
                let is_said = |word: &str| all.contains(word) || way.contains("--untrusted");
                assert!(all.contains(words[0]), "{what}: {way}: {all}");
                words.iter().for_each(|word| assert!(is_said(word), "{what}: {way}: {all}"));
                assert!(!all.contains("found nothing wrong"), "{what}: {way}: {all}");
            }
            // The registry answers correctly again, so that every verdict is right again.
            registry.mend();
            for (way, ran) in verdicts(&sandbox, &registry) {
                assert_eq!(ran.code, 0, "{what}: {way}: {}{}", ran.stdout, ran.stderr);
            }
        }
    }
}

/// Answers that every client accepts.
#[test]
fn answers_that_every_client_accepts_stay_verified() {
    type Way = (&'static str, fn(&Registry));
    let ways: [Way; 5] = [
        ("parameters", |registry| typed(registry, &format!("{DOCKER_MANIFEST}; charset=utf-8"))),
        ("HEAD without a digest", |registry| {
            registry.fault("HEAD", "", Fault::NoHeader("docker-content-digest"), ALWAYS);
        }),
        ("no HEAD of manifests", |registry| {
            registry.fault("HEAD", "/manifests/", Fault::status(405), ALWAYS);
        }),
        ("no HEAD of blobs", |registry| {
            registry.fault("HEAD", "/blobs/", Fault::status(405), ALWAYS);
        }),
        ("GET in chunks", |registry| {
            registry.fault("GET", "", Fault::NoHeader("content-length"), ALWAYS);
        }),
    ];
    for (what, fault) in ways {
        let (sandbox, registry, ran) = pushed(&|registry, _| fault(registry), &[]);
        ran.verified();
        for (way, ran) in verdicts(&sandbox, &registry) {
            assert_eq!(ran.code, 0, "{what}: {way}: {}{}", ran.stdout, ran.stderr);
        }
    }
}

/// An answer that cannot be requested is neither right nor wrong.
#[test]
fn requests_that_the_registry_denies_are_unconfirmed() {
    for (method, part) in [("HEAD", "/manifests/1"), ("GET", "/manifests/sha256")] {
        for status in [401, 403, 429, 503] {
            let fault = |registry: &Registry, _| {
                registry.fault(method, part, Fault::status(status), ALWAYS);
            };
            let (_, _, ran) = pushed(&fault, &["--retries", "0", "--strict"]);
            ran.exits(3).says("1 UNCONFIRMED");
        }
    }
    // A known problem is reported all the same.
    let fault = |registry: &Registry, _| {
        registry.fault("HEAD", "/manifests/1", Fault::status(503), ALWAYS);
        registry.fault("GET", "/manifests/", Fault::NoHeader("content-type"), ALWAYS);
    };
    let (_, _, ran) = pushed(&fault, &["--retries", "0"]);
    ran.exits(1).says("no Content-Type, rejected by Podman and skopeo");
}

#[test]
fn a_tag_that_moves_meanwhile_is_unconfirmed() {
    // Another client pushes between the first GET and the HEAD.
    let fault = |registry: &Registry, old: Vec<u8>| {
        registry.fault(
            "HEAD",
            "/manifests/1",
            Fault::Manifest(DOCKER_MANIFEST, old.clone()),
            ALWAYS,
        );
        registry.fault("GET", "/manifests/1", Fault::Delay(std::time::Duration::ZERO), 1);
        registry.fault("GET", "/manifests/1", Fault::Manifest(DOCKER_MANIFEST, old), ALWAYS);
    };
    let (_, _, ran) = pushed(&fault, &["--strict"]);
    ran.exits(3).says("the tag was moved during the check");
}

/// A manifest without `mediaType` is OCI's: as Docker's, no client but containerd takes it.
#[test]
fn a_manifest_that_does_not_say_what_it_is() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = TestImage::tiny("a/b:1");
    push(&registry, &image, Pack::Gzip);
    let (_, bytes) = registry.manifest("a/b", "1").unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    document.as_object_mut().unwrap().remove("mediaType");
    for (media_type, code) in [(OCI_MANIFEST, 0), (DOCKER_MANIFEST, 1)] {
        registry.put_manifest("a/b", "1", media_type, document.to_string());
        let ran = sandbox.run(&["verify", "--fast", &to(&registry, "a/b:1")]);
        assert_eq!(ran.code, code, "{media_type}: {}", ran.stderr);
    }
}

/// The manifests that an index lists are fetched only by digest, and parsed as their answer says.
#[test]
fn manifests_of_an_index_are_read_by_their_content_type() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = TestImage::tiny("a/b:amd");
    push(&registry, &image, Pack::Gzip);
    let (media_type, bytes) = registry.manifest("a/b", "amd").unwrap();
    let child = Digest::of(&bytes).to_string();
    let listed = json!({
        "mediaType": media_type, "digest": child, "size": bytes.len(),
        "platform": { "os": "linux", "architecture": "amd64" },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed] });
    registry.put_manifest("a/b", "1", OCI_INDEX, index.to_string());
    let name = to(&registry, "a/b:1");
    let runs = |code: i32, words: &str| {
        for way in [
            &["verify", "--fast", &name][..],
            &["verify", &name],
            &["check", "--fast", &name],
            &["check", "--fast", "--all-platforms", &name],
        ] {
            let ran = sandbox.run(way);
            assert_eq!(ran.code, code, "{way:?}: {}{}", ran.stdout, ran.stderr);
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert!(all.contains(words), "{way:?}: {all}");
        }
    };
    runs(0, "");
    // No client requests it by HEAD.
    let path = format!("/manifests/{child}");
    registry.fault("HEAD", &path, Fault::status(404), ALWAYS);
    runs(0, "");
    registry.fault("GET", &path, Fault::NoHeader("content-type"), ALWAYS);
    runs(1, "no Content-Type, rejected by Docker, Podman and skopeo");
    // Named by its digest, containerd asks for it so.
    registry.mend();
    let by_digest = to(&registry, &format!("a/b@{child}"));
    sandbox.run(&["verify", &by_digest]).exits(0);
    registry.fault("HEAD", &path, Fault::status(404), ALWAYS);
    sandbox.run(&["verify", &by_digest]).exits(1).says("containerd");

    // By the receipts of all platforms as well, whether the image has one of its own or not.
    registry.mend();
    let (to_registry, receipt) = (Registry::start(), sandbox.path("receipt").display().to_string());
    let to_name = to(&to_registry, "c/d:1");
    let options = ["--all-platforms", "--receipt", &receipt];
    sandbox.process(&name, &to_name, &options).exits(0).says("2/2 verified");
    to_registry.fault("GET", &path, Fault::NoHeader("content-type"), ALWAYS);
    for level in [&["--fast"][..], &[]] {
        let ran = sandbox.run(&[&["verify", &receipt], level].concat());
        ran.exits(1).says("no Content-Type, rejected by Docker, Podman and skopeo");
    }
}

/// A HEAD and a GET of the tag, a GET by digest; a HEAD and a byte of each blob, and the config, which says
/// what the layers are.
#[test]
fn a_fast_verification_asks_once_for_each_blob() {
    let (sandbox, registry, ran) = pushed(&|_, _| (), &[]);
    ran.verified();
    let receipt = sandbox.path("receipt").display().to_string();
    let name = to(&registry, NAME);
    for way in [&["verify", "--fast", &receipt][..], &["verify", "--fast", &name]] {
        let before = registry.requests().len();
        sandbox.run(way).exits(0);
        let mut asked: Vec<String> = registry.requests()[before..]
            .iter()
            .map(|one| {
                let kind = match one.path.as_str() {
                    path if path.ends_with("/manifests/1") => "tag",
                    path if path.contains("/manifests/") => "digest",
                    _ if one.method == "GET" && one.header("range").is_empty() => "blob, whole",
                    _ => "blob",
                };
                format!("{} {kind}", one.method)
            })
            .collect();
        asked.sort();
        let manifest = ["GET digest", "GET tag", "HEAD tag"];
        let blobs = ["GET blob", "GET blob, whole"];
        assert_eq!(asked, [&blobs[..], &manifest[..]].concat(), "{way:?}");
    }
}
