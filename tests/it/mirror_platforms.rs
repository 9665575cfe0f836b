//! `platforms:` of a mirror: some platforms of an image, with the index as it is or written anew.

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::mirrored::{FILE, mirror};
use crate::support::multi::Multi;
use crate::support::real::{RealRegistry, skopeo};
use crate::support::registry::Registry;

const TWO: &str = "platforms: [linux/amd64, linux/arm64]";

fn write_file(sandbox: &Sandbox, source: &Registry, to: &str, lines: &[&str]) {
    let mut text =
        format!("version: 1\nimages:\n- from: {}/multi:1\n  to: {to}\n", source.url_host());
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    std::fs::write(sandbox.path(FILE), text).unwrap();
}

/// An image of three platforms, one of them in a nested index.
fn multi(source: &Registry) -> Multi {
    let multi = Multi::build();
    multi.push(source);
    multi
}

/// The manifests by platform: s390x, the nested index, amd64, arm64, the attestation, the index.
fn digests(multi: &Multi) -> Vec<String> {
    multi.manifests.iter().map(|(_, bytes)| Digest::of(bytes).to_string()).collect()
}

#[test]
fn a_sparse_index_keeps_its_digest() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let multi = multi(&source);
    destination.take_sparse_indexes();
    let to = format!("{}/mirror/multi", destination.url_host());
    write_file(&sandbox, &source, &to, &[TWO, "verify: full"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1/1 images, 1 copied").says("1 verified");
    let (_, index) = destination.manifest("mirror/multi", "1").unwrap();
    assert_eq!(&index[..], multi.index());
    let all = digests(&multi);
    for (digest, is_there) in all.iter().zip([false, false, true, true, false, true]) {
        assert_eq!(destination.manifest("mirror/multi", digest).is_some(), is_there, "{digest}");
    }
    let (before, after) = (source.requests().len(), destination.requests().len());
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
    assert_eq!((source.requests().len() - before, destination.requests().len() - after), (1, 1));
    // Other platforms are another content.
    write_file(&sandbox, &source, &to, &["platforms: [linux/amd64, linux/s390x]"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1/1 images").says("1 verified");
    assert!(destination.manifest("mirror/multi", &all[0]).is_some());
    assert!(destination.manifest("mirror/multi", &all[1]).is_some(), "the nested index");
}

#[test]
fn a_rewritten_index_names_what_is_there() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let multi = multi(&source);
    let to = format!("{}/mirror/multi", destination.url_host());
    write_file(&sandbox, &source, &to, &[TWO, "index: rewrite"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied").says("1 verified");
    let (_, index) = destination.manifest("mirror/multi", "1").unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let listed: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["digest"].as_str().unwrap())
        .collect();
    let all = digests(&multi);
    assert_eq!(listed, [&all[2], &all[3], &all[2]], "amd64 is listed for a variant as well");
    assert_eq!(index["annotations"]["kept"], "yes");
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
    let whole = format!("registry://{}/mirror/multi:1?insecure=true", destination.url_host());
    sandbox.run(&["verify", &whole]).verified();
}

#[test]
fn one_platform_is_unchanged_in_the_next_run() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let multi = multi(&source);
    let to = format!("{}/mirror/multi", destination.url_host());
    write_file(&sandbox, &source, &to, &["platforms: [linux/arm64]"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied");
    let (_, manifest) = destination.manifest("mirror/multi", "1").unwrap();
    assert_eq!(Digest::of(&manifest).to_string(), digests(&multi)[3]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
}

#[test]
fn a_registry_that_refuses_sparse_indexes_is_an_error_with_what_helps() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    multi(&source);
    let to = format!("{}/mirror/multi", destination.url_host());
    write_file(&sandbox, &source, &to, &[TWO]);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("the registry refuses such an index").says("hint: write 'index: rewrite'");
    assert_eq!(destination.manifest("mirror/multi", "1"), None);
}

#[test]
fn a_platform_that_is_not_there_is_an_error() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    multi(&source);
    let to = format!("{}/mirror/multi", destination.url_host());
    for listed in ["[linux/amd64, linux/riscv64]", "[linux/riscv64]"] {
        write_file(&sandbox, &source, &to, &[&format!("platforms: {listed}")]);
        let ran = mirror(&sandbox, "run", &[]);
        ran.exits(1).says("holds no image for linux/riscv64").says("it is there for: ");
        let ledger = rusqlite::Connection::open(sandbox.path("mirror.yaml.ledger")).unwrap();
        let class: String =
            ledger.query_row("SELECT error_class FROM item", [], |row| row.get(0)).unwrap();
        assert_eq!(class, "no-such-platform");
    }
    assert_eq!(destination.manifest("mirror/multi", "1"), None);
}

#[test]
fn layouts_hold_some_platforms_and_directories_one() {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    multi(&source);
    write_file(&sandbox, &source, &sandbox.uri("oci-layout", "out"), &[TWO, "index: rewrite"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied").says("1 verified");
    write_file(
        &sandbox,
        &source,
        &format!("'{}?unique_names=true'", sandbox.uri("dir", "dir")),
        &[TWO],
    );
    let ran = mirror(&sandbox, "run", &["--ledger", "other"]);
    ran.exits(2).says("holds one platform of an image, and the entry lists several");
}

#[test]
fn docker_registry_takes_a_rewritten_index() {
    let Some(real) = RealRegistry::start("docker_registry_takes_a_rewritten_index") else {
        return;
    };
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    let multi = multi(&source);
    let to = format!("{}/mirror/multi", real.host());
    write_file(&sandbox, &source, &to, &[TWO]);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("hint: write 'index: rewrite'");
    write_file(&sandbox, &source, &to, &[TWO, "index: rewrite"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied").says("1 verified");
    let name = format!("docker://{to}:1");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &name]);
    let index: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(index["manifests"][1]["digest"], digests(&multi)[3].as_str());
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
}
