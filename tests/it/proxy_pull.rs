//! Pulls through `occystrap proxy` from upstream registries: what clients get, what is fetched, and what is stored.

use std::sync::Arc;

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::multi::Multi;
use crate::support::proxy::ProxyProcess;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape::oci_manifest;

/// An upstream registry with one image, a downstream registry, and a proxy between them.
struct Stand {
    upstream: Registry,
    downstream: Registry,
    proxy: ProxyProcess,
    _sandbox: Sandbox,
    manifest: Vec<u8>,
    blobs: Vec<Vec<u8>>,
}

impl Stand {
    fn new(more: &[&str]) -> Self {
        Self::with(&TestImage::new("a"), more)
    }

    fn with(image: &TestImage, more: &[&str]) -> Self {
        let (upstream, downstream, sandbox) =
            (Registry::start(), Registry::start(), Sandbox::new());
        let mut blobs: Vec<Vec<u8>> =
            image.layers.iter().map(|layer| Pack::Gzip.pack(layer)).collect();
        blobs.push(image.config.clone());
        blobs.iter().for_each(|blob| _ = upstream.put_blob(blob));
        let manifest = oci_manifest(image, Pack::Gzip).into_bytes();
        upstream.put_manifest("team/app", "v1", OCI_MANIFEST, &manifest);
        let named = upstream.url_host();
        let options = [&["--retries", "0", "--upstream", &named][..], more].concat();
        let proxy = ProxyProcess::start(&sandbox, &downstream.url_host(), &options);
        Self { upstream, downstream, proxy, _sandbox: sandbox, manifest, blobs }
    }

    /// The repository downstream.
    fn stored(&self) -> String {
        format!("{}/team/app", self.upstream.url_host().replace(':', "_"))
    }

    fn query(&self) -> String {
        format!("?ns={}", self.upstream.url_host())
    }

    /// Pulls the image as containerd does: HEAD of the tag, then everything by digest.
    #[track_caller]
    fn pull(&self) {
        let query = self.query();
        let head =
            self.proxy.request("HEAD", &format!("/v2/team/app/manifests/v1{query}"), &[], b"");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("oci-namespace"), self.upstream.url_host());
        let digest = head.header("docker-content-digest");
        let answer = self.proxy.get(&format!("/v2/team/app/manifests/{digest}{query}"));
        assert_eq!(answer.body, self.manifest, "{}", answer.text());
        for blob in &self.blobs {
            let path = format!("/v2/team/app/blobs/{}{query}", Digest::of(blob));
            assert_eq!(self.proxy.get(&path).body, *blob);
        }
    }

    #[track_caller]
    fn wait_until_stored(&self) {
        let stored = self.stored();
        ProxyProcess::until("the image is stored", || {
            self.downstream.manifest(&stored, "v1").is_some()
        });
    }
}

#[test]
fn what_a_client_pulls_is_stored_and_comes_from_there_the_next_time() {
    let stand = Stand::new(&[]);
    stand.pull();
    stand.wait_until_stored();
    let (_, stored) = stand.downstream.manifest(&stand.stored(), "v1").unwrap();
    assert_eq!(stored, stand.manifest);
    let before = stand.upstream.requests_of("GET", "/").len();
    stand.pull();
    assert_eq!(stand.upstream.requests_of("GET", "/").len(), before, "nothing is fetched twice");
    let Stand { upstream, downstream, proxy, _sandbox: sandbox, .. } = stand;
    proxy.stop().exits(0).says("3 layers").says("1/1 verified");
    // A new process finds what is stored.
    let named = upstream.url_host();
    let proxy = ProxyProcess::start(&sandbox, &downstream.url_host(), &["--upstream", &named]);
    let path = format!("/v2/{}/team/app/manifests/v1", named.replace(':', "_"));
    let answer = proxy.get(&path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.requests_of("GET", "/").len(), before);
}

#[test]
fn one_fetch_serves_all_clients() {
    let layer = tar(&[("data", &noise(5, 3_000_000))]);
    let stand = Arc::new(Stand::with(&TestImage::with_layers("a", vec![layer]), &[]));
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let stand = Arc::clone(&stand);
            std::thread::spawn(move || stand.pull())
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    stand.wait_until_stored();
    for blob in &stand.blobs {
        let path = format!("/blobs/{}", Digest::of(blob));
        assert_eq!(stand.upstream.requests_of("GET", &path).len(), 1, "{path}");
    }
    assert_eq!(stand.upstream.requests_of("GET", "/manifests/").len(), 1);
    assert_eq!(stand.upstream.requests_of("HEAD", "/manifests/").len(), 1);
}

#[test]
fn only_named_registries_are_asked() {
    let stand = Stand::new(&[]);
    for namespace in ["10.0.0.1", "169.254.169.254", "quay.io", "localhost:1"] {
        let answer = stand.proxy.get(&format!("/v2/team/app/manifests/v1?ns={namespace}"));
        assert_eq!((answer.status, answer.code().as_str()), (404, "NAME_UNKNOWN"));
    }
    // Copies of another registry cannot be replaced by a push.
    let pushed = stand.proxy.put_manifest(&stand.stored(), "v1", OCI_MANIFEST, &stand.manifest);
    assert_eq!((pushed.status, pushed.code().as_str()), (403, "DENIED"));
}

#[test]
fn a_damaged_layer_is_never_complete_and_never_stored() {
    let layer = tar(&[("data", &noise(5, 600_000))]);
    let stand = Stand::with(&TestImage::with_layers("a", vec![layer]), &[]);
    let (layer, query) = (&stand.blobs[0], stand.query());
    let mut flipped = layer.clone();
    flipped[300_000] ^= 1;
    let path = format!("/v2/team/app/blobs/{}", Digest::of(layer));
    stand.upstream.fault("GET", &path, Fault::Body(flipped), ALWAYS);
    stand.proxy.get(&format!("/v2/team/app/manifests/v1{query}"));
    for _ in 0..2 {
        let answer = stand.proxy.get(&format!("{path}{query}"));
        assert!(!answer.is_whole, "{} bytes", answer.body.len());
    }
    assert!(stand.downstream.blob(&stand.stored(), Digest::of(layer)).is_none());
    assert!(stand.downstream.manifest(&stand.stored(), "v1").is_none());
    // The registry is right again, and so is the client.
    stand.upstream.mend();
    assert_eq!(stand.proxy.get(&format!("{path}{query}")).body, *layer);
    stand.pull();
    stand.wait_until_stored();
}

#[test]
fn a_registry_that_fails_keeps_its_kind_of_failure() {
    let stand = Stand::new(&["--when-upstream-fails", "fail"]);
    let path = format!("/v2/team/app/manifests/v1{}", stand.query());
    let wait = vec![("retry-after", "1".to_owned())];
    stand.upstream.fault("HEAD", "/manifests/", Fault::Status(429, wait), 1);
    let answer = stand.proxy.get(&path);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "TOOMANYREQUESTS"),
        "{}",
        answer.text()
    );
    stand.upstream.fault("HEAD", "/manifests/", Fault::status(500), 1);
    assert_eq!(stand.proxy.get(&path).status, 502);
    let absent = stand.proxy.get(&format!("/v2/team/app/manifests/v2{}", stand.query()));
    assert_eq!((absent.status, absent.code().as_str()), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(stand.proxy.get(&path).status, 200);
}

#[test]
fn the_stored_image_is_served_where_the_registry_fails() {
    for status in [500, 404] {
        let stand = Stand::new(&["--recheck", "0s"]);
        stand.pull();
        stand.wait_until_stored();
        stand.upstream.fault("HEAD", "/manifests/", Fault::status(status), ALWAYS);
        stand.upstream.fault("GET", "/", Fault::status(status), ALWAYS);
        let path = format!("/v2/team/app/manifests/v1{}", stand.query());
        let answer = stand.proxy.get(&path);
        assert_eq!((answer.status, &answer.body), (200, &stand.manifest), "{}", answer.text());
        assert!(answer.header("warning").contains("stored copy"), "{:?}", answer.headers);
        for blob in &stand.blobs {
            let path = format!("/v2/team/app/blobs/{}{}", Digest::of(blob), stand.query());
            assert_eq!(stand.proxy.get(&path).body, *blob);
        }
        stand.proxy.stop().exits(0).says("stored copy");
    }
}

#[test]
fn of_an_index_what_clients_pull_is_stored() {
    let (upstream, downstream, sandbox, multi) =
        (Registry::start(), Registry::start(), Sandbox::new(), Multi::build());
    multi.push(&upstream);
    let named = upstream.url_host();
    let proxy = ProxyProcess::start(&sandbox, &downstream.url_host(), &["--upstream", &named]);
    let answer = proxy.get(&format!("/v2/multi/manifests/1?ns={named}"));
    assert_eq!((answer.status, &answer.body[..]), (200, multi.index()));
    let index: serde_json::Value = serde_json::from_slice(multi.index()).unwrap();
    let child = index["manifests"][0]["digest"].as_str().unwrap();
    assert_eq!(proxy.get(&format!("/v2/multi/manifests/{child}?ns={named}")).status, 200);
    let stored = format!("{}/multi", named.replace(':', "_"));
    ProxyProcess::until("the index is stored", || downstream.manifest(&stored, "1").is_some());
    let (media_type, landed) = downstream.manifest(&stored, "1").unwrap();
    assert_eq!(media_type, OCI_INDEX);
    let landed: serde_json::Value = serde_json::from_slice(&landed).unwrap();
    let listed: Vec<&str> = landed["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    assert!(listed.iter().all(|digest| *digest == child), "{listed:?}");
    proxy.stop().exits(0);
}

#[test]
fn filters_change_what_is_pulled() {
    let stand = Stand::new(&["-f", "exclude:pattern=etc/motd"]);
    let query = stand.query();
    let answer = stand.proxy.get(&format!("/v2/team/app/manifests/v1{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.body, stand.manifest);
    let (_, stored) = stand.downstream.manifest(&stand.stored(), "v1").unwrap();
    assert_eq!(answer.body, stored);
    // The unfiltered image cannot be pulled past the filters.
    let digest = Digest::of(&stand.manifest);
    assert_eq!(stand.proxy.get(&format!("/v2/team/app/manifests/{digest}{query}")).status, 404);
    let changed = answer.header("docker-content-digest");
    assert_eq!(stand.proxy.get(&format!("/v2/team/app/manifests/{changed}{query}")).body, stored);
    let manifest: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        assert!(stand.proxy.get(&format!("/v2/team/app/blobs/{digest}{query}")).is_whole);
    }
    stand.proxy.stop().exits(0).says("1/1 verified");
}

#[test]
fn a_pushed_image_goes_before_a_registry_that_is_not_named() {
    let stand = Stand::new(&[]);
    let other = TestImage::tiny("mine");
    let manifest = oci_manifest(&other, Pack::Gzip).into_bytes();
    stand.proxy.put_blob("team/app", &Pack::Gzip.pack(&other.layers[0]));
    stand.proxy.put_blob("team/app", &other.config);
    assert_eq!(stand.proxy.get("/v2/team/app/manifests/v1").body, stand.manifest);
    assert_eq!(stand.proxy.put_manifest("team/app", "v1", OCI_MANIFEST, &manifest).status, 201);
    assert_eq!(stand.proxy.get("/v2/team/app/manifests/v1").body, manifest);
    let named = format!("/v2/team/app/manifests/v1{}", stand.query());
    assert_eq!(stand.proxy.get(&named).body, stand.manifest);
}
