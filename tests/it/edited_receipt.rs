//! `verify` of receipts that the user trusts, but that contradict the image.

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::receipts::edit;
use crate::support::shape;

fn written(scheme: &str, image: &TestImage) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    shape::legacy(&[image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let receipt = sandbox.path("r.json").display().to_string();
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri(scheme, "out"));
    sandbox.process(&from, &to, &["--receipt", &receipt]).verified();
    sandbox.run(&["verify", &receipt]).verified();
    (sandbox, receipt)
}

fn of<'a>(receipt: &'a mut Value, role: &Value) -> &'a mut Value {
    let all = receipt["expectations"].as_array_mut().unwrap();
    all.iter_mut().find(|one| one["role"] == *role).unwrap()
}

#[test]
fn a_plain_layer_must_be_the_one_that_the_config_names() {
    for scheme in ["dir", "tar"] {
        let image = TestImage::new("team/app:1");
        let (sandbox, receipt) = written(scheme, &image);
        let diff_id = image.diff_ids()[1].to_string();
        let mut damaged = image.layers[1].clone();
        damaged[700] ^= 1;
        let found = Digest::of(&damaged).to_string();
        edit(&receipt, |document| {
            let layer = of(document, &serde_json::json!({ "layer": 1 }));
            layer["digest"] = found.as_str().into();
            let (path, at) = match layer["place"].get("file") {
                Some(file) => (sandbox.path("out").join(file["path"].as_str().unwrap()), 0),
                None => (sandbox.path("out"), layer["place"]["part"]["offset"].as_u64().unwrap()),
            };
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[usize::try_from(at).unwrap() + 700] ^= 1;
            std::fs::write(path, bytes).unwrap();
        });
        // The journal of an archive says what stood there.
        let text = std::fs::read_to_string(&receipt).unwrap().replace(&diff_id, &found);
        std::fs::write(&receipt, text).unwrap();
        for level in [&["--fast"][..], &[]] {
            let ran = sandbox.run(&[&["verify", &receipt], level].concat());
            ran.exits(1).says(&format!("expected {diff_id}, found {found}"));
            assert!(!ran.stderr.contains("found nothing wrong"), "{}", ran.stderr);
        }
    }
}

#[test]
fn layers_of_a_receipt_are_in_the_order_of_the_config() {
    for scheme in ["dir", "tar"] {
        let image = TestImage::new("team/app:1");
        let (sandbox, receipt) = written(scheme, &image);
        let roles = [0, 2].map(|index| serde_json::json!({ "layer": index }));
        edit(&receipt, |document| {
            of(document, &roles[0])["role"] = "swapped".into();
            of(document, &roles[1])["role"] = roles[0].clone();
            of(document, &"swapped".into())["role"] = roles[1].clone();
        });
        for level in [&["--fast"][..], &[]] {
            let ran = sandbox.run(&[&["verify", &receipt], level].concat());
            ran.exits(1).says("has another digest than the image's config names");
        }
    }
}

#[test]
fn a_receipt_names_the_config_that_its_manifest_names() {
    for scheme in ["dir", "oci-layout"] {
        let image = TestImage::new("team/app:1");
        let (sandbox, receipt) = written(scheme, &image);
        // Another image of the same layers, in the same place.
        let config = [&image.config[..], b" "].concat();
        let other = TestImage { name: "team/app:2".to_owned(), config, ..TestImage::new("x") };
        shape::legacy(&[&TestImage { layers: image.layers.clone(), ..other }], Pack::Gzip)
            .write(&sandbox.path("in.tar"));
        let another = sandbox.path("other.json").display().to_string();
        let query = if scheme == "dir" { "?unique_names=true" } else { "" };
        let to = sandbox.uri(scheme, &format!("out{query}"));
        sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &["--receipt", &another]).verified();
        let mut theirs: Value = serde_json::from_slice(&std::fs::read(&another).unwrap()).unwrap();
        let theirs = of(&mut theirs, &"config".into()).clone();
        edit(&receipt, |document| {
            document["image"]["id"] = theirs["digest"].clone();
            *of(document, &"config".into()) = theirs;
        });
        for level in [&["--fast"][..], &[]] {
            sandbox.run(&[&["verify", &receipt], level].concat()).exits(1).says("FAILED");
        }
    }
}
