//! Manifests: their types, and whether a registry returns the one that was requested.

use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::digest::Digest;
use occystrap_base::oci::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, LARGEST_MANIFEST, OCI_INDEX, OCI_MANIFEST,
};

use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::user::{User, run};

const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn serving(media_type: &str, body: &str) -> Registry {
    let registry = Registry::start();
    registry.put_manifest("a/b", "v1", media_type, body);
    registry
}

#[track_caller]
fn fails(registry: &Registry, target: &str) -> Error {
    let user = User::new();
    run(user.open(&registry.url_host()).manifest(target)).unwrap_err()
}

#[test]
fn manifests_and_indexes_arrive_byte_for_byte() {
    let index = r#"{"schemaVersion":2,  "manifests":[]}"#;
    for (media_type, body) in
        [(OCI_MANIFEST, BODY), (DOCKER_MANIFEST, BODY), (OCI_INDEX, index), (DOCKER_LIST, index)]
    {
        let registry = serving(media_type, body);
        let digest = Digest::of(body.as_bytes());
        let user = User::new();
        let repository = user.open(&registry.url_host());
        for target in ["v1".to_owned(), digest.to_string()] {
            let manifest = run(repository.manifest(&target)).unwrap();
            assert_eq!((manifest.bytes.as_ref(), manifest.digest), (body.as_bytes(), digest));
            assert_eq!(manifest.media_type, media_type);
            assert_eq!(manifest.is_index(), body == index);
        }
        let request = &registry.requests()[0];
        assert_eq!(request.path, "/v2/a/b/manifests/v1");
        for known in [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST] {
            assert!(request.header("accept").contains(known), "{request:?}");
        }
        assert!(request.header("user-agent").starts_with("occystrap/"));
    }
}

#[test]
fn an_image_that_is_not_there_is_not_found() {
    let registry = serving(OCI_MANIFEST, BODY);
    let error = fails(&registry, "v2");
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(error.to_string(), format!("{}/a/b:v2: image not found", registry.url_host()));
    assert!(error.hint_text().is_some());
}

#[test]
fn other_bytes_than_the_digest_promised_are_refused() {
    let registry = serving(OCI_MANIFEST, BODY);
    let digest = Digest::of(BODY.as_bytes());
    let other = BODY.replace("[]", "[ ]");
    registry.fault("GET", "/manifests/", Fault::Body(other.clone().into()), ALWAYS);
    let error = fails(&registry, &digest.to_string());
    assert_eq!(error.kind(), Kind::Source);
    let found = Digest::of(other.as_bytes());
    assert!(error.to_string().contains(&format!("expected {digest}, found {found}")), "{error}");
    // By tag, the header is the promise.
    let error = fails(&registry, "v1");
    assert!(error.to_string().contains("Docker-Content-Digest"), "{error}");
    assert!(error.to_string().contains(&format!("expected {digest}, found {found}")), "{error}");
}

#[test]
fn a_wrong_docker_content_digest_is_refused_even_with_the_right_bytes() {
    let registry = serving(OCI_MANIFEST, BODY);
    let wrong = Digest::of(b"other").to_string();
    registry.fault("GET", "/manifests/", Fault::Header("docker-content-digest", wrong), ALWAYS);
    let error = fails(&registry, &Digest::of(BODY.as_bytes()).to_string());
    assert!(error.to_string().contains("Docker-Content-Digest"), "{error}");
}

#[test]
fn schema_1_is_refused_by_name() {
    for (media_type, body) in [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"schemaVersion":1}"#),
        ("application/vnd.docker.distribution.manifest.v1+json; charset=utf-8", "{}"),
        ("application/json", r#"{"schemaVersion":1,"fsLayers":[]}"#),
    ] {
        let error = fails(&serving(media_type, body), "v1");
        assert_eq!(error.kind(), Kind::Source);
        assert!(error.to_string().contains("schema 1, which is not supported"), "{error}");
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn a_web_page_is_not_a_manifest() {
    let registry = serving(OCI_MANIFEST, BODY);
    registry.fault("GET", "/manifests/", Fault::Html, ALWAYS);
    let error = fails(&registry, "v1");
    let host = registry.url_host();
    assert_eq!(
        error.to_string(),
        format!("{host}/a/b:v1: {host} answered text/html where a manifest was expected")
    );
    assert_eq!(error.hint_text(), Some(format!("is {host} a registry?").as_str()));
}

#[test]
fn four_mebibytes_are_the_limit_with_and_without_a_length() {
    let padded = |size: usize| format!("{BODY}{}", " ".repeat(size - BODY.len()));
    let largest = padded(LARGEST_MANIFEST);
    let registry = serving(OCI_MANIFEST, &largest);
    let user = User::new();
    let manifest = run(user.open(&registry.url_host()).manifest("v1")).unwrap();
    assert_eq!(manifest.bytes.len(), LARGEST_MANIFEST);

    let more = padded(LARGEST_MANIFEST + 1);
    for fault in
        [Fault::Body(more.clone().into()), Fault::Chunked(more.into()), Fault::Length(u64::MAX / 2)]
    {
        registry.fault("GET", "/manifests/", fault, 1);
        let error = fails(&registry, "v1");
        assert_eq!(error.kind(), Kind::Source);
        assert!(error.to_string().contains("more than 4194304 bytes"), "{error}");
    }
}

#[test]
fn a_cut_manifest_is_asked_for_again() {
    let registry = serving(OCI_MANIFEST, BODY);
    registry.fault("GET", "/manifests/", Fault::CutAfter(10), 2);
    let user = User::new();
    assert!(run(user.open(&registry.url_host()).manifest("v1")).is_ok());
    assert_eq!(user.counters.retries(), 2);
    registry.fault("GET", "/manifests/", Fault::CutAfter(10), ALWAYS);
    let error = fails(&registry, "v1");
    assert_eq!(error.kind(), Kind::Source, "what ends at one byte in every answer is damaged");
    assert!(error.to_string().starts_with(&format!("{}/a/b:v1: ", registry.url_host())), "{error}");
    registry.mend();
    (10..40).for_each(|end| registry.fault("GET", "/manifests/", Fault::CutAfter(end), 1));
    let error = fails(&registry, "v1");
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().starts_with(&format!("{}/a/b:v1: ", registry.url_host())), "{error}");
}

#[test]
fn nonsense_is_not_asked_for() {
    let registry = serving(OCI_MANIFEST, BODY);
    for target in ["", "../../x", "a/b", "sha256:00", "a?b", "v1#x"] {
        assert_eq!(fails(&registry, target).kind(), Kind::Usage, "{target}");
    }
    assert!(registry.requests().is_empty());
}
