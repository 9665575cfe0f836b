//! Speed, requests and memory of `occystrap mirror`, with simulated registries.
//!
//! The sizes are small enough for CI. `OCCYSTRAP_SCALE=N` multiplies them, and `OCCYSTRAP_SCALE_BINARY=PATH` measures another
//! binary, such as a release build:
//!
//!     OCCYSTRAP_SCALE=100 OCCYSTRAP_SCALE_BINARY=target/release/occystrap cargo test --test it mirror_scale -- --nocapture

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;
use occystrap_mirror::ledger::holding::HeldBlob;
use occystrap_mirror::ledger::record::{
    ClaimRequest, Ending, FinishedItem, Level, Outcome, PlanScope, PlannedItem, ProofChange,
    RunKind, RunRequest, Verdict,
};
use occystrap_mirror::ledger::sqlite::{LedgerAccess, Opening, Sqlite};
use occystrap_mirror::ledger::{Holdings as _, LONGEST_PAGE, Queue as _};

use crate::support::cli::{Ran, Sandbox};
use crate::support::measured::peak;
use crate::support::mirrored::FILE;
use crate::support::simulated::{Lie, Shape, Simulated};

/// Tags in each repository.
const TAGS: u32 = 10;

/// Memory that the plan of 100,000 images may take, in KiB.
const PLAN_KIB: u64 = 128 * 1024;

/// Memory that a run of 1,000 or of 10,000 images may take, in KiB.
const RUN_KIB: u64 = 64 * 1024;

/// Memory that the run of an unoptimised binary may take, in KiB: half of it are pages of the binary.
const UNOPTIMISED_KIB: u64 = 96 * 1024;

/// Memory that four times as many images may add, in KiB.
const GROWTH_KIB: u64 = 16 * 1024;

/// The variable that names another binary.
const BINARY: &str = "OCCYSTRAP_SCALE_BINARY";

/// Requests of a run besides those for each image: the lists of tags of the repositories.
const FEW: u64 = 20;

/// Returns how many times larger the sizes are than in CI.
fn scale() -> u32 {
    std::env::var("OCCYSTRAP_SCALE").map_or(1, |text| text.parse().unwrap())
}

fn shape(repositories: u32) -> Shape {
    Shape { repositories, tags: TAGS, ..Shape::default() }
}

/// Returns the command `occystrap mirror run` for the file of the sandbox.
fn run(sandbox: &Sandbox, more: &[&str]) -> Command {
    let arguments = [&["mirror", "run", FILE, "--insecure"], more].concat();
    let command = sandbox.command(&arguments);
    let Ok(other) = std::env::var(BINARY) else { return command };
    let mut named = Command::new(other);
    named.args(command.get_args()).current_dir(command.get_current_dir().unwrap()).env_clear();
    named.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    named.stdin(Stdio::null());
    named
}

/// Writes a file that names all images of all repositories in a list, and the list.
fn write_list(sandbox: &Sandbox, source: &str, to: &str, repositories: u32, lines: &str) {
    let list = std::fs::File::create(sandbox.path("images.txt")).unwrap();
    let mut list = std::io::BufWriter::new(list);
    for repository in 0..repositories {
        for tag in 0..TAGS {
            writeln!(list, "{source}/sim/app{repository}:t{tag}").unwrap();
        }
    }
    list.flush().unwrap();
    let text =
        format!("version: 1\nimages:\n- list: images.txt\n  to: {to}/mirror/{{name}}\n{lines}");
    std::fs::write(sandbox.path(FILE), text).unwrap();
}

/// Writes a file that names the repositories with a rule.
fn write_rules(sandbox: &Sandbox, source: &str, to: &str, repositories: u32, lines: &str) {
    let names: Vec<String> = (0..repositories).map(|one| format!("app{one}")).collect();
    let text = format!(
        "version: 1\nimages:\n- from: {source}/sim/{{{}}}\n  to: {to}/mirror/{{name}}\n  tags: {{regex: '.*'}}\n{lines}",
        names.join(",")
    );
    std::fs::write(sandbox.path(FILE), text).unwrap();
}

#[test]
fn a_hundred_thousand_images_are_planned_from_a_list_within_128_mib() {
    const IMAGES: u32 = 100_000;
    let source = Simulated::start(shape(IMAGES / TAGS)).unwrap();
    let to = Simulated::start(Shape { is_empty: true, ..shape(IMAGES / TAGS) }).unwrap();
    let sandbox = Sandbox::new();
    write_list(&sandbox, &source.host(), &to.host(), IMAGES / TAGS, "");
    let started = Instant::now();
    let mut child = run(&sandbox, &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
    let took = started.elapsed();
    let kib = of_status(child.id(), "VmHWM:");
    child.kill().unwrap();
    child.wait().unwrap();
    println!("{IMAGES} images planned in {took:.2?}, {} MiB", kib >> 10);
    assert_eq!(first, format!("{IMAGES} images: {IMAGES} new, 0 changed in the file\n"));
    assert_eq!(source.counted().requests, 0, "a list needs no request");
    assert!(kib > 0 && kib <= PLAN_KIB, "{kib} KiB");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

/// Returns a line of /proc/PID/status in KiB.
fn of_status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_number_of_images() {
    let mut peaks = Vec::new();
    for repositories in [5 * scale(), 20 * scale()] {
        let source = Simulated::start(shape(repositories)).unwrap();
        let to = Simulated::start(Shape { is_empty: true, ..shape(repositories) }).unwrap();
        let sandbox = Sandbox::new();
        write_list(&sandbox, &source.host(), &to.host(), repositories, "");
        let started = Instant::now();
        let (kib, succeeded) = peak(&mut run(&sandbox, &["--image-parallel", "8"]));
        let images = u64::from(repositories * TAGS);
        let counted = to.counted();
        println!(
            "{images} images moved in {:.2?}, {} MiB, {counted:?}",
            started.elapsed(),
            kib >> 10
        );
        assert!(succeeded);
        // A config and a layer of each image, and the layers that many have.
        assert_eq!(counted.uploads, 2 * images + u64::from(repositories.min(12)));
        let most = if std::env::var(BINARY).is_ok() { RUN_KIB } else { UNOPTIMISED_KIB };
        assert!(kib <= most, "{kib} KiB for {images} images");
        peaks.push(kib);
    }
    assert!(peaks[1] <= peaks[0] + GROWTH_KIB, "{peaks:?} KiB");
}

#[test]
fn an_unchanged_image_costs_two_requests_and_an_immutable_one_none() {
    let repositories = 20;
    let source = Simulated::start(shape(repositories)).unwrap();
    let to = Simulated::start(Shape { is_empty: true, ..shape(repositories) }).unwrap();
    let sandbox = Sandbox::new();
    write_rules(&sandbox, &source.host(), &to.host(), repositories, "");
    let requests = || source.counted().requests + to.counted().requests;
    let ran = |more| Ran::of(run(&sandbox, more));
    ran(&["--image-parallel", "8"]).exits(0).says("200/200 images, 200 copied");
    let first = to.counted();
    // A layer that repositories share is sent once and mounted in the others.
    assert_eq!((first.uploads, first.mounts), (2 * 200 + 12, 8));

    let before = requests();
    ran(&[]).exits(0).says("200/200 images, 200 unchanged");
    assert_eq!(requests() - before, 2 * 200 + FEW);
    assert_eq!(to.counted().writes, first.writes);

    for tag in 0..5 {
        source.change(3 * tag, tag);
    }
    let before = requests();
    ran(&[]).exits(0).says("200/200 images, 5 copied, 195 unchanged");
    let cost = requests() - before;
    // At the source: the manifest, the config and a layer. At the destination: two uploads, three blobs, and the manifest
    // written and read back by its tag. Where no answer for another image of the repository came before, clients' other
    // requests are made as well.
    println!("5 of 200 images changed: {cost} requests");
    let least = 2 * 200 + FEW + 5 * (3 + 4 + 3 + 2);
    assert!((least..=least + 5 * 2).contains(&cost), "{cost}");
    assert_eq!(to.digest(3, 1), source.digest(3, 1));

    write_rules(&sandbox, &source.host(), &to.host(), repositories, "  immutable: ['*']\n");
    let before = requests();
    ran(&[]).exits(0).says("200/200 images, 200 unchanged");
    assert_eq!(requests() - before, FEW, "the lists of tags");
}

#[test]
fn totals_add_up_where_a_tenth_of_the_images_fails_at_random() {
    let repositories = 20 * scale();
    let source = Simulated::start(Shape { faults: 10, ..shape(repositories) }).unwrap();
    let to = Simulated::start(Shape { is_empty: true, ..shape(repositories) }).unwrap();
    let sandbox = Sandbox::new();
    write_rules(&sandbox, &source.host(), &to.host(), repositories, "");
    let all = (0..repositories).flat_map(|one| (0..TAGS).map(move |tag| (one, tag)));
    let lies: Vec<Lie> = all.filter_map(|(one, tag)| source.lie(one, tag)).collect();
    for lie in [Lie::Unavailable, Lie::TooMany, Lie::Cut, Lie::Missing, Lie::WrongDigest] {
        assert!(lies.contains(&lie), "no image has {lie:?}");
    }
    let images = repositories * TAGS;
    let failed = lies.iter().filter(|lie| lie.is_lasting()).count();
    let copied = images as usize - failed;
    let ran = Ran::of(run(&sandbox, &["--image-parallel", "8", "-O", "json"]));
    ran.exits(1).says(&format!("{copied}/{images} images, {copied} copied"));
    ran.says(&format!("{copied} verified, ")).says(&format!("{failed} FAILED"));
    let summary = &ran.json()["summary"];
    let count = |name: &str| summary[name].as_u64().unwrap() as usize;
    assert_eq!((count("images"), count("copied")), (images as usize, copied));
    assert_eq!((count("failed"), count("dead"), count("open")), (failed, 0, 0));
    println!("{} of {images} images had a fault, {failed} of them lasting", lies.len());
    // Those that failed are tried again and fail again. At most the config of each is sent.
    let before = to.counted().uploads;
    Ran::of(run(&sandbox, &[])).exits(1).says(&format!("{copied} unchanged"));
    assert!(to.counted().uploads - before <= failed as u64);
}

#[test]
fn a_run_with_nothing_to_do_waits_for_servers_alone() {
    let repositories = 100 * scale();
    let images = repositories * TAGS;
    let delay = Duration::from_millis(20);
    let source = Simulated::start(Shape { delay, ..shape(repositories) }).unwrap();
    let to = Simulated::start(Shape { delay, ..shape(repositories) }).unwrap();
    let sandbox = Sandbox::new();
    write_list(&sandbox, &source.host(), &to.host(), repositories, "");
    prove_all(&sandbox, &source, &to, repositories);
    let started = Instant::now();
    let (kib, succeeded) = peak(&mut run(&sandbox, &[]));
    let took = started.elapsed();
    assert!(succeeded);
    let (source, to) = (source.counted(), to.counted());
    let floor = 20e-3 * f64::from(images) / 64.0;
    println!(
        "{images} unchanged images in {took:.2?}, {:.2} of the least time; {} MiB, {source:?}, {to:?}",
        took.as_secs_f64() / floor,
        kib >> 10
    );
    assert_eq!((source.requests, to.requests), (images.into(), images.into()));
    // A connection that has just answered may not be free yet when the next question comes.
    assert!(source.connections <= 128 && to.connections <= 128, "connections are kept");
}

/// Writes a ledger in which all images were proved.
fn prove_all(sandbox: &Sandbox, source: &Simulated, to: &Simulated, repositories: u32) {
    let text = std::fs::read(sandbox.path(FILE)).unwrap();
    let (path, digest) = (sandbox.path(&format!("{FILE}.ledger")), Digest::of(&text));
    let ledger = Sqlite::open(&Opening::new(&path, FILE, digest, LedgerAccess::Create)).unwrap();
    let request =
        RunRequest { kind: RunKind::Mirror, file_digest: digest, selection: "", worker: "w" };
    let run = ledger.begin_run(&request).unwrap().id;
    let (source_host, to_host) = (source.host(), to.host());
    let limits = std::collections::BTreeMap::new();
    for repository in 0..repositories {
        let planned = |tag| PlannedItem {
            source: format!("{source_host}/sim/app{repository}:t{tag}"),
            destination: format!("registry://{to_host}/mirror/app{repository}:t{tag}"),
            src_host: source_host.clone(),
            dst_host: to_host.clone(),
            dst_repo: format!("mirror/app{repository}"),
            rule: 3,
            content: String::new(),
            want_digest: None,
        };
        ledger.plan(run, &(0..TAGS).map(planned).collect::<Vec<_>>()).unwrap();
    }
    ledger.end_plan(run, PlanScope::Whole).unwrap();
    // A repository of which the ledger knows no blob is asked whether it exists.
    let held = |repository| HeldBlob {
        host: to_host.clone(),
        repo: format!("mirror/app{repository}"),
        digest: Digest::of(b"a blob"),
        size: 6,
    };
    ledger.note_blobs(&(0..repositories).map(held).collect::<Vec<_>>()).unwrap();
    loop {
        let most = LONGEST_PAGE;
        let request = ClaimRequest { run, worker: "w", most, host_limits: &limits };
        let claimed = ledger.claim(&request).unwrap();
        if claimed.is_empty() {
            break;
        }
        let record = |destination: &str| {
            let (name, tag) = destination.rsplit_once(":t").unwrap();
            let (_, repository) = name.rsplit_once("app").unwrap();
            let (repository, tag) = (repository.parse().unwrap(), tag.parse().unwrap());
            let digest = source.digest(repository, tag).parse().unwrap();
            FinishedItem {
                want_digest: Some(digest),
                proof: ProofChange::Proved(digest, Level::Fast),
                ..FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified))
            }
        };
        let ended: Vec<_> =
            claimed.iter().map(|one| (one.lease, record(&one.item.destination))).collect();
        let ended: Vec<_> = ended.iter().map(|(lease, record)| (*lease, record)).collect();
        ledger.finish_all(&ended).unwrap();
    }
    ledger.finish_run(run, "{}").unwrap();
}
