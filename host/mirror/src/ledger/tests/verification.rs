//! What each store promises of blobs and their verification.

use std::collections::BTreeMap;

use super::world::{World, begin, begin_kind, claim, digest, for_each_store, held, items};
use crate::ledger::holding::{BlobCheck, BlobState, BlobSum, DueRequest, HeldBlob, Subset};
use crate::ledger::record::{
    Ending, FinishedItem, ItemCheck, ItemError, ItemObject, Level, Outcome, ProofChange, RunId,
    RunKind, Verdict,
};
use crate::ledger::state::State;
use crate::ledger::{Accounts, Holdings, LONGEST_PAGE, Ledger, Queue};

for_each_store!(
    a_blob_is_found_where_it_is_and_a_bad_one_is_not_mounted,
    a_blob_without_repositories_is_forgotten,
    bad_blobs_come_first_then_new_ones_then_the_oldest,
    all_parts_together_are_everything_once,
    successive_shares_are_everything_once,
    the_age_that_a_user_sets_chooses_old_blobs_and_bad_ones,
    a_verification_reads_each_blob_once_also_when_the_clock_jumps,
    coverage_counts_each_blob_once,
    an_item_is_bad_until_a_verification_or_a_repair_finds_it_right,
    a_verification_changes_no_item_that_is_open_or_failed_otherwise,
);

const HOST: &str = "mirror.example";

fn due(run: RunId) -> DueRequest<'static> {
    DueRequest {
        run,
        host: None,
        subset: Subset::All,
        older_than: None,
        only_bad: false,
        after: None,
        most: LONGEST_PAGE,
    }
}

/// The blobs that are due, page by page.
fn all_due(
    ledger: &impl Ledger,
    request: DueRequest<'_>,
) -> Vec<crate::ledger::holding::LedgerBlob> {
    let (mut found, mut request) = (Vec::new(), request);
    loop {
        let page = ledger.due_blobs(&request).unwrap();
        found.extend(page.blobs);
        request.after = page.next;
        if page.next.is_none() {
            return found;
        }
    }
}

fn verify(ledger: &impl Ledger, n: u32) -> RunId {
    begin_kind(ledger, n, RunKind::Verify).id
}

fn note(ledger: &impl Ledger, numbers: std::ops::Range<u32>) {
    let blobs: Vec<_> = numbers.map(|n| held("repo", n, u64::from(n))).collect();
    ledger.note_blobs(&blobs).unwrap();
}

fn a_blob_is_found_where_it_is_and_a_bad_one_is_not_mounted(world: &impl World) {
    let ledger = world.open();
    ledger.note_blobs(&[held("b", 1, 10), held("a", 1, 10), held("a", 2, 20)]).unwrap();
    let other = HeldBlob { host: "other.example".into(), ..held("c", 1, 10) };
    ledger.note_blobs(&[other]).unwrap();
    assert_eq!(ledger.repos(HOST, &digest(1), "", 9).unwrap(), ["a", "b"]);
    assert_eq!(ledger.repos(HOST, &digest(1), "a", 9).unwrap(), ["b"]);
    assert_eq!(ledger.repos(HOST, &digest(1), "", 1).unwrap(), ["a"]);
    assert!(ledger.repos(HOST, &digest(3), "", 9).unwrap().is_empty());
    world.clock().pass(1);
    ledger.note_blobs(&[held("b", 1, 10)]).unwrap();
    assert_eq!(ledger.repos_to_mount(HOST, &digest(1), 9).unwrap(), ["b", "a"]);
    let run = verify(&ledger, 0);
    ledger.record_blob(run, HOST, &digest(1), &BlobCheck::Bad("9 bytes".into())).unwrap();
    assert!(ledger.repos_to_mount(HOST, &digest(1), 9).unwrap().is_empty());
    assert_eq!(ledger.repos(HOST, &digest(1), "", 9).unwrap(), ["a", "b"]);
    // To note it again does not make it right.
    ledger.note_blobs(&[held("b", 1, 10)]).unwrap();
    let blob = ledger.blob(HOST, &digest(1)).unwrap().unwrap();
    assert_eq!((blob.state, blob.found.as_deref()), (BlobState::Bad, Some("9 bytes")));
    let mut links = ledger.links(HOST, "a", None, 9).unwrap();
    links.sort_by_key(|link| link.size);
    assert_eq!(
        links.iter().map(|l| (l.size, l.state)).collect::<Vec<_>>(),
        [(10, BlobState::Bad), (20, BlobState::New)]
    );
    let first = ledger.links(HOST, "a", None, 1).unwrap()[0].digest;
    assert_eq!(ledger.links(HOST, "a", Some(&first), 9).unwrap().len(), 1);
    ledger.record_blob(run, HOST, &digest(1), &BlobCheck::Good).unwrap();
    assert_eq!(ledger.repos_to_mount(HOST, &digest(1), 9).unwrap().len(), 2);
}

fn a_blob_without_repositories_is_forgotten(world: &impl World) {
    let ledger = world.open();
    ledger.note_blobs(&[held("a", 1, 10), held("b", 1, 10)]).unwrap();
    ledger.forget_blob(HOST, "a", &digest(1)).unwrap();
    assert_eq!(ledger.repos(HOST, &digest(1), "", 9).unwrap(), ["b"]);
    ledger.forget_blob(HOST, "b", &digest(1)).unwrap();
    assert_eq!(ledger.blob(HOST, &digest(1)).unwrap(), None);
    let run = verify(&ledger, 0);
    assert!(!ledger.record_blob(run, HOST, &digest(1), &BlobCheck::Good).unwrap());
}

fn bad_blobs_come_first_then_new_ones_then_the_oldest(world: &impl World) {
    let ledger = world.open();
    note(&ledger, 0..6);
    let run = verify(&ledger, 0);
    for (n, check) in
        [(4, BlobCheck::Good), (2, BlobCheck::Good), (5, BlobCheck::Bad("gone".into()))]
    {
        world.clock().pass(10);
        ledger.record_blob(run, HOST, &digest(n), &check).unwrap();
    }
    let run = verify(&ledger, 1);
    let order = |most| {
        let found = all_due(&ledger, DueRequest { most, ..due(run) });
        found.into_iter().map(|blob| blob.size).collect::<Vec<_>>()
    };
    assert_eq!(order(LONGEST_PAGE), [5, 0, 1, 3, 4, 2]);
    assert_eq!(order(1), order(LONGEST_PAGE));
    assert_eq!(order(2), order(LONGEST_PAGE));
    let bad = DueRequest { only_bad: true, ..due(run) };
    assert_eq!(all_due(&ledger, bad).len(), 1);
    assert_eq!(ledger.sum_due(&due(run)).unwrap(), BlobSum { blobs: 6, bytes: 15 });
    let none = DueRequest { host: Some("other.example"), ..due(run) };
    assert_eq!(ledger.sum_due(&none).unwrap(), BlobSum::default());
}

fn all_parts_together_are_everything_once(world: &impl World) {
    let ledger = world.open();
    note(&ledger, 0..500);
    let mut seen = BTreeMap::new();
    for index in 1..=7 {
        let run = verify(&ledger, index);
        let part = DueRequest { subset: Subset::Part { index, of: 7 }, ..due(run) };
        let found = all_due(&ledger, part);
        assert!((40..110).contains(&found.len()), "{}", found.len());
        for blob in found {
            *seen.entry(blob.digest).or_insert(0) += 1;
            ledger.record_blob(run, HOST, &blob.digest, &BlobCheck::Good).unwrap();
        }
    }
    assert!(seen.len() == 500 && seen.values().all(|times| *times == 1));
}

fn successive_shares_are_everything_once(world: &impl World) {
    let ledger = world.open();
    note(&ledger, 0..500);
    let mut seen = BTreeMap::new();
    for turn in 990..1_010 {
        let run = verify(&ledger, u32::try_from(turn).unwrap());
        let subset = Subset::Share { ten_thousandths: 500, turn };
        for blob in all_due(&ledger, DueRequest { subset, ..due(run) }) {
            *seen.entry(blob.digest).or_insert(0) += 1;
        }
    }
    assert!(seen.len() == 500 && seen.values().all(|times| *times == 1), "{}", seen.len());
}

fn the_age_that_a_user_sets_chooses_old_blobs_and_bad_ones(world: &impl World) {
    let ledger = world.open();
    note(&ledger, 0..4);
    let run = verify(&ledger, 0);
    ledger.record_blob(run, HOST, &digest(1), &BlobCheck::Good).unwrap();
    world.clock().pass(1_000);
    ledger.record_blob(run, HOST, &digest(2), &BlobCheck::Good).unwrap();
    ledger.record_blob(run, HOST, &digest(3), &BlobCheck::Bad("x".into())).unwrap();
    let run = verify(&ledger, 1);
    let old = DueRequest { older_than: Some(500), ..due(run) };
    let sizes: Vec<_> = all_due(&ledger, old).iter().map(|blob| blob.size).collect();
    assert_eq!(sizes, [3, 0, 1]);
    // A time of next year is no time.
    world.clock().jump(-31_536_000);
    assert_eq!(all_due(&ledger, old).len(), 4);
}

fn a_verification_reads_each_blob_once_also_when_the_clock_jumps(world: &impl World) {
    let ledger = world.open();
    note(&ledger, 0..50);
    let run = verify(&ledger, 0);
    let (mut read, mut request) = (0, DueRequest { most: 7, ..due(run) });
    loop {
        // Each page from the beginning: what is recorded is not due in this run again.
        let page = ledger.due_blobs(&request).unwrap();
        if page.blobs.is_empty() {
            break;
        }
        for (n, blob) in page.blobs.iter().enumerate() {
            world.clock().jump(if n % 2 == 0 { -90_000 } else { 90_000 });
            let check =
                [BlobCheck::Good, BlobCheck::Unchecked, BlobCheck::Bad("x".into())][n % 3].clone();
            ledger.record_blob(run, HOST, &blob.digest, &check).unwrap();
            read += 1;
        }
        request.after = None;
        assert!(read <= 50);
    }
    assert_eq!(read, 50);
}

fn coverage_counts_each_blob_once(world: &impl World) {
    let ledger = world.open();
    note(&ledger, 0..6);
    let run = verify(&ledger, 0);
    for n in 1..5 {
        ledger.record_blob(run, HOST, &digest(n), &BlobCheck::Good).unwrap();
        world.clock().pass(100);
    }
    ledger.record_blob(run, HOST, &digest(5), &BlobCheck::Bad("x".into())).unwrap();
    // Ages: 400, 300, 200, 100 of the sizes 1, 2, 3, 4.
    let found = ledger.coverage(&[100, 350]).unwrap();
    let sum = |blobs, bytes| BlobSum { blobs, bytes };
    assert_eq!(found.by_age, [sum(1, 4), sum(2, 5), sum(1, 1)]);
    assert_eq!((found.all, found.never, found.bad), (sum(6, 15), sum(1, 0), sum(1, 5)));
    assert_eq!(found.oldest, Some(400));
    // The clock goes back: the near future is new, the far one never was.
    world.clock().jump(-350);
    assert_eq!(ledger.coverage(&[100]).unwrap().by_age, [sum(4, 10), sum(0, 0)]);
    world.clock().jump(-31_536_000);
    let found = ledger.coverage(&[100]).unwrap();
    assert_eq!((found.never, found.oldest), (sum(5, 10), None));
    assert_eq!(ledger.coverage(&[]).unwrap().by_age.len(), 1);
}

fn bad() -> ItemCheck {
    let error =
        ItemError { class: "damaged".into(), message: "the tag is missing".into(), hint: None };
    let object = ItemObject {
        role: "manifest".into(),
        digest: Some(digest(7)),
        size: None,
        status: "missing".into(),
        found: None,
    };
    ItemCheck::Bad { error, objects: vec![object] }
}

fn an_item_is_bad_until_a_verification_or_a_repair_finds_it_right(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..2)).unwrap();
    let mut ids = Vec::new();
    for claimed in claim(&ledger, run, 2) {
        let mut record = FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified));
        record.proof = ProofChange::Proved(digest(7), Level::Fast);
        ledger.finish(claimed.lease, &record).unwrap();
        ids.push((claimed.item.id, claimed.item.destination));
    }
    let later = verify(&ledger, 0);
    let (id, name) = &ids[0];
    assert!(ledger.record_item(later, *id, &bad()).unwrap());
    let item = ledger.item(name).unwrap().unwrap();
    assert_eq!(
        (item.state, item.verdict, item.proof),
        (State::Failed, Some(Verdict::Failed), None)
    );
    assert_eq!(ledger.objects(*id).unwrap().len(), 1);
    let good = ItemCheck::Good { digest: digest(7), level: Level::Fast };
    assert!(ledger.record_item(later, *id, &good).unwrap());
    let item = ledger.item(name).unwrap().unwrap();
    assert_eq!((item.state, item.outcome), (State::Done, Some(Outcome::Unchanged)));
    assert_eq!((item.error, ledger.objects(*id).unwrap().len()), (None, 0));
    assert!(item.proof.is_some());
    ledger.record_item(later, *id, &bad()).unwrap();
    let receipt = Some("{}".to_owned());
    let repaired = ItemCheck::Repaired { digest: digest(8), level: Level::Full, receipt };
    assert!(ledger.record_item(later, *id, &repaired).unwrap());
    let item = ledger.item(name).unwrap().unwrap();
    assert_eq!((item.outcome, item.changed_run), (Some(Outcome::Repaired), Some(later)));
    assert_eq!(ledger.receipt(*id).unwrap().as_deref(), Some("{}"));
    // What was copied keeps its outcome when it is verified.
    ledger.record_item(later, ids[1].0, &good).unwrap();
    assert_eq!(ledger.item(&ids[1].1).unwrap().unwrap().outcome, Some(Outcome::Copied));
}

fn a_verification_changes_no_item_that_is_open_or_failed_otherwise(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..2)).unwrap();
    let claimed = claim(&ledger, run, 1).remove(0);
    let good = ItemCheck::Good { digest: digest(7), level: Level::Fast };
    assert!(!ledger.record_item(run, claimed.item.id, &good).unwrap());
    assert!(!ledger.record_item(run, claimed.item.id, &bad()).unwrap());
    let failed = FinishedItem::new(Ending::Failed(Verdict::NotVerified));
    ledger.finish(claimed.lease, &failed).unwrap();
    for check in [good, bad()] {
        assert!(!ledger.record_item(run, claimed.item.id, &check).unwrap());
    }
}
