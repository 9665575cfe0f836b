//! Figures of the store in a file. The limits are loose: machines of CI are slow, and this is an unoptimised build.

use std::collections::BTreeMap;
use std::time::Instant;

use super::world::{SqliteWorld, World, begin, digest, held, items};
use crate::ledger::holding::{DueRequest, Subset};
use crate::ledger::record::{
    ClaimRequest, Ending, FinishedItem, Level, Outcome, PlanScope, ProofChange, Verdict,
};
use crate::ledger::sqlite::{LedgerAccess, Opening, Sqlite};
use crate::ledger::{Accounts, Holdings, Queue};

const ITEMS: u32 = 100_000;
const WORKED: u32 = 4_000;

#[test]
fn a_hundred_thousand_items_are_planned_and_worked_on_quickly() {
    let world = SqliteWorld::new();
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    let plan = |run| {
        let (mut took, mut next) = (std::time::Duration::ZERO, 0);
        while next < ITEMS {
            let batch = items(next..next + 1_000);
            let started = Instant::now();
            ledger.plan(run, &batch).unwrap();
            took += started.elapsed();
            next += 1_000;
        }
        let started = Instant::now();
        ledger.end_plan(run, PlanScope::Whole).unwrap();
        took + started.elapsed()
    };
    let planned = plan(run);
    let limits = BTreeMap::from([("mirror.example".to_owned(), 16)]);
    let request = ClaimRequest { run, worker: "w", most: 1, host_limits: &limits };
    let started = Instant::now();
    for _ in 0..WORKED {
        let claimed = ledger.claim(&request).unwrap().pop().unwrap();
        let record = FinishedItem {
            proof: ProofChange::Proved(digest(1), Level::Fast),
            receipt: Some("r".repeat(1_500)),
            ..FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified))
        };
        ledger.finish(claimed.lease, &record).unwrap();
    }
    let worked = started.elapsed();
    let started = Instant::now();
    assert_eq!(ledger.totals(run).unwrap().items(), u64::from(ITEMS));
    let counted = started.elapsed();
    ledger.stop_run(run).unwrap();
    let again = begin(&ledger, 1).id;
    let replanned = plan(again);

    let blobs: Vec<_> = (0..100_000).map(|n| held(&format!("r{}", n % 50), n, 1_000)).collect();
    let started = Instant::now();
    for batch in blobs.chunks(1_000) {
        ledger.note_blobs(batch).unwrap();
    }
    let noted = started.elapsed();
    let subset = Subset::Part { index: 1, of: 100 };
    let request = DueRequest {
        run: again,
        host: None,
        subset,
        older_than: None,
        only_bad: false,
        after: None,
        most: 500,
    };
    let started = Instant::now();
    assert_eq!(ledger.due_blobs(&request).unwrap().blobs.len(), 500);
    let chosen = started.elapsed();
    let path = world.path();
    drop(ledger);
    let bytes = std::fs::metadata(&path).unwrap().len();
    let started = Instant::now();
    drop(
        Sqlite::open(&Opening::new(
            &path,
            "mirror.yaml",
            super::world::file(0),
            LedgerAccess::Write,
        ))
        .unwrap(),
    );
    let opened = started.elapsed();
    let rate = f64::from(WORKED) / worked.as_secs_f64();
    eprintln!(
        "{ITEMS} items planned in {planned:.2?}, again in {replanned:.2?}; {rate:.0} claims and finishes a second; totals in {counted:.2?}; \
        100,000 blobs noted in {noted:.2?}, 500 of them chosen in {chosen:.2?}; opened with quick_check in {opened:.2?}; {bytes} bytes"
    );
    assert!(planned.as_secs() < 30 && replanned.as_secs() < 30 && opened.as_secs() < 10);
    assert!(rate > 200.0, "{rate}");
    assert!(counted.as_secs() < 2 && chosen.as_secs() < 2 && noted.as_secs() < 60);
}
