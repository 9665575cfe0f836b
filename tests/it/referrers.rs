//! Referrers: signatures, lists of contents and attestations are moved and verified with their image.

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::mirrored::{FILE, mirror};
use crate::support::multi::{MANIFEST, Multi, uri};
use crate::support::real::{RealRegistry, skopeo};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::registry_referrers::{cosign, image, list_under_tag, refer};

const SPDX: &str = "application/spdx+json";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

/// A registry with an image `team/app:1`, which has a list of contents, a signature, and a signature of the list, and
/// what cosign keeps under a tag. Returns the image and all of its referrers.
fn signed(registry: &Registry) -> (Digest, Vec<Digest>) {
    let subject = image(registry, "team/app:1", 1);
    let sbom = refer(registry, "team/app", subject, SPDX, b"{\"spdx\":1}");
    let signature = refer(registry, "team/app", subject, SIGNATURE, b"signature");
    let of_sbom = refer(registry, "team/app", sbom, SIGNATURE, b"signature of the list");
    let tagged = cosign(registry, "team/app", subject, ".sig", &[b"cosign"]);
    (subject, vec![sbom, signature, of_sbom, tagged])
}

fn write_file(sandbox: &Sandbox, source: &Registry, destination: &Registry, lines: &[&str]) {
    let (from, to) = (source.url_host(), destination.url_host());
    let mut text =
        format!("version: 1\nimages:\n- from: {from}/team/app:1\n  to: {to}/mirror/app\n");
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
    std::fs::write(sandbox.path(FILE), text).unwrap();
}

/// All these manifests are there, byte for byte, with their blobs.
#[track_caller]
fn assert_there(source: &Registry, destination: &Registry, repository: &str, all: &[Digest]) {
    for digest in all {
        let (_, wanted) = source.manifest("team/app", &digest.to_string()).expect("at the source");
        let (_, found) = destination.manifest(repository, &digest.to_string()).expect("a referrer");
        assert_eq!(found, wanted);
        let document: Value = serde_json::from_slice(&found).unwrap();
        let layers = document["layers"].as_array().unwrap().iter();
        for blob in layers.chain([&document["config"]]) {
            let digest = blob["digest"].as_str().unwrap().parse().unwrap();
            assert!(destination.blob(repository, digest).is_some());
        }
    }
}

fn tag_of(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The digests that the index under the fallback tag lists.
fn listed(registry: &Registry, repository: &str, subject: Digest) -> Vec<String> {
    let Some((_, index)) = registry.manifest(repository, &tag_of(subject)) else {
        return Vec::new();
    };
    let index: Value = serde_json::from_slice(&index).unwrap();
    let entries = index["manifests"].as_array().unwrap().iter();
    entries.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn referrers_land_before_the_tag_of_their_image() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    source.list_referrers(1);
    destination.list_referrers(1);
    let (subject, all) = signed(&source);
    write_file(&sandbox, &source, &destination, &["referrers: true"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1/1 images, 1 copied").says("1 verified");
    assert_there(&source, &destination, "mirror/app", &all);
    let tags: Vec<String> =
        destination.requests_of("PUT", "/manifests/").into_iter().map(|put| put.path).collect();
    assert!(tags.last().unwrap().ends_with("/manifests/1"), "{tags:?}");
    assert!(destination.manifest("mirror/app", &format!("{}.sig", tag_of(subject))).is_some());
    assert!(listed(&destination, "mirror/app", subject).is_empty(), "the API lists them");

    // Within a day nothing is asked again.
    let (before, after) = (source.requests().len(), destination.requests().len());
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
    assert_eq!((source.requests().len() - before, destination.requests().len() - after), (1, 1));
}

#[test]
fn a_registry_without_the_api_gets_the_fallback_tag() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let (subject, all) = signed(&source);
    list_under_tag(&source, "team/app", subject, &all[..2]);
    list_under_tag(&source, "team/app", all[0], &all[2..3]);
    // Another client has signed the image at the destination.
    let other = refer(&destination, "mirror/app", subject, SIGNATURE, b"of the mirror");
    list_under_tag(&destination, "mirror/app", subject, &[other]);
    write_file(&sandbox, &source, &destination, &["referrers: true"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied");
    assert_there(&source, &destination, "mirror/app", &all);
    let mut expected: Vec<String> = [other, all[0], all[1]].iter().map(Digest::to_string).collect();
    let mut found = listed(&destination, "mirror/app", subject);
    assert_eq!(found[0], expected[0], "what another client wrote stays first");
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(listed(&destination, "mirror/app", all[0]), [all[2].to_string()]);
    // The API is asked for once at each registry.
    assert_eq!(source.requests_of("GET", "/referrers/").len(), 1);
    assert_eq!(destination.requests_of("GET", "/referrers/").len(), 1);
}

#[test]
fn an_image_gets_no_tag_when_a_referrer_does_not_land() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    source.list_referrers(9);
    let (_, all) = signed(&source);
    write_file(&sandbox, &source, &destination, &["referrers: true"]);
    let path = format!("/manifests/{}", all[1]);
    destination.fault("PUT", &path, Fault::status(400), ALWAYS);
    mirror(&sandbox, "run", &[]).exits(1).says("400").says("1 FAILED");
    assert_eq!(destination.manifest("mirror/app", "1"), None);
    destination.mend();
    mirror(&sandbox, "retry", &[]).exits(0).says("1 copied");
    assert!(destination.manifest("mirror/app", "1").is_some());
}

#[test]
fn types_choose_referrers() {
    for page in [None, Some(5)] {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let (subject, all) = signed(&source);
        match page {
            Some(page) => source.list_referrers(page),
            None => list_under_tag(&source, "team/app", subject, &all[..2]),
        }
        write_file(&sandbox, &source, &destination, &[&format!("referrers: [{SPDX}]")]);
        mirror(&sandbox, "run", &[]).exits(0).says("1 copied");
        assert_there(&source, &destination, "mirror/app", &all[..1]);
        for other in &all[1..] {
            assert_eq!(destination.manifest("mirror/app", &other.to_string()), None);
        }
    }
}

#[test]
fn a_registry_that_does_not_list_what_it_has_fails_verification() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    source.list_referrers(9);
    destination.list_referrers(9);
    signed(&source);
    let empty = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned();
    destination.fault("GET", "/referrers/", Fault::Answer(200, empty.into_bytes()), ALWAYS);
    write_file(&sandbox, &source, &destination, &["referrers: true"]);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("the registry does not list the referrer sha256:").says("1 FAILED");
}

#[test]
fn hostile_lists_of_referrers_are_refused() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    source.list_referrers(9);
    let (subject, all) = signed(&source);
    let (from, to) = (uri(&source, "team/app:1"), uri(&destination, "x:1"));
    let refused = |text: &str| {
        sandbox.process(&from, &to, &["--referrers"]).exits(1).says(text);
        assert_eq!(destination.manifest("x", "1"), None, "{text}");
        source.mend();
    };
    let path = format!("/referrers/{subject}");
    let answer =
        |text: String| source.fault("GET", &path, Fault::Answer(200, text.into_bytes()), ALWAYS);
    let entry = |digest: Digest| {
        format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":9,"artifactType":"a/b"}}"#)
    };
    answer("<html>".to_owned());
    refused("sent a list of referrers that is no index");
    // A manifest that does not refer to the image.
    let stranger = image(&source, "team/app:other", 7);
    answer(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entry(stranger)));
    refused("subject of the listed referrer");
    // One that is not there.
    answer(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entry(Digest::of(b"nothing"))));
    refused("image not found");
    // More than any image has.
    let many: Vec<String> = (0..1_001_u32).map(|n| entry(Digest::of(&n.to_be_bytes()))).collect();
    answer(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, many.join(",")));
    refused("it has more than 1000 referrers");
    // Pages without end.
    let link = format!("</v2/team/app/referrers/{subject}?last=>; rel=\"next\"");
    source.fault("GET", &path, Fault::Header("link", link), ALWAYS);
    refused("the list of referrers has no end");
    // Another server.
    let link = "<http://elsewhere.example/v2/x>; rel=\"next\"".to_owned();
    source.fault("GET", &path, Fault::Header("link", link), ALWAYS);
    refused("the next page of the list of referrers is at another host");
    // Levels without end.
    let mut last = all[2];
    for level in 0..6_u32 {
        last = refer(&source, "team/app", last, SIGNATURE, &level.to_be_bytes());
    }
    refused("referrers of referrers have more than 4 levels");
}

#[test]
fn a_list_that_leads_in_a_circle_ends() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    source.list_referrers(9);
    let (subject, all) = signed(&source);
    // The list of a referrer names the image and itself.
    let entry = |digest: Digest| {
        format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":9,"artifactType":"a/b"}}"#)
    };
    let text =
        format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, entry(subject), entry(all[1]));
    source.fault(
        "GET",
        &format!("/referrers/{}", all[1]),
        Fault::Answer(200, text.into_bytes()),
        ALWAYS,
    );
    let (from, to) = (uri(&source, "team/app:1"), uri(&destination, "x:1"));
    sandbox.process(&from, &to, &["--referrers"]).verified().says("5/5 verified");
    assert_there(&source, &destination, "x", &all);
}

#[test]
fn referrers_of_every_platform_are_moved() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    source.list_referrers(2);
    destination.list_referrers(2);
    let multi = Multi::build();
    let from = multi.push(&source);
    let index = Digest::of(multi.index());
    let member = Digest::of(&multi.manifests[0].1);
    let of_index = refer(&source, "multi", index, SPDX, b"of the index");
    let of_member = refer(&source, "multi", member, SPDX, b"of a platform");
    let receipt = sandbox.path("receipt").display().to_string();
    let options = ["--all-platforms", "--referrers", "--receipt", &receipt];
    let ran = sandbox.process(&from, &uri(&destination, "copy:1"), &options);
    ran.verified().says("8/8 verified").says("(referrer sha256:");
    multi.assert_at(&destination, "copy", "1");
    for digest in [of_index, of_member] {
        assert!(destination.manifest("copy", &digest.to_string()).is_some());
    }
    // The receipt covers them.
    sandbox.run(&["verify", "--insecure", &receipt]).verified().says("8/8 verified");
    destination.remove_manifest("copy", &of_member.to_string());
    let ran = sandbox.run(&["verify", "--insecure", &receipt]);
    ran.exits(1).says("7/8 verified, 1 FAILED").says("(referrer sha256:");
}

#[test]
fn referrers_need_registries_and_unchanged_digests() {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    image(&source, "team/app:1", 1);
    let from = uri(&source, "team/app:1");
    let ran = sandbox.process(&from, &sandbox.uri("dir", "out"), &["--referrers"]);
    ran.exits(2).says("referrers are moved from a registry to a registry");
    let to = uri(&source, "x:1");
    let ran = sandbox.process(&from, &to, &["--referrers", "-f", "canonical"]);
    ran.exits(2).says("which filters and compression change");
    write_file(&sandbox, &source, &source, &["referrers: true", "filters: [canonical]"]);
    mirror(&sandbox, "run", &[]).exits(2).says("mirror.yaml:3:3: 'referrers' name an image");
    write_file(&sandbox, &source, &source, &["referrers: true"]);
    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    let layout = text.replace(&format!("to: {}/", source.url_host()), "to: oci-layout:///srv/");
    std::fs::write(sandbox.path(FILE), layout).unwrap();
    mirror(&sandbox, "run", &[]).exits(2).says("cannot hold referrers: only registries can");
}

#[test]
fn a_new_signature_of_an_unchanged_image_is_found_a_day_later() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let (subject, _) = signed(&source);
    write_file(&sandbox, &source, &destination, &["referrers: true", "immutable: ['*']"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied");
    let more = cosign(&source, "team/app", subject, ".sig", &[b"cosign", b"once more"]);
    let requests = source.requests().len();
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
    assert_eq!(source.requests().len(), requests, "an immutable tag, asked today");
    let ledger = rusqlite::Connection::open(sandbox.path("mirror.yaml.ledger")).unwrap();
    let yesterday = "UPDATE referrers SET asked_at = asked_at - 86401";
    assert_eq!(ledger.execute(yesterday, []).unwrap(), 1);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied");
    let tag = format!("{}.sig", tag_of(subject));
    let (_, found) = destination.manifest("mirror/app", &tag).unwrap();
    assert_eq!(Digest::of(&found), more);
    // Asked again, with nothing new.
    ledger.execute(yesterday, []).unwrap();
    let before = destination.requests_of("PUT", "").len();
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
    assert_eq!(destination.requests_of("PUT", "").len(), before);
    // A signature that was added at the destination stays.
    let own =
        cosign(&destination, "mirror/app", subject, ".sig", &[b"cosign", b"once more", b"own"]);
    ledger.execute(yesterday, []).unwrap();
    mirror(&sandbox, "run", &[]).exits(0);
    assert_eq!(Digest::of(&destination.manifest("mirror/app", &tag).unwrap().1), own);
}

#[test]
fn an_entry_of_a_referrer_that_was_deleted_is_left_out() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let (subject, all) = signed(&source);
    list_under_tag(&source, "team/app", subject, &[all[0], Digest::of(b"deleted")]);
    let (from, to) = (uri(&source, "team/app:1"), uri(&destination, "x:1"));
    let ran = sandbox.process(&from, &to, &["--referrers"]);
    ran.verified().says("3/3 verified");
    assert_eq!(listed(&destination, "x", subject), [all[0].to_string()]);
}

#[test]
fn check_counts_the_referrers_of_an_image() {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    source.list_referrers(1);
    signed(&source);
    let from = uri(&source, "team/app:1");
    let ran = sandbox.run(&["check", "--fast", &from]);
    ran.exits(0);
    assert!(ran.stdout.contains("Referrers\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("application/vnd.cncf.notary.signature (2)"), "{}", ran.stdout);
    let document = sandbox.run(&["check", "--fast", "-O", "json", &from]).exits(0).json();
    assert_eq!(document["referrers"][SPDX], 1);
    assert_eq!(document["referrers"]["application/vnd.dev.cosign.artifact.sig.v1+json"], 1);
    let layout = sandbox.uri("oci-layout", "out");
    sandbox.process(&from, &layout, &[]).verified();
    let document = sandbox.run(&["check", "--fast", "-O", "json", &layout]).exits(0).json();
    assert_eq!(document["referrers"], Value::Null);
}

#[test]
fn skopeo_reads_referrers_from_a_real_registry() {
    let Some(real) = RealRegistry::start("skopeo_reads_referrers_from_a_real_registry") else {
        return;
    };
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    source.list_referrers(1);
    let (subject, all) = signed(&source);
    let text = format!(
        "version: 1\nimages:\n- from: {}/team/app:1\n  to: {}/mirror/app\n  referrers: true\n",
        source.url_host(),
        real.host()
    );
    std::fs::write(sandbox.path(FILE), text).unwrap();
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied").says("1 verified");
    let raw = |target: &str| {
        let name = format!("docker://{}/mirror/app{target}", real.host());
        skopeo(&["inspect", "--raw", "--tls-verify=false", &name])
    };
    for digest in &all {
        assert_eq!(Digest::of(&raw(&format!("@{digest}"))), *digest);
    }
    assert_eq!(Digest::of(&raw(":1")), subject);
    assert_eq!(Digest::of(&raw(&format!(":{}.sig", tag_of(subject)))), all[3]);
    let index: Value = serde_json::from_slice(&raw(&format!(":{}", tag_of(subject)))).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
}
