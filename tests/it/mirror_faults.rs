//! Faults of networks and registries that hit one image of ten: nine land, the tenth is reported or lands later, the counts
//! add up, and nothing wrong is verified.
//!
//! The registry for tests has these faults ([`Fault`]); each hits every request of a kind about one image, at the source or
//! at the destination, until the fault is gone.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::{Ran, Sandbox};
use crate::support::mirrored::{FILE, Mirrored, mirror};
use crate::support::registry::{ALWAYS, Auth, Fault, Registry, Users};

/// Images of a mirror. The last one meets the fault.
const IMAGES: usize = 10;
/// Longest time of a run: a second attempt begins after ten seconds.
const LONGEST_RUN: Duration = Duration::from_secs(40);
/// Number of the image that meets the fault.
const HIT: usize = IMAGES - 1;

/// What must become of the image that meets a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// It lands: the fault changes nothing, or is worked around.
    Landed,
    /// It waits for another attempt, with an error of this class.
    Waits(&'static str),
    /// It has ended with an error of this class.
    Failed(&'static str),
    /// It is still in work while the others have landed: the server is silent for less than the time limit.
    InWork,
}

use Becomes::{Failed, InWork, Landed, Waits};

/// A fault, and the requests that meet it.
struct Case {
    name: &'static str,
    is_at_source: bool,
    method: &'static str,
    path: &'static str,
    fault: Fault,
    becomes: Becomes,
}

/// Requests of a kind: whether they are at the source, their method, and a part of their path.
type Requests = (bool, &'static str, &'static str);

/// The name of a case, what meets the fault, the fault, and what becomes of the image.
type Row = (&'static str, Requests, Fault, Becomes);

/// Requests to the source.
const TAG: Requests = (true, "GET", "team/app9/manifests/0.0");
const BLOB: Requests = (true, "GET", "team/app9/blobs/");
/// Requests to the destination.
const START: Requests = (false, "POST", "mirror/app9/blobs/uploads/");
const SEND: Requests = (false, "PUT", "mirror/app9/blobs/uploads/");
const MANIFEST: Requests = (false, "PUT", "mirror/app9/manifests/");
const NAME: Requests = (false, "PUT", "mirror/app9/manifests/0.0");
const READ: Requests = (false, "GET", "mirror/app9/blobs/");
const READ_MANIFEST: Requests = (false, "GET", "mirror/app9/manifests/");

fn cases() -> Vec<Case> {
    let ms = Duration::from_millis;
    let nowhere = || Fault::Redirect("http://127.0.0.1:9/gone".to_owned());
    let other = || Fault::Header("docker-content-digest", Digest::of(b"another").to_string());
    let html = b"<html>Bad gateway</html>".to_vec();
    let noise = vec![7; 12_000];
    let gzip = crate::support::image::gzip(b"another layer");
    let no_manifest =
        || Fault::Manifest("application/vnd.oci.image.manifest.v1+json", b"{}".into());
    let table: Vec<Row> = vec![
        ("server error for a manifest", TAG, Fault::status(500), Waits("network")),
        ("no such manifest", TAG, Fault::status(404), Failed("source-missing")),
        ("no access to a manifest", TAG, Fault::status(403), Failed("login")),
        ("no login for blobs", BLOB, Fault::status(401).challenged(), Failed("login")),
        ("too many requests for a manifest", TAG, Fault::too_many("0"), Waits("network")),
        ("too many requests, without a time", BLOB, Fault::too_many(""), Waits("network")),
        ("no such blob", BLOB, Fault::status(404), Failed("source-missing")),
        ("bad gateway for blobs", BLOB, Fault::status(502), Waits("network")),
        ("manifest that ends early", TAG, Fault::CutAfter(10), Waits("network")),
        ("blob that ends early", BLOB, Fault::CutAfter(100), Waits("network")),
        ("blob that stops", BLOB, Fault::HangAfter(100), InWork),
        ("manifest that trickles", TAG, Fault::Trickle(ms(1)), Landed),
        ("source that thinks", BLOB, Fault::Delay(ms(300)), Landed),
        ("other bytes for a blob", BLOB, Fault::Body(noise.clone()), Failed("source-damaged")),
        ("other bytes in chunks", BLOB, Fault::Chunked(noise.clone()), Failed("source-damaged")),
        ("other bytes for a manifest", TAG, Fault::Body(noise.clone()), Failed("source-damaged")),
        ("wrong length of a blob", BLOB, Fault::Length(7), Failed("source-damaged")),
        ("length beyond the blob", BLOB, Fault::Length(10_000_000), Failed("source-damaged")),
        ("status without content", BLOB, Fault::OtherStatus(204), Waits("network")),
        ("text as a manifest", TAG, Fault::Header("content-type", "text/plain".into()), Landed),
        ("digest of another manifest", TAG, other(), Failed("source-damaged")),
        ("no length of a blob", BLOB, Fault::NoHeader("content-length"), Landed),
        ("no digest of a manifest", TAG, Fault::NoHeader("docker-content-digest"), Landed),
        ("document without layers", TAG, no_manifest(), Failed("source-damaged")),
        ("web page as a manifest", TAG, Fault::Html, Failed("source-damaged")),
        ("web page as a blob", BLOB, Fault::Html, Failed("source-damaged")),
        ("web page with an error", BLOB, Fault::Answer(503, html.clone()), Waits("network")),
        ("storage that is gone", BLOB, nowhere(), Waits("network")),
        ("ignored ranges", BLOB, Fault::IgnoreRange, Landed),
        ("refused ranges", BLOB, Fault::RefuseRange, Landed),
        ("errors for ranges", BLOB, Fault::RangeStatus(500), Landed),
        ("content in gzip", BLOB, Fault::Coded(gzip.clone()), Failed("source-damaged")),
        ("content in gzip on demand", BLOB, Fault::CodedVariant(gzip), Landed),
        ("no end of the chunks", BLOB, Fault::NoEnd, Landed),
        // At the destination.
        ("no uploads", START, Fault::status(403), Failed("login")),
        ("uploads that fail", START, Fault::status(500), Waits("network")),
        ("uploads that are too many", START, Fault::too_many(""), Waits("network")),
        ("bytes that are refused", SEND, Fault::status(400), Failed("destination")),
        ("bytes that are too many", SEND, Fault::Early(413, Vec::new()), Failed("destination")),
        ("upload that breaks", SEND, Fault::CutRequest(100), Waits("network")),
        ("deaf destination", SEND, Fault::Deaf, InWork),
        ("slow destination", SEND, Fault::SlowRead(2_000, ms(5)), Landed),
        ("upload without the end of its answer", SEND, Fault::HangAfter(0), Landed),
        ("server error after an upload", SEND, Fault::OtherStatus(500), Waits("network")),
        ("tokens that expire", SEND, Fault::Expire, Landed),
        ("manifests that are refused", MANIFEST, Fault::status(400), Failed("destination")),
        ("no room for manifests", MANIFEST, Fault::status(507), Waits("network")),
        ("tags that cannot be changed", NAME, Fault::status(409), Failed("destination")),
        ("server error after the tag", NAME, Fault::OtherStatus(500), Waits("network")),
        ("blobs that are gone again", READ, Fault::status(404), Failed("verification")),
        ("blobs of other bytes", READ, Fault::Body(noise), Failed("verification")),
        ("blobs that end early", READ, Fault::CutAfter(0), Waits("network")),
        ("errors for the last byte", READ, Fault::RangeStatus(500), Landed),
        ("last bytes that are all bytes", READ, Fault::IgnoreSuffix, Landed),
        ("no ranges at the destination", READ, Fault::RefuseRange, Landed),
        ("web page as a read manifest", READ_MANIFEST, Fault::Html, Failed("verification")),
        ("manifest that is gone again", READ_MANIFEST, Fault::status(404), Failed("verification")),
    ];
    let case = |(name, (is_at_source, method, path), fault, becomes)| Case {
        name,
        is_at_source,
        method,
        path,
        fault,
        becomes,
    };
    table.into_iter().map(case).collect()
}

/// A mirror of ten images, each in a repository of its own.
struct World {
    source: Registry,
    destination: Registry,
    sandbox: Sandbox,
}

impl World {
    /// With these lines in the entry of the file.
    fn new(lines: &[&str]) -> Self {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        destination.require(Auth::Bearer(Users::Anybody));
        let to = format!("{}/mirror/{{name}}", destination.url_host());
        Mirrored::at(&source, IMAGES, 1).write_file(&sandbox, &to, lines);
        Self { source, destination, sandbox }
    }

    /// Returns whether an image is at the destination with all its bytes. What is there and not right is a panic.
    fn has_landed(&self, number: usize) -> bool {
        let name = format!("mirror/app{number}");
        let Some((_, bytes)) = self.destination.manifest(&name, "0.0") else { return false };
        let wanted = self.source.manifest(&format!("team/app{number}"), "0.0").unwrap().1;
        assert_eq!(bytes, wanted, "{name}");
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let layers = document["layers"].as_array().unwrap();
        for one in layers.iter().chain([&document["config"]]) {
            let digest: Digest = one["digest"].as_str().unwrap().parse().unwrap();
            let kept = self.destination.blob(&name, digest);
            let kept = kept.unwrap_or_else(|| panic!("{name} has a tag, and not {digest}"));
            assert_eq!(Digest::of(&kept), digest, "{name}");
        }
        true
    }

    /// Runs the mirror until it ends, or until all images but those in work have ended or wait: then it is interrupted.
    fn run(&self, becomes: Becomes) -> Ran {
        let more = ["-O", "jsonl", "--retries", "0", "--image-parallel", "4"];
        let mut command =
            self.sandbox.command(&[&["mirror", "run", FILE, "--insecure"], &more[..]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let id = child.id().to_string();
        let interrupt = || drop(std::process::Command::new("kill").args(["-INT", &id]).status());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut ended, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let mut text = String::new();
        let in_work = usize::from(becomes == InWork);
        // What is not as expected must not wait for an hour.
        let deadline = Instant::now() + LONGEST_RUN;
        while let Some(Ok(line)) = lines.next() {
            text.push_str(&line);
            text.push('\n');
            let event: Value = serde_json::from_str(&line).unwrap();
            let name = event["destination"].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str() {
                Some("retry") => drop(waiting.insert(name)),
                Some("copied" | "already-there" | "failed" | "blocked") => {
                    waiting.remove(&name);
                    ended.insert(name);
                }
                _ => {}
            }
            let is_done = ended.len() + in_work == IMAGES;
            let others_are_done = waiting.len() == 1 && ended.len() == IMAGES - 1;
            if others_are_done || (is_done && in_work > 0) || Instant::now() > deadline {
                interrupt();
                break;
            }
        }
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = child.wait().unwrap().code().unwrap_or(-1);
        Ran { code, stdout: format!("{text}{}", rest.join("\n")), stderr }
    }

    /// Returns what the ledger has of the image that met the fault: its state, and class, message and hint of its error.
    fn recorded(&self) -> (String, [Option<String>; 3]) {
        let ledger = rusqlite::Connection::open(self.sandbox.path(&format!("{FILE}.ledger")));
        let select = "SELECT state, error_class, error, hint FROM item WHERE destination LIKE ?1";
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?]));
        ledger.unwrap().query_row(select, [format!("%/app{HIT}:%")], read).unwrap()
    }
}

/// Checks one case. Returns what is not as it must be.
fn check(case: &Case) -> Result<(), String> {
    let is_read = case.path == READ.2 && case.method == "GET";
    let world = World::new(if is_read { &["verify: full"] } else { &[] });
    let registry = if case.is_at_source { &world.source } else { &world.destination };
    // A token that expires each time is a login that does not work.
    let times = if matches!(case.fault, Fault::Expire) { 1 } else { ALWAYS };
    registry.fault(case.method, case.path, case.fault.clone(), times);
    let ran = world.run(case.becomes);
    let (state, error) = world.recorded();
    let wrong = |what: &str| {
        Err(format!("{}: {what}: {state} {error:?}\n{}\n{}", case.name, ran.code, ran.stderr))
    };
    let class = error[0].as_deref().unwrap_or_default();
    let found = match (state.as_str(), ran.code) {
        ("done", 0) => (case.becomes == Landed).then_some(()),
        ("failed", 1) => (case.becomes == Failed(known(class))).then_some(()),
        ("retry", 130) => (case.becomes == Waits(known(class))).then_some(()),
        ("planned", 130) => (case.becomes == InWork).then_some(()),
        _ => None,
    };
    if found.is_none() {
        return wrong(&format!("expected {:?}", case.becomes));
    }
    if !matches!(state.as_str(), "done" | "planned") && error.iter().any(Option::is_none) {
        return wrong("an error without class, message or hint");
    }
    let landed: Vec<usize> = (0..IMAGES).filter(|number| world.has_landed(*number)).collect();
    if landed.iter().filter(|number| **number != HIT).count() != IMAGES - 1 {
        return wrong(&format!("only {landed:?} landed"));
    }
    if case.becomes == Landed && !landed.contains(&HIT) {
        return wrong("it is done and not there");
    }
    let document = mirror(&world.sandbox, "report", &["-O", "json"]).exits(0).json();
    let count = |name: &str| document["summary"][name].as_u64().unwrap_or_default();
    let parts = ["copied", "already_there", "failed", "dead", "blocked", "open"];
    let sum: u64 = parts.iter().map(|part| count(part)).sum();
    let nine = count("copied") + count("already_there") - u64::from(case.becomes == Landed);
    if sum != IMAGES as u64 || nine != IMAGES as u64 - 1 || count("images") != IMAGES as u64 {
        return wrong(&format!("the counts do not add up: {}", document["summary"]));
    }
    registry.mend();
    // A line more is another file, so that no wait is left.
    let path = world.sandbox.path(FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{text}# once more\n")).unwrap();
    let again = mirror(&world.sandbox, "run", &[]);
    if again.code != 0 || !again.stderr.contains("10/10 images") || !world.has_landed(HIT) {
        return wrong(&format!("the next run does not mend it: {}", again.stderr));
    }
    let verified = mirror(&world.sandbox, "verify", &["--full"]);
    match verified.code {
        0 => Ok(()),
        _ => wrong(&format!("what landed is not right: {}", verified.stderr)),
    }
}

/// Returns a class as one of the words of the table.
fn known(class: &str) -> &'static str {
    let all =
        ["network", "source-missing", "source-damaged", "login", "destination", "verification"];
    all.into_iter().find(|known| *known == class).unwrap_or("unknown")
}

#[test]
fn each_fault_hits_one_image_of_ten_and_nine_land() {
    let cases = cases();
    let (next, wrong) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else { return };
                    if let Err(why) = check(case) {
                        eprintln!("{why}");
                        wrong.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {} in {:?}:\n{}",
        wrong.len(),
        cases.len(),
        started.elapsed(),
        wrong.join("\n")
    );
}

#[test]
fn an_image_that_a_passing_fault_hit_lands_in_the_same_run() {
    let world = World::new(&[]);
    world.source.fault("GET", "team/app9/manifests/0.0", Fault::status(500), 1);
    let ran = mirror(&world.sandbox, "run", &["--retries", "0", "-O", "json"]);
    let summary = &ran.exits(0).json()["summary"];
    assert_eq!((&summary["copied"], &summary["verified"]), (&10.into(), &10.into()), "{summary}");
    assert!(summary["retries"].as_u64().unwrap() >= 1, "{summary}");
    assert!((0..IMAGES).all(|number| world.has_landed(number)));
}

#[test]
fn a_fault_that_passes_accuses_nothing_that_is_sound() {
    let world = World::new(&[]);
    mirror(&world.sandbox, "run", &[]).exits(0);
    let html = || Fault::Body(b"<html></html>".to_vec());
    let faults: Vec<(&str, Fault)> = vec![
        ("server error", Fault::status(500)),
        ("not there", Fault::status(404)),
        ("other bytes", html()),
        ("other bytes in chunks", Fault::Chunked(vec![1; 500])),
        ("ends early", Fault::CutAfter(5)),
        ("wrong length", Fault::Length(7)),
        ("no content", Fault::OtherStatus(204)),
        ("web page", Fault::Html),
        ("no end", Fault::NoEnd),
        ("no ranges", Fault::RefuseRange),
        ("too many", Fault::too_many("0")),
    ];
    for (name, fault) in faults {
        for part in ["mirror/app9/manifests/sha256", "mirror/app9/blobs/"] {
            world.destination.fault("GET", part, fault.clone(), 1);
            let ran = mirror(&world.sandbox, "verify", &["--full", "--retries", "0"]);
            assert_eq!(ran.code, 0, "{name} at {part}: {}", ran.stderr);
            world.destination.mend();
        }
    }
}
