//! Bad input of a mirror: files that change, tags that move, lists without an end, logins that stop working, disks that are
//! full, clocks that jump. Each is a clear error, and nothing that was done is lost.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::cli::{Ran, Sandbox};
use crate::support::mirrored::{FILE, Mirrored, mirror, put};
use crate::support::real::skip;
use crate::support::registry::{ALWAYS, Auth, Fault, Registry};

fn to(registry: &Registry) -> String {
    format!("{}/mirror/{{name}}", registry.url_host())
}

/// Replaces a part of the file.
fn edit(sandbox: &Sandbox, from: &str, to: &str) {
    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(sandbox.path(FILE), text.replace(from, to)).unwrap();
}

/// Requests of a registry that are neither HEAD nor GET.
fn writes(registry: &Registry) -> usize {
    let requests = registry.requests();
    requests.iter().filter(|one| !["GET", "HEAD"].contains(&one.method.as_str())).count()
}

/// Starts a run, and does something when a registry has got a request.
fn while_running(
    sandbox: &Sandbox,
    registry: &Registry,
    (method, path): (&str, &str),
    act: impl FnOnce(),
) -> Ran {
    let before = registry.requests_of(method, path).len();
    let mut command = sandbox.command(&["mirror", "run", FILE, "--insecure", "--retries", "0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while registry.requests_of(method, path).len() == before {
        assert!(child.try_wait().unwrap().is_none(), "no such request: {method} {path}");
        std::thread::sleep(Duration::from_millis(2));
    }
    act();
    Ran::ended(child.wait_with_output().unwrap())
}

#[test]
fn a_file_that_changed_says_what_it_no_longer_names_and_takes_nothing_away() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 3).write_file(&sandbox, &to(&destination), &[]);
    source.fault("GET", "/manifests/2.0", Fault::status(404), ALWAYS);
    mirror(&sandbox, "run", &[]).exits(1);
    // One that is there, and one that never arrived.
    edit(&sandbox, "'.*'", "'1.0'");
    let ran = mirror(&sandbox, "run", &[]);
    ran.exits(0).says("The file no longer names 2 images: 1 are at the destination and stay there, 1 never arrived");
    assert!(destination.manifest("mirror/app0", "0.0").is_some());
    mirror(&sandbox, "prune", &[]).exits(0).prints("1 image is extra");
    // Named again, it is not sent again.
    source.mend();
    edit(&sandbox, "'1.0'", "'.*'");
    let before = destination.requests_of("PUT", "/blobs/uploads/").len();
    mirror(&sandbox, "run", &[]).exits(0).says("3/3 images");
    let sent = destination.requests_of("PUT", "/blobs/uploads/").len() - before;
    assert_eq!(sent, 2, "the layer and the config of the image that never arrived");
    mirror(&sandbox, "prune", &[]).exits(0).prints("0 images are extra");
}

#[test]
fn a_tag_that_moves_during_the_run_is_old_or_new_and_never_half() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 2).write_file(&sandbox, &to(&destination), &[]);
    let named = || source.manifest("team/app0", "1.0").unwrap();
    let mut held = Vec::new();
    // While its manifest is on its way, while its layers are, and while it is verified.
    let moments = [
        (&source, ("GET", "team/app0/manifests/1.0")),
        (&source, ("GET", "team/app0/blobs/")),
        (&destination, ("PUT", "mirror/app0/manifests/")),
    ];
    for (number, (registry, request)) in moments.into_iter().enumerate() {
        let pause = Fault::Delay(Duration::from_millis(100));
        registry.fault(request.0, request.1, pause, ALWAYS);
        held.push(put(&source, 0, 1, 10 + 2 * number as u64));
        let ran = while_running(&sandbox, registry, request, || {
            held.push(put(&source, 0, 1, 11 + 2 * number as u64));
        });
        ran.exits(0).says("2/2 images");
        registry.mend();
        let (_, found) = destination.manifest("mirror/app0", "1.0").unwrap();
        let found = occystrap_base::oci::Digest::of(&found);
        assert!(held[held.len() - 2..].contains(&found), "neither the old nor the new image");
        mirror(&sandbox, "verify", &["--full"]).exits(0);
        // The next run brings the newer one.
        mirror(&sandbox, "run", &[]).exits(0).says("2/2 images");
        assert_eq!(destination.manifest("mirror/app0", "1.0").unwrap(), named());
        mirror(&sandbox, "run", &[]).exits(0).says("2 unchanged");
    }
}

#[test]
fn a_repository_without_tags_is_a_failure_with_its_line_and_others_land() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 2, 1).write_file(&sandbox, &to(&destination), &[]);
    // docker-registry lists `null` after the last tag was deleted.
    for tags in [json!(null), json!([])] {
        let list = json!({ "name": "team/app1", "tags": tags }).to_string();
        source.fault("GET", "team/app1/tags/list", Fault::Body(list.into()), 1);
        let ran = mirror(&sandbox, "run", &[]);
        ran.exits(1).says("mirror.yaml:3:9: ").says("hint: ").says("1 not listed");
        ran.says("1/1 images");
    }
    mirror(&sandbox, "run", &[]).exits(0).says("2/2 images");
}

#[test]
fn a_repository_with_a_hundred_thousand_tags_is_listed_and_three_are_selected() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let many = Mirrored::at(&source, 1, 1);
    many.write_file(&sandbox, &to(&destination), &[]);
    let tags: Vec<String> = (0..100_000).map(|number| format!("1.{number}.0")).collect();
    let list = json!({ "name": "team/app0", "tags": tags }).to_string();
    source.fault("GET", "/tags/list", Fault::Body(list.into()), ALWAYS);
    for tag in ["1.99999.0", "1.99998.0", "1.99997.0"] {
        let (media_type, bytes) = source.manifest("team/app0", "0.0").unwrap();
        source.put_manifest("team/app0", tag, &media_type, &bytes);
    }
    edit(&sandbox, "regex: '.*'", "semver: '>=1.0', latest: 3");
    let started = std::time::Instant::now();
    mirror(&sandbox, "run", &[]).exits(0).says("3/3 images, 3 copied");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(destination.manifest("mirror/app0", "1.99997.0").is_some());
}

#[test]
fn a_login_that_stops_working_fails_the_rest_and_keeps_what_landed() {
    for at_source in [true, false] {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        Mirrored::at(&source, 6, 1).write_file(&sandbox, &to(&destination), &[]);
        let (old, new) = (Auth::basic("robot", "old"), Auth::basic("robot", "new"));
        let registry = if at_source { &source } else { &destination };
        registry.require(old);
        let run = |password: &str, act: Option<&dyn Fn()>| {
            let mut command = sandbox.command(&[
                "mirror",
                "run",
                FILE,
                "--insecure",
                "--retries",
                "0",
                "--image-parallel",
                "1",
            ]);
            command.env("OCCYSTRAP_USERNAME", "robot").env("OCCYSTRAP_PASSWORD", password);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            if let Some(act) = act {
                while destination.requests_of("PUT", "/manifests/0.0").len() < 2 {
                    std::thread::sleep(Duration::from_millis(2));
                }
                act();
            }
            Ran::ended(child.wait_with_output().unwrap())
        };
        let ran = run("old", Some(&|| registry.require(new.clone())));
        ran.exits(1).says("FAILED").says("hint: ");
        assert!(!ran.stderr.contains("old\n"), "{}", ran.stderr);
        let document = mirror(&sandbox, "report", &["-O", "json"]).exits(0).json();
        let count = |name: &str| document["summary"][name].as_u64().unwrap();
        assert_eq!(count("copied") + count("failed"), 6, "{document}");
        assert!(count("copied") >= 1 && count("failed") >= 1, "{document}");
        let failures = document["failures"].as_array().unwrap();
        assert!(failures.iter().all(|one| one["class"] == "login"), "{document}");
        let before = destination.requests_of("PUT", "/blobs/uploads/").len();
        run("new", None).exits(0).says("6/6 images");
        // What had landed is not sent again.
        let sent = destination.requests_of("PUT", "/blobs/uploads/").len() - before;
        assert!(sent <= 3 * count("failed") as usize, "{sent} of {}", count("failed"));
    }
}

/// A small file system of its own; unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(test: &str, path: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        skip(test, "a tmpfs cannot be mounted here");
        None
    }

    fn grow(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(&self.0);
        assert!(mount.output().unwrap().status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_of_a_layout_fails_images_and_the_next_run_brings_them() {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    let test = "a_full_disk_of_a_layout_fails_images_and_the_next_run_brings_them";
    let Some(disk) = SmallDisk::mount(test, sandbox.path("small"), "200k") else { return };
    let many = Mirrored::at(&source, 6, 1);
    many.write_file(&sandbox, &format!("'{}/{{name}}'", sandbox.uri("oci-layout", "small")), &[]);
    let ran = mirror(&sandbox, "run", &["--image-parallel", "1"]);
    ran.exits(1).says("no space").says("hint: ").says("FAILED");
    let document = mirror(&sandbox, "report", &["-O", "json"]).exits(0).json();
    let count = |name: &str| document["summary"][name].as_u64().unwrap();
    assert_eq!(count("copied") + count("failed"), 6, "{document}");
    assert!(count("failed") >= 1, "{document}");
    disk.grow("4m");
    mirror(&sandbox, "run", &[]).exits(0).says("6/6 images");
    mirror(&sandbox, "verify", &["--full"]).exits(0).says("Verified 6 of 6 images");
}

#[test]
fn a_full_disk_of_the_ledger_ends_the_run_and_what_was_recorded_is_kept() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let test = "a_full_disk_of_the_ledger_ends_the_run_and_what_was_recorded_is_kept";
    let Some(disk) = SmallDisk::mount(test, sandbox.path("small"), "400k") else { return };
    let many = Mirrored::at(&source, 3, 60);
    many.write_file(&sandbox, &to(&destination), &[]);
    let more = ["--ledger", "small/ledger"];
    let ran = mirror(&sandbox, "run", &more);
    ran.exits(1).says("no space is left").says("hint: free some space");
    disk.grow("16m");
    mirror(&sandbox, "run", &more).exits(0).says("180/180 images");
    let mut sent: Vec<String> = destination
        .requests_of("PUT", "/blobs/uploads/")
        .iter()
        .map(|request| request.path.split("digest=").nth(1).unwrap().to_owned())
        .collect();
    let all = sent.len();
    sent.sort_unstable();
    sent.dedup();
    assert!(all - sent.len() <= 12, "{all} uploads of {} blobs", sent.len());
    mirror(&sandbox, "verify", &more).exits(0).says("Verified 180 of 180 images");
}

#[test]
fn a_truncated_ledger_is_no_new_beginning() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 2).write_file(&sandbox, &to(&destination), &[]);
    mirror(&sandbox, "run", &[]).exits(0);
    let path = sandbox.path(&format!("{FILE}.ledger"));
    let whole = std::fs::read(&path).unwrap();
    let before = writes(&destination);
    for left in [0, 50, 4096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..left]).unwrap();
        for command in ["run", "verify", "repair", "status", "prune", "plan"] {
            let ran = mirror(&sandbox, command, &[]);
            ran.exits(1).says("is damaged").says("hint: restore it from a backup");
        }
        assert_eq!(std::fs::read(&path).unwrap().len(), left, "it stays as it is");
    }
    assert_eq!(writes(&destination), before);
    std::fs::write(&path, &whole).unwrap();
    mirror(&sandbox, "run", &[]).exits(0).says("2 unchanged");
}

/// Columns of the ledger that hold a time.
const TIMES: [(&str, &str); 9] = [
    ("run", "started"),
    ("run", "finished"),
    ("item", "since"),
    ("item", "not_before"),
    ("item", "verified_at"),
    ("item", "ended"),
    ("blob", "verified_at"),
    ("link", "noted"),
    ("event", "at"),
];

/// Moves all times of the ledger, as a clock that jumps by as much in the other direction.
fn shift(sandbox: &Sandbox, seconds: i64) {
    let ledger = rusqlite::Connection::open(sandbox.path(&format!("{FILE}.ledger"))).unwrap();
    for (table, column) in TIMES {
        let text = format!("UPDATE {table} SET {column} = {column} + {seconds} WHERE {column} > 0");
        ledger.execute(&text, []).unwrap();
    }
}

#[test]
fn a_clock_that_jumps_between_runs_sends_nothing_twice_and_loses_no_damage() {
    const HOUR: i64 = 3_600;
    const YEAR: i64 = 365 * 24 * HOUR;
    for jump in [HOUR, -HOUR, YEAR, -YEAR] {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        Mirrored::at(&source, 2, 2).write_file(
            &sandbox,
            &to(&destination),
            &["immutable: ['1.*']"],
        );
        mirror(&sandbox, "run", &[]).exits(0);
        mirror(&sandbox, "verify", &["--full", "--require", "1d"]).exits(0);
        shift(&sandbox, -jump);
        let before = writes(&destination);
        mirror(&sandbox, "run", &[]).exits(0).says("4/4 images").says("4 unchanged");
        let ran = mirror(&sandbox, "run", &["--recheck", "30d"]);
        ran.exits(0).says("4/4 images");
        assert_eq!(writes(&destination), before, "{jump}: nothing is sent again");
        // A time of the next hour counts as now; a year on either side is no proof.
        let is_young = jump.abs() == HOUR;
        let ran = mirror(&sandbox, "verify", &["--max-duration", "0s", "--require", "1d"]);
        ran.exits(if is_young { 0 } else { 3 });
        // Damage is recorded, whenever that was.
        let layer = destination.pushed("mirror/app0")[0];
        destination.set_blob("mirror/app0", layer, b"damaged");
        mirror(&sandbox, "verify", &["--full"]).exits(1).says("1 FAILED");
        shift(&sandbox, -jump);
        mirror(&sandbox, "verify", &["--max-duration", "0s"]).exits(1).says("1 FAILED");
        mirror(&sandbox, "repair", &[]).exits(0).says("1 repaired");
        mirror(&sandbox, "verify", &["--full", "--require", "1d"]).exits(0);
        mirror(&sandbox, "run", &[]).exits(0).says("4 unchanged");
    }
}

#[test]
fn a_wait_that_a_clock_put_into_next_year_is_over() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    Mirrored::at(&source, 1, 2).write_file(&sandbox, &to(&destination), &[]);
    source.fault("GET", "/manifests/1.0", Fault::status(500), ALWAYS);
    let mut command = sandbox.command(&["mirror", "run", FILE, "--insecure", "--retries", "0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let waits = || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let path = sandbox.path(&format!("{FILE}.ledger"));
        let ledger = rusqlite::Connection::open_with_flags(path, flags).ok()?;
        // One is there, and the other one waits.
        let count = "SELECT count(*) FROM item WHERE state IN ('retry', 'done')";
        ledger.query_row(count, [], |row| row.get::<_, i64>(0)).ok()
    };
    while waits() != Some(2) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    Ran::ended(child.wait_with_output().unwrap()).exits(130);
    shift(&sandbox, 31_536_000);
    source.mend();
    let started = std::time::Instant::now();
    mirror(&sandbox, "run", &[]).exits(0).says("Going on with run 1: 1 images were left");
    assert!(started.elapsed() < Duration::from_secs(9), "it waited: {:?}", started.elapsed());
    assert!(destination.manifest("mirror/app0", "1.0").is_some());
}
