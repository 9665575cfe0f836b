//! What each store promises of runs and items.

use std::collections::BTreeMap;

use super::world::{
    World, begin, begin_kind, claim, claim_within, digest, done, for_each_store, item, items,
    work_all,
};
use crate::ledger::holding::{HostNote, ItemFilter};
use crate::ledger::record::{
    Ending, FinishedItem, ItemError, ItemObject, LeaseWrite, Level, PlanScope, ProofChange, RunEnd,
    RunKind, RunState, Verdict,
};
use crate::ledger::state::State;
use crate::ledger::{Accounts, Facts, Queue};

for_each_store!(
    an_unchanged_item_keeps_its_proof_and_another_content_drops_it,
    items_that_a_file_no_longer_names_are_extra_or_forgotten,
    a_partial_plan_leaves_the_others_as_they_are,
    a_file_of_another_mirror_is_refused_and_changes_nothing,
    an_interrupted_run_goes_on_and_another_file_begins_a_new_one,
    a_host_has_no_more_items_in_work_than_its_limit,
    a_host_with_many_items_does_not_keep_others_waiting,
    a_retry_waits_longer_each_time_and_is_dead_after_the_sixth_attempt,
    retries_come_after_planned_items,
    a_lease_without_a_heartbeat_is_taken_back_and_writes_nothing_more,
    several_attempts_end_together_and_a_stale_one_stops_no_other,
    a_process_that_stops_gives_its_leases_back_uncounted,
    a_clock_that_jumps_loses_nothing_and_repeats_nothing,
    a_paused_host_gets_no_work_until_the_pause_ends,
    items_without_a_host_are_claimed,
    a_verification_or_an_export_in_between_does_not_end_a_run,
    known_items_are_returned_in_the_order_of_the_question,
    all_that_is_recorded_of_an_item_is_read_back,
    a_run_is_closed_once_and_only_without_open_items,
    failures_are_planned_again_in_a_run_of_their_own,
    a_page_is_never_longer_than_its_limit,
);

fn an_unchanged_item_keeps_its_proof_and_another_content_drops_it(world: &impl World) {
    let ledger = world.open();
    let first = begin(&ledger, 0);
    let changes = ledger.plan(first.id, &items(0..4)).unwrap();
    assert_eq!((changes.new, changes.same), (4, 0));
    ledger.end_plan(first.id, PlanScope::Whole).unwrap();
    work_all(&ledger, first.id);
    assert_eq!(ledger.finish_run(first.id, "{}").unwrap(), RunEnd::Closed);

    let second = begin(&ledger, 0);
    assert!(!second.resumed && second.id > first.id);
    let mut named = items(0..4);
    named[1].content = "linux/amd64".to_owned();
    named[2].source = "elsewhere.example/image:2".to_owned();
    let changes = ledger.plan(second.id, &named).unwrap();
    assert_eq!((changes.new, changes.changed, changes.same, changes.ended), (0, 2, 2, 0));
    let found = |n| ledger.item(&item(n).destination).unwrap().unwrap();
    let proof = found(0).proof.unwrap();
    assert_eq!((proof.digest, proof.level), (digest(1), Level::Fast));
    assert_eq!(found(1).proof, None);
    // Another source with the same content: its digest is compared.
    assert!(found(2).proof.is_some());
    assert_eq!(found(2).source, "elsewhere.example/image:2");
    assert!((0..4).all(|n| found(n).state == State::Planned && found(n).outcome.is_none()));
}

fn items_that_a_file_no_longer_names_are_extra_or_forgotten(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..4)).unwrap();
    ledger.end_plan(run, PlanScope::Whole).unwrap();
    for claimed in claim(&ledger, run, 4) {
        let record = if claimed.item.destination == item(3).destination {
            FinishedItem::new(Ending::Failed(Verdict::NotVerified))
        } else {
            done()
        };
        ledger.finish(claimed.lease, &record).unwrap();
    }
    let run = begin(&ledger, 1).id;
    ledger.plan(run, &items([0])).unwrap();
    let unnamed = ledger.end_plan(run, PlanScope::Whole).unwrap();
    assert_eq!((unnamed.extra, unnamed.forgotten, unnamed.extra_before), (2, 1, 0));
    assert_eq!(ledger.item(&item(3).destination).unwrap(), None);
    let extra = ledger.item(&item(1).destination).unwrap().unwrap();
    assert_eq!(extra.state, State::Extra);
    assert_eq!(ledger.totals(run).unwrap().extra, 2);

    // Named again, it is planned with its proof; deleted by prune, it is forgotten.
    ledger.plan(run, &items([1])).unwrap();
    let again = ledger.item(&item(1).destination).unwrap().unwrap();
    assert!(again.state == State::Planned && again.proof.is_some());
    assert!(!ledger.forget_extra(again.id).unwrap());
    let extra = ledger.item(&item(2).destination).unwrap().unwrap();
    assert!(ledger.forget_extra(extra.id).unwrap());
    assert_eq!(ledger.item(&item(2).destination).unwrap(), None);
}

fn a_partial_plan_leaves_the_others_as_they_are(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..4)).unwrap();
    work_all(&ledger, run);
    let run = begin(&ledger, 1).id;
    ledger.plan(run, &items([0])).unwrap();
    assert_eq!(ledger.end_plan(run, PlanScope::Part).unwrap().extra, 0);
    assert_eq!(ledger.item(&item(1).destination).unwrap().unwrap().state, State::Done);
    assert_eq!(ledger.totals(run).unwrap().items(), 1);
}

fn a_file_of_another_mirror_is_refused_and_changes_nothing(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..4)).unwrap();
    ledger.end_plan(run, PlanScope::Whole).unwrap();
    work_all(&ledger, run);
    ledger.finish_run(run, "{}").unwrap();
    let before = ledger.items(&ItemFilter::default(), None, 100).unwrap();
    let other = begin(&ledger, 1).id;
    ledger.plan(other, &items(100..103)).unwrap();
    let error = ledger.end_plan(other, PlanScope::Whole).unwrap_err();
    insta::assert_snapshot!(error, @"the ledger is of another mirror: none of its 4 destinations, for example 'mirror.example/library/image-0:0', is among the 3 of the file");
    assert_eq!(ledger.items(&ItemFilter::default(), None, 100).unwrap(), before);
    assert_eq!(ledger.runs(9).unwrap().len(), 1);
}

fn an_interrupted_run_goes_on_and_another_file_begins_a_new_one(world: &impl World) {
    let ledger = world.open();
    let first = begin(&ledger, 0);
    ledger.plan(first.id, &items(0..5)).unwrap();
    ledger.end_plan(first.id, PlanScope::Whole).unwrap();
    let claimed = claim(&ledger, first.id, 2);
    ledger.finish(claimed[0].lease, &done()).unwrap();
    drop(ledger);

    let ledger = world.open();
    let again = begin(&ledger, 0);
    assert_eq!((again.id, again.resumed, again.left), (first.id, true, 4));
    assert_eq!((again.taken_back, again.dead), (1, 0));
    let changes = ledger.plan(again.id, &items(0..6)).unwrap();
    assert_eq!((changes.new, changes.same, changes.ended), (1, 4, 1));
    // What a dead process had is tried again at once, after what was never tried.
    let order: Vec<_> = claim(&ledger, again.id, 9).into_iter().map(|c| c.item.attempt).collect();
    assert_eq!(order, [1, 1, 1, 1, 2]);
    ledger.stop_run(again.id).unwrap();
    assert_eq!(ledger.runs(1).unwrap()[0].state, RunState::Stopped);

    let other = begin(&ledger, 1);
    assert!(!other.resumed);
    assert_eq!(ledger.runs(9).unwrap().len(), 2);
}

fn a_host_has_no_more_items_in_work_than_its_limit(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..30)).unwrap();
    let limits = BTreeMap::from([
        ("source-0.example".to_owned(), 2),
        ("source-1.example".to_owned(), 0),
        ("mirror.example".to_owned(), 7),
    ]);
    let claimed = claim_within(&ledger, run, 100, &limits);
    let of = |host: &str| claimed.iter().filter(|c| c.item.src_host == host).count();
    assert_eq!((of("source-0.example"), of("source-1.example"), of("source-2.example")), (2, 0, 5));
    assert!(claim_within(&ledger, run, 100, &limits).is_empty());
    ledger.finish(claimed[0].lease, &done()).unwrap();
    assert_eq!(claim_within(&ledger, run, 100, &limits).len(), 1);
}

fn a_host_with_many_items_does_not_keep_others_waiting(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    let mut all = items((0..300).map(|n| n * 3));
    all.push(item(1));
    ledger.plan(run, &all).unwrap();
    let claimed = claim(&ledger, run, 3);
    let sources: Vec<_> = claimed.iter().map(|c| c.item.source.as_str()).collect();
    assert!(sources.contains(&item(1).source.as_str()), "{sources:?}");
    assert_eq!(claimed[0].item.source, item(0).source);
}

fn a_retry_waits_longer_each_time_and_is_dead_after_the_sixth_attempt(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items([0])).unwrap();
    let error = ItemError { class: "network".into(), message: "reset".into(), hint: None };
    let mut waits = Vec::new();
    for attempt in 1..=6 {
        let claimed = claim(&ledger, run, 1).pop().unwrap();
        assert_eq!(claimed.item.attempt, attempt);
        let record = FinishedItem {
            error: Some(error.clone()),
            ..FinishedItem::new(Ending::Retry { asked_wait: None })
        };
        let written = ledger.finish(claimed.lease, &record).unwrap();
        if attempt == 6 {
            assert_eq!(written, LeaseWrite::Recorded(State::Dead));
            break;
        }
        let wait = ledger.open_items(run).unwrap().next_in.unwrap();
        assert_eq!(written, LeaseWrite::Postponed(i64::try_from(wait).unwrap()));
        world.clock().pass(wait - 1);
        assert!(claim(&ledger, run, 1).is_empty());
        world.clock().pass(1);
        waits.push(wait);
    }
    assert!(waits.windows(2).all(|pair| pair[0] * 3 < pair[1]), "{waits:?}");
    assert!(waits[0] >= 10 && waits[4] <= 3_600, "{waits:?}");
    let found = ledger.item(&item(0).destination).unwrap().unwrap();
    assert_eq!((found.error, found.ended.is_some()), (Some(error), true));
    assert_eq!(ledger.totals(run).unwrap().retries, 5);
}

fn retries_come_after_planned_items(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..3)).unwrap();
    let first = claim(&ledger, run, 1).pop().unwrap();
    let retry = FinishedItem::new(Ending::Retry { asked_wait: Some(60) });
    ledger.finish(first.lease, &retry).unwrap();
    assert_eq!(ledger.open_items(run).unwrap().next_in, Some(0));
    world.clock().pass(60);
    let order: Vec<_> = claim(&ledger, run, 3).into_iter().map(|c| c.item.id).collect();
    assert_eq!(order.last(), Some(&first.item.id));
}

fn a_lease_without_a_heartbeat_is_taken_back_and_writes_nothing_more(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..2)).unwrap();
    let claimed = claim(&ledger, run, 2);
    world.clock().pass(100);
    assert_eq!(ledger.heartbeat(&[claimed[0].lease]).unwrap(), []);
    world.clock().pass(100);
    let again = claim(&ledger, run, 2);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].item.id, again[0].item.attempt), (claimed[1].item.id, 2));
    assert_eq!(ledger.heartbeat(&[claimed[1].lease]).unwrap(), [claimed[1].lease]);
    assert_eq!(ledger.finish(claimed[1].lease, &done()).unwrap(), LeaseWrite::Stale);
    assert_eq!(ledger.totals(run).unwrap().leased, 2);
    let written = ledger.finish(again[0].lease, &done()).unwrap();
    assert_eq!(written, LeaseWrite::Recorded(State::Done));
    assert_eq!(ledger.finish(again[0].lease, &done()).unwrap(), LeaseWrite::Stale);
}

fn several_attempts_end_together_and_a_stale_one_stops_no_other(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..3)).unwrap();
    let claimed = claim(&ledger, run, 3);
    ledger.finish(claimed[1].lease, &done()).unwrap();
    let failed = FinishedItem::new(Ending::Failed(Verdict::NotVerified));
    let records =
        [(claimed[0].lease, &done()), (claimed[1].lease, &done()), (claimed[2].lease, &failed)];
    let (done, failed) = (LeaseWrite::Recorded(State::Done), LeaseWrite::Recorded(State::Failed));
    assert_eq!(ledger.finish_all(&records).unwrap(), [done, LeaseWrite::Stale, failed]);
    assert_eq!(ledger.give_back().unwrap(), 0, "the leases are over");
    let totals = ledger.totals(run).unwrap();
    assert_eq!((totals.done, totals.failed, totals.leased), (2, 1, 0));
}

fn a_process_that_stops_gives_its_leases_back_uncounted(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..2)).unwrap();
    let claimed = claim(&ledger, run, 2);
    let retry = FinishedItem::new(Ending::Retry { asked_wait: None });
    ledger.finish(claimed[0].lease, &retry).unwrap();
    world.clock().pass(60);
    let again = claim(&ledger, run, 2).pop().unwrap();
    assert_eq!(again.item.attempt, 2);
    assert_eq!(ledger.give_back().unwrap(), 2);
    assert_eq!(ledger.finish(again.lease, &done()).unwrap(), LeaseWrite::Stale);
    let open = ledger.open_items(run).unwrap();
    assert_eq!((open.planned, open.retry, open.leased, open.next_in), (1, 1, 0, Some(0)));
    let attempts: Vec<_> = claim(&ledger, run, 2).iter().map(|c| c.item.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

fn a_clock_that_jumps_loses_nothing_and_repeats_nothing(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..3)).unwrap();
    let claimed = claim(&ledger, run, 2);
    // Forward by ten hours: no lease ends.
    world.clock().jump(36_000);
    assert_eq!(claim(&ledger, run, 1).len(), 1);
    assert!(claim(&ledger, run, 9).is_empty());
    let retry = FinishedItem::new(Ending::Retry { asked_wait: None });
    ledger.finish(claimed[0].lease, &retry).unwrap();
    // Back by ten hours: the retry does not wait for them.
    world.clock().jump(-36_000);
    assert_eq!(ledger.open_items(run).unwrap().next_in, Some(0));
    assert_eq!(claim(&ledger, run, 9).len(), 1);
    ledger.finish(claimed[1].lease, &done()).unwrap();
    // A proof of the next hours counts as new; one of next year does not count.
    let found = ledger.item(&claimed[1].item.destination).unwrap().unwrap();
    let proof = found.proof.unwrap();
    let now = ledger.now().unwrap();
    assert!(proof.is_younger(now - 36_000, 60) && !proof.is_younger(now - 31_536_000, 60));
    ledger.note_referrers("h", "r", &digest(1)).unwrap();
    world.clock().jump(-36_000);
    assert_eq!(ledger.referrers_age("h", "r", &digest(1)).unwrap(), Some(0));
    world.clock().jump(-31_536_000);
    assert_eq!(ledger.referrers_age("h", "r", &digest(1)).unwrap(), None);
}

fn a_paused_host_gets_no_work_until_the_pause_ends(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items([0, 3])).unwrap();
    ledger.note_host("source-0.example", HostNote::PausedFor(90)).unwrap();
    assert!(claim(&ledger, run, 9).is_empty());
    assert_eq!(ledger.open_items(run).unwrap().next_in, Some(90));
    world.clock().pass(40);
    assert_eq!(ledger.host("source-0.example").unwrap().paused_for, 50);
    world.clock().pass(50);
    assert_eq!(claim(&ledger, run, 1).len(), 1);
    ledger.note_host("source-0.example", HostNote::PausedFor(90)).unwrap();
    assert!(claim(&ledger, run, 9).is_empty());
    world.clock().jump(-36_000);
    assert_eq!(claim(&ledger, run, 9).len(), 1);
}

fn all_that_is_recorded_of_an_item_is_read_back(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items([0])).unwrap();
    let claimed = claim(&ledger, run, 1).pop().unwrap();
    let object = ItemObject {
        role: "layer 2".into(),
        digest: Some(digest(9)),
        size: Some(77),
        status: "damaged".into(),
        found: Some("76 bytes".into()),
    };
    let record = FinishedItem {
        ending: Ending::Failed(Verdict::Failed),
        want_digest: Some(digest(3)),
        proof: ProofChange::Drop,
        bytes_sent: 1_000,
        bytes_mounted: u64::MAX,
        receipt: Some("{\"images\":[]}".into()),
        error: Some(ItemError {
            class: "damaged".into(),
            message: "it is 'wrong'".into(),
            hint: Some("repair it".into()),
        }),
        objects: vec![object.clone()],
    };
    ledger.finish(claimed.lease, &record).unwrap();
    let found = ledger.item(&claimed.item.destination).unwrap().unwrap();
    assert_eq!(
        (found.state, found.verdict, found.outcome),
        (State::Failed, Some(Verdict::Failed), None)
    );
    assert_eq!(
        (found.error, found.want_digest, found.proof),
        (record.error, Some(digest(3)), None)
    );
    assert_eq!((found.bytes_sent, found.bytes_mounted), (1_000, i64::MAX.unsigned_abs()));
    assert_eq!(ledger.objects(found.id).unwrap(), [object]);
    assert_eq!(ledger.receipt(found.id).unwrap(), record.receipt);
    let totals = ledger.totals(run).unwrap();
    assert_eq!((totals.failed, totals.verified_failed, totals.items()), (1, 1, 1));
}

fn a_run_is_closed_once_and_only_without_open_items(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..2)).unwrap();
    assert_eq!(ledger.finish_run(run, "{}").unwrap(), RunEnd::ItemsLeft(2));
    work_all(&ledger, run);
    assert_eq!(ledger.finish_run(run, "{\"images\":2}").unwrap(), RunEnd::Closed);
    assert_eq!(ledger.finish_run(run, "{}").unwrap(), RunEnd::WasClosed);
    ledger.stop_run(run).unwrap();
    let closed = ledger.runs(1).unwrap().pop().unwrap();
    assert_eq!(
        (closed.state, closed.totals.as_deref()),
        (RunState::Finished, Some("{\"images\":2}"))
    );
}

fn failures_are_planned_again_in_a_run_of_their_own(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..4)).unwrap();
    ledger.end_plan(run, PlanScope::Whole).unwrap();
    let claimed = claim(&ledger, run, 4);
    ledger
        .finish(claimed[0].lease, &FinishedItem::new(Ending::Failed(Verdict::NotVerified)))
        .unwrap();
    ledger.finish(claimed[1].lease, &FinishedItem::new(Ending::Blocked)).unwrap();
    for claimed in &claimed[2..] {
        ledger.finish(claimed.lease, &done()).unwrap();
    }
    let failures = [State::Failed, State::Blocked, State::Dead];
    let filter = ItemFilter { run: Some(run), states: &failures, ..ItemFilter::default() };
    assert_eq!(ledger.items(&filter, None, 9).unwrap().len(), 2);
    assert_eq!(ledger.items(&filter, None, 1).unwrap().len(), 1);
    ledger.finish_run(run, "{}").unwrap();

    let run = begin(&ledger, 0).id;
    let failed: Vec<_> = claimed[..2].iter().map(|claimed| &claimed.item.destination).collect();
    let mut again = items(0..4);
    again.retain(|item| failed.contains(&&item.destination));
    ledger.plan(run, &again).unwrap();
    ledger.end_plan(run, PlanScope::Part).unwrap();
    assert_eq!(ledger.totals(run).unwrap().items(), 2);
    work_all(&ledger, run);
    assert_eq!(ledger.finish_run(run, "{}").unwrap(), RunEnd::Closed);
    assert_eq!(
        ledger
            .items(&ItemFilter { states: &[State::Done], ..ItemFilter::default() }, None, 9)
            .unwrap()
            .len(),
        4
    );
}

fn a_page_is_never_longer_than_its_limit(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..2_500)).unwrap();
    let mut seen = 0;
    let mut after = None;
    loop {
        let page = ledger.items(&ItemFilter::default(), after, usize::MAX).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= crate::ledger::LONGEST_PAGE);
        (seen, after) = (seen + page.len(), Some(last.id));
    }
    assert_eq!(seen, 2_500);
}

fn items_without_a_host_are_claimed(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    let mut local = item(0);
    (local.src_host, local.dst_host) = (String::new(), String::new());
    ledger.plan(run, &[local, item(1)]).unwrap();
    assert_eq!(ledger.open_items(run).unwrap().next_in, Some(0));
    assert_eq!(claim(&ledger, run, 9).len(), 2);
}

fn known_items_are_returned_in_the_order_of_the_question(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..3)).unwrap();
    let names = [2, 9, 0].map(|n| item(n).destination);
    let found = ledger.known(&names.each_ref().map(String::as_str)).unwrap();
    let found: Vec<_> = found.into_iter().map(|found| found.map(|item| item.destination)).collect();
    assert_eq!(found, [Some(names[0].clone()), None, Some(names[2].clone())]);
}

fn a_verification_or_an_export_in_between_does_not_end_a_run(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    ledger.plan(run, &items(0..3)).unwrap();
    ledger.end_plan(run, PlanScope::Whole).unwrap();
    ledger.stop_run(run).unwrap();
    let verify = begin_kind(&ledger, 0, RunKind::Verify);
    assert!(!verify.resumed);
    let again = begin(&ledger, 0);
    assert_eq!((again.id, again.resumed, again.left), (run, true, 3));
    ledger.stop_run(run).unwrap();
    let export = begin_kind(&ledger, 0, RunKind::Export);
    assert!(!export.resumed);
    assert_eq!(begin_kind(&ledger, 0, RunKind::Export).id, export.id);
    assert_eq!(begin(&ledger, 0).id, run);
    assert!(!begin_kind(&ledger, 0, RunKind::Repair).resumed);
    assert!(!begin(&ledger, 0).resumed);
}
