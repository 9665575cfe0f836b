//! Filters with `--all-platforms`: the index is written anew, and what was about a changed image is left out.

use std::collections::BTreeSet;

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::tar;
use crate::support::multi::{INDEX, MANIFEST, Multi, described, uri};
use crate::support::registry::Registry;

const JUNK: &[&str] = &["--all-platforms", "--verify=full", "-f", "exclude:pattern=opt/junk"];
const COSIGN: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// An index of two images, of which one has `opt/junk`; with an attestation and a signature of each, a signature that does
/// not name its image, and a chart.
struct Family {
    multi: Multi,
    amd64: Value,
    arm64: Value,
}

impl Family {
    fn build() -> Self {
        let mut multi = Multi::default();
        let junk = vec![
            tar(&[("etc/base", b"the same for all")]),
            tar(&[("opt/junk", b"junk"), ("opt/x", b"x")]),
        ];
        let mut amd64 = multi.image_with("linux/amd64", junk);
        amd64["annotations"] = json!({ "kept": "amd64" });
        amd64["x"] = json!([1, 2]);
        amd64["data"] = "bm90IHRoaXM=".into();
        let arm64 = multi.image("linux/arm64/v8");
        let mut entries = vec![amd64.clone(), arm64.clone()];
        for image in [&amd64, &arm64] {
            let digest = image["digest"].as_str().unwrap();
            let mut attestation =
                artifact(&mut multi, "application/vnd.in-toto+json", digest, None);
            attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
            attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": digest });
            entries.push(attestation);
            entries.push(artifact(
                &mut multi,
                COSIGN,
                &format!("signature of {digest}"),
                Some(image),
            ));
        }
        entries.push(artifact(&mut multi, COSIGN, "of nothing that it names", None));
        entries.push(artifact(
            &mut multi,
            "application/vnd.cncf.helm.config.v1+json",
            "chart",
            None,
        ));
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries,
            "annotations": { "kept": "index" }, "unknown": 1.50 });
        multi.manifest(INDEX, format!("\n {index} "), "");
        Self { multi, amd64, arm64 }
    }
}

/// An artifact, of which `subject` is what it is about.
fn artifact(multi: &mut Multi, kind: &str, content: &str, subject: Option<&Value>) -> Value {
    let config = b"{}".to_vec();
    let content = format!("{{\"content\": \"{content}\"}}").into_bytes();
    let mut document = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": described("application/vnd.oci.empty.v1+json", &config),
        "layers": [described(kind, &content)] });
    if let Some(subject) = subject {
        document["subject"] =
            json!({ "mediaType": MANIFEST, "digest": subject["digest"], "size": subject["size"] });
    }
    multi.blobs.extend([config, content]);
    multi.manifest(MANIFEST, document.to_string(), "")
}

/// The index that a layout has under a tag.
fn index_of(sandbox: &Sandbox, layout: &str) -> Value {
    let read = |path: String| -> Value {
        serde_json::from_slice(&std::fs::read(sandbox.path(&format!("{layout}/{path}"))).unwrap())
            .unwrap()
    };
    let digest = read("index.json".into())["manifests"][0]["digest"].as_str().unwrap().to_owned();
    read(format!("blobs/sha256/{}", digest.trim_start_matches("sha256:")))
}

#[test]
fn every_platform_is_filtered_and_the_index_lists_what_landed() {
    let (registry, sandbox, family) = (Registry::start(), Sandbox::new(), Family::build());
    let source = family.multi.push(&registry);
    let receipt = sandbox.path("receipt").display().to_string();
    let layout = sandbox.uri("oci-layout", "out");
    let ran = sandbox.process(&source, &layout, &[JUNK, &["--receipt", &receipt]].concat());
    // Two images, the artifacts of one of them, the chart, and the index.
    ran.verified().says("6/6 verified");
    assert_eq!(
        ran.stderr.matches(" is left out: it is about linux/amd64, which a filter changed").count(),
        2,
        "{}",
        ran.stderr
    );
    ran.says("(application/vnd.in-toto+json) is left out")
        .says("does not name the image that it is about");

    let index = index_of(&sandbox, "out");
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(
        (&index["annotations"]["kept"], &index["unknown"], entries.len()),
        (&"index".into(), &1.5.into(), 5)
    );
    let amd64 = &entries[0];
    assert_ne!(amd64["digest"], family.amd64["digest"]);
    for key in ["mediaType", "platform", "annotations", "x"] {
        assert_eq!(amd64[key], family.amd64[key], "{key}");
    }
    assert!(amd64.get("data").is_none());
    let blob = |digest: &Value| {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:").to_owned();
        std::fs::read(sandbox.path(&format!("out/blobs/sha256/{hex}"))).unwrap()
    };
    let manifest = blob(&amd64["digest"]);
    assert_eq!(amd64["size"], manifest.len());
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(entries[1], family.arm64);
    assert_eq!(blob(&family.arm64["digest"]), family.multi.manifests[1].1);
    let left: BTreeSet<&str> =
        entries.iter().map(|entry| entry["digest"].as_str().unwrap()).collect();
    assert!(family.multi.manifests.iter().all(|(_, bytes)| {
        let document: Value = serde_json::from_slice(bytes).unwrap();
        document["subject"]["digest"] != family.amd64["digest"]
            || !left.contains(&*Digest::of(bytes).to_string())
    }));

    for what in [&receipt, &layout] {
        sandbox.run(&["verify", "--full", what]).verified().says("6/6 verified");
    }
    let checked = sandbox.run(&["check", "--all-platforms", &layout]);
    assert!(checked.exits(0).stdout.contains(", 0 errors, "), "{}", checked.stdout);
    let there = uri(&registry, "copy:2");
    sandbox.process(&source, &there, JUNK).verified().says("6/6 verified");
    let (_, at_registry) = registry.manifest("copy", "2").unwrap();
    let at_registry: Value = serde_json::from_slice(&at_registry).unwrap();
    assert_eq!(
        at_registry["manifests"].as_array().unwrap()[1..],
        index["manifests"].as_array().unwrap()[1..]
    );
    assert_eq!(at_registry["manifests"][0]["platform"], amd64["platform"]);
    sandbox.run(&["verify", &there]).verified().says("6/6 verified");
    // What is filtered already stays as it is.
    let ran = sandbox.process(&layout, &sandbox.uri("oci-layout", "again"), JUNK);
    ran.verified().says("6/6 verified");
    assert!(!ran.stderr.contains("is left out"), "{}", ran.stderr);
    assert_eq!(index_of(&sandbox, "again"), index);
    sandbox.assert_clean();
}

#[test]
fn filters_that_change_nothing_keep_every_byte() {
    let (from, to) = (Registry::start(), Registry::start());
    let (multi, sandbox) = (Multi::build(), Sandbox::new());
    let source = multi.push(&from);
    let options = ["--all-platforms", "--verify=full", "-f", "exclude:pattern=nothing"];
    sandbox.process(&source, &uri(&to, "copy:1"), &options).verified().says("6/6 verified");
    multi.assert_at(&to, "copy", "1");
}

#[test]
fn nested_indexes_change_with_what_they_list() {
    let (registry, multi, sandbox) = (Registry::start(), Multi::build(), Sandbox::new());
    let source = multi.push(&registry);
    let options = ["--all-platforms", "--verify=full", "-f", "normalize-timestamps:ts=7"];
    let layout = sandbox.uri("oci-layout", "out");
    // Three images and two indexes: the attestation is about one of the images.
    let ran = sandbox.process(&source, &layout, &options);
    ran.verified().says("5/5 verified").says("does not name the image that it is about");
    let index = index_of(&sandbox, "out");
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    // One image is listed twice, for two variants.
    assert_eq!(entries[0]["digest"], entries[2]["digest"]);
    assert_ne!(entries[0]["platform"], entries[2]["platform"]);
    let hex = entries[3]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let nested = std::fs::read(sandbox.path(&format!("out/blobs/sha256/{hex}"))).unwrap();
    assert_eq!(entries[3]["size"], nested.len());
    sandbox.run(&["check", "--all-platforms", &layout]).exits(0);
    for architecture in ["amd64", "arm64", "s390x"] {
        let options = ["--architecture", architecture, "--verify=full"];
        sandbox.process(&layout, &sandbox.uri("dir", architecture), &options).verified();
    }
}

#[test]
fn each_image_is_compared_with_the_base_of_its_platform() {
    let index = |has_more: bool| {
        let mut multi = Multi::default();
        let mut image = |platform: &str| {
            let base = tar(&[("etc/platform", platform.as_bytes())]);
            let more = has_more.then(|| tar(&[("opt/x", b"x")]));
            multi.image_with(platform, [base].into_iter().chain(more).collect())
        };
        let entries = [image("linux/amd64"), image("linux/arm64/v8")];
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        multi.manifest(INDEX, index.to_string(), "");
        multi
    };
    let (from, base, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let (source, base) = (index(true).push(&from), index(false).push(&base));
    let filter = format!("normalize-timestamps:ts=5,base={base}");
    let layout = sandbox.uri("oci-layout", "out");
    let options = ["--all-platforms", "--verify=full", "-f", &filter];
    sandbox.process(&source, &layout, &options).verified();
    // Without platforms that fit, nothing is guessed.
    let alone = format!("{base}&arch=amd64");
    let filter = format!("normalize-timestamps:ts=5,base={alone}");
    let ran = sandbox.process(&source, &layout, &["--all-platforms", "-f", &filter]);
    ran.exits(1).says("(linux/arm64");
}

#[test]
fn a_warning_of_a_filter_names_the_platform() {
    let (registry, family, sandbox) = (Registry::start(), Family::build(), Sandbox::new());
    let source = family.multi.push(&registry);
    let options = ["--all-platforms", "-f", "exclude:pattern=nothing"];
    let ran = sandbox.process(&source, &sandbox.uri("oci-layout", "out"), &options);
    ran.verified();
    // Images of one source share what was found in a layer, so that not each of them reads all of its layers.
    let mut lines = ran.stderr.lines().filter(|line| line.contains("'nothing' matches nothing"));
    assert!(lines.all(|line| line.contains(" (linux/a")), "{}", ran.stderr);
    ran.says("'nothing' matches nothing in ");
}

#[test]
fn a_platform_that_cannot_be_filtered_keeps_the_index_from_being_written() {
    let (registry, mut multi, sandbox) = (Registry::start(), Multi::default(), Sandbox::new());
    let good = multi.image("linux/amd64");
    let bad = multi.image_with("linux/arm64", vec![b"this is no tar at all".repeat(60)]);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [good, bad] });
    multi.manifest(INDEX, index.to_string(), "");
    let source = multi.push(&registry);
    let ran = sandbox.process(&source, &sandbox.uri("oci-layout", "out"), JUNK);
    ran.exits(1).says("(linux/arm64)").says("the index was not written: 1 of the 2");
    assert!(!sandbox.path("out/index.json").exists());
}

#[test]
fn the_layer_cache_and_the_dry_run_know_every_platform() {
    let (registry, family, sandbox) = (Registry::start(), Family::build(), Sandbox::new());
    let source = family.multi.push(&registry);
    let cache = sandbox.path("cache.json").display().to_string();
    let options = [JUNK, &["--layer-cache", &cache]].concat();
    let layout = sandbox.uri("oci-layout", "out");
    let plan = sandbox.process(&source, &layout, &[JUNK, &["--dry-run"]].concat());
    plan.exits(0);
    assert!(plan.stdout.contains("fetched and filtered"), "{}", plan.stdout);
    assert!(!sandbox.path("out").exists());
    sandbox.process(&source, &layout, &options).verified();
    let before = index_of(&sandbox, "out");
    let ran = sandbox.process(&source, &layout, &[&options[..], &["-v"]].concat());
    ran.verified().says("the destination has it already, as sha256:");
    assert_eq!(index_of(&sandbox, "out"), before);
}
