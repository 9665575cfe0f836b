//! The content of a registry, directly after a push or long after it: checked by `process`, with a receipt and without one.

use std::fmt::Write as _;

use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::push::{push, to};
use crate::support::registry::{ALWAYS, Auth, Fault, Registry};

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image that was pushed, and its receipt.
struct Landed {
    sandbox: Sandbox,
    image: TestImage,
    registry: Registry,
}

impl Landed {
    fn new() -> Self {
        let (from, image) = (Registry::start(), TestImage::new("team/app:1"));
        let source = push(&from, &image, Pack::Gzip);
        let (sandbox, registry) = (Sandbox::new(), Registry::start());
        let receipt = sandbox.path("receipt").display().to_string();
        let options = ["--receipt", &receipt, "--no-verify"];
        sandbox.process(&source, &to(&registry, "a/b:1"), &options).exits(0);
        Self { sandbox, image, registry }
    }

    fn layer(&self, index: usize) -> Digest {
        Digest::of(&self.stored(index))
    }

    fn stored(&self, index: usize) -> Vec<u8> {
        Pack::Gzip.pack(&self.image.layers[index])
    }

    fn by_receipt(&self, more: &[&str]) -> Ran {
        let receipt = self.sandbox.path("receipt").display().to_string();
        self.sandbox.run(&[&["verify", &receipt, "--retries", "1"], more].concat())
    }

    fn by_name(&self, more: &[&str]) -> Ran {
        let name = to(&self.registry, "a/b:1");
        self.sandbox.run(&[&["verify", &name, "--retries", "1"], more].concat())
    }
}

/// A problem, and which level finds it.
struct Case {
    what: &'static str,
    spoil: fn(&Landed),
    fast: i32,
    full: i32,
    /// Exit code of a full verification without a receipt.
    by_name: i32,
}

fn spoil_layer(landed: &Landed, spoil: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = landed.stored(1);
    spoil(&mut bytes);
    landed.registry.set_blob("a/b", landed.layer(1), bytes);
}

const CASES: [Case; 12] = [
    Case { what: "nothing", spoil: |_| (), fast: 0, full: 0, by_name: 0 },
    Case {
        what: "a layer is gone",
        spoil: |landed| landed.registry.remove_blob("a/b", landed.layer(1)),
        fast: 1,
        full: 1,
        by_name: 1,
    },
    Case {
        what: "a layer was collected, and its head is still told",
        spoil: |landed| {
            let path = format!("/blobs/{}", landed.layer(1));
            landed.registry.fault("GET", &path, Fault::status(404), ALWAYS);
        },
        fast: 1,
        full: 1,
        by_name: 1,
    },
    Case {
        what: "a layer was collected, and its first answer is promised",
        spoil: |landed| {
            let path = format!("/blobs/{}", landed.layer(1));
            landed.registry.fault("GET", &path, Fault::CutAfter(0), ALWAYS);
        },
        fast: 1,
        full: 1,
        by_name: 1,
    },
    Case {
        what: "a layer was cut",
        spoil: |landed| spoil_layer(landed, |bytes| bytes.truncate(100_000)),
        fast: 1,
        full: 1,
        by_name: 1,
    },
    Case {
        what: "a bit of a layer flipped",
        spoil: |landed| spoil_layer(landed, |bytes| bytes[100_000] ^= 1),
        fast: 0,
        full: 1,
        by_name: 1,
    },
    Case {
        what: "a bit of the config flipped",
        spoil: |landed| {
            let mut config = landed.image.config.clone();
            config[10] ^= 1;
            landed.registry.set_blob("a/b", landed.image.id(), config);
        },
        // It is read for what it says of the layers.
        fast: 1,
        full: 1,
        by_name: 1,
    },
    Case {
        what: "all blobs are gone",
        spoil: |landed| {
            (0..3).for_each(|index| landed.registry.remove_blob("a/b", landed.layer(index)));
            landed.registry.remove_blob("a/b", landed.image.id());
        },
        fast: 1,
        full: 1,
        by_name: 1,
    },
    Case {
        what: "the tag is gone",
        spoil: |landed| landed.registry.remove_manifest("a/b", "1"),
        fast: 1,
        full: 1,
        by_name: 1,
    },
    Case {
        // Without a receipt it is not known which image the tag named.
        what: "the tag was moved",
        spoil: |landed| {
            let mut bytes = landed.registry.manifest("a/b", "1").unwrap().1.to_vec();
            bytes.push(b'\n');
            landed.registry.put_manifest("a/b", "1", MEDIA_TYPE, bytes);
        },
        fast: 1,
        full: 1,
        by_name: 0,
    },
    Case {
        what: "one more request fails than is made up for",
        spoil: |landed| {
            let path = format!("/blobs/{}", landed.layer(1));
            landed.registry.fault("HEAD", &path, Fault::status(500), ALWAYS);
            landed.registry.fault("GET", &path, Fault::status(500), ALWAYS);
        },
        fast: 3,
        full: 3,
        by_name: 3,
    },
    Case {
        what: "nobody gets in any more",
        spoil: |landed| landed.registry.require(Auth::bearer("me", "hunter2")),
        fast: 3,
        full: 3,
        by_name: 3,
    },
];

#[test]
fn later_changes_at_a_registry_are_found() {
    let mut transcript = String::new();
    for Case { what, spoil, fast, full, by_name } in CASES {
        let landed = Landed::new();
        spoil(&landed);
        writeln!(transcript, "# {what}").unwrap();
        let tell =
            |how: &str, said: &Ran| format!("## {how}\n{}", landed.sandbox.redact(&said.stderr));
        for (how, expected, said) in [
            ("by receipt, fast", fast, landed.by_receipt(&["--fast"])),
            ("by receipt, full", full, landed.by_receipt(&[])),
            ("by name, full", by_name, landed.by_name(&[])),
        ] {
            assert_eq!(said.code, expected, "{what}, {how}: {}", said.stderr);
            transcript += &tell(how, &said);
        }
        // Nothing changes in between.
        let changes = |method: &str| landed.registry.requests_of(method, "").len();
        let before = (changes("PUT"), changes("POST"), changes("PATCH"), changes("DELETE"));
        landed.by_receipt(&[]);
        assert_eq!(before, (changes("PUT"), changes("POST"), changes("PATCH"), changes("DELETE")));
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_registry_that_is_gone() {
    let Landed { sandbox, registry, .. } = Landed::new();
    let (receipt, name) = (sandbox.path("receipt").display().to_string(), to(&registry, "a/b:1"));
    drop(registry);
    let mut transcript = String::new();
    for subject in [&receipt, &name] {
        let said = sandbox.run(&["verify", subject, "--retries", "0"]);
        said.exits(3);
        transcript += &sandbox.redact(&said.stderr);
        let json = sandbox.run(&["verify", subject, "--retries", "0", "-O", "json"]).json();
        assert_eq!(json["images"][0]["status"], "unconfirmed");
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn every_byte_is_read_once() {
    let landed = Landed::new();
    let before = landed.registry.requests().len();
    landed.by_receipt(&[]).verified();
    let after = &landed.registry.requests()[before..];
    let whole = |one: &&crate::support::registry::Request| {
        one.method == "GET" && one.path.contains("/blobs/") && one.header("range").is_empty()
    };
    assert_eq!(after.iter().filter(whole).count(), 4);
    // A head and a GET of the tag, and a GET of its digest.
    assert_eq!(after.iter().filter(|one| one.path.contains("/manifests/")).count(), 3);
    assert_eq!(after.iter().filter(|one| one.method == "HEAD").count(), 1);
}

/// Pushes, with something that goes wrong between the manifest and the verification.
fn verified_by_process(fault: impl FnOnce(&Registry), more: &[&str]) -> (Ran, Sandbox, Registry) {
    let (from, image) = (Registry::start(), TestImage::new("team/app:1"));
    let source = push(&from, &image, Pack::Gzip);
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    fault(&registry);
    let options = [&["-j", "1", "--retries", "1"], more].concat();
    let said = sandbox.process(&source, &to(&registry, "a/b:1"), &options);
    (said, sandbox, registry)
}

#[test]
fn process_reports_a_failed_verification() {
    // Before the push blobs are looked for by HEAD alone: they are not there. A GET is of the
    // verification.
    type Way = (&'static str, fn(&Registry));
    let ways: [Way; 4] = [
        ("a blob's GET is 404", |registry| {
            registry.fault("GET", "/blobs/", Fault::status(404), ALWAYS);
        }),
        ("the manifest is another one", |registry| {
            registry.fault("GET", "/manifests/", Fault::Body(b"{\"other\":1}".to_vec()), ALWAYS);
        }),
        ("the network is gone", |registry| {
            // A manifest that ends at the same byte each time is damaged.
            (10..90).for_each(|end| registry.fault("GET", "/manifests/", Fault::CutAfter(end), 1));
            registry.fault("GET", "/blobs/", Fault::status(503), ALWAYS);
        }),
        ("reading is forbidden", |registry| {
            registry.fault("GET", "", Fault::status(403), ALWAYS);
        }),
    ];
    let mut transcript = String::new();
    for (what, fault) in ways {
        let (said, sandbox, registry) = verified_by_process(fault, &[]);
        assert!(registry.manifest("a/b", "1").is_some(), "{what}: {}", said.stderr);
        writeln!(
            transcript,
            "# {what}\n{}",
            sandbox.redact(&said.stderr.replace(&registry.url_host(), "[to]"))
        )
        .unwrap();
        let unconfirmed = said.stderr.contains(" UNCONFIRMED");
        assert_eq!(said.code, i32::from(!unconfirmed), "{what}: {}", said.stderr);
        let (strict, ..) = verified_by_process(fault, &["--strict"]);
        strict.exits(if unconfirmed { 3 } else { 1 });
        let (json, ..) = verified_by_process(fault, &["-O", "json"]);
        let status = if unconfirmed { "unconfirmed" } else { "failed" };
        assert_eq!(json.json()["images"][0]["status"], status, "{what}");
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn passing_failures_of_a_verification_are_retried() {
    let (said, ..) = verified_by_process(
        |registry| {
            registry.fault("GET", "/blobs/", Fault::status(500), 1);
            registry.fault("GET", "/manifests/", Fault::too_many("0"), 1);
        },
        &["--verify=full"],
    );
    said.verified();
    said.says(", 2 retries, 1 rate limit, 1/1 verified");
}

#[test]
fn an_index_and_all_its_images() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let mut children = Vec::new();
    let images = [TestImage::new("team/app:amd"), TestImage::tiny("team/app:arm")];
    for image in &images {
        push(&registry, image, Pack::Gzip);
        let tag = image.name.rsplit_once(':').unwrap().1;
        let (media_type, bytes) = registry.manifest("team/app", tag).unwrap();
        children.push(serde_json::json!({
            "mediaType": media_type, "digest": Digest::of(&bytes).to_string(), "size": bytes.len(),
        }));
    }
    let put = |tag: &str, children: &[serde_json::Value]| {
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": children }).to_string();
        registry.put_manifest("team/app", tag, "application/vnd.oci.image.index.v1+json", index);
        to(&registry, &format!("team/app:{tag}"))
    };
    let name = put("1", &children);
    let said = sandbox.run(&["verify", &name]);
    said.verified().says("3/3 verified");
    // Twice the same is once; and twice with two promises is one too many.
    children.push(children[0].clone());
    sandbox.run(&["verify", &put("twice", &children)]).verified().says("3/3 verified");
    children[2]["size"] = 7.into();
    sandbox.run(&["verify", &put("lies", &children)]).exits(1).says("size of the manifest");
    registry.remove_blob("team/app", Digest::of(&Pack::Gzip.pack(&images[1].layers[0])));
    // A name is no better than the image that it leads to.
    let ran = sandbox.run(&["verify", &name]);
    ran.exits(1).says("1/3 verified, 2 FAILED").says("1 of the 2 that it lists: FAILED");
}

/// Every blob has the digest that the manifest says, and the image is broken all the same.
#[test]
fn layers_that_are_not_those_of_the_config() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = TestImage::new("team/app:1");
    push(&registry, &image, Pack::Gzip);
    let (media_type, bytes) = registry.manifest("team/app", "1").unwrap();
    let honest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let put = |tag: &str, layers: Vec<serde_json::Value>| {
        let mut manifest = honest.clone();
        manifest["layers"] = layers.into();
        registry.put_manifest("team/app", tag, &media_type, manifest.to_string());
    };
    let layers = honest["layers"].as_array().unwrap().clone();
    let mut swapped = layers.clone();
    swapped.swap(0, 1);
    put("swapped", swapped);
    put("dropped", layers[1..].to_vec());
    put("none", Vec::new());
    let mut cut = Pack::Gzip.pack(&image.layers[1]);
    cut.truncate(cut.len() - 12);
    let mut truncated = layers.clone();
    truncated[1]["digest"] = registry.put_blob(&cut).to_string().into();
    truncated[1]["size"] = cut.len().into();
    put("truncated", truncated);

    for (tag, fast, why) in [
        ("swapped", 0, "its diff-id"),
        ("dropped", 1, "another number of layers than the config"),
        ("none", 1, "another number of layers than the config"),
        ("truncated", 0, "ends too early"),
    ] {
        let name = to(&registry, &format!("team/app:{tag}"));
        assert_eq!(sandbox.run(&["verify", "--fast", &name]).code, fast, "{tag}");
        let said = sandbox.run(&["verify", &name]);
        said.exits(1).says(why).says("0/1 verified, 1 FAILED");
        assert!(!said.stderr.contains("found nothing wrong"), "{tag}: {}", said.stderr);
    }
    let copy = Registry::start();
    for tag in ["swapped", "truncated"] {
        let (from, name) = (to(&registry, &format!("team/app:{tag}")), to(&copy, "a/b:1"));
        sandbox.run(&["process", "--verify=full", &from, &name]).exits(1).says("1 FAILED");
    }
}
