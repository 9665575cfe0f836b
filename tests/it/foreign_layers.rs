//! Layers for which a manifest names URLs, and that the source does not have.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, gzip};
use crate::support::push::to;
use crate::support::real::RealRegistry;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape::{docker_manifest, oci_manifest};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image at a registry whose lowest layer is at another server.
struct Foreign {
    registry: Registry,
    outside: Registry,
    image: TestImage,
    sandbox: Sandbox,
    manifest: Vec<u8>,
}

impl Foreign {
    /// The form of Windows images: Docker's schema 2, one URL.
    fn new() -> Self {
        let outside = Registry::start();
        let url = format!("{}/layer", outside.base());
        Self::with(outside, DOCKER, FOREIGN, json!([url]))
    }

    fn with(outside: Registry, manifest_type: &str, layer_type: &str, urls: Value) -> Self {
        let (registry, image) = (Registry::start(), TestImage::new("team/app:1"));
        let text = match manifest_type {
            DOCKER => docker_manifest(&image),
            _ => oci_manifest(&image, Pack::Gzip),
        };
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["layers"][0]["mediaType"] = layer_type.into();
        manifest["layers"][0]["urls"] = urls;
        for layer in &image.layers[1..] {
            registry.put_blob(gzip(layer));
        }
        registry.put_blob(&image.config);
        let manifest = manifest.to_string().into_bytes();
        registry.put_manifest("team/app", "1", manifest_type, &manifest);
        outside.put_file("/layer", gzip(&image.layers[0]));
        Self { registry, outside, image, sandbox: Sandbox::new(), manifest }
    }

    fn uri(&self) -> String {
        to(&self.registry, "team/app:1")
    }

    fn layer(&self) -> Digest {
        Digest::of(&gzip(&self.image.layers[0]))
    }

    /// Moves it, where the address of the other server was named.
    fn move_to(&self, destination: &str, more: &[&str]) -> Ran {
        let allow = format!("--allow-net={}", self.outside.base());
        self.sandbox.process(&self.uri(), destination, &[&[&*allow], more].concat())
    }

    fn asked(&self) -> usize {
        self.outside.requests_of("GET", "/layer").len()
    }
}

#[test]
fn between_registries_the_descriptor_is_kept_and_nothing_is_fetched() {
    let docker = |url: &str| (DOCKER, FOREIGN, json!([url]));
    let oci = |url: &str| (OCI, NONDISTRIBUTABLE, json!([url, "ftp://a.example/x"]));
    // containers/image follows URLs whatever the media type is.
    let usual = |url: &str| (OCI, GZIP, json!([url]));
    for kind in [&docker as &dyn Fn(&str) -> (&'static str, &'static str, Value), &oci, &usual] {
        let outside = Registry::start();
        let (manifest_type, layer_type, urls) = kind(&format!("{}/layer", outside.base()));
        let foreign = Foreign::with(outside, manifest_type, layer_type, urls);
        let other = Registry::start();
        let receipt = foreign.sandbox.path("receipt.json").display().to_string();
        let ran = foreign.move_to(&to(&other, "x/app:1"), &["--receipt", &receipt]);
        ran.exits(0).says("UNCONFIRMED").says("stored elsewhere (127.0.0.1:");
        let (found_type, bytes) = other.manifest("x/app", "1").unwrap();
        assert_eq!((found_type.as_str(), &bytes[..]), (manifest_type, &foreign.manifest[..]));
        assert_eq!(other.blob("x/app", foreign.layer()), None);
        assert_eq!(foreign.asked(), 0, "{layer_type}");
        // Looked at again, by the receipt and without.
        for subject in [receipt, to(&other, "x/app:1")] {
            let ran = foreign.sandbox.run(&["verify", &subject]);
            ran.exits(3).says("stored elsewhere (127.0.0.1:").says("1 UNCONFIRMED");
            assert!(!ran.stderr.contains("missing"), "{}", ran.stderr);
        }
        foreign.sandbox.assert_clean();
    }
}

#[test]
fn the_json_calls_the_layer_unchecked_and_the_image_unconfirmed() {
    let foreign = Foreign::new();
    let ran = foreign.sandbox.run(&["verify", "-O", "json", &foreign.uri()]);
    ran.exits(3);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["images"][0]["status"], "unconfirmed");
    assert_eq!(report["summary"]["verified"], 0);
    assert_eq!(report["summary"]["unconfirmed"], 1);
    let objects = report["images"][0]["verification"]["objects"].as_array().unwrap();
    let statuses: Vec<_> =
        objects.iter().map(|object| object["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["ok", "unchecked", "ok", "ok", "ok"]);
}

#[test]
fn with_fetch_the_registry_gets_the_layer_and_the_image_is_verified() {
    let foreign = Foreign::new();
    let other = Registry::start();
    let ran = foreign.move_to(&to(&other, "x/app:1"), &["--foreign-layers", "fetch"]);
    ran.exits(0).says("1/1 verified");
    assert_eq!(&other.manifest("x/app", "1").unwrap().1[..], &foreign.manifest[..]);
    assert!(other.blob("x/app", foreign.layer()).is_some());
    assert_eq!(foreign.asked(), 1);
    // And from there it is a layer like any other.
    let third = Registry::start();
    let ran = foreign.sandbox.process(&to(&other, "x/app:1"), &to(&third, "y/app:1"), &[]);
    ran.exits(0).says("1/1 verified");
    assert!(third.blob("y/app", foreign.layer()).is_some());
    assert_eq!(foreign.asked(), 1);
}

#[test]
fn an_oci_layout_keeps_the_descriptor_and_gives_it_back() {
    let foreign = Foreign::new();
    let layout = foreign.sandbox.uri("oci-layout", "layout");
    foreign.move_to(&layout, &[]).exits(0).says("stored elsewhere (127.0.0.1:");
    assert_eq!(foreign.asked(), 0);
    let blob = foreign.sandbox.path("layout/blobs/sha256").join(foreign.layer().hex());
    assert!(!blob.exists());
    let other = Registry::start();
    foreign.sandbox.process(&layout, &to(&other, "x/app:1"), &[]).exits(0).says("UNCONFIRMED");
    assert_eq!(&other.manifest("x/app", "1").unwrap().1[..], &foreign.manifest[..]);
    foreign.sandbox.run(&["verify", &layout]).exits(3).says("stored elsewhere");
    // With the layer in it, it is whole.
    let whole = foreign.sandbox.uri("oci-layout", "whole");
    foreign.move_to(&whole, &["--foreign-layers=fetch"]).exits(0).says("1/1 verified");
}

#[test]
fn other_outputs_fetch_the_layer_from_its_url() {
    for (scheme, name) in [("dir", "d"), ("tar", "a.tar")] {
        let foreign = Foreign::new();
        let destination = foreign.sandbox.uri(scheme, name);
        foreign.move_to(&destination, &["--verify=full"]).exits(0).says("1/1 verified");
        assert_eq!(foreign.asked(), 1);
        foreign.sandbox.assert_clean();
    }
    // A filter reads every layer, and the manifest is a new one.
    let (foreign, other) = (Foreign::new(), Registry::start());
    let filter = ["-f", "exclude:pattern=etc/motd"];
    foreign.move_to(&to(&other, "x/app:1"), &filter).exits(0).says("1/1 verified");
    assert_eq!(foreign.asked(), 1);
}

#[test]
fn unwanted_foreign_layers_are_refused_before_anything_is_fetched() {
    let foreign = Foreign::new();
    let ran = foreign.move_to(&foreign.sandbox.uri("dir", "d"), &["--foreign-layers", "keep"]);
    ran.exits(2).says("would not keep the manifest").says("--foreign-layers fetch");
    let other = Registry::start();
    let ran = foreign.move_to(&to(&other, "x/app:1"), &["--foreign-layers", "fail"]);
    ran.exits(1).says("layer 1 of 3 is not at the source: it is stored at 127.0.0.1:");
    ran.says("hint: --foreign-layers fetch downloads it")
        .says("without the option it stays there if");
    assert_eq!(other.requests_of("POST", "/").len(), 0);
    let blobs = foreign.registry.requests_of("GET", "/blobs/");
    let config = foreign.image.id().to_string();
    let others = blobs.iter().filter(|request| !request.path.contains(&config));
    // Whether the layer is there is all that was asked.
    assert!(others.into_iter().all(|request| request.path.contains(&foreign.layer().to_string())));
    assert_eq!(foreign.asked(), 0);
    assert!(!foreign.sandbox.path("d/manifest.json").exists());
}

#[test]
fn addresses_that_are_not_public_are_refused_at_first_and_after_a_redirect() {
    let public = "https://localhost.example/";
    for (urls, refused) in [
        ("http://127.0.0.1:PORT/layer", "not a public address"),
        ("http://localhost:PORT/layer", "not a public address"),
        ("http://[::1]:PORT/layer", "not a public address"),
        ("http://2130706433:PORT/layer", "not a public address"),
        ("http://[::ffff:127.0.0.1]:PORT/layer", "not a public address"),
        ("http://169.254.169.254/latest/meta-data", "not a public address"),
    ] {
        let outside = Registry::start();
        let port = outside.url_host().rsplit_once(':').unwrap().1.to_owned();
        let foreign = Foreign::with(outside, DOCKER, FOREIGN, json!([urls.replace("PORT", &port)]));
        let ran = foreign.sandbox.process(&foreign.uri(), &foreign.sandbox.uri("dir", "d"), &[]);
        ran.exits(1).says(refused).says("--allow-net");
        assert_eq!(foreign.outside.requests_of("GET", "/").len(), 0, "{urls}");
        assert!(!ran.stderr.contains(public));
    }
    // The user named the first address, but not the one it redirects to.
    let foreign = Foreign::new();
    let metadata = Fault::Redirect("http://169.254.169.254/latest/meta-data".to_owned());
    foreign.outside.fault("GET", "/layer", metadata, ALWAYS);
    let ran = foreign.move_to(&foreign.sandbox.uri("dir", "d"), &[]);
    ran.exits(1).says("169.254.169.254 is not a public address");
}

#[test]
fn redirects_are_followed_and_the_login_of_the_registry_stays_at_the_registry() {
    let outside = Registry::start();
    let storage = Registry::start();
    let secret = "hunter2-of-the-url";
    let url = format!("http://me:{secret}@{}/layer?sig=a-signature-of-the-url", outside.url_host());
    let foreign = Foreign::with(outside, DOCKER, FOREIGN, json!([url]));
    storage.put_file("/stored", gzip(&foreign.image.layers[0]));
    let elsewhere = format!("{}/stored?sig=a-signature-of-the-storage", storage.base());
    foreign.outside.fault("GET", "/layer", Fault::Redirect(elsewhere), ALWAYS);
    let login = ["--username=user", "--password=registry-password", "--debug"];
    let ran = foreign.move_to(&foreign.sandbox.uri("dir", "d"), &login);
    ran.exits(0).says("1/1 verified");
    let asked = foreign.outside.requests_of("GET", "/layer");
    // The URL's own login, and no other.
    assert_eq!(asked[0].header("authorization"), "Basic bWU6aHVudGVyMi1vZi10aGUtdXJs");
    assert_eq!(storage.requests_of("GET", "/stored")[0].header("authorization"), "");
    for hidden in [secret, "a-signature-of-the-url", "a-signature-of-the-storage", "me:"] {
        assert!(!ran.stderr.contains(hidden), "{hidden}: {}", ran.stderr);
    }
}

#[test]
fn other_bytes_than_the_manifest_promises_are_refused_and_the_next_url_is_tried() {
    let wrong = |bytes: &[u8], what: &str| {
        let foreign = Foreign::new();
        foreign.outside.put_file("/layer", bytes);
        let ran = foreign.move_to(&foreign.sandbox.uri("dir", "d"), &["--retries=0"]);
        ran.exits(1).says(what);
        assert!(!foreign.sandbox.path("d/manifest.json").exists());
    };
    wrong(b"<html>gone</html>", "wrong size");
    let mut flipped = gzip(&TestImage::new("team/app:1").layers[0]);
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    wrong(&flipped, "expected sha256:");

    let outside = Registry::start();
    let urls = json!([format!("{}/gone", outside.base()), format!("{}/layer", outside.base())]);
    let foreign = Foreign::with(outside, DOCKER, FOREIGN, urls);
    foreign.move_to(&foreign.sandbox.uri("dir", "d"), &[]).exits(0).says("1/1 verified");
}

#[test]
fn check_calls_the_layer_unchecked_and_the_rest_right() {
    let foreign = Foreign::new();
    for level in [&["check"][..], &["check", "--fast"]] {
        let ran = foreign.sandbox.run(&[level, &[&*foreign.uri()]].concat());
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains("layer-elsewhere") && all.contains("stored elsewhere"), "{all}");
        assert!(!all.contains("layer-missing:") && !all.contains("error:"), "{all}");
        assert_eq!(ran.code, 3, "{all}");
    }
    assert_eq!(foreign.asked(), 0);
}

#[test]
fn a_layer_without_a_url_is_missing_whatever_its_type() {
    let foreign = Foreign::with(Registry::start(), DOCKER, FOREIGN, Value::Null);
    let ran = foreign.move_to(&to(&Registry::start(), "x/app:1"), &[]);
    ran.exits(1).says("blob not found");
    foreign.sandbox.run(&["verify", &foreign.uri()]).exits(1).says("missing");
}

#[test]
fn the_hint_of_a_registry_that_takes_no_urls_names_its_setting() {
    let name = "the_hint_of_a_registry_that_takes_no_urls_names_its_setting";
    let Some(real) = RealRegistry::start(name) else { return };
    let foreign = Foreign::new();
    let destination = format!("{}?insecure=true", real.uri("x/app:1"));
    let ran = foreign.move_to(&destination, &["--retries=0"]);
    ran.exits(1).says("answered 500").says("validation.manifests.urls.allow");
    ran.says("--foreign-layers fetch").says("--compression zstd");
    // The manifest keeps its URLs: the hint does not name what was done.
    let more = ["--retries=0", "--foreign-layers=fetch", "--allow-net=127.0.0.1"];
    let ran = foreign.move_to(&destination, &more);
    ran.exits(1).says("validation.manifests.urls.allow").says("--compression zstd");
    assert!(!ran.stderr.contains("--foreign-layers fetch"), "{}", ran.stderr);
    let more = ["--compression=zstd", "--allow-net=127.0.0.1"];
    foreign.move_to(&destination, &more).exits(0).says("1/1 verified");
}

/// Microsoft's images are indexes of several versions of Windows.
#[test]
fn all_platforms_of_an_index_keep_their_descriptors_and_the_index_is_unconfirmed() {
    let foreign = Foreign::new();
    let digest = Digest::of(&foreign.manifest).to_string();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [{
            "mediaType": DOCKER,
            "digest": digest,
            "size": foreign.manifest.len(),
            "platform": { "os": "linux", "architecture": "amd64", "os.version": "10.0.17763.1" },
        }],
    });
    let media_type = "application/vnd.docker.distribution.manifest.list.v2+json";
    foreign.registry.put_manifest("team/app", "all", media_type, index.to_string());
    let source = to(&foreign.registry, "team/app:all");
    let other = Registry::start();
    let receipt = foreign.sandbox.path("receipt.json").display().to_string();
    let layout = foreign.sandbox.uri("oci-layout", "all");
    for (from, destination) in [(&source, to(&other, "x/app:all")), (&source, layout.clone())] {
        let options = ["--all-platforms", "--receipt", &receipt];
        let ran = foreign.sandbox.process(from, &destination, &options);
        ran.exits(0).says("2 UNCONFIRMED").says("stored elsewhere (127.0.0.1:");
        foreign.sandbox.run(&["verify", &receipt]).exits(3).says("2 UNCONFIRMED");
        foreign.sandbox.run(&["verify", &destination]).exits(3).says("2 UNCONFIRMED");
    }
    let ran =
        foreign.sandbox.process(&source, &layout, &["--all-platforms", "--foreign-layers=fail"]);
    ran.exits(1).says("layer 1 of 3 is not at the source");
    let fetch = ["--all-platforms", "--foreign-layers=fetch", "--allow-net=127.0.0.1"];
    let whole = foreign.sandbox.uri("oci-layout", "whole");
    foreign.sandbox.process(&source, &whole, &fetch).exits(0).says("2/2 verified");
}
