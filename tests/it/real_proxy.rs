//! `occystrap proxy` between real clients and docker-registry: dockerd, Podman and skopeo push through it, pull from it, and
//! pull what landed.

use std::path::Path;
use std::process::{Command, Output};

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::multi::{INDEX, Multi};
use crate::support::proxy::{Answer, ProxyProcess};
use crate::support::real::{RealRegistry, installed, skopeo};
use crate::support::real_engine::{self, RealEngine};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::relay::{Passed, Relay};
use crate::support::shape::{legacy, oci, oci_manifest};

const NO_FILTERS: &[&str] = &[];
const FILTERS: &[&str] = &["-f", "normalize-timestamps", "-f", "exclude:pattern=etc/motd"];

/// A proxy in front of docker-registry, with a relay on each side.
struct Chain {
    sandbox: Sandbox,
    registry: RealRegistry,
    behind: Relay,
    front: Relay,
    proxy: ProxyProcess,
}

impl Chain {
    fn start(test: &str, options: &[&str]) -> Option<Self> {
        let (sandbox, registry) = (Sandbox::new(), RealRegistry::start(test)?);
        let behind = Relay::start(registry.host());
        let proxy = ProxyProcess::start(&sandbox, behind.host(), options);
        let front = Relay::start(proxy.host());
        Some(Self { sandbox, registry, behind, front, proxy })
    }

    /// The tags of a repository that have landed.
    fn tags(&self, repository: &str) -> Vec<String> {
        let path = format!("repositories/{repository}/_manifests/tags");
        let entries = std::fs::read_dir(self.registry.storage().join(path));
        let names = entries.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

/// Runs the client of an engine.
fn client(engine: &RealEngine, arguments: &[&str]) -> Output {
    let socket = format!("unix://{}", engine.socket().display());
    let (program, connect) = match engine.name {
        "podman" => ("podman", "--url"),
        _ => ("docker", "-H"),
    };
    Command::new(program).args([connect, &socket]).args(arguments).output().unwrap()
}

/// Runs the client of an engine to a good end. Returns what it printed.
#[track_caller]
fn run_client(engine: &RealEngine, arguments: &[&str]) -> String {
    let output = client(engine, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {said}", engine.name);
    format!("{}{said}", String::from_utf8_lossy(&output.stdout))
}

/// Pushes or pulls an image.
#[track_caller]
fn transfer(engine: &RealEngine, what: &str, reference: &str) -> String {
    match engine.name {
        "podman" => run_client(engine, &[what, "--tls-verify=false", reference]),
        _ => run_client(engine, &[what, reference]),
    }
}

/// Pulls an image that the engine no longer has. Returns its diff-ids.
#[track_caller]
fn pulled(engine: &RealEngine, reference: &str) -> Vec<Digest> {
    run_client(engine, &["rmi", "-f", reference]);
    fetched(engine, reference)
}

#[track_caller]
fn fetched(engine: &RealEngine, reference: &str) -> Vec<Digest> {
    transfer(engine, "pull", reference);
    let printed =
        run_client(engine, &["image", "inspect", "-f", "{{json .RootFS.Layers}}", reference]);
    serde_json::from_str(printed.trim()).unwrap()
}

/// Bytes of blobs in requests.
fn sent(passed: &[Passed]) -> u64 {
    passed.iter().filter(|one| one.is_upload()).map(|one| one.bytes).sum()
}

#[track_caller]
fn push_and_pull(engine: &RealEngine, filters: &[&str], test: &str) {
    let Some(chain) = Chain::start(test, filters) else { return };
    let name = format!("proxied/{}:{}", engine.name, filters.len());
    let mut image = TestImage::new(&name);
    // Nothing of it is in the engine, whatever other tests have loaded.
    image.layers.push(tar(&[("own", name.as_bytes())]));
    let image = TestImage::with_layers(&name, image.layers);
    legacy(&[&image], Pack::Plain).write(&chain.sandbox.path("in.tar"));
    engine.import(&chain.sandbox.path("in.tar")).unwrap();

    let one = format!("{}/one/app:1", chain.front.host());
    run_client(engine, &["tag", &name, &one]);
    transfer(engine, "push", &one);
    let first = sent(&chain.front.take());
    let landed = sent(&chain.behind.take());
    assert!(first > 600_000 && landed > 600_000, "{first} {landed}");

    // The same layers in another repository of the proxy, and of the registry.
    let two = format!("{}/two/app:1", chain.front.host());
    run_client(engine, &["tag", &name, &two]);
    let said = transfer(engine, "push", &two);
    if engine.name == "dockerd" {
        assert!(said.contains("Mounted from one/app"), "{said}");
    }
    let (received, landed) = (chain.front.take(), chain.behind.take());
    assert!(sent(&received) < 10_000, "{received:?}");
    assert!(sent(&landed) < 10_000, "{landed:?}");
    assert_eq!(chain.tags("two/app"), ["1"]);

    // The engine gets what it pushed, and from the registry what the filters made of it.
    let original = image.diff_ids();
    assert_eq!(pulled(engine, &one), original);
    run_client(engine, &["rmi", "-f", &one, &two, &name]);
    assert_eq!(fetched(engine, &one), original);
    run_client(engine, &["rmi", "-f", &one]);
    let direct = format!("{}/two/app:1", chain.registry.host());
    let there = fetched(engine, &direct);
    assert_eq!(there == original, filters.is_empty());
    run_client(engine, &["rmi", "-f", &direct]);
    chain.proxy.stop().exits(0).says("2/2 verified");
    chain.sandbox.run(&["--insecure", "verify", &chain.registry.uri("one/app:1")]).verified();
}

#[test]
fn dockerd_pushes_and_each_layer_is_received_and_sent_once() {
    let test = "dockerd_pushes_and_each_layer_is_received_and_sent_once";
    if !installed(test, &["docker"]) {
        return;
    }
    let Some(engine) = real_engine::dockerd(test) else { return };
    push_and_pull(engine, NO_FILTERS, test);
    push_and_pull(engine, FILTERS, test);
}

#[test]
fn podman_pushes_and_each_layer_is_received_and_sent_once() {
    let test = "podman_pushes_and_each_layer_is_received_and_sent_once";
    let Some(engine) = real_engine::podman(test) else { return };
    push_and_pull(engine, NO_FILTERS, test);
    push_and_pull(engine, FILTERS, test);
}

#[test]
fn skopeo_copies_an_index_and_all_digests_stay() {
    let Some(chain) = Chain::start("skopeo_copies_an_index_and_all_digests_stay", &[]) else {
        return;
    };
    // skopeo takes no attestation whose config is not JSON.
    let mut multi = Multi::default();
    let entries = ["linux/amd64", "linux/arm64/v8", "linux/s390x"].map(|one| multi.image(one));
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    multi.manifest(INDEX, format!("\n {index} "), "");
    multi.archive().write(&chain.sandbox.path("in.tar"));
    let source = format!("oci-archive:{}:1", chain.sandbox.path("in.tar").display());
    let to = format!("docker://{}/team/multi:1", chain.front.host());
    skopeo(&["copy", "--all", "--quiet", "--dest-tls-verify=false", &source, &to]);
    let raw = |target: &str| {
        let from = format!("docker://{}/team/multi{target}", chain.registry.host());
        skopeo(&["inspect", "--raw", "--tls-verify=false", &from])
    };
    assert_eq!(raw(":1"), multi.index());
    for (_, manifest) in &multi.manifests {
        assert_eq!(raw(&format!("@{}", Digest::of(manifest))), *manifest);
    }
    // And back, through the proxy.
    let back = format!("dir:{}", chain.sandbox.path("back").display());
    skopeo(&["copy", "--all", "--quiet", "--src-tls-verify=false", &to, &back]);
    for blob in &multi.blobs {
        let file = chain.sandbox.path("back").join(Digest::of(blob).hex());
        assert_eq!(std::fs::read(file).unwrap(), *blob);
    }
    chain.proxy.stop().exits(0).says("7/7 verified");
}

/// Megabytes of the large image. A debug build hashes five of them in a second.
const LARGE: usize = 40;

/// An image whose layer does not compress, as an archive that skopeo copies as it is.
fn write_large(path: &Path, megabytes: usize) {
    let piece = noise(5, 1 << 20);
    let bytes: Vec<u8> = std::iter::repeat_n(piece, megabytes).flatten().collect();
    let image = TestImage::with_layers("large:1", vec![tar(&[("large", &bytes)])]);
    oci(&[&image], Pack::Plain).write(path);
}

#[test]
fn a_registry_that_is_killed_midway_is_no_success_for_skopeo() {
    let test = "a_registry_that_is_killed_midway_is_no_success_for_skopeo";
    let Some(mut chain) = Chain::start(test, &["--retries", "1"]) else { return };
    write_large(&chain.sandbox.path("in.tar"), LARGE);
    let source = format!("oci-archive:{}", chain.sandbox.path("in.tar").display());
    let to = format!("docker://{}/team/large:1", chain.front.host());
    let copy = std::thread::spawn(move || {
        let mut copy = Command::new("skopeo");
        copy.args(["--insecure-policy", "copy", "--quiet", "--preserve-digests"]);
        copy.args(["--dest-tls-verify=false", &source, &to]).output().unwrap()
    });
    ProxyProcess::until("the upload to the registry has begun", || {
        sent(&chain.behind.passed()) > 2 << 20
    });
    chain.registry.kill();
    let output = copy.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("502 Bad Gateway"), "{said}");
    assert!(sent(&chain.behind.passed()) < (LARGE as u64 - 5) << 20);
    assert_eq!(chain.tags("team/large"), [""; 0]);
    chain.proxy.stop().exits(1).says("0/1 verified");
    chain.sandbox.assert_clean();
}

/// Sends an image, and returns the answer to its manifest.
fn pushed(proxy: &ProxyProcess, image: &TestImage) -> Answer {
    let layers = image.layers.iter().map(|layer| Pack::Gzip.pack(layer));
    for blob in layers.chain([image.config.clone()]) {
        proxy.put_blob("app", &blob);
    }
    let manifest = oci_manifest(image, Pack::Gzip);
    proxy.put_manifest("app", "v1", OCI_MANIFEST, manifest.as_bytes())
}

#[test]
fn what_a_registry_loses_or_changes_after_the_push_is_no_success() {
    let other = oci_manifest(&TestImage::tiny("b"), Pack::Gzip).into_bytes();
    let manifest = || Fault::Manifest(OCI_MANIFEST, other.clone());
    let gone = || Fault::status(404);
    let (blobs, manifests) = ("/blobs/sha256", "/manifests/");
    // Before an upload, a blob is gone in any case.
    let cases = [
        (blobs, gone(), gone(), "the registry does not have it"),
        (blobs, gone(), Fault::Body(b"x".to_vec()), "wrong size"),
        (manifests, gone(), gone(), "has no manifest of that name"),
        (manifests, manifest(), manifest(), "is another manifest"),
    ];
    for (part, head, get, why) in cases {
        for filters in [NO_FILTERS, &["-f", "normalize-timestamps"]] {
            let (sandbox, registry) = (Sandbox::new(), Registry::start());
            let proxy = ProxyProcess::start(
                &sandbox,
                &registry.url_host(),
                &[filters, &["--retries", "0", "--verify", "full"]].concat(),
            );
            registry.fault("HEAD", part, head.clone(), ALWAYS);
            registry.fault("GET", part, get.clone(), ALWAYS);
            let answer = pushed(&proxy, &TestImage::tiny("a"));
            let text = answer.text();
            assert_eq!((answer.status, answer.code().as_str()), (502, "UNKNOWN"), "{why}: {text}");
            assert!(text.contains(why) && !text.contains(&registry.url_host()), "{why}: {text}");
            // A tag is put last. It is there if the registry loses the manifest only then.
            assert_eq!(registry.manifest("app", "v1").is_some(), part == manifests, "{why}");
            proxy.stop().exits(1).says("0/1 verified");
        }
    }
}

#[test]
fn a_bit_that_flips_in_the_storage_of_a_registry_is_no_success() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &["--verify", "full"]);
    let image = TestImage::tiny("a");
    let mut layer = Pack::Gzip.pack(&image.layers[0]);
    let digest = Digest::of(&layer).to_string();
    layer[20] ^= 1;
    registry.fault("GET", &digest, Fault::Body(layer), ALWAYS);
    let answer = pushed(&proxy, &image);
    assert_eq!((answer.status, answer.code().as_str()), (502, "UNKNOWN"), "{}", answer.text());
    assert!(registry.manifest("app", "v1").is_none());
    proxy.stop().exits(1).says("0/1 verified");
}

#[test]
fn an_unconfirmed_image_is_a_warning_or_with_strict_a_failure() {
    for is_strict in [false, true] {
        let (sandbox, registry) = (Sandbox::new(), Registry::start());
        let mut options = vec!["--retries", "0"];
        options.extend(is_strict.then_some("--strict"));
        let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &options);
        // A client that pushes may not always pull.
        registry.fault("HEAD", "/manifests/", Fault::status(403), ALWAYS);
        registry.fault("GET", "/manifests/", Fault::status(403), ALWAYS);
        let answer = pushed(&proxy, &TestImage::tiny("a"));
        let why = "the image was written, and could not be verified: downstream forbids access";
        let code = if is_strict {
            assert_eq!((answer.status, answer.code().as_str()), (503, "UNAVAILABLE"));
            assert!(answer.text().contains(why), "{}", answer.text());
            3
        } else {
            assert_eq!(answer.status, 201, "{}", answer.text());
            let warning = answer.header("warning");
            assert!(warning.starts_with(&format!("299 - \"{why}")), "{warning}");
            0
        };
        assert!(registry.manifest("app", "v1").is_some());
        proxy.stop().exits(code).says("0/1 verified, 1 UNCONFIRMED");
    }
}
