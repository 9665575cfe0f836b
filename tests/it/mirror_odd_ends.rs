//! Sources and destinations of a mirror that behave as real registries do: nothing sound is refused, and nothing damaged
//! counts as verified.

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{TestImage, gzip, tar};
use crate::support::mirrored::{FILE, Mirrored, mirror, put};
use crate::support::multi::INDEX;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::registry_referrers::{image, refer};

/// Two registries, and a file that mirrors `team/app0` with these lines in the entry.
fn world(tags: usize, lines: &[&str]) -> (Registry, Registry, Sandbox) {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let many = Mirrored::at(&source, 1, tags);
    many.write_file(&sandbox, &format!("{}/mirror/{{name}}", destination.url_host()), lines);
    (source, destination, sandbox)
}

fn layers(registry: &Registry, repository: &str, tag: &str) -> Vec<Digest> {
    let (_, bytes) = registry.manifest(repository, tag).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect()
}

fn uploads(registry: &Registry) -> usize {
    registry.requests_of("PUT", "/blobs/uploads/").len()
}

#[test]
fn a_destination_that_lost_everything_gets_it_again_in_the_next_run() {
    let (_source, destination, sandbox) = world(2, &[]);
    mirror(&sandbox, "run", &[]).exits(0);
    let all = uploads(&destination);
    for digest in destination.pushed("mirror/app0") {
        destination.remove_blob("mirror/app0", digest);
    }
    for tag in ["0.0", "1.0"] {
        let (_, bytes) = destination.manifest("mirror/app0", tag).unwrap();
        destination.remove_manifest("mirror/app0", &Digest::of(&bytes).to_string());
        destination.remove_manifest("mirror/app0", tag);
    }
    mirror(&sandbox, "run", &[]).exits(0).says("2 copied").says("2 verified");
    assert_eq!(uploads(&destination), 2 * all);
    mirror(&sandbox, "run", &[]).exits(0).says("2 unchanged");
    mirror(&sandbox, "verify", &["--full"]).exits(0);
}

#[test]
fn a_blob_that_is_known_to_be_damaged_is_sent_again_for_another_image() {
    for keeps in [false, true] {
        let (source, destination, sandbox) = world(1, &[]);
        mirror(&sandbox, "run", &[]).exits(0);
        let shared = layers(&destination, "mirror/app0", "0.0")[0];
        let mut bytes = destination.blob("mirror/app0", shared).unwrap().to_vec();
        bytes[20] ^= 1;
        destination.set_blob("mirror/app0", shared, bytes);
        if keeps {
            destination.keep_bytes(shared);
        }
        mirror(&sandbox, "verify", &["--full"]).exits(1);
        put(&source, 0, 1, 0);
        let ran = mirror(&sandbox, "run", &[]);
        if keeps {
            ran.exits(1).says("FAILED ").says(&shared.to_string());
            assert!(destination.manifest("mirror/app0", "1.0").is_none());
        } else {
            ran.exits(0).says("1 copied").says("1 already there").says("2 verified");
            assert_eq!(Digest::of(&destination.blob("mirror/app0", shared).unwrap()), shared);
            mirror(&sandbox, "verify", &[]).exits(0);
        }
    }
}

#[test]
fn a_layer_of_no_bytes_has_their_digest() {
    let (source, destination, sandbox) = world(1, &[]);
    let (_, bytes) = source.manifest("team/app0", "0.0").unwrap();
    let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
    manifest["layers"][2]["size"] = 0.into();
    source.put_manifest("team/app0", "0.0", OCI_MANIFEST, manifest.to_string());
    let nothing = Digest::of(b"");
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says(&format!("digest of a blob of 0 bytes: expected {nothing}, found sha256:"));
    assert!(destination.manifest("mirror/app0", "0.0").is_none());
}

#[test]
fn a_tag_whose_date_cannot_be_read_keeps_no_other_from_being_mirrored() {
    let (source, destination, sandbox) = world(2, &[]);
    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    let text = text.replace("{regex: '.*'}", "{regex: '.*', newer-than: 5200w}");
    std::fs::write(sandbox.path(FILE), text).unwrap();
    // A cache of buildkit: its index lists blobs.
    let blob = source.put_blob(b"cache");
    let entry = json!({"mediaType": "application/vnd.buildkit.cacheconfig.v0", "size": 5,
        "digest": blob.to_string()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    source.put_manifest("team/app0", "buildcache", INDEX, index.to_string());
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("team/app0:buildcache: ").says("hint: leave the tag out with 'not'");
    ran.says("1 not listed");
    assert!(!ran.stderr.contains("0 images"), "{}", ran.stderr);
    let _ = destination;
}

#[test]
fn a_registry_that_sends_fewer_tags_at_a_time_is_asked_without_a_number() {
    for status in [400, 413] {
        let (source, _destination, sandbox) = world(2, &[]);
        source.fault("GET", "/tags/list?n=1000", Fault::status(status), ALWAYS);
        mirror(&sandbox, "plan", &[]).exits(0).prints("Plan: 2 images, 2 new");
    }
}

#[test]
fn a_layer_that_is_stored_elsewhere_is_unconfirmed_as_for_process() {
    let (source, destination, sandbox) = world(1, &[]);
    let image = TestImage::with_layers("app", vec![tar(&[("a", b"1")]), tar(&[("b", b"2")])]);
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": source.put_blob(&image.config).to_string(), "size": image.config.len()});
    let here = gzip(&image.layers[1]);
    let there = gzip(&image.layers[0]);
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
         "digest": Digest::of(&there).to_string(), "size": there.len(),
         "urls": ["https://mcr.example.com/base"]},
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
         "digest": source.put_blob(&here).to_string(), "size": here.len()},
    ]});
    source.put_manifest("team/app0", "0.0", OCI_MANIFEST, manifest.to_string());
    mirror(&sandbox, "run", &[]).exits(0).says("UNCONFIRMED");
    assert!(destination.manifest("mirror/app0", "0.0").is_some());
    // A verification accuses nothing, and proves nothing either.
    for more in [&[][..], &["--full"]] {
        mirror(&sandbox, "verify", more).exits(0).says("Verified 0 of 1 images");
    }
}

/// A file for `team/app:1` with its referrers.
fn with_referrers(source: &Registry, destination: &Registry) -> Sandbox {
    let sandbox = Sandbox::new();
    let (from, to) = (source.url_host(), destination.url_host());
    let text = format!(
        "version: 1\nimages:\n- from: {from}/team/app:1\n  to: {to}/mirror/app\n  referrers: true\n"
    );
    std::fs::write(sandbox.path(FILE), text).unwrap();
    sandbox
}

#[test]
fn a_registry_that_takes_the_tag_of_referrers_for_the_digest_has_none() {
    let (source, destination) = (Registry::start(), Registry::start());
    let subject = image(&source, "team/app:1", 1);
    let (media_type, bytes) = source.manifest("team/app", "1").unwrap();
    source.set_manifest("team/app", &format!("sha256-{}", subject.hex()), &media_type, bytes);
    let sandbox = with_referrers(&source, &destination);
    mirror(&sandbox, "run", &[]).exits(0).says("1 verified");
}

#[test]
fn a_registry_that_does_not_know_the_path_of_referrers_has_a_fallback_tag() {
    for status in [400, 404, 406, 501] {
        let (source, destination) = (Registry::start(), Registry::start());
        let subject = image(&source, "team/app:1", 1);
        let sbom = refer(&source, "team/app", subject, "application/spdx+json", b"{}");
        crate::support::registry_referrers::list_under_tag(&source, "team/app", subject, &[sbom]);
        source.fault("GET", "/referrers/", Fault::status(status), ALWAYS);
        let sandbox = with_referrers(&source, &destination);
        mirror(&sandbox, "run", &[]).exits(0).says("1 verified");
        assert!(destination.manifest("mirror/app", &sbom.to_string()).is_some(), "{status}");
    }
}

#[test]
fn a_manifest_that_is_not_there_yet_is_asked_for_again() {
    let (_source, destination, sandbox) = world(1, &[]);
    destination.fault("GET", "/mirror/app0/manifests/", Fault::status(404), 3);
    mirror(&sandbox, "run", &[]).exits(0).says("1 verified");
    let (_source, destination, sandbox) = world(1, &[]);
    destination.fault("GET", "/mirror/app0/manifests/", Fault::status(404), ALWAYS);
    mirror(&sandbox, "run", &[]).exits(1).says("FAILED");
}

#[test]
fn what_a_server_refuses_is_not_tried_for_an_hour() {
    let (source, _destination, sandbox) = world(1, &[]);
    let to = format!("{}/v2/team/app0/manifests/0.0", source.base());
    source.fault("GET", "/manifests/0.0", Fault::Redirect(to), ALWAYS);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("a redirect loop?").says("1 FAILED");
    assert!(!ran.stderr.contains("later "), "{}", ran.stderr);
}

#[test]
fn a_plan_is_what_a_run_does_after_a_change_of_the_file() {
    let (_source, _destination, sandbox) = world(1, &[]);
    mirror(&sandbox, "run", &[]).exits(0);
    mirror(&sandbox, "plan", &["--exit-code"]).exits(0).prints("1 unchanged");
    let plain = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    for (line, word) in
        [("  filters: [normalize-timestamps]\n", "changed"), ("  referrers: true\n", "referrers")]
    {
        std::fs::write(sandbox.path(FILE), format!("{plain}{line}")).unwrap();
        mirror(&sandbox, "plan", &["--exit-code"]).exits(4).prints(&format!("1 {word}"));
    }
}

#[test]
fn what_no_run_can_do_is_an_error_before_it() {
    let (_source, destination, sandbox) = world(1, &[]);
    let plain = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    let to = format!("{}/mirror/app0", destination.url_host());
    let line = plain.lines().find(|line| line.trim().starts_with("to: ")).unwrap();
    for (new, said) in [
        (format!("{to}?bogus=1"), "bogus"),
        ("nosuch://x".to_owned(), "nosuch"),
        (format!("{to}?insecure=maybe"), "expected true or false, found 'maybe'"),
    ] {
        std::fs::write(sandbox.path(FILE), plain.replace(line, &format!("  to: {new}"))).unwrap();
        for command in ["plan", "run"] {
            let ran = mirror(&sandbox, command, &[]);
            ran.exits(2).says("error: mirror.yaml:3:").says(said);
        }
    }
    std::fs::write(sandbox.path(FILE), &plain).unwrap();
    mirror(&sandbox, "run", &["--only", "app*"]).exits(2).says("--only: no image has 'app*'");
    mirror(&sandbox, "run", &["--platform", "linux/amd64"])
        .exits(2)
        .says("'platforms: [linux/amd64]'");
}

/// Damages a layer at the destination, and lets a verification find it.
fn damage(destination: &Registry, sandbox: &Sandbox) -> Digest {
    let own = layers(destination, "mirror/app0", "0.0")[2];
    let mut bytes = destination.blob("mirror/app0", own).unwrap().to_vec();
    bytes[20] ^= 1;
    destination.set_blob("mirror/app0", own, bytes);
    mirror(sandbox, "verify", &["--full"]).exits(1).says("Verified 0 of 1 images");
    own
}

#[test]
fn an_image_with_a_damaged_blob_is_failed_everywhere_until_it_is_right() {
    for command in ["run", "repair"] {
        let (_source, destination, sandbox) = world(1, &[]);
        mirror(&sandbox, "run", &[]).exits(0);
        let own = damage(&destination, &sandbox);
        mirror(&sandbox, "status", &[]).exits(0).prints("1 failed").prints(&own.to_string());
        mirror(&sandbox, "plan", &["--exit-code"]).exits(4);
        let report = mirror(&sandbox, "report", &[]).json();
        assert_eq!(report["failures"].as_array().unwrap().len(), 1, "{report}");
        let report = format!("prometheus={}", sandbox.path("m.prom").display());
        mirror(&sandbox, "report", &["--report", &report]).exits(0);
        let metrics = std::fs::read_to_string(sandbox.path("m.prom")).unwrap();
        assert!(metrics.contains("state=\"failed\"} 1"), "{metrics}");
        mirror(&sandbox, command, &[]).exits(0);
        assert_eq!(Digest::of(&destination.blob("mirror/app0", own).unwrap()), own, "{command}");
        mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
        mirror(&sandbox, "verify", &["--full"]).exits(0).says("Verified 1 of 1 images");
    }
}

#[test]
fn blobs_of_an_image_that_never_arrived_are_not_accused() {
    let (_source, destination, sandbox) = world(1, &[]);
    destination.fault("PUT", "/manifests/", Fault::status(400), ALWAYS);
    mirror(&sandbox, "run", &[]).exits(1);
    // The registry collects what no manifest names.
    for digest in destination.pushed("mirror/app0") {
        destination.remove_blob("mirror/app0", digest);
    }
    for more in [&["--full"][..], &[]] {
        mirror(&sandbox, "verify", more).exits(0);
    }
    mirror(&sandbox, "verify", &["--require", "30d"])
        .exits(3)
        .says("1 images of the file are not there");
    destination.mend();
    mirror(&sandbox, "run", &[]).exits(0).says("1 verified");
    mirror(&sandbox, "verify", &["--full", "--require", "30d"]).exits(0);
}

#[test]
fn a_damaged_blob_whose_source_has_moved_on_is_not_deleted() {
    let (source, destination, sandbox) = world(1, &[]);
    mirror(&sandbox, "run", &[]).exits(0);
    let own = damage(&destination, &sandbox);
    destination.allow_deletes(true);
    put(&source, 0, 0, 7);
    source.remove_blob("team/app0", own);
    let (_, tagged) = destination.manifest("mirror/app0", "0.0").unwrap();
    let ran = mirror(&sandbox, "repair", &[]);
    ran.exits(1).says("no source has this blob any more").says("is another image now");
    assert!(destination.requests_of("DELETE", "/").is_empty());
    assert_eq!(destination.manifest("mirror/app0", "0.0").unwrap().1, tagged);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied");
}

#[test]
fn prune_lists_what_the_file_does_not_name_now() {
    let (_source, _destination, sandbox) = world(2, &["# one"]);
    mirror(&sandbox, "run", &[]).exits(0);
    let all = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    let one = all.replace("{regex: '.*'}", "{regex: '0.*'}");
    std::fs::write(sandbox.path(FILE), &one).unwrap();
    let ran = mirror(&sandbox, "prune", &[]);
    ran.exits(0).prints("0 images are extra");
    ran.says("1 images left the file since the last run: 'occystrap mirror run mirror.yaml'");
    mirror(&sandbox, "run", &[]).exits(0);
    mirror(&sandbox, "prune", &[]).exits(0).prints("1 image is extra");
    std::fs::write(sandbox.path(FILE), &all).unwrap();
    mirror(&sandbox, "prune", &[]).exits(0).prints("0 images are extra");
    // A plan of another mirror is refused, as the run is.
    std::fs::write(sandbox.path(FILE), all.replace("/mirror/", "/other/")).unwrap();
    mirror(&sandbox, "plan", &[]).exits(2).says("the ledger is of another mirror");
}

#[test]
fn hints_name_the_ledger_of_the_user() {
    let (_source, destination, sandbox) = world(1, &[]);
    destination.fault("PUT", "/manifests/", Fault::status(400), ALWAYS);
    let ran = mirror(&sandbox, "run", &["--ledger", "my ledger"]);
    ran.exits(1).says("occystrap mirror retry mirror.yaml --ledger 'my ledger'");
    destination.mend();
    mirror(&sandbox, "retry", &["--ledger", "my ledger"]).exits(0).says("1/1 images");
}
