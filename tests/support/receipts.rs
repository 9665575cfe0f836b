//! Receipts that were changed, and the output about them.

use serde_json::Value;

use super::cli::{Ran, Sandbox};
use super::hostile::component;
use super::image::{Pack, TestImage};
use super::shape;

/// A change of a receipt.
pub type Change = fn(&mut Value);

/// A sandbox whose folder `srv` is granted.
pub fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    std::fs::create_dir(sandbox.path("srv")).unwrap();
    sandbox
}

/// Write an image, and keep its receipt. Returns the receipt's path.
pub fn write(sandbox: &Sandbox, scheme: &str, name: &str, query: &str) -> String {
    let receipt = sandbox.path(&format!("{name}.json")).display().to_string();
    let to = sandbox.uri(scheme, &format!("srv/{name}{query}"));
    let plugin = component().display().to_string();
    let more = ["--no-verify", "--receipt", &receipt, "--plugin", &plugin];
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &more).exits(0);
    receipt
}

pub fn edit(receipt: &str, change: impl FnOnce(&mut Value)) {
    let mut document = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    change(&mut document);
    std::fs::write(receipt, document.to_string()).unwrap();
}

pub fn verify(sandbox: &Sandbox, receipts: &[&str], more: &[&str]) -> Ran {
    let root = sandbox.path("srv").display().to_string();
    let plugin = component().display().to_string();
    let own = ["verify", "--untrusted", "--root", &root, "--plugin", &plugin];
    sandbox.run(&[&own[..], receipts, more].concat())
}

/// The line of each receipt, in the order of the receipts.
#[track_caller]
pub fn lines(said: &Ran, receipts: &[&str]) -> Vec<Value> {
    let lines: Vec<Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), receipts.len(), "{said:?}");
    let of = |receipt: &&str| lines.iter().find(|line| line["receipt"] == **receipt).unwrap();
    receipts.iter().map(|receipt| of(receipt).clone()).collect()
}

/// The verdict on one receipt, and all that is said of it.
#[track_caller]
pub fn verdict(sandbox: &Sandbox, receipt: &str, more: &[&str]) -> (String, String) {
    let said = verify(sandbox, &[receipt], more);
    let line = lines(&said, &[receipt]).remove(0);
    let status = line["status"].as_str().unwrap().to_owned();
    let code = match status.as_str() {
        "verified" => 0,
        "unconfirmed" => 3,
        _ => 1,
    };
    said.exits(code);
    (status, sandbox.redact(&line.to_string()))
}

pub fn keep(document: &mut Value, wanted: fn(&Value) -> bool) {
    document["expectations"].as_array_mut().unwrap().retain(|one| wanted(&one["role"]));
}
