//! `occystrap mirror verify` and `repair`: damage is found, recorded, and repaired only when it was read back.

use std::path::PathBuf;

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::mirrored::{FILE, Mirrored, mirror, put};
use crate::support::registry::{ALWAYS, Fault, Registry};

/// A mirror of images that was made and verified.
struct World {
    source: Registry,
    destination: Registry,
    sandbox: Sandbox,
}

impl World {
    fn new(repositories: usize, tags: usize, lines: &[&str]) -> Self {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let to = format!("{}/mirror/{{name}}", destination.url_host());
        Mirrored::at(&source, repositories, tags).write_file(&sandbox, &to, lines);
        mirror(&sandbox, "run", &[]).exits(0);
        Self { source, destination, sandbox }
    }

    /// The digests of the layers of an image: the one that all share, that of its repository, its own.
    fn layers(&self, repository: &str, tag: &str) -> Vec<Digest> {
        let (_, bytes) = self.destination.manifest(repository, tag).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Changes one bit of a blob.
    fn flip(&self, repository: &str, digest: Digest) {
        let mut bytes = self.destination.blob(repository, digest).unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.destination.set_blob(repository, digest, bytes);
    }

    fn digest(&self, repository: &str, tag: &str) -> Digest {
        Digest::of(&self.destination.manifest(repository, tag).unwrap().1)
    }
}

#[test]
fn a_fast_verification_reads_manifests_and_last_bytes_and_a_full_one_each_blob_once() {
    let world = World::new(2, 2, &[]);
    let before = world.destination.requests().len();
    let ran = mirror(&world.sandbox, "verify", &[]);
    ran.exits(0).says("Verified 4 of 4 images and 12 links in ");
    ran.says("Whole mirror: 0.0 % of bytes read within 30 days, 100.0 % never");
    let requests = world.destination.requests().split_off(before);
    // Config and three layers each; the config and two layers are shared with no other or within the repository.
    assert!(requests.iter().all(|one| ["GET", "HEAD"].contains(&one.method.as_str())));
    let ranged = |one: &&crate::support::registry::Request| !one.header("range").is_empty();
    assert_eq!(requests.iter().filter(ranged).count(), 12);
    assert_eq!(requests.len(), 12 + 4 * 2);

    let before = world.destination.requests().len();
    let ran = mirror(&world.sandbox, "verify", &["--full"]);
    ran.exits(0)
        .says(" links and 11 of 11 blobs (")
        .says("Whole mirror: 100.0 % of bytes read within 30 days");
    let requests = world.destination.requests().split_off(before);
    let whole = |one: &&crate::support::registry::Request| {
        one.path.contains("/blobs/") && one.header("range").is_empty()
    };
    assert_eq!(
        requests.iter().filter(whole).count(),
        11,
        "a blob is read once for all repositories"
    );
    mirror(&world.sandbox, "verify", &["--full", "--max-age", "30d", "--require", "30d"])
        .exits(0)
        .says("Verified 0 of 4 images, 0 links and 0 of 11 blobs");
}

#[test]
fn a_flipped_bit_is_found_fails_every_run_and_is_repaired() {
    let world = World::new(2, 2, &[]);
    let own = world.layers("mirror/app1", "1.0")[2];
    world.flip("mirror/app1", own);
    // The last byte is right.
    mirror(&world.sandbox, "verify", &[]).exits(0);
    let ran = mirror(&world.sandbox, "verify", &["--full"]);
    ran.exits(1).says(&format!("FAILED {}@{own}", world.destination.url_host()));
    ran.says("wrong bytes")
        .says("; 1 FAILED")
        .says("Repair with: occystrap mirror repair mirror.yaml");
    // Also where the budget ends at once, and where only last bytes would be read.
    mirror(&world.sandbox, "verify", &["--max-duration", "0s"])
        .exits(1)
        .says("1 FAILED; the budget ended first");
    mirror(&world.sandbox, "verify", &["--fast"]).exits(1).says("1 FAILED");
    let before = world.destination.requests_of("PUT", "/blobs/uploads/").len();
    let ran = mirror(&world.sandbox, "repair", &[]);
    ran.exits(0).says("repaired ").says("sent again and read back").says("Repair: 1 repaired");
    assert_eq!(world.destination.requests_of("PUT", "/blobs/uploads/").len() - before, 1);
    assert_eq!(Digest::of(&world.destination.blob("mirror/app1", own).unwrap()), own);
    mirror(&world.sandbox, "verify", &["--full"]).exits(0);
    mirror(&world.sandbox, "repair", &[]).exits(0).says("Repair: 0 repaired");
}

#[test]
fn a_registry_that_keeps_damaged_bytes_is_not_believed() {
    let world = World::new(1, 1, &[]);
    let own = world.layers("mirror/app0", "0.0")[2];
    world.flip("mirror/app0", own);
    world.destination.keep_bytes(own);
    mirror(&world.sandbox, "verify", &["--full"]).exits(1);
    let ran = mirror(&world.sandbox, "repair", &[]);
    let hex = own.hex();
    ran.exits(1).says("kept-damaged ").says("does not delete it (405").says("1 KEPT DAMAGED");
    ran.says(&format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    ran.says("then run: occystrap mirror repair mirror.yaml");
    mirror(&world.sandbox, "verify", &["--failed"]).exits(1).says("1 FAILED");
    world.destination.allow_deletes(false);
    mirror(&world.sandbox, "repair", &[]).exits(0).says("1 repaired");
    mirror(&world.sandbox, "verify", &["--full"]).exits(0);
}

#[test]
fn a_link_that_is_missing_in_one_repository_is_found_and_repaired() {
    let world = World::new(2, 1, &[]);
    let shared = world.layers("mirror/app0", "0.0")[0];
    world.destination.remove_blob("mirror/app1", shared);
    let ran = mirror(&world.sandbox, "verify", &[]);
    ran.exits(1).says(&format!("mirror/app1@{shared}: blob not found"));
    // It is not forgotten because another repository has the bytes.
    mirror(&world.sandbox, "verify", &["--failed"]).exits(1).says("1 FAILED");
    mirror(&world.sandbox, "verify", &["--failed", "--repair"]).exits(0).says("1 repaired");
    assert!(world.destination.blob("mirror/app1", shared).is_some());
}

#[test]
fn a_blob_that_ends_early_is_found_by_its_last_byte() {
    let world = World::new(1, 1, &[]);
    let own = world.layers("mirror/app0", "0.0")[2];
    world.destination.shorten_blob(own, 100);
    mirror(&world.sandbox, "verify", &[]).exits(1).says("1 FAILED");
    // It comes back by itself.
    world.destination.mend();
    mirror(&world.sandbox, "repair", &[]).exits(0).says("right ").says("1 right already");
    mirror(&world.sandbox, "verify", &[]).exits(0);
}

#[test]
fn manifests_and_tags_are_compared_with_what_was_proved() {
    let world = World::new(2, 2, &[]);
    let (media_type, other) = world.destination.manifest("mirror/app0", "0.0").unwrap();
    world.destination.set_manifest("mirror/app0", "1.0", &media_type, &other);
    world.destination.remove_manifest("mirror/app1", "0.0");
    let digest = world.digest("mirror/app1", "1.0").to_string();
    world.destination.set_manifest("mirror/app1", &digest, &media_type, b"{}");
    let ran = mirror(&world.sandbox, "verify", &[]);
    ran.exits(1)
        .says("the tag moved: expected sha256:")
        .says("the tag is missing")
        .says("3 FAILED");
    ran.says("Verified 1 of 4 images");
    mirror(&world.sandbox, "repair", &[]).exits(0).says("Repair: 3 repaired");
    mirror(&world.sandbox, "verify", &[]).exits(0).says("Verified 4 of 4 images");
    for (repository, tag) in [("app0", "1.0"), ("app1", "0.0"), ("app1", "1.0")] {
        assert_eq!(
            world.destination.manifest(&format!("mirror/{repository}"), tag),
            world.source.manifest(&format!("team/{repository}"), tag)
        );
    }
}

#[test]
fn what_cannot_be_asked_is_unchecked_and_what_alone_fails_is_damaged() {
    let world = World::new(1, 2, &[]);
    let own = world.layers("mirror/app0", "0.0")[2];
    world.destination.fault("GET", &own.to_string(), Fault::status(403), ALWAYS);
    let ran = mirror(&world.sandbox, "verify", &[]);
    ran.exits(3).says("unchecked ").says("; 1 unchecked");
    world.destination.mend();
    mirror(&world.sandbox, "verify", &[]).exits(0);
    world.destination.fault("GET", &own.to_string(), Fault::status(500), ALWAYS);
    mirror(&world.sandbox, "verify", &["--retries", "0"]).exits(1).says("1 FAILED");
    world.destination.mend();
    mirror(&world.sandbox, "verify", &[]).exits(0);
}

#[test]
fn a_seventh_at_a_time_reads_everything_once_in_seven_runs() {
    for by_parts in [true, false] {
        let world = World::new(3, 5, &[]);
        let before = world.destination.requests().len();
        for part in 1..=7 {
            let part = if by_parts { format!("{part}/7") } else { "14.29%".to_owned() };
            mirror(&world.sandbox, "verify", &["--full", "--subset", &part]).exits(0);
        }
        let requests = world.destination.requests().split_off(before);
        let mut read: Vec<_> = requests
            .iter()
            .filter(|one| one.path.contains("/blobs/") && one.header("range").is_empty())
            .map(|one| one.path.rsplit('/').next().unwrap().to_owned())
            .collect();
        let all = read.len();
        read.sort();
        read.dedup();
        assert_eq!((read.len(), all), (1 + 3 + 15 + 15, 34), "by parts: {by_parts}");
        mirror(&world.sandbox, "verify", &["--max-duration", "0s", "--require", "30d"]).exits(0);
    }
}

#[test]
fn a_budget_of_bytes_goes_on_with_the_oldest() {
    let world = World::new(2, 3, &[]);
    let mut runs = 0;
    loop {
        runs += 1;
        let ran =
            mirror(&world.sandbox, "verify", &["--full", "--max-bytes", "40k", "--require", "30d"]);
        assert!(runs < 20, "it never ends");
        if ran.code == 0 {
            break;
        }
        ran.exits(3).says("; the budget ended first").says("Not met: ");
    }
    assert!(runs > 2, "{runs}");
}

#[test]
fn layouts_and_directories_are_verified_by_receipt_and_repaired() {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    let many = Mirrored::at(&source, 1, 2);
    for scheme in ["oci-layout", "dir"] {
        let place = sandbox.uri(scheme, &format!("out-{scheme}"));
        let to = match scheme {
            "dir" => format!("'{place}?unique_names=true'"),
            _ => format!("'{place}/{{name}}'"),
        };
        many.write_file(&sandbox, &to, &[]);
        let ledger = format!("{scheme}.ledger");
        let more = ["--ledger", &ledger];
        mirror(&sandbox, "run", &more).exits(0);
        let full = ["--ledger", &ledger, "--full", "--require", "1d"];
        mirror(&sandbox, "verify", &full).exits(0).says("Verified 2 of 2 images");
        let file = largest(&sandbox.path(&format!("out-{scheme}")));
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        mirror(&sandbox, "verify", &full).exits(1).says("FAILED ");
        mirror(&sandbox, "verify", &[&more[..], &["--max-duration", "0s"]].concat()).exits(1);
        let ran = mirror(&sandbox, "repair", &more);
        ran.exits(0);
        mirror(&sandbox, "verify", &full).exits(0);
    }
}

fn largest(folder: &std::path::Path) -> PathBuf {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files.into_iter().max_by_key(|file| file.metadata().unwrap().len()).unwrap()
}

#[test]
fn a_blob_that_no_image_needs_and_that_is_gone_is_forgotten() {
    let world = World::new(1, 1, &[]);
    let old = world.layers("mirror/app0", "0.0")[2];
    put(&world.source, 0, 0, 3);
    mirror(&world.sandbox, "run", &[]).exits(0).says("1 copied");
    world.destination.remove_blob("mirror/app0", old);
    mirror(&world.sandbox, "verify", &["--full"]).exits(0);
    // One that is there and damaged is not: a later image may need it.
    assert!(std::fs::exists(world.sandbox.path(FILE)).unwrap());
}

/// Lets the file name fewer tags, and allows to delete the others.
fn name_only(world: &World, tags: &str, policy: &str) {
    let text = std::fs::read_to_string(world.sandbox.path(FILE)).unwrap();
    let text = text.replace("regex: '.*'", &format!("regex: '{tags}'"));
    std::fs::write(world.sandbox.path(FILE), format!("{text}prune: {{extra: {policy}}}\n"))
        .unwrap();
    mirror(&world.sandbox, "run", &[]).exits(0);
}

#[test]
fn what_no_rule_names_is_listed_and_deleted_only_when_file_and_user_want_it() {
    let world = World::new(1, 3, &[]);
    name_only(&world, "[12].0", "report");
    let ran = mirror(&world.sandbox, "prune", &[]);
    ran.exits(0);
    assert!(ran.stdout.contains("mirror/app0:0.0") && ran.stdout.contains("1 image is extra"));
    mirror(&world.sandbox, "prune", &["--yes"]).exits(2).says("the file does not allow");
    let text = std::fs::read_to_string(world.sandbox.path(FILE)).unwrap();
    std::fs::write(world.sandbox.path(FILE), text.replace("report", "delete")).unwrap();
    assert!(world.destination.manifest("mirror/app0", "0.0").is_some());
    let ran = mirror(&world.sandbox, "prune", &["--yes"]);
    ran.exits(1);
    assert!(ran.stdout.contains("does not delete it (405"), "{}", ran.stdout);
    // A rule that names it again protects it, also when no run has seen that yet.
    let wider = text.replace("report", "delete").replace("[12].0", ".*");
    std::fs::write(world.sandbox.path(FILE), &wider).unwrap();
    world.destination.allow_deletes(true);
    let ran = mirror(&world.sandbox, "prune", &["--yes"]);
    ran.exits(1);
    assert!(ran.stdout.contains("a rule names it again"), "{}", ran.stdout);
    assert!(world.destination.manifest("mirror/app0", "0.0").is_some());
    std::fs::write(world.sandbox.path(FILE), text.replace("report", "delete")).unwrap();
    mirror(&world.sandbox, "prune", &["--yes"]).exits(0).says("1 deleted");
    assert!(world.destination.manifest("mirror/app0", "0.0").is_none());
    assert!(world.destination.manifest("mirror/app0", "1.0").is_some());
    mirror(&world.sandbox, "verify", &["--full"]).exits(0);
}

#[test]
fn a_digest_that_another_tag_names_is_not_deleted() {
    let world = World::new(1, 2, &[]);
    let (media_type, bytes) = world.destination.manifest("mirror/app0", "0.0").unwrap();
    world.destination.put_manifest("mirror/app0", "stable", &media_type, &bytes);
    // It deletes by digest only.
    world.destination.allow_deletes(false);
    name_only(&world, "1.0", "delete");
    let ran = mirror(&world.sandbox, "prune", &["--yes"]);
    ran.exits(1);
    assert!(ran.stdout.contains("its digest is that of the tag stable, which stays"));
    assert!(world.destination.manifest("mirror/app0", "stable").is_some());
    world.destination.remove_manifest("mirror/app0", "stable");
    mirror(&world.sandbox, "prune", &["--yes"]).exits(0).says("1 deleted");
    assert!(world.destination.manifest("mirror/app0", "0.0").is_none());
}

#[test]
fn a_tag_that_another_process_moved_is_not_deleted() {
    let world = World::new(1, 2, &[]);
    world.destination.allow_deletes(true);
    name_only(&world, "1.0", "delete");
    let (media_type, bytes) = world.destination.manifest("mirror/app0", "1.0").unwrap();
    world.destination.set_manifest("mirror/app0", "0.0", &media_type, &bytes);
    let ran = mirror(&world.sandbox, "prune", &["--yes"]);
    ran.exits(1);
    assert!(ran.stdout.contains("it is another image than the one"), "{}", ran.stdout);
    assert!(world.destination.manifest("mirror/app0", "0.0").is_some());
}

#[test]
fn verify_repair_and_prune_print_documents_that_add_up() {
    let world = World::new(2, 2, &[]);
    let document = mirror(&world.sandbox, "verify", &["--full", "-O", "json", "--require", "30d"]);
    let document = document.exits(0).json();
    assert_eq!(document["occystrap_mirror_verify"], 1);
    assert_eq!((&document["state"], &document["level"]), (&"finished".into(), &"full".into()));
    let summary = &document["summary"];
    assert_eq!((&summary["images"], &summary["all_images"]), (&4.into(), &4.into()), "{summary}");
    assert_eq!((&summary["blobs"], &summary["all_blobs"]), (&11.into(), &11.into()), "{summary}");
    assert_eq!(document["coverage"]["read_within_30d"], 1.0);
    assert_eq!(document["require"]["is_met"], true);
    assert_eq!(document["problems"].as_array().unwrap().len(), 0);
    assert_eq!(document["repair"], serde_json::Value::Null);

    let own = world.layers("mirror/app1", "1.0")[2];
    world.flip("mirror/app1", own);
    world.destination.remove_manifest("mirror/app0", "0.0");
    let ran = mirror(&world.sandbox, "verify", &["--full", "-O", "jsonl"]);
    let lines: Vec<serde_json::Value> =
        ran.exits(1).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [one, other, last] = lines.as_slice() else { panic!("{}", ran.stdout) };
    assert!([one, other].iter().all(|line| line["event"] == "damaged" && line["at"].is_string()));
    let summary = &last["summary"];
    assert_eq!((&summary["damaged_images"], &summary["damaged_blobs"]), (&1.into(), &1.into()));
    assert_eq!(last["problems"].as_array().unwrap().len(), 2, "{last}");
    assert!(last["problems"][0]["message"].as_str().unwrap().contains("the tag is missing"));

    let document = mirror(&world.sandbox, "repair", &["-O", "json"]).exits(0).json();
    assert_eq!(document["occystrap_mirror_repair"], 1);
    assert_eq!(document["summary"]["repaired"], 2, "{document}");
    let states: Vec<_> = document["objects"].as_array().unwrap().iter().collect();
    assert!(states.iter().all(|object| object["state"] == "repaired") && states.len() == 2);
    world.flip("mirror/app1", own);
    let ran = mirror(&world.sandbox, "verify", &["--full", "--repair", "-O", "json"]);
    assert_eq!(ran.exits(0).json()["repair"]["summary"]["repaired"], 1, "{}", ran.stdout);

    name_only(&world, "1.0", "delete");
    let document = mirror(&world.sandbox, "prune", &["-O", "json"]).exits(0).json();
    assert_eq!(document["summary"]["extra"], 2, "{document}");
    assert_eq!(document["summary"]["deleted"], serde_json::Value::Null);
    assert_eq!(document["images"][0]["state"], "extra");
    let ran = mirror(&world.sandbox, "prune", &["--yes", "-O", "jsonl"]);
    let lines: Vec<serde_json::Value> =
        ran.exits(1).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{}", ran.stdout);
    assert_eq!((&lines[0]["event"], &lines[2]["summary"]["stays"]), (&"stays".into(), &2.into()));
    assert!(lines[2]["images"][0]["message"].as_str().unwrap().contains("405"));

    std::fs::write(world.sandbox.path("wrong.yaml"), "version: 2\n").unwrap();
    for command in ["verify", "repair", "prune"] {
        let ran = world.sandbox.run(&["mirror", command, "wrong.yaml", "-O", "json"]);
        let document = ran.exits(2).json();
        assert_eq!(document[format!("occystrap_mirror_{command}")], 1, "{document}");
        assert!(document["error"]["message"].is_string() && document["summary"].is_null());
    }
}

#[test]
fn an_image_in_an_index_in_an_index_of_another_tag_is_not_deleted() {
    let world = World::new(1, 2, &[]);
    world.destination.allow_deletes(false);
    let (media_type, bytes) = world.destination.manifest("mirror/app0", "0.0").unwrap();
    let entry = |media_type: &str, bytes: &[u8]| {
        serde_json::json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(),
            "size": bytes.len() })
    };
    let index = |entry: serde_json::Value| {
        serde_json::json!({ "schemaVersion": 2, "mediaType": crate::support::multi::INDEX,
            "manifests": [entry] })
        .to_string()
    };
    let inner = index(entry(&media_type, &bytes));
    let outer = index(entry(crate::support::multi::INDEX, inner.as_bytes()));
    let inner_name = Digest::of(inner.as_bytes()).to_string();
    let kind = crate::support::multi::INDEX;
    world.destination.set_manifest("mirror/app0", &inner_name, kind, inner);
    world.destination.put_manifest("mirror/app0", "bundle", kind, outer);
    name_only(&world, "1.0", "delete");
    let ran = mirror(&world.sandbox, "prune", &["--yes"]);
    ran.exits(1).prints("its digest is that of an image that the tag bundle lists, which stays");
    assert!(world.destination.manifest("mirror/app0", "0.0").is_some());
    world.destination.remove_manifest("mirror/app0", "bundle");
    mirror(&world.sandbox, "prune", &["--yes"]).exits(0).says("1 deleted");
}
