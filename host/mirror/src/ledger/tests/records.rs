//! What each store promises of all that stands beside the items: exports, imports, facts of sources, events and traces.

use std::collections::BTreeMap;

use super::world::{World, begin, begin_kind, digest, for_each_store, items, work_all};
use crate::ledger::export::{Exports, NewExport};
use crate::ledger::holding::{HostAnswers, HostNote, Moved, NewEvent};
use crate::ledger::record::{ItemError, PlanScope, RunId, RunKind};
use crate::ledger::{Accounts, Facts, Queue, Traces};

for_each_store!(
    exports_build_on_what_earlier_ones_carried,
    imports_are_known_by_their_destination,
    facts_are_read_back,
    the_traces_of_a_run_add_up,
    events_have_an_order_and_old_ones_go,
);

fn exports_build_on_what_earlier_ones_carried(world: &impl World) {
    let ledger = world.open();
    let (one, two) = (begin_kind(&ledger, 0, RunKind::Export).id, RunId(90));
    let blob = |n, repo: &str| (digest(n), repo.to_owned());
    let image = |name: &str, n| (name.to_owned(), digest(n));
    let first = NewExport {
        run: one,
        since: None,
        place: "/media/one",
        digest: digest(1),
        carried: &[blob(11, "a"), blob(11, "b"), blob(12, "b")],
        images: &[image("d/a:1", 21), image("d/b:1", 22)],
    };
    ledger.note_export(&first).unwrap();
    // A process that was killed after this has done it, and does it again.
    ledger.note_export(&first).unwrap();
    let second = NewExport {
        run: two,
        since: Some(one),
        place: "/media/two",
        digest: digest(2),
        carried: &[blob(13, "a")],
        images: &[image("d/a:1", 23)],
    };
    ledger.note_export(&second).unwrap();
    let marks = ledger.exports(9).unwrap();
    assert_eq!((marks.len(), marks[0].since, marks[1].since), (2, Some(one), None));
    assert_eq!(ledger.export(two).unwrap().as_ref(), marks.first());
    assert_eq!(ledger.export(RunId(5)).unwrap(), None);
    let carrier = |runs: &[RunId], n| ledger.carrier(runs, &digest(n)).unwrap();
    assert_eq!(carrier(&[one], 11).as_deref(), Some("a"));
    assert_eq!(carrier(&[one], 13), None);
    assert_eq!(carrier(&[two, one], 13).as_deref(), Some("a"));
    assert_eq!(carrier(&[], 11), None);
    let exported = |runs: &[RunId], name| ledger.exported(runs, name).unwrap();
    assert_eq!(exported(&[one], "d/a:1"), Some(digest(21)));
    assert_eq!(exported(&[two, one], "d/a:1"), Some(digest(23)));
    assert_eq!(exported(&[two, one], "d/b:1"), Some(digest(22)));
    assert_eq!(exported(&[two], "d/b:1"), None);
}

fn imports_are_known_by_their_destination(world: &impl World) {
    let ledger = world.open();
    ledger.note_import(digest(1), RunId(3), "registry://a").unwrap();
    ledger.note_import(digest(2), RunId(5), "registry://a").unwrap();
    let imports = ledger.imports("registry://a", 9).unwrap();
    let found: Vec<_> = imports.iter().map(|mark| (mark.export, mark.run)).collect();
    assert_eq!(found, [(digest(2), RunId(5)), (digest(1), RunId(3))]);
    assert_eq!(ledger.imports("registry://b", 9).unwrap(), []);
}

fn facts_are_read_back(world: &impl World) {
    let ledger = world.open();
    ledger.note_created(&[(digest(1), Some(-5)), (digest(2), None)]).unwrap();
    ledger.note_created(&[(digest(1), Some(7))]).unwrap();
    let known = ledger.created(&[digest(1), digest(2), digest(3)]).unwrap();
    assert_eq!(known, BTreeMap::from([(digest(1), Some(-5)), (digest(2), None)]));
    assert_eq!(ledger.referrers_age("h", "r", &digest(1)).unwrap(), None);
    ledger.note_referrers("h", "r", &digest(1)).unwrap();
    world.clock().pass(5);
    assert_eq!(ledger.referrers_age("h", "r", &digest(1)).unwrap(), Some(5));
    assert_eq!(ledger.host("h").unwrap().has_referrers, None);
    ledger.note_host("h", HostNote::HasReferrers(false)).unwrap();
    ledger.note_host("h", HostNote::PullsLeft(12)).unwrap();
    let host = ledger.host("h").unwrap();
    assert_eq!((host.has_referrers, host.pulls_left), (Some(false), Some(12)));
    assert_eq!(ledger.hosts().unwrap(), [host]);
}

fn the_traces_of_a_run_add_up(world: &impl World) {
    let ledger = world.open();
    let first = begin(&ledger, 0).id;
    let answers = |host: &str, code, number| HostAnswers { host: host.to_owned(), code, number };
    let moved = Moved { sent: 10, mounted: 3 };
    let some = [answers("b", 200, 2), answers("a", 429, 1)];
    ledger.note_traffic(first, &some, moved).unwrap();
    ledger.note_traffic(first, &[answers("b", 200, 5)], moved).unwrap();
    let expected = [answers("a", 429, 1), answers("b", 200, 7)];
    assert_eq!(ledger.answers(Some(first)).unwrap(), expected);
    let error = |message: &str| ItemError {
        class: "source-missing".to_owned(),
        message: message.to_owned(),
        hint: None,
    };
    ledger.note_unlisted(first, &[error("one"), error("two")]).unwrap();
    ledger.note_unlisted(first, &[error("two"), error("three")]).unwrap();
    assert_eq!(ledger.unlisted(first).unwrap(), [error("two"), error("three")]);
    ledger.plan(first, &items(0..3)).unwrap();
    ledger.end_plan(first, PlanScope::Whole).unwrap();
    work_all(&ledger, first);
    ledger.finish_run(first, "{}").unwrap();
    let second = begin(&ledger, 1).id;
    ledger.plan(second, &items(0..1)).unwrap();
    ledger.end_plan(second, PlanScope::Part).unwrap();
    ledger.note_traffic(second, &[answers("b", 200, 1)], moved).unwrap();
    assert_eq!(ledger.answers(Some(second)).unwrap(), [answers("b", 200, 1)]);
    assert_eq!(ledger.answers(None).unwrap(), [answers("a", 429, 1), answers("b", 200, 8)]);
    assert_eq!(ledger.moved().unwrap(), Moved { sent: 30, mounted: 9 });
    assert_eq!(ledger.unlisted(second).unwrap(), []);
    assert_eq!(ledger.totals(second).unwrap().items(), 1);
    let all = ledger.totals_of_all().unwrap();
    assert_eq!((all.items(), all.done, all.planned), (3, 2, 1));
}

fn events_have_an_order_and_old_ones_go(world: &impl World) {
    let ledger = world.open();
    let run = begin(&ledger, 0).id;
    let event = |what| NewEvent { run, item: None, worker: "w", what, detail: "" };
    ledger.append_events(&[event("one"), event("two")]).unwrap();
    world.clock().jump(-1_000);
    ledger.append_events(&[event("three")]).unwrap();
    let all = ledger.events(0, 9).unwrap();
    assert_eq!(all.iter().map(|e| e.what.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert_eq!(ledger.events(all[1].id, 9).unwrap(), all[2..]);
    for n in 1..40 {
        begin(&ledger, n);
    }
    assert!(ledger.events(0, 9).unwrap().is_empty());
}
