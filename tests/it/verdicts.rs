//! A defect has the same verdict, wherever the image is and whichever command checks it.
//!
//! Which documents clients read was tried with `docker load` 20.10, `podman load` 4.3 and `skopeo copy` 1.9.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::multi::{INDEX, MANIFEST, described};
use crate::support::registry::Registry;
use crate::support::shape::{self, Archive};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Exit codes: verified or moved, FAILED or refused, UNCONFIRMED.
const RIGHT: i32 = 0;
const WRONG: i32 = 1;
const DOUBT: i32 = 3;

/// The verdict of each command on a defect.
struct Verdict {
    /// `verify`, fast and in full.
    verify: i32,
    /// `check`, fast and in full.
    check: i32,
    /// `process` to a directory: whether the image is moved.
    moves: bool,
}

/// An image as it is kept by digests: what the tag leads to comes last.
#[derive(Default)]
struct Kept {
    blobs: Vec<Vec<u8>>,
    manifests: Vec<(&'static str, Vec<u8>)>,
}

impl Kept {
    fn image(config: Vec<u8>, edit: impl FnOnce(String) -> Vec<u8>) -> Self {
        let layer = image().layers[0].clone();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(CONFIG, &config), "layers": [described(LAYER, &layer)] });
        let manifests = vec![(MANIFEST, edit(manifest.to_string()))];
        Self { blobs: vec![layer, config], manifests }
    }

    fn indexed(mut self, entries: Value) -> Self {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        self.manifests.push((INDEX, index.to_string().into_bytes()));
        self
    }

    fn root(&self) -> (&'static str, &[u8]) {
        let (media_type, bytes) = self.manifests.last().unwrap();
        (media_type, bytes)
    }

    fn push(&self, registry: &Registry) -> String {
        for blob in &self.blobs {
            registry.put_blob(blob);
        }
        for (media_type, bytes) in &self.manifests {
            registry.put_manifest("team/app", "1", media_type, bytes);
        }
        format!("registry://{}/team/app:1?insecure=true", registry.url_host())
    }

    fn layout(&self) -> Archive {
        let mut archive = Archive::default();
        archive.push("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        let (media_type, bytes) = self.root();
        let mut root = described(media_type, bytes);
        root["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
        archive.push("index.json", json!({ "schemaVersion": 2, "manifests": [root] }).to_string());
        for bytes in self.blobs.iter().chain(self.manifests.iter().map(|(_, bytes)| bytes)) {
            archive.push(format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes.clone());
        }
        archive
    }
}

fn image() -> TestImage {
    TestImage::tiny("team/app:1")
}

/// Unpacks an archive, as a directory of its members.
fn unpack(archive: &Archive, folder: &std::path::Path) {
    for (name, content) in &archive.0 {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// Runs all commands on an image in every place that keeps it by digests.
#[track_caller]
fn everywhere(kept: &Kept, expected: &Verdict) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    kept.layout().write(&sandbox.path("layout.tar"));
    unpack(&kept.layout(), &sandbox.path("layout"));
    let uris = [
        kept.push(&registry),
        sandbox.uri("oci-layout", "layout"),
        sandbox.uri("tar", "layout.tar"),
    ];
    for uri in uris {
        judge(&sandbox, &uri, expected);
        let all = sandbox.run(&["check", "--fast", "--all-platforms", &uri]);
        all.exits(expected.check);
    }
}

#[track_caller]
fn judge(sandbox: &Sandbox, uri: &str, expected: &Verdict) {
    for level in [&["--fast"][..], &[]] {
        said(uri, sandbox.run(&[&["verify", uri], level].concat()), expected.verify);
        said(uri, sandbox.run(&[&["check", uri], level].concat()), expected.check);
    }
    let _ = std::fs::remove_dir_all(sandbox.path("out"));
    let moved = sandbox.process(uri, &sandbox.uri("dir", "out"), &["--strict"]);
    said(uri, moved, if expected.moves { expected.verify } else { WRONG });
    assert_eq!(sandbox.path("out").exists(), expected.moves, "{uri}");
}

#[track_caller]
fn said(uri: &str, ran: Ran, code: i32) {
    assert_eq!(ran.code, code, "{uri}: {}{}", ran.stdout, ran.stderr);
}

/// A config with one more key, in front of the others.
fn config(key: &[u8]) -> Vec<u8> {
    let config = String::from_utf8(image().config).unwrap();
    let rest = config.trim_start().strip_prefix('{').unwrap().as_bytes();
    [b"{", key, b",", rest].concat()
}

/// A config with these fields of the part that says how the image runs.
fn inside(fields: Value) -> Vec<u8> {
    let mut config: Value = serde_json::from_slice(&image().config).unwrap();
    for (key, value) in fields.as_object().unwrap() {
        config["config"][key] = value.clone();
    }
    config.to_string().into_bytes()
}

fn nested(levels: usize) -> Vec<u8> {
    format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels)).into_bytes()
}

/// Configs, and what is said of each.
fn configs() -> Vec<(Vec<u8>, Verdict)> {
    let right = || Verdict { verify: RIGHT, check: RIGHT, moves: true };
    let wrong = || Verdict { verify: WRONG, check: WRONG, moves: false };
    // Tools that do not read it copy it.
    let rejected = || Verdict { moves: true, ..wrong() };
    let replaced = |from: &str, to: &str| {
        let config = String::from_utf8(image().config).unwrap();
        assert!(config.contains(from), "{config}");
        config.replace(from, to).into_bytes()
    };
    vec![
        (config(&nested(9_999)), right()),
        (config(br#""x":"\ud800""#), right()),
        (config(br#""x":1e400"#), right()),
        (config(&nested(10_000)), wrong()),
        (config(b"\"x\":01"), wrong()),
        (b"\xef\xbb\xbf{}".to_vec(), wrong()),
        (replaced("2026-01-02T03:04:05Z", "yesterday"), rejected()),
        (replaced("2026-01-02T03:04:05Z", "2026-02-30T03:04:05Z"), rejected()),
        (inside(json!({ "StopTimeout": "x" })), rejected()),
        (inside(json!({ "Healthcheck": { "Interval": 1.5 } })), rejected()),
        (config(br#""container_config":{"Env":"x"}"#), rejected()),
        (config(br#""docker_version":5"#), rejected()),
        (inside(json!({ "Shell": "x", "Memory": "x", "Tty": null })), right()),
        (config(br#""container_config":{"Cmd":"x"},"Size":-1"#), right()),
        // Docker, Podman and skopeo read it, other parsers refuse it: a warning of `check`.
        (config(b"\"x\":\"\xff\""), Verdict { verify: DOUBT, check: RIGHT, moves: true }),
    ]
}

#[test]
fn a_config_is_judged_alike_where_it_is_kept_by_its_digest() {
    for (config, expected) in configs() {
        everywhere(&Kept::image(config, String::into_bytes), &expected);
    }
}

#[test]
fn a_config_is_judged_alike_where_docker_saved_it() {
    for (config, expected) in configs() {
        let sandbox = Sandbox::new();
        let image = TestImage { config, ..image() };
        let archive = shape::legacy(&[&image], Pack::Plain);
        archive.write(&sandbox.path("saved.tar"));
        unpack(&archive, &sandbox.path("saved"));
        judge(&sandbox, &sandbox.uri("tar", "saved.tar"), &expected);
        judge(&sandbox, &sandbox.uri("dir", "saved"), &expected);
    }
}

#[test]
fn a_manifest_that_no_client_reads_is_wrong_and_one_that_all_read_is_right() {
    let with = |key: Vec<u8>| {
        move |manifest: String| [b"{", &key[..], b",", &manifest.as_bytes()[1..]].concat()
    };
    let right = Verdict { verify: RIGHT, check: RIGHT, moves: true };
    everywhere(&Kept::image(image().config, with(nested(9_999))), &right);
    let wrong = Verdict { verify: WRONG, check: WRONG, moves: false };
    everywhere(&Kept::image(image().config, with(nested(10_000))), &wrong);
    // A list of Docker's as well.
    for (levels, expected) in [(9_998, &right), (9_999, &wrong)] {
        let sandbox = Sandbox::new();
        let mut archive = shape::legacy(&[&image()], Pack::Plain);
        let list = String::from_utf8(archive.get("manifest.json").to_vec()).unwrap();
        let key = [b"[{", &nested(levels)[..], b","].concat();
        archive.set("manifest.json", [&key[..], &list.as_bytes()[2..]].concat());
        archive.write(&sandbox.path("saved.tar"));
        judge(&sandbox, &sandbox.uri("tar", "saved.tar"), expected);
    }
}

#[test]
fn a_manifest_that_all_clients_read_is_kept_as_it_is() {
    let key = nested(9_999);
    let with = |manifest: String| [b"{", &key[..], b",", &manifest.as_bytes()[1..]].concat();
    let kept = Kept::image(image().config, with);
    let mut entry = described(MANIFEST, kept.root().1);
    entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let from = kept.indexed(json!([entry])).push(&registry);
    let to = sandbox.uri("oci-layout", "out");
    for level in ["fast", "full"] {
        let level = format!("--verify={level}");
        sandbox.process(&from, &to, &["--all-platforms", &level]).verified();
    }
}

#[test]
fn an_index_that_leads_to_no_image_is_judged_alike_everywhere() {
    let nothing = Verdict { verify: DOUBT, check: WRONG, moves: false };
    everywhere(&Kept::default().indexed(json!([])), &nothing);
    // The same holds for an index that leads to such an index.
    let empty = Kept::default().indexed(json!([]));
    let inner = described(INDEX, empty.root().1);
    everywhere(&empty.indexed(json!([inner])), &nothing);
}

#[test]
fn an_entry_of_a_wrong_media_type_is_judged_alike_everywhere() {
    let wrong = Verdict { verify: WRONG, check: WRONG, moves: false };
    // Clients read a manifest of an index by the name of either specification; check warns.
    let right = Verdict { verify: RIGHT, check: RIGHT, moves: true };
    for (media_type, expected) in [
        (INDEX, &wrong),
        ("text/plain", &wrong),
        ("application/vnd.docker.distribution.manifest.v2+json", &right),
    ] {
        let kept = Kept::image(image().config, String::into_bytes);
        let mut entry = described(media_type, kept.root().1);
        entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        everywhere(&kept.indexed(json!([entry])), expected);
    }
}

#[test]
fn a_field_of_a_manifest_that_clients_reject_is_wrong_everywhere() {
    let wrong = Verdict { verify: WRONG, check: WRONG, moves: false };
    for (path, value) in [
        ("/layers/0/data", json!("%")),
        ("/layers/0/urls", json!("x")),
        ("/layers/0/platform", json!({ "os": 5 })),
        ("/config/annotations", json!({ "a": 5 })),
        ("/subject", json!("x")),
        ("/fsLayers", json!([])),
    ] {
        let edit = |manifest: String| {
            let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
            let (parent, key) = path.rsplit_once('/').unwrap();
            manifest.pointer_mut(parent).unwrap()[key] = value;
            manifest.to_string().into_bytes()
        };
        everywhere(&Kept::image(image().config, edit), &wrong);
    }
}

#[test]
fn a_field_of_an_index_that_clients_reject_is_wrong_everywhere() {
    let wrong = Verdict { verify: WRONG, check: WRONG, moves: false };
    let kept = Kept::image(image().config, String::into_bytes);
    let mut entry = described(MANIFEST, kept.root().1);
    entry["platform"] = json!({ "os": "linux", "architecture": "amd64", "os.version": 5 });
    everywhere(&kept.indexed(json!([entry])), &wrong);
}

#[test]
fn the_list_of_a_layout_is_judged_alike_in_a_directory_and_in_an_archive() {
    let right = || Verdict { verify: RIGHT, check: RIGHT, moves: true };
    let wrong = || Verdict { verify: WRONG, check: WRONG, moves: false };
    let with = |key: Vec<u8>| {
        move |list: Value| [b"{", &key[..], b",", &list.to_string().as_bytes()[1..]].concat()
    };
    let entry = |key: &'static str, value: Value| {
        move |mut list: Value| {
            list["manifests"][0][key] = value;
            list.to_string().into_bytes()
        }
    };
    type Edit = Box<dyn FnOnce(Value) -> Vec<u8>>;
    let platform = |key: &str, value: Value| {
        let mut platform = json!({ "os": "linux", "architecture": "amd64" });
        platform[key] = value;
        Box::new(entry("platform", platform)) as Edit
    };
    let cases: Vec<(Edit, Verdict)> = vec![
        (Box::new(with(nested(9_998))), right()),
        (Box::new(with(br#""x":1e400"#.to_vec())), right()),
        (Box::new(with(br#""x":"\ud800""#.to_vec())), right()),
        (
            Box::new(with(b"\"x\":\"\xff\"".to_vec())),
            Verdict { verify: DOUBT, check: RIGHT, moves: true },
        ),
        (platform("os.features", json!("x")), wrong()),
        (platform("os.version", json!(5)), wrong()),
        (platform("os.features", Value::Null), right()),
        (Box::new(entry("data", json!("%"))), wrong()),
        (Box::new(entry("mediaType", json!("text/plain"))), wrong()),
    ];
    for (edit, expected) in cases {
        let sandbox = Sandbox::new();
        let mut layout = Kept::image(image().config, String::into_bytes).layout();
        let list = edit(serde_json::from_slice(layout.get("index.json")).unwrap());
        layout.set("index.json", list);
        layout.write(&sandbox.path("layout.tar"));
        unpack(&layout, &sandbox.path("layout"));
        for uri in [sandbox.uri("oci-layout", "layout"), sandbox.uri("tar", "layout.tar")] {
            for level in [&["--fast"][..], &[]] {
                said(&uri, sandbox.run(&[&["verify", &uri], level].concat()), expected.verify);
                said(&uri, sandbox.run(&[&["check", &uri], level].concat()), expected.check);
            }
            let _ = std::fs::remove_dir_all(sandbox.path("out"));
            let moved = sandbox.process(&uri, &sandbox.uri("dir", "out"), &[]);
            said(&uri, moved, if expected.moves { RIGHT } else { WRONG });
        }
    }
}

#[test]
fn an_image_is_added_to_a_layout_whose_list_clients_read() {
    for key in [nested(9_998), br#""x":1e400"#.to_vec(), br#""x":"\ud800""#.to_vec()] {
        let sandbox = Sandbox::new();
        let mut layout = Kept::image(image().config, String::into_bytes).layout();
        let list = [b"{", &key[..], b",", &layout.get("index.json")[1..]].concat();
        layout.set("index.json", list);
        unpack(&layout, &sandbox.path("layout"));
        shape::legacy(&[&TestImage::tiny("team/app:2")], Pack::Plain)
            .write(&sandbox.path("saved.tar"));
        let to = sandbox.uri("oci-layout", "layout");
        sandbox.process(&sandbox.uri("tar", "saved.tar"), &to, &[]).verified();
        sandbox.run(&["verify", &to]).exits(RIGHT);
    }
}

#[test]
fn a_field_of_docker_s_list_that_clients_reject_is_wrong() {
    let wrong = Verdict { verify: WRONG, check: WRONG, moves: false };
    for key in [&br#""LayerSources":"x""#[..], br#""LayerSources":{"x":5}"#, br#""Parent":5"#] {
        let sandbox = Sandbox::new();
        let mut archive = shape::legacy(&[&image()], Pack::Plain);
        let list = archive.get("manifest.json")[2..].to_vec();
        archive.set("manifest.json", [b"[{", key, b",", &list].concat());
        archive.write(&sandbox.path("saved.tar"));
        judge(&sandbox, &sandbox.uri("tar", "saved.tar"), &wrong);
    }
}

#[test]
fn a_mistyped_field_is_named_with_both_types() {
    let sandbox = Sandbox::new();
    let image = TestImage { config: inside(json!({ "StopTimeout": "x" })), ..image() };
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("saved.tar"));
    let uri = sandbox.uri("tar", "saved.tar");
    let found = "expected a whole number of 64 bits, found a string";
    let ran = sandbox.run(&["verify", &uri]);
    ran.says("has a field 'config.StopTimeout' of a type that clients reject").says(found);
    let ran = sandbox.process(&uri, &sandbox.uri("dir", "out"), &[]);
    ran.exits(1).says("has a field 'config.StopTimeout' of a type that clients reject").says(found);
    ran.says("moving it again does not help");
    assert!(!ran.stderr.contains("repair it with"), "{}", ran.stderr);
}

#[test]
fn a_list_of_nothing_is_unconfirmed() {
    let sandbox = Sandbox::new();
    let kept = Kept::image(image().config, String::into_bytes);
    let mut layout = kept.layout();
    layout.set("index.json", r#"{"schemaVersion":2,"manifests":[]}"#);
    layout.write(&sandbox.path("layout.tar"));
    unpack(&layout, &sandbox.path("layout"));
    let mut saved = shape::legacy(&[&image()], Pack::Plain);
    saved.set("manifest.json", "[]");
    saved.write(&sandbox.path("saved.tar"));
    saved.push("catalog.json", "{}");
    unpack(&saved, &sandbox.path("saved"));
    for (scheme, name) in
        [("oci-layout", "layout"), ("tar", "layout.tar"), ("tar", "saved.tar"), ("dir", "saved")]
    {
        let uri = sandbox.uri(scheme, name);
        for level in [&["--fast"][..], &[]] {
            let ran = sandbox.run(&[&["verify", &uri], level].concat());
            ran.says("unchecked: lists no image").exits(DOUBT);
        }
        sandbox.run(&["check", &uri]).exits(WRONG);
        sandbox.process(&uri, &sandbox.uri("dir", "out"), &[]).exits(WRONG).says("lists no image");
    }
}
