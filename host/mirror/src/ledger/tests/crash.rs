//! A process that is killed at any moment leaves a ledger in which all that it had recorded is.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::world::{begin, claim, digest, file, held, items};
use crate::ledger::holding::{ItemFilter, NewEvent};
use crate::ledger::record::{
    Ending, FinishedItem, LeaseWrite, Level, Outcome, PlanScope, ProofChange, RunEnd, Verdict,
};
use crate::ledger::sqlite::{LedgerAccess, Opening, Sqlite};
use crate::ledger::state::State;
use crate::ledger::{Accounts, Holdings, Queue};

/// Variable that makes the test below the process that is killed. It holds the folder.
const FOLDER: &str = "OCCYSTRAP_TEST_LEDGER";

/// Number of items; the process plans, claims and finishes them until it is killed.
const ITEMS: u32 = 300;

/// Number of times that a process is killed.
const KILLS: u64 = 25;

fn open(folder: &Path) -> Sqlite {
    let path = folder.join("mirror.yaml.ledger");
    Sqlite::open(&Opening::new(&path, "mirror.yaml", file(0), LedgerAccess::Create)).unwrap()
}

/// Is started by the test below, and works until it is killed or all is done. In an ordinary run of the tests it returns
/// at once.
#[test]
fn a_process_for_the_test_of_kills() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut log = OpenOptions::new().append(true).create(true).open(folder.join("log")).unwrap();
    let ledger = open(&folder);
    let run = begin(&ledger, 0).id;
    for batch in items(0..ITEMS).chunks(20) {
        ledger.plan(run, batch).unwrap();
    }
    ledger.end_plan(run, PlanScope::Whole).unwrap();
    loop {
        let claimed = claim(&ledger, run, 3);
        if claimed.is_empty() {
            break;
        }
        for claimed in claimed {
            ledger.note_blobs(&[held(&claimed.item.dst_repo, 7, 1)]).unwrap();
            let event = NewEvent { run, item: None, worker: "w", what: "copied", detail: "" };
            ledger.append_events(&[event]).unwrap();
            let record = FinishedItem {
                proof: ProofChange::Proved(digest(1), Level::Fast),
                bytes_sent: 1,
                receipt: Some("r".repeat(5_000)),
                ..FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified))
            };
            let written = ledger.finish(claimed.lease, &record).unwrap();
            assert_eq!(written, LeaseWrite::Recorded(State::Done));
            // One write, so that a killed process leaves no half of a line.
            log.write_all(format!("{}\n", claimed.item.id.0).as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_recorded_and_frees_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for kill in 0..KILLS {
        let mut process = Command::new(std::env::current_exe().unwrap());
        process
            .args(["--exact", "ledger::tests::crash::a_process_for_the_test_of_kills"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = process.spawn().unwrap();
        // From before the ledger exists to the middle of the work; a different moment each time.
        let moment = Duration::from_micros(2_000 + kill * 3_137);
        let started = Instant::now();
        while started.elapsed() < moment {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Opening checks the whole file.
        let ledger = open(folder.path());
        let filter = ItemFilter { states: &[State::Done], ..ItemFilter::default() };
        let done = ledger.items(&filter, None, 1_000).unwrap();
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let mut finished = BTreeMap::<i64, u32>::new();
        for line in log.lines() {
            *finished.entry(line.parse().unwrap()).or_default() += 1;
        }
        assert!(finished.values().all(|times| *times == 1), "an item ended twice in a run");
        assert!(finished.keys().all(|id| done.iter().any(|item| item.id.0 == *id)));
        assert!(done.iter().all(|item| ledger.receipt(item.id).unwrap().is_some()));
        // One commit may have no line yet.
        assert!(
            done.len() >= last && done.len() <= finished.len() + usize::try_from(kill).unwrap() + 1
        );
        last = done.len();
    }
    let ledger = open(folder.path());
    let begun = begin(&ledger, 0);
    ledger.plan(begun.id, &items(0..ITEMS)).unwrap();
    loop {
        let claimed = claim(&ledger, begun.id, 50);
        for claimed in &claimed {
            let record = FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified));
            ledger.finish(claimed.lease, &record).unwrap();
        }
        if claimed.is_empty() {
            break;
        }
    }
    let totals = ledger.totals(begun.id).unwrap();
    assert_eq!((totals.items(), totals.done + totals.dead), (u64::from(ITEMS), u64::from(ITEMS)));
    assert_eq!(ledger.finish_run(begun.id, "{}").unwrap(), RunEnd::Closed);
    eprintln!("{KILLS} kills: {last} items had ended before the last one");
}
