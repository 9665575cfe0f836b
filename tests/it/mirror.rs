//! `occystrap mirror`: many images from a file to a registry, verified, with few requests.

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::mirrored::{FILE, Mirrored, mirror, put};
use crate::support::multi::Multi;
use crate::support::registry::{ALWAYS, Fault, Registry};

/// Requests of a registry that are neither HEAD nor GET.
fn writes(registry: &Registry) -> usize {
    let requests = registry.requests();
    requests.iter().filter(|one| !["GET", "HEAD"].contains(&one.method.as_str())).count()
}

fn to(registry: &Registry) -> String {
    format!("{}/mirror/{{name}}", registry.url_host())
}

#[test]
fn many_images_are_copied_once_and_then_cost_two_heads_each() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let many = Mirrored::at(&source, 3, 4);
    many.write_file(&sandbox, &to(&destination), &[]);
    let ran = mirror(&sandbox, "run", &["--image-parallel", "4"]);
    ran.exits(0).says("12/12 images, 12 copied").says("12 verified");
    // One layer for all, one for each repository, and a layer and a config for each image.
    let uploads = destination.requests_of("PUT", "/blobs/uploads/").len();
    assert_eq!(uploads, 1 + 3 + 12 + 12);
    assert_eq!(destination.requests_of("POST", "mount=").len(), 2, "the layer that all have");
    assert_eq!(source.requests_of("GET", "/blobs/").len(), uploads, "each blob is fetched once");
    assert_eq!(source.requests_of("HEAD", "").len(), 0, "what is new is fetched at once");
    for repository in 0..3 {
        for tag in 0..4 {
            let (name, tag) = (format!("app{repository}"), format!("{tag}.0"));
            assert_eq!(
                destination.manifest(&format!("mirror/{name}"), &tag),
                source.manifest(&format!("team/{name}"), &tag)
            );
        }
    }

    let (before, after) = (source.requests().len(), destination.requests().len());
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(0).says("12/12 images, 12 unchanged");
    assert_eq!(source.requests().len() - before, 3 + 12, "a list for each repository, and HEADs");
    assert_eq!(destination.requests().len() - after, 12);

    many.write_file(&sandbox, &to(&destination), &["immutable: ['*']"]);
    let (before, after) = (source.requests().len(), destination.requests().len());
    mirror(&sandbox, "run", &[]).exits(0).says("12 unchanged");
    assert_eq!(source.requests().len() - before, 3, "the lists");
    assert_eq!(destination.requests().len(), after);
}

#[test]
fn what_changed_is_copied_and_shares_what_earlier_runs_sent() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 2, 2).write_file(&sandbox, &to(&destination), &[]);
    mirror(&sandbox, "run", &[]).exits(0);
    let changed = put(&source, 1, 1, 7);
    let new = put(&source, 1, 2, 0);
    mirror(&sandbox, "plan", &["--exit-code"]).exits(4).prints("1 new, 1 changed, 3 unchanged");
    let before = destination.requests_of("PUT", "/blobs/uploads/").len();
    mirror(&sandbox, "run", &[]).exits(0).says("2 copied, 3 unchanged");
    let sent = destination.requests_of("PUT", "/blobs/uploads/").len() - before;
    assert_eq!(sent, 4, "a layer and a config for each");
    for (tag, digest) in [("1.0", changed), ("2.0", new)] {
        let (_, bytes) = destination.manifest("mirror/app1", tag).unwrap();
        assert_eq!(Digest::of(&bytes), digest);
    }
    // A repository that is new takes the layer that the ledger knows elsewhere.
    put(&source, 2, 0, 0);
    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    std::fs::write(sandbox.path(FILE), text.replace("app1}", "app1,app2}")).unwrap();
    let before = destination.requests_of("POST", "mount=").len();
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied, 5 unchanged");
    assert_eq!(destination.requests_of("POST", "mount=").len() - before, 1);
}

#[test]
fn a_tag_names_nothing_that_was_not_verified() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 1).write_file(&sandbox, &to(&destination), &[]);
    // The registry accepts a blob, and does not have it afterwards.
    destination.fault("GET", "/blobs/", Fault::status(404), ALWAYS);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("the registry does not have it").says("the image was not tagged: ");
    assert_eq!(destination.manifest("mirror/app0", "0.0"), None);
    mirror(&sandbox, "status", &[]).exits(0).prints("0 of 1 images done, 0 open, 1 failed");
    destination.mend();
    mirror(&sandbox, "retry", &[]).exits(0).says("1/1 images, 1 copied").says("1 verified");
    assert!(destination.manifest("mirror/app0", "0.0").is_some());
}

#[test]
fn a_failure_stops_no_other_image() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 2, 3).write_file(&sandbox, &to(&destination), &[]);
    source.fault("GET", "team/app1/manifests/1.0", Fault::status(404), ALWAYS);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("5/6 images, 5 copied").says("image not found").says("1 FAILED");
    let before = writes(&destination);
    source.mend();
    // What is done is not done again.
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied, 5 unchanged");
    assert_eq!(writes(&destination) - before, 5, "two uploads, and the manifest");
}

#[test]
fn a_repository_that_cannot_be_listed_is_a_failure_and_others_land() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 2, 2).write_file(&sandbox, &to(&destination), &[]);
    source.fault("GET", "team/app0/tags/list", Fault::status(404), 1);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("mirror.yaml:3:9: ").says("repository not found").says("1 not listed");
    ran.says("2/2 images, 2 copied");
    mirror(&sandbox, "run", &[]).exits(0).says("4/4 images, 2 copied, 2 unchanged");
    // A list that cannot be had later removes nothing from the ledger.
    source.fault("GET", "team/app0/tags/list", Fault::status(404), 1);
    mirror(&sandbox, "run", &[]).exits(1).says("2/2 images, 2 unchanged");
    mirror(&sandbox, "run", &[]).exits(0).says("4/4 images, 4 unchanged");
}

#[test]
fn long_lists_of_tags_are_read_to_the_end_and_endless_ones_refused() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 7).write_file(&sandbox, &to(&destination), &[]);
    source.set_tag_page(2);
    mirror(&sandbox, "plan", &[]).exits(0).prints("7 images, 7 new");
    assert_eq!(source.requests_of("GET", "/tags/list").len(), 4);
    let link = "</v2/team/app0/tags/list?n=2&last=0.0>; rel=\"next\"".to_owned();
    source.fault("GET", "/tags/list", Fault::Header("link", link), ALWAYS);
    let ran = mirror(&sandbox, "plan", &[]);
    ran.exits(1).says("the list of tags has no end: 3 pages in a row bring no new tag");
}

#[test]
fn every_platform_of_an_image_lands() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let multi = Multi::build();
    let uri = multi.push(&source);
    let from = uri.strip_prefix("registry://").unwrap().split('?').next().unwrap();
    let text = format!(
        "version: 1\nimages:\n- from: {from}\n  to: {}/mirror/app\n",
        destination.url_host()
    );
    std::fs::write(sandbox.path(FILE), text).unwrap();
    mirror(&sandbox, "run", &[]).exits(0).says("1/1 images, 1 copied").says("1 verified");
    let tag = from.rsplit(':').next().unwrap();
    multi.assert_at(&destination, "mirror/app", tag);
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
}

#[test]
fn layouts_and_directories_hold_a_mirror() {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    let many = Mirrored::at(&source, 2, 2);
    for to in ["oci-layout", "dir"] {
        let place = sandbox.uri(to, &format!("out-{to}"));
        let (to, ledger) = match to {
            "dir" => (format!("'{place}?unique_names=true'"), "dir.ledger"),
            _ => (format!("'{place}/{{name}}'"), "layout.ledger"),
        };
        many.write_file(&sandbox, &to, &[]);
        let more = ["--ledger", ledger];
        mirror(&sandbox, "run", &more).exits(0).says("4/4 images, 4 copied").says("4 verified");
        mirror(&sandbox, "plan", &[&more[..], &["--exit-code"]].concat()).exits(0);
        mirror(&sandbox, "run", &more).exits(0).says("4/4 images, 4 unchanged");
    }
    // What is gone from the directory comes again.
    let folder = sandbox.path("out-dir");
    let is_list = |name: &str| name.starts_with("manifest-") && name.ends_with("0.0.json");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if is_list(&path.file_name().unwrap().to_string_lossy()) {
            std::fs::remove_file(path).unwrap();
        }
    }
    mirror(&sandbox, "run", &["--ledger", "dir.ledger"])
        .exits(0)
        .says("2 copied")
        .says("2 unchanged");
}

#[test]
fn a_conflict_is_decided_by_the_file() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let many = Mirrored::at(&source, 1, 1);
    let other = put(&destination, 0, 1, 9);
    let (media_type, bytes) = destination.manifest("team/app0", "1.0").unwrap();
    destination.put_manifest("mirror/app0", "0.0", &media_type, &bytes);
    many.write_file(&sandbox, &to(&destination), &["on-conflict: error"]);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("the destination has another image").says(&other.to_string());
    many.write_file(&sandbox, &to(&destination), &["on-conflict: keep"]);
    mirror(&sandbox, "run", &[]).exits(0).says("1/1 images, 1 kept");
    assert_eq!(destination.manifest("mirror/app0", "0.0").unwrap().1, bytes);
    many.write_file(&sandbox, &to(&destination), &[]);
    mirror(&sandbox, "run", &[]).exits(0).says("1 copied");
    assert_eq!(destination.manifest("mirror/app0", "0.0"), source.manifest("team/app0", "0.0"));
}

#[test]
fn an_image_that_is_named_by_its_digest_gets_no_tag() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let digest = put(&source, 0, 0, 0);
    let (host, to) = (source.url_host(), destination.url_host());
    let text =
        format!("version: 1\nimages:\n- from: {host}/team/app0@{digest}\n  to: {to}/mirror/app\n");
    std::fs::write(sandbox.path(FILE), text).unwrap();
    mirror(&sandbox, "run", &[]).exits(0).says("1/1 images, 1 copied").says("1 verified");
    assert!(destination.manifest("mirror/app", &digest.to_string()).is_some());
    assert_eq!(destination.manifest("mirror/app", "latest"), None);
    let before = source.requests().len() + destination.requests().len();
    mirror(&sandbox, "run", &[]).exits(0).says("1 unchanged");
    assert_eq!(source.requests().len() + destination.requests().len(), before);
}

#[test]
fn one_repository_that_refuses_pushes_stops_no_other() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 3, 2).write_file(&sandbox, &to(&destination), &[]);
    destination.fault("POST", "mirror/app1/blobs/uploads/", Fault::status(403), ALWAYS);
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("4/6 images, 4 copied").says("2 FAILED").says("mirror/app1");
    mirror(&sandbox, "status", &[]).exits(0).prints("4 of 6 images done, 0 open, 2 failed");
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 3).write_file(&sandbox, &to(&destination), &[]);
    source.fault("GET", "/manifests/", Fault::too_many("1"), 2);
    destination.fault("PUT", "/blobs/uploads/", Fault::too_many(""), 1);
    let started = std::time::Instant::now();
    mirror(&sandbox, "run", &[]).exits(0).says("3/3 images, 3 copied");
    assert!(started.elapsed().as_secs_f64() > 0.9, "{:?}", started.elapsed());
}

#[test]
fn a_ledger_belongs_to_one_run_and_one_mirror() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 1).write_file(&sandbox, &to(&destination), &[]);
    source.fault("GET", "/manifests/", Fault::Delay(std::time::Duration::from_secs(3)), 1);
    let mut first = sandbox.command(&["mirror", "run", FILE, "--insecure"]).spawn().unwrap();
    while source.requests_of("GET", "/tags/list").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(1).says("process");
    // Reading is possible meanwhile.
    mirror(&sandbox, "status", &[]).exits(0);
    assert!(first.wait().unwrap().success());

    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    std::fs::write(sandbox.path("other.yaml"), text + "# another\n").unwrap();
    let ledger = format!("{FILE}.ledger");
    let ran =
        sandbox.run(&["mirror", "run", "other.yaml", "--insecure", "--ledger", ledger.as_str()]);
    ran.exits(2).says("is of another mirror");
    std::fs::write(sandbox.path(&ledger), b"SQLite format 3\0 and then nothing").unwrap();
    mirror(&sandbox, "run", &[]).exits(1).says(&ledger);
}
