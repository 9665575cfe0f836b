//! `--all-platforms`: an index and everything that it lists, byte for byte.

use std::process::Stdio;
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile::describing;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::multi::{INDEX, Multi, uri};
use crate::support::registry::{Fault, Registry};

const ALL: &[&str] = &["--all-platforms", "--verify=full"];

fn lines<'a>(ran: &'a Ran, end: &str) -> Vec<&'a str> {
    ran.stderr.lines().filter(|line| line.ends_with(end)).collect()
}

#[test]
fn a_layer_of_several_platforms_is_sent_once_and_read_back_once() {
    let (from, to, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let source = Multi::build().push(&from);
    let one = [ALL, &["--image-parallel", "1"]].concat();
    sandbox.process(&source, &uri(&to, "copy:2"), &one).verified();
    let shared = Digest::of(&Pack::Gzip.pack(&tar(&[("etc/base", b"the same for all")])));
    let read = to.requests_of("GET", &format!("/blobs/{shared}")).into_iter();
    assert_eq!(read.filter(|get| get.header("range").is_empty()).count(), 1);
    let sent = to.requests_of("PUT", "/blobs/uploads/").into_iter();
    assert_eq!(sent.filter(|put| put.path.contains(&shared.hex())).count(), 1);
}

#[test]
fn an_index_arrives_whole_wherever_it_goes() {
    let (from, to) = (Registry::start(), Registry::start());
    let (multi, sandbox) = (Multi::build(), Sandbox::new());
    let source = multi.push(&from);
    let there = uri(&to, "copy:2");
    let ran = sandbox.process(&source, &there, ALL);
    ran.verified().says("6/6 verified");
    let name = format!("{}/multi:1", from.url_host());
    for part in ["linux/amd64", "linux/arm64/v8", "linux/s390x"] {
        ran.says(&format!("{name} ({part}): 2 layers, "));
    }
    ran.says(&format!("{name} (unknown/unknown): artifact, 2 layers, "));
    assert_eq!(lines(&ran, "(index): verified").len(), 1, "{}", ran.stderr);
    ran.says("(index sha256:");
    multi.assert_at(&to, "copy", "2");
    // Only the requested tag is written, and it is written last.
    let manifests: Vec<String> =
        to.requests_of("PUT", "/manifests/").into_iter().map(|put| put.path).collect();
    assert_eq!(manifests.iter().filter(|path| !path.contains("sha256:")).count(), 1);
    assert!(manifests.last().unwrap().ends_with("/manifests/2"), "{manifests:?}");

    let layout = sandbox.uri("oci-layout", "out");
    sandbox.process(&there, &layout, ALL).verified().says("6/6 verified");
    let index = std::fs::read(sandbox.path("out/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(index["manifests"][0]["digest"], Digest::of(multi.index()).to_string());
    assert_eq!(index["manifests"][0]["mediaType"], INDEX);
    sandbox.run(&["verify", &layout]).verified().says("6/6 verified");

    sandbox.process(&format!("{layout}:2"), &uri(&to, "back:3"), ALL).verified();
    multi.assert_at(&to, "back", "3");
    multi.archive().write(&sandbox.path("in.tar"));
    sandbox.process(&sandbox.uri("tar", "in.tar"), &uri(&to, "tar:4"), ALL).verified();
    multi.assert_at(&to, "tar", "4");
    sandbox.run(&["verify", &uri(&to, "tar:4")]).verified().says("6/6 verified");

    // Reads one platform of what was written.
    let options = ["--architecture", "arm64", "--verify=full"];
    sandbox.process(&layout, &sandbox.uri("dir", "one"), &options).verified();
    sandbox.assert_clean();
}

#[test]
fn one_receipt_covers_every_platform() {
    let registry = Registry::start();
    let (multi, sandbox) = (Multi::build(), Sandbox::new());
    let source = multi.push(&registry);
    let receipt = sandbox.path("receipt").display().to_string();
    let options = ["--all-platforms", "--receipt", &receipt, "-O", "json"];
    let document = sandbox.process(&source, &sandbox.uri("oci-layout", "out"), &options);
    let images = document.exits(0).json()["images"].clone();
    let said: Vec<_> = images
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image["kind"].clone(), image["platform"].clone()))
        .collect();
    assert!(said.contains(&("image".into(), "linux/arm64/v8".into())), "{said:?}");
    assert_eq!(said.last().unwrap(), &("index".into(), Value::Null));
    sandbox.run(&["verify", &receipt]).verified().says("6/6 verified").says("(linux/s390x)");

    let blob = |bytes: &[u8]| sandbox.path("out/blobs/sha256").join(Digest::of(bytes).hex());
    let attested = blob(b"{\"_type\":\"in-toto\"}");
    let before = std::fs::read(&attested).unwrap();
    std::fs::write(&attested, before.to_ascii_uppercase()).unwrap();
    let ran = sandbox.run(&["verify", &receipt]);
    ran.exits(1).says("(unknown/unknown): layer 1").says("4/6 verified, 2 FAILED");
    ran.says("hint: repair it with: occystrap process --all-platforms 'registry://");
    // The damage is reported once, and the index is damaged as well.
    assert_eq!(ran.stderr.matches(": layer 1 '").count(), 1, "{}", ran.stderr);
    ran.says("(index): manifest").says("1 of the 5 that it lists: FAILED");
    let ran = sandbox.run(&["verify", &sandbox.uri("oci-layout", "out")]);
    ran.exits(1).says("(unknown/unknown): layer 1").says("4/6 verified, 2 FAILED");
    // The receipts of some of it, and of the index alone.
    let all: Value = serde_json::from_slice(&std::fs::read(&receipt).unwrap()).unwrap();
    let all = all["receipts"].as_array().unwrap();
    for kept in [&all[..1], &[]] {
        let kept: Vec<&Value> = kept.iter().chain(all.last()).collect();
        let cut = serde_json::json!({ "occystrap_receipts": 1, "receipts": kept });
        let path = sandbox.path("cut").display().to_string();
        std::fs::write(&path, cut.to_string()).unwrap();
        let ran = sandbox.run(&["verify", &path]);
        ran.exits(1).says("has other content").says("1 of the 5 that it lists: FAILED");
        sandbox.run(&["verify", "--fast", &path]).verified();
    }
    std::fs::write(&attested, before).unwrap();
    // The receipt of a nested index, twice: the second one is not right only because the first one was reported.
    let nested: Vec<&Value> =
        all.iter().filter(|one| one["image"]["part"]["nested"].is_string()).collect();
    assert_eq!(nested.len(), 1, "{all:?}");
    let twice = serde_json::json!({ "occystrap_receipts": 1, "receipts": [nested[0], nested[0]] });
    let path = sandbox.path("twice").display().to_string();
    std::fs::write(&path, twice.to_string()).unwrap();
    let layer = blob(&Pack::Gzip.pack(&tar(&[("etc/motd", b"linux/s390x")])));
    let before = std::fs::read(&layer).unwrap();
    std::fs::write(&layer, before.to_ascii_uppercase()).unwrap();
    sandbox.run(&["verify", &path]).exits(1).says("0/2 verified, 2 FAILED");
    std::fs::write(&layer, before).unwrap();

    let index = blob(multi.index());
    std::fs::write(&index, multi.index().to_ascii_uppercase()).unwrap();
    let ran = sandbox.run(&["verify", &receipt]);
    ran.exits(1).says("(index): manifest").says("5/6 verified, 1 FAILED");
    std::fs::remove_file(&index).unwrap();
    sandbox.run(&["verify", &sandbox.uri("oci-layout", "out")]).exits(1).says("is not there");
    sandbox.run(&["verify", "--fast", &receipt]).exits(1).says("(index): manifest");
}

#[test]
fn a_platform_that_fails_keeps_the_index_from_being_named() {
    let (from, to) = (Registry::start(), Registry::start());
    let (multi, sandbox) = (Multi::build(), Sandbox::new());
    let source = multi.push(&from);
    let receipt = sandbox.path("receipt").display().to_string();
    let motd = Pack::Gzip.pack(&tar(&[("etc/motd", b"linux/arm64/v8")]));
    let part = format!("/blobs/{}", Digest::of(&motd));
    from.fault("GET", &part, Fault::status(404), usize::MAX);
    let options = [ALL, &["--receipt", &receipt, "--retries=0"]].concat();
    for there in [uri(&to, "copy:2"), sandbox.uri("oci-layout", "out")] {
        let ran = sandbox.process(&source, &there, &options);
        ran.exits(1).says("(linux/arm64/v8)").says("the index was not written: 1 of the 5");
        ran.says("4/6 verified");
        assert!(!sandbox.path("receipt").exists());
    }
    assert!(to.manifest("copy", "2").is_none());
    assert!(to.manifest("copy", &Digest::of(multi.index()).to_string()).is_none());
    assert!(!sandbox.path("out/index.json").exists());

    // A platform that does not verify is as bad as one that did not arrive.
    let third = Registry::start();
    let source = Multi::build().push(&third);
    let (_, amd64) = &multi.manifests[2];
    to.fault(
        "GET",
        &format!("/again/manifests/{}", Digest::of(amd64)),
        Fault::status(404),
        usize::MAX,
    );
    let ran = sandbox.process(&source, &uri(&to, "again:2"), &["--all-platforms"]);
    ran.exits(1).says("(linux/amd64)").says("FAILED").says("the index was not written: 2 of the 5");
    assert!(to.manifest("again", "2").is_none());
}

#[test]
fn indexes_that_lie_or_drown() {
    let sandbox = Sandbox::new();
    let case = |said: &str, edit: &dyn Fn(&mut Multi)| {
        let (registry, mut multi) = (Registry::start(), Multi::build());
        edit(&mut multi);
        let from = multi.push(&registry);
        multi.archive().write(&sandbox.path("in.tar"));
        for source in [from, sandbox.uri("tar", "in.tar")] {
            let ran = sandbox.process(&source, &sandbox.uri("oci-layout", "out"), ALL);
            ran.exits(1).says(said);
            assert!(!sandbox.path("out").exists(), "{said}");
        }
    };
    case("which the source does not have", &|multi| {
        multi.edit_index(|index| {
            index["manifests"][1]["digest"] = Digest::of(b"none").to_string().into()
        });
    });
    case("expected 17, found", &|multi| {
        multi.edit_index(|index| index["manifests"][1]["size"] = 17.into());
    });
    case("at most 1000, found 10000", &|multi| {
        multi.edit_index(|index| {
            let entry = index["manifests"][0].clone();
            let many = (0..10_000_u32).map(|n| {
                let mut entry = entry.clone();
                entry["digest"] = Digest::of(&n.to_be_bytes()).to_string().into();
                entry
            });
            index["manifests"] = many.collect();
        });
    });
    case("nested too deeply", &|multi| {
        for _ in 0..3 {
            multi.wrap();
        }
    });
    case("number of layers in the manifest", &|multi| {
        // An image, unlike an attestation, must be what its config says.
        let bytes = String::from_utf8(multi.manifests[2].1.clone()).unwrap();
        let mut document: Value = serde_json::from_str(&bytes).unwrap();
        document["layers"].as_array_mut().unwrap().pop();
        multi.manifests[2].1 = document.to_string().into_bytes();
        let digest = Digest::of(&multi.manifests[2].1).to_string();
        let size = multi.manifests[2].1.len();
        multi.edit_index(|index| {
            index["manifests"][0]["digest"] = digest.into();
            index["manifests"][0]["size"] = size.into();
        });
    });
    sandbox.assert_clean();
}

#[test]
fn a_child_of_another_digest_and_an_index_that_lists_itself() {
    let sandbox = Sandbox::new();
    let mut multi = Multi::build();
    // No index has its own digest in it: what is kept under that name is something else.
    let wrong = Digest::of(b"itself");
    multi.edit_index(|index| index["manifests"][1]["digest"] = wrong.to_string().into());
    let mut archive = multi.archive();
    archive.push(format!("blobs/sha256/{}", wrong.hex()), multi.index().to_vec());
    archive.write(&sandbox.path("in.tar"));
    let ran =
        sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("oci-layout", "out"), ALL);
    ran.exits(1).says("digest of the manifest: expected").says(&wrong.to_string());

    let registry = Registry::start();
    let source = multi.push(&registry);
    registry.set_manifest("multi", &wrong.to_string(), INDEX, multi.index());
    let ran = sandbox.process(&source, &sandbox.uri("oci-layout", "out"), ALL);
    ran.exits(1).says("the manifest's bytes: expected").says(&wrong.to_string());
    assert!(!sandbox.path("out").exists());
}

#[test]
fn an_output_that_cannot_hold_an_index_says_so_first() {
    let sandbox = Sandbox::new();
    Multi::build().archive().write(&sandbox.path("in.tar"));
    let from = sandbox.uri("tar", "in.tar");
    let layout = sandbox.uri("oci-layout", "out");
    for (source, to, more, said) in [
        (from.clone(), sandbox.uri("dir", "out"), "", "holds one platform of an image"),
        (from.clone(), sandbox.uri("tar", "out.tar"), "", "holds one platform of an image"),
        (from.clone(), layout.clone(), "--compression=zstd", "layers cannot be compressed again"),
        (
            from.clone(),
            format!("{layout}?compression=gzip"),
            "",
            "layers cannot be compressed again",
        ),
        (format!("{from}?arch=arm64"), layout.clone(), "", "'?arch=' chooses one platform"),
        (from.clone(), layout.clone(), "--architecture=arm64", "with --all-platforms all are"),
    ] {
        let more = ["--all-platforms", more];
        let more: Vec<&str> = more.into_iter().filter(|word| !word.is_empty()).collect();
        sandbox.process(&source, &to, &more).exits(2).says(said);
        assert!(!sandbox.path("out").exists() && !sandbox.path("out.tar").exists());
    }
    // An image without an index is copied as without the option.
    let image = TestImage::tiny("app:1");
    crate::support::shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("one.tar"));
    let ran = sandbox.process(&sandbox.uri("tar", "one.tar"), &layout, ALL);
    ran.verified().says("1/1 verified");
}

/// Moves an image, or all platforms of one, with a plugin whose manifests the host knows.
fn with_hostile(behaviour: &str, more: &[&str]) -> (Sandbox, Ran) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let source = Multi::build().push(&registry);
    let plugin = sandbox.path("plugin.wasm");
    std::fs::write(&plugin, describing("oci")).unwrap();
    let plugin = plugin.display().to_string();
    let to = sandbox.uri("hostile", &format!("out?behaviour={behaviour}"));
    let more = [&["--plugin", &plugin, "--no-verify"], more].concat();
    let ran = sandbox.process(&source, &to, &more);
    (sandbox, ran)
}

#[test]
fn manifests_that_do_not_list_what_was_written() {
    for (behaviour, said) in [
        ("manifest-none", "leaves out the manifest"),
        ("manifest-empty", "names 'manifest', a manifest that cannot be read"),
        ("manifest-swapped", "names 'manifest', a manifest that lists something else"),
    ] {
        let (sandbox, ran) = with_hostile(behaviour, &[]);
        ran.exits(1).says("plugin 'hostile' was stopped").says(said);
        assert!(!sandbox.path("out").exists(), "{behaviour}");
    }
    // Another index that lists the same is accepted if its digest was not recorded.
    for behaviour in ["manifest-kept", "manifest-spaced", "manifest-listed"] {
        with_hostile(behaviour, &[]).1.exits(0);
    }
}

#[test]
fn manifests_of_an_index_are_kept_byte_for_byte() {
    with_hostile("manifest-kept", &["--all-platforms"]).1.exits(0).says("6/6 images");
    for behaviour in ["manifest-spaced", "manifest-listed"] {
        let (sandbox, ran) = with_hostile(behaviour, &["--all-platforms"]);
        ran.exits(1).says("names 'manifest', another manifest than the source's");
        ran.says("the index was not written: 5 of the 5").says("0/6 images");
        assert!(!sandbox.path("out").exists(), "{behaviour}");
    }
    let (_, ran) = with_hostile("manifest-none", &["--all-platforms"]);
    ran.exits(1).says("leaves out the manifest");
}

#[test]
fn a_signal_leaves_nothing_that_has_the_name() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let source = Multi::build().push(&registry);
    let motd = Pack::Gzip.pack(&tar(&[("etc/motd", b"linux/arm64/v8")]));
    let part = format!("/blobs/{}", Digest::of(&motd));
    registry.fault("GET", &part, Fault::HangAfter(10), usize::MAX);
    let to = sandbox.uri("oci-layout", "out");
    let mut command = sandbox.command(&["process", &source, &to, "--all-platforms", "-J", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while registry.requests_of("GET", &part).is_empty() {
        assert!(Instant::now() < deadline, "the layer is not asked for");
        std::thread::sleep(Duration::from_millis(10));
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let ran = Ran::ended(child.wait_with_output().unwrap());
    ran.exits(130).says("(linux/arm64/v8): not moved").says("(index): not moved");
    // Others have landed, so that it is not.
    ran.says("(linux/arm64/v8): interrupted\n");
    assert!(!ran.stderr.contains("left as it was"), "{}", ran.stderr);
    assert!(!sandbox.path("out/index.json").exists());
    sandbox.assert_clean();
}
