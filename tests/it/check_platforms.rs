//! `check --all-platforms`: an index and all that it lists, each by itself.

use std::path::PathBuf;

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, tar};
use crate::support::multi::{MANIFEST, Multi};
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Returns the images, and the findings about them except notes.
fn found(said: &Ran) -> Vec<String> {
    let document = said.json();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |image: &Value| {
        let mut line = format!("{} {}:", text(&image["kind"]), text(&image["platform"]));
        for result in image["results"].as_array().unwrap() {
            if result["severity"] != "info" {
                line += &format!(" {} {}", text(&result["severity"]), text(&result["check"]));
            }
        }
        line
    };
    document["images"].as_array().unwrap().iter().map(line).collect()
}

/// The same image in a registry, in a layout and in an archive of a layout.
struct Placed {
    sandbox: Sandbox,
    _registry: Registry,
    sources: [String; 3],
}

impl Placed {
    fn new(multi: &Multi) -> Self {
        let (sandbox, registry) = (Sandbox::new(), Registry::start());
        let archive = multi.archive();
        archive.write(&sandbox.path("in.tar"));
        for (name, content) in &archive.0 {
            let path = sandbox.path("layout").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let sources = [
            multi.push(&registry),
            sandbox.uri("oci-layout", "layout:1"),
            sandbox.uri("tar", "in.tar?image=unknown"),
        ];
        Self { sandbox, _registry: registry, sources }
    }

    fn run(&self, source: &str, more: &[&str]) -> Ran {
        let arguments = ["check", "--all-platforms", "-O", "json", source];
        self.sandbox.run(&[&arguments, more].concat())
    }

    fn blob(&self, content: &[u8]) -> PathBuf {
        self.sandbox.path("layout/blobs/sha256").join(Digest::of(content).hex())
    }

    /// Found everywhere, fast and in full.
    #[track_caller]
    fn finds(&self, expected: &[&str]) {
        for source in &self.sources {
            for more in [&["--fast"][..], &[]] {
                let said = self.run(source, more);
                assert_eq!(found(&said), expected, "{source} {more:?}: {said:?}");
                let errors = expected.iter().any(|line| line.contains(" error "));
                assert_eq!(said.code, i32::from(errors), "{said:?}");
            }
        }
    }
}

/// An index that was changed.
fn edited(edit: impl FnOnce(&mut Value)) -> Placed {
    let mut multi = Multi::build();
    multi.edit_index(edit);
    Placed::new(&multi)
}

/// Returns the expected findings: those of a correct image, with changes at some positions.
fn expected(changes: &[(usize, &'static str)]) -> Vec<&'static str> {
    let mut all = vec![
        "index -:",
        "image linux/amd64:",
        "image linux/arm64/v8:",
        "index -:",
        "image linux/s390x:",
        "attestation -:",
    ];
    changes.iter().for_each(|(at, line)| all[*at] = line);
    all
}

#[test]
fn a_good_index_and_all_that_it_lists() {
    let placed = Placed::new(&Multi::build());
    placed.finds(&expected(&[]));
    for source in &placed.sources {
        let document = placed.run(source, &[]).json();
        let passed = |at: usize| {
            let passed = document["images"][at]["passed"].as_array().unwrap().iter();
            passed.map(|rule| rule["check"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut rules = vec!["schema-version", "index"];
        if source.starts_with("registry://") {
            rules.push("served");
        }
        assert_eq!(passed(0), rules, "{source}");
        assert!(passed(1).contains(&"diff-id".to_owned()), "{:?}", passed(1));
        assert!(passed(5).contains(&"layer-digest".to_owned()), "{:?}", passed(5));
        assert_eq!(document["images"][0]["digest"], Digest::of(Multi::build().index()).to_string());
        assert_eq!(document["summary"]["images"], 6);
        // Without the option, the one that was asked for.
        assert_eq!(found(&placed.sandbox.run(&["check", "-O", "json", source])).len(), 1);
    }
}

#[test]
fn a_child_that_is_not_as_listed_is_found() {
    let absent = Digest::of(b"none").to_string();
    edited(|index| index["manifests"][1]["digest"] = absent.into())
        .finds(&expected(&[(2, "image linux/arm64/v8: error manifest")]));
    edited(|index| index["manifests"][0]["size"] = 17.into())
        .finds(&expected(&[(1, "image linux/amd64: error manifest")]));
    edited(|index| index["manifests"][1]["platform"]["architecture"] = "riscv64".into())
        .finds(&expected(&[(2, "image linux/riscv64/v8: error platform")]));
    // A layout's manifest is not read as what it does not say.
    let placed = edited(|index| index["manifests"][0]["mediaType"] = INDEX.into());
    for source in &placed.sources {
        let line = match source.starts_with("registry") {
            true => "image linux/amd64: error manifest",
            false => "image linux/amd64: error manifest unchecked image",
        };
        assert_eq!(found(placed.run(source, &[]).exits(1)), expected(&[(1, line)]));
    }
    // Docker, containerd, Podman and skopeo read either form of a manifest, whichever the index says.
    let placed = edited(|index| index["manifests"][0]["mediaType"] = DOCKER.into());
    for source in &placed.sources {
        let line = "image linux/amd64: warning manifest";
        assert_eq!(found(placed.run(source, &[]).exits(0)), expected(&[(1, line)]));
    }
}

#[test]
fn a_wrong_index_is_found() {
    edited(|index| index["schemaVersion"] = 3.into())
        .finds(&expected(&[(0, "index -: error schema-version")]));
    edited(|index| {
        index["manifests"][1]["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    })
    .finds(&expected(&[(0, "index -: warning index"), (2, "image linux/amd64: error platform")]));
    // Every build of Windows has an image of its own.
    let windows = |versions: [&'static str; 2]| {
        edited(move |index| {
            for (at, version) in versions.iter().enumerate() {
                index["manifests"][at]["platform"] =
                    json!({ "os": "windows", "architecture": "amd64", "os.version": version });
            }
        })
    };
    let others =
        [(1, "image windows/amd64: error platform"), (2, "image windows/amd64: error platform")];
    windows(["10.0.17763.1", "10.0.20348.2"]).finds(&expected(&others));
    let twice = [&[(0, "index -: warning index")], &others[..]].concat();
    windows(["10.0.17763.1", "10.0.17763.1"]).finds(&expected(&twice));
    // An image that cannot be read does not hide the others.
    edited(|index| {
        let entries = index["manifests"].as_array_mut().unwrap();
        entries.insert(1, json!({ "mediaType": MANIFEST, "size": -1 }));
        entries.insert(3, 7.into());
    })
    .finds(&expected(&[(0, "index -: error index error index")]));
    edited(|index| {
        let entry = index["manifests"][0].clone();
        index["manifests"] = vec![entry; 1_001].into();
    })
    .finds(&["index -: error index"]);

    let mut multi = Multi::build();
    for _ in 0..3 {
        multi.wrap();
    }
    Placed::new(&multi).finds(&["index -:", "index -:", "index -:", "index -: error index"]);
}

#[test]
fn attestations_are_named_and_read() {
    let about = |digest: String| {
        edited(move |index| {
            index["manifests"][4]["annotations"] = json!({
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": digest,
            });
        })
    };
    let mut multi = Multi::build();
    let mut amd64 = Value::Null;
    multi.edit_index(|index| amd64 = index["manifests"][0]["digest"].clone());
    let placed = about(amd64.as_str().unwrap().to_owned());
    placed.finds(&expected(&[(5, "attestation linux/amd64:")]));
    about(Digest::of(b"none").to_string()).finds(&expected(&[(0, "index -: warning index")]));

    std::fs::write(placed.blob(b"{\"_type\":\"in-toto\"}"), b"{\"_type\":\"in-TOTO\"}").unwrap();
    let said = placed.run(&placed.sources[1], &[]);
    let line = "attestation linux/amd64: error layer-digest";
    assert_eq!(found(said.exits(1)), expected(&[(5, line)]));
}

#[test]
fn damage_belongs_to_its_platform() {
    let placed = Placed::new(&Multi::build());
    let motd = Pack::Gzip.pack(&tar(&[("etc/motd", b"linux/arm64/v8")]));
    let other = Pack::Gzip.pack(&tar(&[("etc/motd", b"linux/arm64/v9")]));
    std::fs::write(placed.blob(&motd), other).unwrap();
    let said = placed.run(&placed.sources[1], &[]);
    let line = "image linux/arm64/v8: error diff-id error layer-digest";
    assert_eq!(found(said.exits(1)), expected(&[(2, line)]));
    std::fs::remove_file(placed.blob(&motd)).unwrap();
    let said = placed.sandbox.run(&["check", "--all-platforms", "--fast", &placed.sources[1]]);
    insta::assert_snapshot!("text", placed.sandbox.redact(&said.exits(1).stdout));
}

#[test]
fn a_layout_that_lists_platforms_itself() {
    let placed = Placed::new(&Multi::build());
    let path = placed.sandbox.path("layout/index.json");
    let mut multi = Multi::build();
    let mut entries = Value::Null;
    multi.edit_index(|index| entries = json!([index["manifests"][0], index["manifests"][1]]));
    for entry in entries.as_array_mut().unwrap() {
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
    }
    let index = json!({ "schemaVersion": 2, "manifests": entries });
    std::fs::write(path, index.to_string()).unwrap();
    let said = placed.run(&placed.sources[1], &[]);
    let expected = ["index -: warning index", "image linux/amd64:", "image linux/arm64/v8:"];
    assert_eq!(found(said.exits(0)), expected);
}

#[test]
fn one_platform_is_all_there_is_or_all_that_is_kept() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = TestImage::tiny("team/app:1");
    let source = push(&registry, &image, Pack::Gzip);
    let said = sandbox.run(&["check", "--all-platforms", "-O", "json", &source]);
    assert_eq!(found(said.exits(0)), ["image linux/amd64:"]);

    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let mut lines = String::new();
    for arguments in [
        &[sandbox.uri("tar", "in.tar").as_str()][..],
        &["dir:///srv/images"],
        &["docker://team/app:1"],
        &["registry://localhost/team/app:1?arch=arm64"],
        &["oci-layout:///srv/images", "--architecture=arm64"],
    ] {
        let said = sandbox.run(&[&["check", "--all-platforms"][..], arguments].concat());
        lines += &format!("{arguments:?}\n{}\n", said.exits(2).stderr);
    }
    insta::assert_snapshot!("refused", sandbox.redact(&lines));
}
