//! Unusual configs, manifests and indexes that Docker, Podman and skopeo accept: the image is copied and verified. To try
//! another one, add a line to the tables in `tests/support/odd.rs`.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::multi::{INDEX, described};
use crate::support::odd::{CONFIGS, Edit, MANIFESTS, Odd, WITHOUT_LAYERS, same};
use crate::support::real;
use crate::support::real_engine;
use crate::support::registry::Registry;
use crate::support::shape;
use crate::support::user::run;

/// Moves an image from and to places of each kind, and verifies it everywhere.
#[track_caller]
fn moves(what: &str, odd: &Odd) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    odd.layout().write(&sandbox.path("layout.tar"));
    odd.saved().write(&sandbox.path("saved.tar"));
    let at_registry = odd.push(&registry, "1");
    let sources = [at_registry, sandbox.uri("tar", "layout.tar"), sandbox.uri("tar", "saved.tar")];
    for (index, source) in sources.iter().enumerate() {
        let copy = format!("registry://{}/copy/app:{index}?insecure=true", registry.url_host());
        let to = [
            copy,
            sandbox.uri("oci-layout", &format!("layout-{index}")),
            sandbox.uri("dir", &format!("dir-{index}")),
            sandbox.uri("tar", &format!("out-{index}.tar")),
        ];
        for to in &to {
            let ran = sandbox.process(source, to, &["--verify=full"]);
            assert_eq!(ran.code, 0, "{what}: {source} to {to}: {}", ran.stderr);
            assert!(ran.stderr.contains("1/1 verified"), "{what}: {}", ran.stderr);
        }
        let ran = sandbox.run(&["verify", source]);
        assert_eq!(ran.code, 0, "{what}: {source}: {}{}", ran.stdout, ran.stderr);
        // `check` reports oddities; it never fails on one.
        let ran = sandbox.run(&["-q", "check", source]);
        assert!(ran.code <= 1, "{what}: {source}: {}{}", ran.stdout, ran.stderr);
        if index < 2 {
            let found = registry.manifest("copy/app", &index.to_string()).expect("a manifest").1;
            assert_eq!(Digest::of(&found), odd.digest(), "{what}");
        }
    }
}

#[test]
fn an_image_with_an_odd_config_is_moved_and_verified() {
    for (what, config) in CONFIGS {
        moves(what, &Odd::new(*config, same));
    }
}

#[test]
fn an_image_with_an_odd_manifest_is_moved_and_verified() {
    for (what, manifest) in MANIFESTS {
        moves(what, &Odd::new(same, *manifest));
    }
}

#[test]
fn an_image_without_a_layer_is_moved_and_verified() {
    for (what, config, manifest) in WITHOUT_LAYERS {
        let image = TestImage::with_layers("team/app:1", Vec::new());
        moves(what, &Odd::of(image, *config, *manifest));
    }
}

/// The tables hold what others take: each row is tried with skopeo.
#[test]
fn skopeo_copies_what_the_tables_list() {
    if !real::installed("skopeo_copies_what_the_tables_list", &["skopeo"]) {
        return;
    }
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let configs = CONFIGS.iter().map(|(what, config)| (what, Odd::new(*config, same)));
    let manifests = MANIFESTS.iter().map(|(what, manifest)| (what, Odd::new(same, *manifest)));
    for (index, (_, odd)) in configs.chain(manifests).enumerate() {
        odd.push(&registry, &index.to_string());
        let from = format!("docker://{}/team/app:{index}", registry.url_host());
        let to = format!("oci:{}:{index}", sandbox.path("skopeo").display());
        let _ = real::skopeo(&["copy", "--quiet", "--src-tls-verify=false", &from, &to]);
    }
}

/// Documents that one of the engines rejects, and that the other one and skopeo accept.
const REFUSED: &[(&str, &str)] = &[
    ("dockerd", "an operating system that does not exist"),
    ("dockerd", "history with one step more"),
    ("podman", "an entrypoint that is a text"),
    ("podman", "a command that is a text"),
];

/// Compares with `docker load` and `podman load`.
#[test]
fn engines_load_what_the_tables_list() {
    let sandbox = Sandbox::new();
    for engine in real_engine::all("engines_load_what_the_tables_list") {
        for (what, config) in CONFIGS {
            Odd::new(*config, same).saved().write(&sandbox.path("saved.tar"));
            let loaded = run(engine.load(&sandbox.path("saved.tar")));
            let refused = REFUSED.contains(&(engine.name, *what));
            assert_eq!(loaded.is_err(), refused, "{}: {what}: {:?}", engine.name, loaded.err());
        }
    }
}

/// An index, and the image that is chosen for linux/amd64.
struct Listed {
    what: &'static str,
    /// The platforms of the entries; the first image is for linux/amd64 by its config, the second for linux/arm64.
    entries: &'static [(usize, Edit)],
    /// The chosen image; `None` if there is none for linux/amd64.
    chosen: Option<usize>,
    /// Text of the error.
    says: &'static str,
}

const UNSAID: &str = "by its config: its index does not name the platform";

const INDEXES: &[Listed] = &[
    Listed {
        what: "one entry, none named",
        entries: &[(0, unsaid)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "one entry for another, none named",
        entries: &[(1, unsaid)],
        chosen: Some(1),
        says: UNSAID,
    },
    Listed {
        what: "two, none named",
        entries: &[(0, unsaid), (1, unsaid)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "two, the other first",
        entries: &[(1, unsaid), (0, unsaid)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "empty platforms",
        entries: &[(1, empty), (0, empty)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "platforms of empty texts",
        entries: &[(1, blank), (0, blank)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "null as platforms",
        entries: &[(1, null), (0, null)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "one named, one not",
        entries: &[(0, unsaid), (1, arm)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "the right one named",
        entries: &[(1, unsaid), (0, amd)],
        chosen: Some(0),
        says: "",
    },
    Listed {
        what: "an architecture alone",
        entries: &[(1, arm_alone), (0, amd_alone)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "an attestation beside",
        entries: &[(0, unsaid), (1, attested)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "one marked without platform",
        entries: &[(0, unsaid), (1, marked)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "an artifact beside",
        entries: &[(1, artifact), (0, unsaid)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "another media type beside",
        entries: &[(1, layer), (0, unsaid)],
        chosen: Some(0),
        says: UNSAID,
    },
    Listed {
        what: "the other specification's media type",
        entries: &[(0, of_docker), (1, arm)],
        chosen: Some(0),
        says: "",
    },
    Listed {
        what: "nothing that fits",
        entries: &[(1, unsaid), (1, arm)],
        chosen: None,
        says: "there for: linux/arm64",
    },
    Listed {
        what: "an attestation alone",
        entries: &[(0, attested)],
        chosen: None,
        says: "holds no image",
    },
];

fn unsaid(entry: &mut Value) {
    entry["annotations"] = Value::Null;
}
fn empty(entry: &mut Value) {
    entry["platform"] = json!({});
}
fn blank(entry: &mut Value) {
    entry["platform"] = json!({ "os": "", "architecture": "" });
}
fn null(entry: &mut Value) {
    entry["platform"] = Value::Null;
}
fn amd(entry: &mut Value) {
    entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
}
fn arm(entry: &mut Value) {
    entry["platform"] = json!({ "os": "linux", "architecture": "arm64" });
}
fn amd_alone(entry: &mut Value) {
    entry["platform"] = json!({ "architecture": "amd64" });
}
fn arm_alone(entry: &mut Value) {
    entry["platform"] = json!({ "architecture": "arm64", "os": null });
}
fn attested(entry: &mut Value) {
    entry["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
}
fn marked(entry: &mut Value) {
    entry["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
}
fn artifact(entry: &mut Value) {
    entry["artifactType"] = "application/spdx+json".into();
}
fn of_docker(entry: &mut Value) {
    amd(entry);
    entry["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
}
fn layer(entry: &mut Value) {
    entry["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
}

#[test]
fn an_index_need_not_say_what_its_images_are_for() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let other: Edit = |config| config["architecture"] = "arm64".into();
    let images = [Odd::new(same, same), Odd::new(other, same)];
    for (index, image) in images.iter().enumerate() {
        image.push(&registry, &format!("image-{index}"));
    }
    for (index, case) in INDEXES.iter().enumerate() {
        let entries = case.entries.iter().map(|(image, edit)| {
            let mut entry = images[*image].entry();
            edit(&mut entry);
            entry
        });
        let manifests = Value::from_iter(entries);
        let document = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        registry.put_manifest("team/app", &format!("i{index}"), INDEX, document.to_string());
        let from = format!("registry://{}/team/app:i{index}?insecure=true", registry.url_host());
        let ran = sandbox.process(&from, &sandbox.uri("oci-layout", &format!("o{index}")), &[]);
        assert_eq!(ran.code == 0, case.chosen.is_some(), "{}: {}", case.what, ran.stderr);
        assert!(ran.stderr.contains(case.says), "{}: {}", case.what, ran.stderr);
        assert_eq!(ran.stderr.contains(UNSAID), case.says == UNSAID, "{}", ran.stderr);
        let Some(chosen) = case.chosen else { continue };
        let blob = format!("o{index}/blobs/sha256/{}", images[chosen].digest().hex());
        assert!(sandbox.path(&blob).is_file(), "{}", case.what);
        let says = sandbox.run(&["-O", "json", "info", &from]).json();
        let platform = ["linux/amd64", "linux/arm64"][chosen];
        assert!(says.to_string().contains(platform), "{}: {says}", case.what);
        if case.what != "another media type beside" {
            let to = sandbox.uri("oci-layout", &format!("all{index}"));
            sandbox.process(&from, &to, &["--all-platforms"]).verified();
        }
    }
}

/// Docker, Podman and skopeo pull such an image; of a layout's own list, Podman and skopeo find none.
#[test]
fn another_media_type_is_odd_in_an_index_and_wrong_in_a_layout() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = Odd::new(same, same);
    image.push(&registry, "1");
    let mut entry = image.entry();
    of_docker(&mut entry);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    registry.put_manifest("team/app", "index", INDEX, index.to_string());
    let from = format!("registry://{}/team/app:index?insecure=true", registry.url_host());
    sandbox.process(&from, "oci-layout://out", &["--all-platforms"]).verified();
    for source in [&*from, "oci-layout://out"] {
        sandbox.run(&["verify", source]).exits(0);
        for more in [&[][..], &["--all-platforms"]] {
            let said = sandbox.run(&[&["check", "-q", source][..], more].concat());
            said.exits(0);
            let said = sandbox.run(&[&["check", source][..], more].concat());
            let warned = said.stdout.contains("the media type of the other specification");
            assert!(warned, "{source} {more:?}: {}", said.stdout);
        }
    }
    sandbox.process(&from, "oci-layout://own", &[]).verified();
    let list = sandbox.path("own/index.json");
    let text = std::fs::read_to_string(&list).unwrap();
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    assert!(text.contains(manifest));
    let of_docker = "application/vnd.docker.distribution.manifest.v2+json";
    std::fs::write(&list, text.replace(manifest, of_docker)).unwrap();
    sandbox.run(&["verify", "oci-layout://own"]).exits(1).says("media type of the manifest");
    sandbox.run(&["check", "oci-layout://own"]).exits(1);
}

#[test]
fn a_nested_index_without_a_platform_is_looked_into() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let other: Edit = |config| config["architecture"] = "arm64".into();
    let (mine, other) = (Odd::new(same, same), Odd::new(other, same));
    mine.push(&registry, "mine");
    other.push(&registry, "other");
    let index = |entries: Value| {
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string()
    };
    let inner = index(json!([mine.entry()]));
    registry.put_manifest("team/app", "inner", INDEX, &inner);
    let outer = index(json!([other.entry(), described(INDEX, inner.as_bytes())]));
    registry.put_manifest("team/app", "outer", INDEX, &outer);
    let from = format!("registry://{}/team/app:outer?insecure=true", registry.url_host());
    sandbox.process(&from, &sandbox.uri("dir", "out"), &[]).verified();
    assert!(sandbox.path("out").join(mine.image.config_path()).is_file());
}

#[test]
fn an_image_that_names_no_platform_is_taken_and_this_is_said() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let unnamed: Edit = |config| {
        config["os"] = Value::Null;
        config["architecture"] = "".into();
    };
    let from = Odd::new(unnamed, same).push(&registry, "1");
    let said = "does not name its platform";
    for (index, more) in [&[][..], &["--platform", "linux/arm64"]].iter().enumerate() {
        let to = sandbox.uri("dir", &format!("out-{index}"));
        sandbox.process(&from, &to, more).verified().says(said);
    }
}

#[test]
fn a_list_of_no_manifests_beside_docker_s_own_says_nothing() {
    for manifests in [Value::Null, json!([])] {
        let sandbox = Sandbox::new();
        let image = TestImage::tiny("team/app:1");
        let mut archive = shape::docker25(&[&image], Pack::Plain);
        archive.edit("index.json", |index| index["manifests"] = manifests);
        archive.write(&sandbox.path("in.tar"));
        let from = sandbox.uri("tar", "in.tar");
        sandbox.process(&from, &sandbox.uri("dir", "one"), &[]).verified();
        let all = sandbox.uri("oci-layout", "all");
        sandbox.process(&from, &all, &["--all-platforms"]).verified();
        // Readers of the other list find nothing.
        sandbox.run(&["verify", &from]).exits(3).says("lists no image");
        sandbox.run(&["check", &from]).exits(1);
    }
}
