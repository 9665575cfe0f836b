//! `verify` of receipts from which entries were removed: they do not make an intact image FAILED, and damage of an object
//! that they still name is FAILED.

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage};
use crate::support::push::to;
use crate::support::receipts::{Change, edit, keep};
use crate::support::registry::Registry;
use crate::support::shape;

const LEVELS: [&[&str]; 2] = [&["--fast"], &[]];

fn is_layer(role: &Value) -> bool {
    !role["layer"].is_null()
}

/// The entries that are removed.
const CUTS: [(&str, Change); 5] = [
    ("all layers", |document| keep(document, |role| !is_layer(role))),
    ("the first layer", |document| keep(document, |role| role["layer"] != 0)),
    ("the last layer", |document| keep(document, |role| role["layer"] != 2)),
    ("the config", |document| keep(document, |role| role != "config")),
    ("the manifest", |document| keep(document, |role| role != "manifest")),
];

/// An image of three layers at a destination, and its receipt.
struct Landed {
    sandbox: Sandbox,
    receipt: String,
    whole: Vec<u8>,
}

impl Landed {
    fn at(uri: impl FnOnce(&Sandbox) -> String) -> Self {
        let sandbox = Sandbox::new();
        let image = TestImage::new("team/app:1");
        assert_eq!(image.layers.len(), 3);
        shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
        std::fs::create_dir(sandbox.path("srv")).unwrap();
        let receipt = sandbox.path("r.json").display().to_string();
        let (from, to) = (sandbox.uri("tar", "in.tar"), uri(&sandbox));
        sandbox.process(&from, &to, &["--insecure", "--receipt", &receipt]).verified();
        let whole = std::fs::read(&receipt).unwrap();
        Self { sandbox, receipt, whole }
    }

    fn of_files(scheme: &str) -> Self {
        Self::at(|sandbox| sandbox.uri(scheme, "srv/out"))
    }

    /// Cuts the receipt. The image stays as it is.
    fn cut(&self, change: Change) {
        std::fs::write(&self.receipt, &self.whole).unwrap();
        edit(&self.receipt, change);
    }

    /// Runs `verify` of the receipt, in each way, and expects UNCONFIRMED.
    fn unconfirmed(&self, what: &str, more: &[&str]) {
        let ways = LEVELS.into_iter().chain((!more.is_empty()).then_some(more));
        for way in ways {
            let options = [&["verify", &self.receipt, "--insecure"], way].concat();
            let ran = self.sandbox.run(&options);
            ran.exits(3);
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert!(all.contains("the receipt does not say enough: "), "{what}: {all}");
            for accusation in ["plugin '", "mismatch", "repair it", "remove these bytes"] {
                assert!(!all.contains(accusation), "{what}: {all}");
            }
        }
    }
}

#[test]
fn a_cut_receipt_does_not_accuse_sound_files() {
    for scheme in ["dir", "oci-layout", "tar"] {
        let landed = Landed::of_files(scheme);
        let root = landed.sandbox.path("srv").display().to_string();
        for (what, change) in CUTS {
            landed.cut(change);
            landed.unconfirmed(&format!("{scheme}, {what}"), &["--untrusted", "--root", &root]);
        }
    }
}

#[test]
fn a_cut_receipt_does_not_accuse_a_registry() {
    let registry = Registry::start();
    let landed = Landed::at(|_| to(&registry, "a/b:1"));
    let host = registry.url_host();
    for (what, change) in CUTS {
        landed.cut(change);
        landed.unconfirmed(what, &["--untrusted", "--allow-registry", &host]);
    }
}

#[test]
fn a_cut_receipt_does_not_accuse_an_engine() {
    let engine = Engine::start();
    let landed = Landed::at(|_| engine.uri("team/app:1"));
    for (what, change) in CUTS.into_iter().filter(|(what, _)| *what != "the manifest") {
        landed.cut(change);
        landed.unconfirmed(what, &[]);
    }
}

#[test]
fn objects_that_a_cut_receipt_still_names_are_checked() {
    for scheme in ["dir", "oci-layout", "tar"] {
        let landed = Landed::of_files(scheme);
        landed.cut(CUTS[2].1);
        let document: Value =
            serde_json::from_slice(&std::fs::read(&landed.receipt).unwrap()).unwrap();
        let all = document["expectations"].as_array().unwrap();
        let layer = all.iter().find(|one| one["role"]["layer"] == 0).unwrap();
        let (path, at) = match layer["place"].get("file") {
            Some(file) => (landed.sandbox.path("srv/out").join(file["path"].as_str().unwrap()), 0),
            None => {
                (landed.sandbox.path("srv/out"), layer["place"]["part"]["offset"].as_u64().unwrap())
            }
        };
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(at).unwrap() + 20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        landed.sandbox.run(&["verify", &landed.receipt]).exits(1).says("has other content");
        std::fs::remove_file(&path).unwrap();
        landed.sandbox.run(&["verify", "--fast", &landed.receipt]).exits(1).says("missing: ");
    }
}

/// Its config is whole: what contradicts it is the receipt, and no byte at the registry.
#[test]
fn a_config_with_its_own_bytes_is_not_to_be_removed_from_a_registry() {
    let registry = Registry::start();
    let landed = Landed::at(|_| to(&registry, "a/b:1"));
    landed.cut(|document| {
        let all = document["expectations"].as_array_mut().unwrap();
        let mut more = all.iter().find(|one| one["role"]["layer"] == 2).unwrap().clone();
        more["role"]["layer"] = 3.into();
        all.push(more);
    });
    for level in LEVELS {
        let ran = landed.sandbox.run(&[&["verify", &landed.receipt, "--insecure"], level].concat());
        ran.exits(1).says("another number of layers than the config");
        assert!(!ran.stderr.contains("keeps wrong bytes"), "{}", ran.stderr);
    }
}
