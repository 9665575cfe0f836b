//! Reports of a ledger with an image in each state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use occystrap_base::oci::Digest;
use occystrap_mirror::ledger::clock::{Clock, SystemClock};
use occystrap_mirror::ledger::holding::{BlobCheck, HeldBlob};
use occystrap_mirror::ledger::record::{
    ClaimRequest, Ending, FinishedItem, Level, PlanScope, PlannedItem, ProofChange, RunRequest,
};
use occystrap_mirror::ledger::sqlite::{LedgerAccess, Opening, Sqlite};
use occystrap_mirror::ledger::{Facts, Holdings, Queue, Traces};

/// Text that is markup, drives a terminal, or is not allowed in XML.
const HOSTILE: &str = "</p><script>alert('1')</script>\"&\u{1b}[2J\u{202e}\u{fffe}\\";

struct World {
    folder: tempfile::TempDir,
    file: MirrorFile,
    ledger: Sqlite,
}

/// A clock that stands still, so that nothing takes any time, however busy the machine is.
#[derive(Debug)]
struct Still(i64);

impl Clock for Still {
    fn utc(&self) -> i64 {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirror.yaml");
    let text = "version: 1\nhosts: {docker.io: {requests-per-second: 5}}\nimages:\n- from: a/b:1\n  to: localhost/c\n";
    std::fs::write(&path, text).unwrap();
    let file = MirrorFile::read(&path).unwrap_or_else(|_| panic!());
    let (path, name) = (file.ledger_path(None), file.name());
    let clock = Arc::new(Still(SystemClock.utc()));
    let opening =
        Opening { clock, ..Opening::new(&path, &name, file.digest, LedgerAccess::Create) };
    let ledger = Sqlite::open(&opening).unwrap();
    World { folder, file, ledger }
}

fn begin(ledger: &Sqlite) -> RunId {
    let file_digest = Digest::of(b"file");
    let request = RunRequest { kind: RunKind::Mirror, file_digest, selection: "", worker: "test" };
    ledger.begin_run(&request).unwrap().id
}

fn plan(ledger: &Sqlite, run: RunId, names: impl Iterator<Item = String>) {
    let items: Vec<_> = names
        .map(|name| PlannedItem {
            source: format!("source.example/{name}"),
            destination: format!("mirror.example/{name}"),
            src_host: "source.example".to_owned(),
            dst_host: "mirror.example".to_owned(),
            dst_repo: name,
            rule: 1,
            content: String::new(),
            want_digest: None,
        })
        .collect();
    for items in items.chunks(1_000) {
        ledger.plan(run, items).unwrap();
    }
    ledger.end_plan(run, PlanScope::Whole).unwrap();
}

fn error(class: &str, message: &str, hint: &str) -> ItemError {
    ItemError { class: class.to_owned(), message: message.to_owned(), hint: Some(hint.to_owned()) }
}

fn end(ledger: &Sqlite, run: RunId, of: &mut dyn FnMut(&str) -> Option<FinishedItem>) {
    let limits = BTreeMap::new();
    loop {
        let request = ClaimRequest { run, worker: "test", most: 1_000, host_limits: &limits };
        let claimed = ledger.claim(&request).unwrap();
        if claimed.is_empty() {
            return;
        }
        for one in claimed {
            if let Some(record) = of(&one.item.dst_repo) {
                ledger.finish(one.lease, &record).unwrap();
            }
        }
    }
}

/// One image in each state.
fn each_state() -> World {
    let world = world();
    let ledger = &world.ledger;
    let run = begin(ledger);
    let names = ["copied", "unchanged", "wrong", "missing", "blocked", "waits", "unsure", "kept"];
    plan(ledger, run, names.into_iter().map(str::to_owned));
    end(ledger, run, &mut |name| {
        let verified = |outcome| Ending::Done(outcome, Verdict::Verified);
        let mut record = FinishedItem::new(match name {
            "copied" => verified(Outcome::Copied),
            "unchanged" => Ending::Done(Outcome::Unchanged, Verdict::NotVerified),
            "wrong" => Ending::Failed(Verdict::Failed),
            "missing" => Ending::Failed(Verdict::NotVerified),
            "blocked" => Ending::Blocked,
            "waits" => Ending::Retry { asked_wait: None },
            "unsure" => Ending::Done(Outcome::Copied, Verdict::Unconfirmed),
            _ => Ending::Done(Outcome::Kept, Verdict::NotVerified),
        });
        match name {
            "copied" => {
                record.proof = ProofChange::Proved(Digest::of(b"m"), Level::Full);
                (record.bytes_sent, record.bytes_mounted) = (1_000, 200);
            }
            "wrong" => {
                record.error = Some(error("verification", "the verification FAILED", "retry it"));
                record.objects = vec![ItemObject {
                    role: "layer 1".to_owned(),
                    digest: Some(Digest::of(b"l")),
                    size: Some(10),
                    status: "missing".to_owned(),
                    found: Some(HOSTILE.to_owned()),
                }];
            }
            "missing" => record.error = Some(error("source-missing", HOSTILE, HOSTILE)),
            "blocked" => {
                record.error = Some(error("conflict", "another image is there", "remove it"))
            }
            "waits" => record.error = Some(error("network", "source.example answered 503", "wait")),
            _ => {}
        }
        Some(record)
    });
    let blob = |content: &[u8], size| HeldBlob {
        host: "mirror.example".to_owned(),
        repo: "copied".to_owned(),
        digest: Digest::of(content),
        size,
    };
    let blobs = [blob(b"good", 600), blob(b"new", 300), blob(b"bad", 100)];
    ledger.note_blobs(&blobs).unwrap();
    let check = |content: &[u8], check| {
        ledger.record_blob(run, "mirror.example", &Digest::of(content), &check).unwrap();
    };
    check(b"good", BlobCheck::Good);
    check(b"bad", BlobCheck::Bad("other bytes".to_owned()));
    let answer = |host: &str, code, number| HostAnswers { host: host.to_owned(), code, number };
    let answers = [
        answer("mirror.example", 200, 7),
        answer("source.example", 429, 2),
        answer("source.example", 0, 1),
    ];
    ledger.note_traffic(run, &answers, Moved { sent: 1_000, mounted: 200 }).unwrap();
    ledger
        .note_unlisted(run, &[error("source-missing", "mirror.yaml:3:9: not found", "log in")])
        .unwrap();
    ledger
        .note_host("source.example", occystrap_mirror::ledger::holding::HostNote::PausedFor(600))
        .unwrap();
    ledger.stop_run(run).unwrap();
    world
}

fn written(
    world: &World,
    write: impl Fn(&MirrorReport<'_>, &mut dyn std::io::Write) -> Result<(), ReportFault>,
) -> String {
    let report = MirrorReport::last(&world.ledger, &world.file).unwrap().unwrap();
    let mut bytes = Vec::new();
    write(&report, &mut bytes).unwrap();
    let mut text = String::from_utf8(bytes).unwrap();
    // Times are those of the machine.
    for time in [report.run.started, report.run.finished.unwrap_or(0), report.now] {
        text = text.replace(at(time).unwrap().trim_end_matches('Z'), "[time]");
        text = text.replace(&format!("}} {time}\n"), "} [time]\n");
    }
    text
}

#[test]
fn the_document_lists_failures_and_their_objects() {
    let world = each_state();
    let document = written(&world, json::write);
    insta::assert_snapshot!(document);
    let line = written(&world, json::write_line);
    assert_eq!(line.lines().count(), 1);
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (document, line) = (parse(&document), parse(&line));
    assert_eq!(document, line);
    let summary = &document["summary"];
    let count = |key: &str| summary[key].as_u64().unwrap();
    let done = ["copied", "unchanged", "kept"].into_iter().map(count).sum::<u64>();
    let all = done + count("failed") + count("blocked") + count("dead") + count("open");
    assert_eq!(count("images"), all, "{summary}");
}

#[test]
fn a_count_that_was_not_established_is_null() {
    let world = world();
    begin(&world.ledger);
    let document = written(&world, json::write);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    for key in ["images", "open", "extra", "requests", "rate_limits"] {
        assert!(document["summary"][key].is_null(), "{key}: {document}");
    }
    assert!(document["coverage"]["read_within_30d"].is_null());
    assert!(document["coverage"]["oldest"].is_null());
}

#[test]
fn junit_has_a_case_for_each_image() {
    insta::assert_snapshot!(written(&each_state(), junit::write));
}

#[test]
fn prometheus_has_a_line_for_each_number() {
    let text = written(&each_state(), prometheus::write);
    insta::assert_snapshot!(text);
}

#[test]
fn the_page_has_failures_first_and_no_markup_of_others() {
    let world = each_state();
    let page = written(&world, html::write);
    for part in ["<script", "</p><", "\u{1b}", "\u{202e}", "onerror="] {
        assert!(!page.replace("</p>\n<", "").contains(part) || part == "</p><", "{part}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"), "{page}");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
    let order =
        ["<h2>Failures", "not found", "mirror.example/wrong", "<h2>When images", "<h2>All images"];
    assert!(order.map(place).is_sorted());
    assert!(page.contains("aria-label=\"within a day: 600 B\""), "{page}");
    for load in ["src=\"", "url(", "@import", "<link", "<iframe", "href="] {
        assert!(!page.contains(load), "{load}");
    }
}

#[test]
fn a_report_of_many_images_has_all_of_them() {
    let world = world();
    let run = begin(&world.ledger);
    plan(&world.ledger, run, (0..4_500).map(|number| format!("app{number}")));
    end(&world.ledger, run, &mut |_| {
        let mut record = FinishedItem::new(Ending::Failed(Verdict::NotVerified));
        record.error = Some(error("network", "down", "wait"));
        Some(record)
    });
    world.ledger.finish_run(run, "{}").unwrap();
    let junit = written(&world, junit::write);
    assert_eq!(junit.matches("<testcase ").count(), 4_500);
    assert!(junit.contains("tests=\"4500\" failures=\"0\" errors=\"4500\""));
    let document = written(&world, json::write);
    assert!(document.contains("\"left_out\": 3500"), "{}", &document[document.len() - 100..]);
    let page = written(&world, html::write);
    assert!(page.contains("4000 more failures are not described here"));
}

#[test]
fn a_report_replaces_only_a_report_of_its_format() {
    let world = each_state();
    let report = MirrorReport::last(&world.ledger, &world.file).unwrap().unwrap();
    let at = |name: &str| world.folder.path().join(name);
    let target = |format: &str, name: &str| {
        ReportFile::parse(&format!("{format}={}", at(name).display())).unwrap()
    };
    for format in ["json", "junit", "html", "prometheus"] {
        for _ in 0..2 {
            target(format, format).check().unwrap();
            target(format, format).write(&report).unwrap();
        }
        assert!(std::fs::metadata(at(format)).unwrap().len() > 500);
    }
    std::fs::write(at("notes"), "mine").unwrap();
    for format in ["json", "junit", "html", "prometheus"] {
        assert!(target(format, "notes").check().is_err(), "{format}");
    }
    assert!(target("html", "junit").write(&report).is_err());
    assert!(target("html", "no/such/x").check().unwrap_err().hint_text().is_some());
    assert_eq!(std::fs::read(at("notes")).unwrap(), b"mine");
}
