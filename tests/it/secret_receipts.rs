//! A registry that puts the password that it received into names that a receipt would contain.

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::marked::{PASSWORD, USER, keeps};
use crate::support::multi::Multi;
use crate::support::push::push;
use crate::support::registry::{Auth, Registry};

fn refuses(what: &str, source: &str, more: &[&str], part: &str) {
    let sandbox = Sandbox::new();
    let login = ["--username", USER, "--password", PASSWORD, "--receipt", "r.json"];
    let to = sandbox.uri("oci-layout", "out");
    let said = sandbox.process(source, &to, &[&login[..], more].concat());
    said.exits(1).says("its receipt was not written: ").says(&format!("{part} holds a secret"));
    assert!(!sandbox.path("r.json").exists(), "{what}");
    // The image is the source's, byte for byte.
    keeps(what, &sandbox, &said, &["out"]);
}

#[test]
fn a_platform_of_an_index_brings_no_password_into_a_receipt() {
    let (registry, mut multi) = (Registry::start(), Multi::build());
    multi.edit_index(|index| index["manifests"][0]["platform"]["os"] = PASSWORD.into());
    let source = multi.push(&registry);
    registry.require(Auth::basic(USER, PASSWORD));
    refuses("os", &source, &["--all-platforms"], "the image's platform");
}

#[test]
fn a_config_brings_no_password_into_a_receipt() {
    let (registry, mut image) = (Registry::start(), TestImage::new("team/app:1"));
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["architecture"] = PASSWORD.into();
    image.config = config.to_string().into_bytes();
    let source = push(&registry, &image, Pack::Gzip);
    registry.require(Auth::basic(USER, PASSWORD));
    refuses("architecture", &source, &[], "the plugin's state");
}
