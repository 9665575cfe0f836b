//! `oci-layout://`, written and read: what the layout has afterwards, and what is left unchanged.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::landed::assert_in_directory;
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape::{self, oci_manifest};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const FULL: &[&str] = &["--verify=full"];

fn index(sandbox: &Sandbox, layout: &str) -> Value {
    let bytes = std::fs::read(sandbox.path(layout).join("index.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Tags and manifest digests.
fn tags(sandbox: &Sandbox, layout: &str) -> Vec<(String, String)> {
    let index = index(sandbox, layout);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = index["manifests"].as_array().unwrap().iter();
    entries.map(|entry| (text(&entry["annotations"][REF_NAME]), text(&entry["digest"]))).collect()
}

fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[test]
fn an_unchanged_image_keeps_its_digest_there_and_back() {
    let (registry, other) = (Registry::start(), Registry::start());
    let sandbox = Sandbox::new();
    for (pack, tag) in
        [(Pack::Gzip, "gzip"), (Pack::Zstd, "zstd"), (Pack::JoinedMembers, "members")]
    {
        let image = TestImage::new(&format!("team/app:{tag}"));
        let source = push(&registry, &image, pack);
        sandbox.process(&source, &sandbox.uri("oci-layout", "out"), FULL).verified();
        let manifest = oci_manifest(&image, pack);
        let digest = Digest::of(manifest.as_bytes());
        let tree = sandbox.tree("out");
        let there = format!("{} bytes {digest}", manifest.len());
        assert_eq!(tree.get(&blob(digest)), Some(&there), "{tree:?}");
        for layer in &image.layers {
            assert!(tree.contains_key(&blob(Digest::of(&pack.pack(layer)))));
        }
        assert!(tree.contains_key(&blob(image.id())));
        assert_eq!(tags(&sandbox, "out").last().unwrap(), &(tag.to_owned(), digest.to_string()));

        let back = format!("registry://{}/copy:{tag}?insecure=true", other.url_host());
        let from = format!("{}:{tag}", sandbox.uri("oci-layout", "out"));
        sandbox.process(&from, &back, FULL).verified();
        assert_eq!(other.manifest("copy", tag).unwrap().1, manifest.as_bytes());
    }
    let entry = &index(&sandbox, "out")["manifests"][0];
    assert_eq!(entry["platform"], json!({"architecture": "amd64", "os": "linux"}));
    let marker = std::fs::read_to_string(sandbox.path("out/oci-layout")).unwrap();
    assert_eq!(marker, r#"{"imageLayoutVersion":"1.0.0"}"#);
    sandbox.run(&["verify", &sandbox.uri("oci-layout", "out")]).verified().says("3/3 verified");
    sandbox.assert_clean();
}

#[test]
fn blobs_that_are_there_are_hashed_and_not_fetched_again() {
    let registry = Registry::start();
    let sandbox = Sandbox::new();
    let image = TestImage::new("app:1");
    let source = push(&registry, &image, Pack::Gzip);
    let to = sandbox.uri("oci-layout", "out");
    sandbox.process(&source, &to, &[]).verified();
    let tree = sandbox.tree("out");
    let layer = Digest::of(&Pack::Gzip.pack(&image.layers[1]));
    let fetched = || registry.requests_of("GET", &format!("/blobs/{layer}")).len();
    let once = fetched();
    sandbox.process(&source, &to, &[]).verified();
    assert_eq!(fetched(), once);

    // A file with the right name and size, but other content.
    let path = sandbox.path("out").join(blob(layer));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    sandbox.process(&source, &to, &[]).verified();
    assert_eq!(fetched(), once + 1);
    assert_eq!(sandbox.tree("out"), tree);
}

#[test]
fn an_image_without_a_manifest_gets_ocis_and_reads_back_the_same() {
    let sandbox = Sandbox::new();
    let image = TestImage::new("quay.io/team/app:1.4");
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let to = format!("{}:stable", sandbox.uri("oci-layout", "out"));
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, FULL).verified();
    let entry = &index(&sandbox, "out")["manifests"][0];
    assert_eq!(entry["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(entry["annotations"]["io.containerd.image.name"], "quay.io/team/app:stable");
    assert_eq!(entry["annotations"][REF_NAME], "stable");

    for from in [to.clone(), sandbox.uri("oci-layout", "out")] {
        sandbox.process(&from, &sandbox.uri("dir", "back"), FULL).verified();
        let image = TestImage { name: "quay.io/team/app:stable".into(), ..image.clone() };
        assert_in_directory(&sandbox.path("back"), &image);
        std::fs::remove_dir_all(sandbox.path("back")).unwrap();
    }
    let missing = format!("{}:none", sandbox.uri("oci-layout", "out"));
    let ran = sandbox.process(&missing, &sandbox.uri("dir", "back"), &[]);
    ran.exits(1).says("no image of the tag 'none'").says("quay.io/team/app:stable");
    assert!(!sandbox.path("back").exists());
}

#[test]
fn the_same_content_compressed_twice_in_two_ways_is_kept_so() {
    let registry = Registry::start();
    let sandbox = Sandbox::new();
    let layer = tar(&[("etc/motd", b"twice")]);
    let image = TestImage::with_layers("app:1", vec![layer.clone(), layer.clone(), layer.clone()]);
    let source = push(&registry, &image, Pack::Gzip);
    let (one, two) = (Pack::Gzip.pack(&layer), Pack::JoinedMembers.pack(&layer));
    registry.put_blob(&two);
    let mut manifest: Value = serde_json::from_str(&oci_manifest(&image, Pack::Gzip)).unwrap();
    manifest["layers"][1]["digest"] = Digest::of(&two).to_string().into();
    manifest["layers"][1]["size"] = two.len().into();
    let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
    let digest = registry.put_manifest("app", "1", &media_type, manifest.to_string());
    sandbox.process(&source, &sandbox.uri("oci-layout", "out"), FULL).verified();
    let tree = sandbox.tree("out");
    for expected in [digest, Digest::of(&one), Digest::of(&two)] {
        assert!(tree.contains_key(&blob(expected)), "{tree:?}");
    }
    let to = format!("registry://{}/copy:1?insecure=true", registry.url_host());
    sandbox.process(&source, &to, FULL).verified();
    assert_eq!(registry.manifest("copy", "1").unwrap().1, manifest.to_string().as_bytes());
}

#[test]
fn images_of_others_stay_as_they_are() {
    let sandbox = Sandbox::new();
    let theirs = r#"{"digest" : "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "mediaType":"application/vnd.oci.image.index.v1+json", "size":10, "x":{"a":1e1,"b":[]}}"#;
    let written = format!(r#"{{ "schemaVersion":2,"manifests":[ {theirs} ], "z": 1.0 }}"#);
    std::fs::create_dir(sandbox.path("out")).unwrap();
    std::fs::write(sandbox.path("out/index.json"), &written).unwrap();
    std::fs::write(sandbox.path("out/oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let (one, two) = (TestImage::tiny("app:1"), TestImage::tiny("app:2"));
    shape::legacy(&[&one, &two], Pack::Gzip).write(&sandbox.path("in.tar"));
    let to = sandbox.uri("oci-layout", "out");
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, FULL).verified();
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, FULL).verified();
    let text = std::fs::read_to_string(sandbox.path("out/index.json")).unwrap();
    assert!(text.contains(theirs) && text.ends_with(r#","z":1.0}"#), "{text}");
    let found = tags(&sandbox, "out");
    let mut names: Vec<&str> = found.iter().map(|(tag, _)| tag.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["", "1", "2"]);
    let marker = std::fs::read_to_string(sandbox.path("out/oci-layout")).unwrap();
    assert_eq!(marker, r#"{"imageLayoutVersion": "1.0.0"}"#);
}

#[test]
fn a_folder_that_cannot_be_a_layout_is_left_alone() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    for (file, content, said) in [
        ("index.json", "[]", "the 'index.json' that is there is not a JSON object"),
        ("index.json", "{\"manifests\":7}", "has 'manifests' that are no list"),
        ("index.json", "{\"a\":1,\"a\":2}", "with distinct keys"),
        ("oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}", "of version '2.0.0'"),
        ("oci-layout", "hello", "names no version"),
    ] {
        std::fs::create_dir(sandbox.path("out")).unwrap();
        std::fs::write(sandbox.path("out").join(file), content).unwrap();
        let tree = sandbox.tree("out");
        let to = sandbox.uri("oci-layout", "out");
        sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &["--force"]).exits(1).says(said);
        assert_eq!(sandbox.tree("out"), tree);
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
    sandbox.assert_clean();
}

#[test]
fn two_images_of_one_tag_are_refused_before_one_hides_the_other() {
    let sandbox = Sandbox::new();
    let (one, two) = (TestImage::tiny("one:1"), TestImage::tiny("two:1"));
    shape::legacy(&[&one, &two], Pack::Gzip).write(&sandbox.path("in.tar"));
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("oci-layout", "out"));
    sandbox.process(&from, &to, &[]).exits(2).says("'one:1' and 'two:1' would both be '1'");
    sandbox.process(&from, &format!("{to}:x"), &[]).exits(2).says("can hold only one");
    assert!(!sandbox.path("out").exists());
    sandbox.process(&format!("{from}?image=two"), &format!("{to}:x"), &[]).verified();
    assert_eq!(tags(&sandbox, "out").len(), 1);
}

#[test]
fn a_tag_of_two_images_is_found_and_one_for_two_platforms_is_none() {
    let sandbox = Sandbox::new();
    let (one, two) = (TestImage::tiny("app:1"), TestImage::tiny("app:2"));
    shape::legacy(&[&one, &two], Pack::Gzip).write(&sandbox.path("in.tar"));
    let to = sandbox.uri("oci-layout", "out");
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, FULL).verified();
    let mut document = index(&sandbox, "out");
    let mut verify = |change: &dyn Fn(&mut Value)| {
        change(&mut document);
        std::fs::write(sandbox.path("out/index.json"), document.to_string()).unwrap();
        sandbox.run(&["verify", &format!("{to}:1")])
    };
    verify(&|_| {}).verified().says("1/1 verified");
    // The full names still differ; only a request by tag is ambiguous.
    let ambiguous = "has 2 entries of the tag '1'";
    let same = |index: &mut Value| {
        for entry in index["manifests"].as_array_mut().unwrap() {
            entry["annotations"][REF_NAME] = "1".into();
        }
    };
    verify(&same).exits(1).says(ambiguous);
    sandbox.run(&["verify", &to]).verified().says("2/2 verified");
    let unnamed = |index: &mut Value| {
        index["manifests"][0].as_object_mut().unwrap().remove("platform").unwrap();
    };
    verify(&unnamed).exits(1).says(ambiguous);
    // The platform is wrong, the tag is not.
    let several = |index: &mut Value| {
        index["manifests"][0]["platform"] = json!({"architecture": "arm64", "os": "linux"});
    };
    let said = verify(&several);
    said.exits(3).says("is for another platform than the index says");
    assert!(!said.stderr.contains(ambiguous), "{}", said.stderr);
}

#[test]
fn processes_side_by_side_lose_no_entry() {
    let sandbox = Sandbox::new();
    let tags_wanted: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let from = sandbox.uri("tar", "in.tar");
    let running: Vec<_> = (tags_wanted.iter())
        .map(|tag| {
            let to = format!("{}:{tag}", sandbox.uri("oci-layout", "out"));
            sandbox.command(&["process", &from, &to]).spawn().unwrap()
        })
        .collect();
    for mut process in running {
        assert!(process.wait().unwrap().success());
    }
    let mut found: Vec<String> = tags(&sandbox, "out").into_iter().map(|(tag, _)| tag).collect();
    found.sort();
    assert_eq!(found, tags_wanted);
}

#[test]
fn a_layout_of_twenty_thousand_images_takes_one_more() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let (source, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("oci-layout", "out"));
    sandbox.process(&source, &to, &[]).verified();
    let mut many = index(&sandbox, "out");
    let entry = many["manifests"][0].clone();
    many["manifests"] = (0..20_000)
        .map(|number| {
            let mut entry = entry.clone();
            entry["annotations"][REF_NAME] = format!("t{number}").into();
            entry
        })
        .collect();
    std::fs::write(sandbox.path("out/index.json"), many.to_string()).unwrap();
    sandbox.process(&source, &format!("{to}:t17"), &[]).verified();
    sandbox.process(&source, &format!("{to}:more"), &[]).verified();
    assert_eq!(index(&sandbox, "out")["manifests"].as_array().unwrap().len(), 20_001);
}

#[test]
fn an_image_that_loses_its_place_is_told() {
    let sandbox = Sandbox::new();
    for name in ["a", "b"] {
        let image = TestImage::tiny(&format!("team/{name}:1"));
        shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path(&format!("{name}.tar")));
    }
    let mut other = TestImage::with_layers("team/a:1", vec![tar(&[("x", b"y")])]);
    other.name = "team/a:1".to_owned();
    shape::legacy(&[&other], Pack::Gzip).write(&sandbox.path("a2.tar"));
    let mut transcript = String::new();
    for to in ["oci-layout://out", "dir://plain", "dir://unique?unique_names=true"] {
        // The image itself takes no other's place.
        for _ in 0..2 {
            let said = sandbox.process("tar://a.tar", to, &[]);
            said.verified();
            assert!(!said.stderr.contains("warning"), "{to}: {}", said.stderr);
        }
        for from in ["tar://a2.tar", "tar://b.tar"] {
            let said = sandbox.process(from, to, &[]);
            said.verified();
            transcript += &format!("$ {from} {to}\n{}\n", sandbox.redact(&said.stderr));
        }
    }
    sandbox.process("tar://a.tar", "oci-layout://out:a", &[]).verified();
    assert_eq!(tags(&sandbox, "out").len(), 2);
    insta::assert_snapshot!(transcript);
}

#[test]
fn an_entry_that_another_tool_has_copied_for_a_new_tag_is_no_rival() {
    let sandbox = Sandbox::new();
    let images = [TestImage::tiny("app:1"), TestImage::tiny("app:2")];
    shape::legacy(&[&images[0], &images[1]], Pack::Gzip).write(&sandbox.path("in.tar"));
    let to = sandbox.uri("oci-layout", "out");
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, FULL).verified();
    let mut document = index(&sandbox, "out");
    let entries = document["manifests"].as_array_mut().unwrap();
    // `umoci tag` keeps the full name, also when the new tag gets another image.
    let full = entries[0]["annotations"].clone();
    let mut copy = entries[0].clone();
    copy["annotations"][REF_NAME] = "stable".into();
    entries.push(copy);
    entries[1]["annotations"] = full;
    entries[1]["annotations"][REF_NAME] = "old".into();
    std::fs::write(sandbox.path("out/index.json"), document.to_string()).unwrap();
    sandbox.run(&["verify", &to]).verified().says("3/3 verified");
    sandbox.run(&["verify", &format!("{to}:stable")]).verified();
}
