//! `--plugin FILE`: a plugin for one run, with every command; and which plugin a receipt gets.

use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::plugin::{called, other_digest, plain};
use crate::support::shape;

fn with_image() -> Sandbox {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox
}

fn process(sandbox: &Sandbox, more: &[&str]) -> Ran {
    let receipt = sandbox.path("receipt").display().to_string();
    let more = [more, &["--receipt", &receipt]].concat();
    sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("hostile", "out"), &more)
}

fn verify(sandbox: &Sandbox, more: &[&str]) -> Ran {
    let receipt = sandbox.path("receipt").display().to_string();
    sandbox.run(&[&["verify", &receipt], more].concat())
}

#[test]
fn every_command_takes_it_and_nothing_is_kept() {
    let sandbox = with_image();
    let file = sandbox.component("hostile.wasm", &plain());
    let plugin = ["--plugin", file.as_str()];
    process(&sandbox, &plugin).verified();
    verify(&sandbox, &plugin).verified();
    verify(&sandbox, &[&plugin[..], &["--fast"]].concat()).verified();
    let listed = sandbox.run(&[&["plugin", "list"], &plugin[..]].concat());
    assert!(listed.exits(0).stdout.contains("hostile://"), "{listed:?}");
    let shown = sandbox.run(&[&["plugin", "show", "hostile"], &plugin[..]].concat());
    assert!(shown.exits(0).stdout.contains("not added"), "{shown:?}");
    let to = sandbox.uri("hostile", "out");
    let said = sandbox.run(&[&["verify", &to], &plugin[..]].concat());
    said.exits(2).says("can be verified with a receipt alone");
    sandbox.assert_clean();
    process(&sandbox, &[]).exits(2);
}

#[test]
fn several_files_have_schemes_of_their_own() {
    let sandbox = with_image();
    let one = sandbox.component("one.wasm", &plain());
    let other = sandbox.component("other.wasm", &called("another"));
    process(&sandbox, &["--plugin", &other, "--plugin", &one]).verified();
    let same = sandbox.component("same.wasm", &other_digest(&plain()));
    let said = process(&sandbox, &["--plugin", &one, "--plugin", &same]);
    said.exits(1).says("answers to 'hostile://', which the plugin").says("one.wasm' does");
}

/// The user named it for this run; what was added stays as it is.
#[test]
fn it_goes_before_what_was_added() {
    let sandbox = with_image();
    sandbox.add(&plain());
    let other = other_digest(&plain());
    let file = sandbox.component("other.wasm", &other);
    let before = sandbox.tree("home");
    process(&sandbox, &["--plugin", &file]).verified();
    let receipt = std::fs::read_to_string(sandbox.path("receipt")).unwrap();
    assert!(receipt.contains(&Digest::of(&other).to_string()), "{receipt}");
    assert_eq!(sandbox.tree("home"), before);
}

#[test]
fn a_receipt_gets_the_plugin_that_wrote_it_or_none() {
    let sandbox = with_image();
    sandbox.add(&plain());
    process(&sandbox, &[]).verified();
    let receipt = std::fs::read_to_string(sandbox.path("receipt")).unwrap();
    assert!(receipt.contains(&Digest::of(&plain()).to_string()), "{receipt}");
    verify(&sandbox, &[]).verified();

    let other = other_digest(&plain());
    sandbox.add(&other);
    let (wrote, now) = (Digest::of(&plain()).short(), Digest::of(&other).short());
    let said = verify(&sandbox, &[]);
    said.exits(3)
        .says(&format!("made by plugin 'hostile' {wrote}, installed is 'hostile' {now}"))
        .says("0/1 verified, 1 UNCONFIRMED");
    let json = verify(&sandbox, &["-O", "json"]);
    assert_eq!(json.exits(3).json()["images"][0]["status"], "unconfirmed");

    // The right one for this run, or any that the user insists on.
    let file = sandbox.component("right.wasm", &plain());
    verify(&sandbox, &["--plugin", &file]).verified();
    let file = sandbox.component("insists.wasm", &other);
    verify(&sandbox, &["--plugin", &file])
        .verified()
        .says("the receipt was made by plugin 'hostile'");

    sandbox.run(&["plugin", "remove", "hostile"]).exits(0);
    verify(&sandbox, &[]).exits(3).says("which is not installed").says(&Digest::of(&plain()).hex());
    sandbox.add(&plain());
    std::fs::remove_file(sandbox.kept(Digest::of(&plain()))).unwrap();
    verify(&sandbox, &[]).exits(3).says("no such file").says("1 UNCONFIRMED");
    sandbox.add(&plain());
    verify(&sandbox, &[]).verified();
}

#[test]
fn receipts_of_several_plugins_are_not_of_one_run() {
    let sandbox = with_image();
    sandbox.add(&plain());
    process(&sandbox, &[]).verified();
    let receipt = std::fs::read_to_string(sandbox.path("receipt")).unwrap();
    let other = receipt.replace(&Digest::of(&plain()).hex(), &Digest::of(b"other").hex());
    let bundle = |second: &str| {
        let text = format!("{{\"occystrap_receipts\": 1, \"receipts\": [{receipt}, {second}]}}");
        std::fs::write(sandbox.path("receipt"), text).unwrap();
    };
    bundle(&receipt);
    verify(&sandbox, &[]).verified();
    bundle(&other);
    verify(&sandbox, &[]).exits(1).says("its receipts are from several plugins");
}
