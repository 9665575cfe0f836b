//! Random sequences of calls, crashes and jumps of the clock, compared with a model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{SqliteWorld, World, begin, claim, digest, item, items};
use crate::ledger::holding::{ItemFilter, Totals};
use crate::ledger::record::{
    Ending, FinishedItem, Lease, LeaseWrite, Level, Outcome, PlanScope, ProofChange, RunEnd, RunId,
    Verdict,
};
use crate::ledger::state::{MOST_ATTEMPTS, State};
use crate::ledger::{Accounts, LEASE_SECONDS, Queue};

/// Items that a sequence plans: few, so that they meet.
const ITEMS: u32 = 6;

#[derive(Debug, Clone)]
enum Call {
    Begin(u32),
    Plan(u8),
    EndPlan(bool),
    Claim(usize),
    Finish(usize, u8),
    FinishStale(usize),
    Heartbeat(usize),
    GiveBack,
    Pass(u64),
    Jump(i64),
    Crash,
    FinishRun,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => (0..2_u32).prop_map(Call::Begin),
        4 => any::<u8>().prop_map(Call::Plan),
        2 => any::<bool>().prop_map(Call::EndPlan),
        8 => (1..4_usize).prop_map(Call::Claim),
        10 => (any::<usize>(), 0..5_u8).prop_map(|(which, how)| Call::Finish(which, how)),
        3 => any::<usize>().prop_map(Call::FinishStale),
        2 => any::<usize>().prop_map(Call::Heartbeat),
        1 => Just(Call::GiveBack),
        6 => (1..200_u64).prop_map(Call::Pass),
        1 => (3_000..5_000_u64).prop_map(Call::Pass),
        2 => (-40_000..40_000_i64).prop_map(Call::Jump),
        2 => Just(Call::Crash),
        2 => Just(Call::FinishRun),
    ]
}

/// What the model has of an item.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: State,
    attempt: u32,
    run: RunId,
    added: RunId,
    is_there: bool,
    /// Its lease and the moment of the last heartbeat.
    lease: Option<(Lease, u64)>,
}

/// A ledger and what must be in it.
struct Model<'a, W: World> {
    world: &'a W,
    ledger: Option<W::Store>,
    known: BTreeMap<u32, Known>,
    run: RunId,
    file: u32,
    is_finished: bool,
    /// Leases that ended.
    stale: Vec<Lease>,
    /// Items that ended since they were planned last.
    ended: BTreeSet<u32>,
    monotonic: u64,
}

impl<'a, W: World> Model<'a, W> {
    fn new(world: &'a W) -> Self {
        let ledger = world.open();
        let run = begin(&ledger, 0).id;
        let (known, stale, ended) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let ledger = Some(ledger);
        Self { world, ledger, known, run, file: 0, is_finished: false, stale, ended, monotonic: 0 }
    }

    fn ledger(&self) -> &W::Store {
        self.ledger.as_ref().unwrap()
    }

    /// Ends the leases whose last heartbeat meets a condition.
    fn lose(&mut self, is_lost: impl Fn(u64) -> bool) {
        for known in self.known.values_mut() {
            if let Some((lease, _)) = known.lease.filter(|(_, beat)| is_lost(*beat)) {
                known.lease = None;
                known.state =
                    if known.attempt >= MOST_ATTEMPTS { State::Dead } else { State::Retry };
                self.stale.push(lease);
            }
        }
    }

    fn begin(&mut self, file: u32) {
        let begun = begin(self.ledger(), file);
        self.lose(|_| true);
        let resumes = !self.is_finished && file == self.file;
        assert_eq!(begun.resumed, resumes);
        assert_eq!(begun.id == self.run, resumes);
        (self.run, self.file, self.is_finished) = (begun.id, file, false);
    }

    fn plan(&mut self, mask: u8) {
        let numbers: Vec<_> = (0..ITEMS).filter(|n| mask & (1 << n) != 0).collect();
        self.ledger().plan(self.run, &items(numbers.iter().copied())).unwrap();
        for n in numbers {
            let run = self.run;
            let new = Known {
                state: State::Planned,
                attempt: 0,
                run,
                added: run,
                is_there: false,
                lease: None,
            };
            if !self.known.contains_key(&n) {
                self.ended.remove(&n);
            }
            let known = self.known.entry(n).or_insert(new);
            if known.lease.is_none() && (known.run != run || known.state == State::Extra) {
                *known = Known { added: known.added, is_there: known.is_there, ..new };
                self.ended.remove(&n);
            }
        }
    }

    fn end_plan(&mut self, is_whole: bool) {
        let run = self.run;
        let scope = if is_whole { PlanScope::Whole } else { PlanScope::Part };
        let is_unnamed = |known: &Known| known.run != run && known.state != State::Extra;
        let named = self.known.values().filter(|known| known.run == run);
        let is_other = is_whole
            && self.known.values().any(is_unnamed)
            && named.clone().count() > 0
            && named.clone().all(|known| known.added == run);
        let result = self.ledger().end_plan(run, scope);
        assert_eq!(result.is_err(), is_other);
        if is_other {
            self.known.retain(|_, known| known.added != run || known.state != State::Planned);
            if !self.known.values().any(|known| known.run == run) {
                // A run without items is forgotten with its plan, and the one before may go on.
                let begun = begin(self.ledger(), self.file);
                assert_ne!(begun.id, run);
                self.run = begun.id;
            }
            return;
        }
        if is_whole {
            self.known.retain(|_, known| !is_unnamed(known) || known.is_there);
            for known in self.known.values_mut().filter(|known| is_unnamed(known)) {
                known.state = State::Extra;
            }
        }
    }

    fn claim(&mut self, most: usize) {
        let (run, monotonic) = (self.run, self.monotonic);
        let claimed = claim(self.ledger(), run, most);
        self.lose(|beat| monotonic - beat > LEASE_SECONDS.unsigned_abs());
        let planned = self.known.values().filter(|k| k.run == run && k.state == State::Planned);
        assert!(claimed.len() >= planned.count().min(most) && claimed.len() <= most);
        for claimed in claimed {
            let n = (0..ITEMS).find(|n| item(*n).destination == claimed.item.destination).unwrap();
            let known = self.known.get_mut(&n).unwrap();
            assert!(matches!(known.state, State::Planned | State::Retry) && known.run == run);
            assert_eq!(claimed.item.attempt, known.attempt + 1);
            assert!(claimed.item.attempt <= MOST_ATTEMPTS);
            *known = Known {
                state: State::Leased,
                attempt: known.attempt + 1,
                lease: Some((claimed.lease, monotonic)),
                ..*known
            };
        }
    }

    fn held(&self, which: usize) -> Option<(u32, Lease)> {
        let held: Vec<_> = self.known.iter().filter_map(|(n, k)| Some((*n, k.lease?.0))).collect();
        (!held.is_empty()).then(|| held[which % held.len()])
    }

    fn finish(&mut self, which: usize, how: u8) {
        let Some((n, lease)) = self.held(which) else { return };
        let attempt = self.known[&n].attempt;
        let (ending, state) = match how {
            0 => (Ending::Done(Outcome::Copied, Verdict::Verified), State::Done),
            1 => (Ending::Done(Outcome::Unchanged, Verdict::NotVerified), State::Done),
            2 => (Ending::Failed(Verdict::Failed), State::Failed),
            3 => (Ending::Blocked, State::Blocked),
            _ if attempt >= MOST_ATTEMPTS => (Ending::Retry { asked_wait: None }, State::Dead),
            _ => (Ending::Retry { asked_wait: None }, State::Retry),
        };
        let proof =
            if how == 0 { ProofChange::Proved(digest(n), Level::Full) } else { ProofChange::Keep };
        let record = FinishedItem { proof, bytes_sent: 1, ..FinishedItem::new(ending) };
        match self.ledger().finish(lease, &record).unwrap() {
            LeaseWrite::Postponed(wait) => assert!(state == State::Retry && wait >= 10),
            written => assert_eq!(written, LeaseWrite::Recorded(state)),
        }
        assert!(state.is_open() || self.ended.insert(n), "an item ended twice in a run");
        let known = self.known.get_mut(&n).unwrap();
        *known = Known { state, lease: None, is_there: known.is_there || how == 0, ..*known };
        self.stale.push(lease);
    }

    fn finish_stale(&self, which: usize) {
        let Some(lease) = self.stale.get(which.checked_rem(self.stale.len()).unwrap_or(0)) else {
            return;
        };
        let record = FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified));
        assert_eq!(self.ledger().finish(*lease, &record).unwrap(), LeaseWrite::Stale);
        assert_eq!(self.ledger().heartbeat(&[*lease]).unwrap(), [*lease]);
    }

    fn give_back(&mut self) {
        let held = self.known.values().filter(|known| known.lease.is_some()).count();
        assert_eq!(self.ledger().give_back().unwrap(), u64::try_from(held).unwrap());
        for known in self.known.values_mut() {
            if let Some((lease, _)) = known.lease.take() {
                known.state = if known.attempt <= 1 { State::Planned } else { State::Retry };
                known.attempt -= 1;
                self.stale.push(lease);
            }
        }
    }

    fn finish_run(&mut self) {
        let open = self.known.values().filter(|k| k.run == self.run && k.state.is_open()).count();
        let end = self.ledger().finish_run(self.run, "{}").unwrap();
        let expected = match (open, self.is_finished) {
            (0, false) => RunEnd::Closed,
            (0, true) => RunEnd::WasClosed,
            (open, _) => RunEnd::ItemsLeft(u64::try_from(open).unwrap()),
        };
        assert_eq!(end, expected);
        if end == RunEnd::Closed {
            self.is_finished = true;
            self.begin(self.file);
        }
    }

    fn apply(&mut self, call: &Call) {
        match *call {
            Call::Begin(file) => self.begin(file),
            Call::Plan(mask) => self.plan(mask),
            Call::EndPlan(is_whole) => self.end_plan(is_whole),
            Call::Claim(most) => self.claim(most),
            Call::Finish(which, how) => self.finish(which, how),
            Call::FinishStale(which) => self.finish_stale(which),
            Call::Heartbeat(which) => {
                if let Some((n, lease)) = self.held(which) {
                    assert_eq!(self.ledger().heartbeat(&[lease]).unwrap(), []);
                    self.known.get_mut(&n).unwrap().lease = Some((lease, self.monotonic));
                }
            }
            Call::GiveBack => self.give_back(),
            Call::Pass(seconds) => {
                self.world.clock().pass(seconds);
                self.monotonic += seconds;
            }
            Call::Jump(seconds) => self.world.clock().jump(seconds),
            Call::Crash => {
                self.ledger = None;
                self.ledger = Some(self.world.open());
                self.begin(self.file);
            }
            Call::FinishRun => self.finish_run(),
        }
    }

    /// Compares all items and the totals with the model.
    fn check(&self) {
        let found = self.ledger().items(&ItemFilter::default(), None, 100).unwrap();
        assert_eq!(found.len(), self.known.len());
        let mut counted = Totals::default();
        for found in found {
            let n = (0..ITEMS).find(|n| item(*n).destination == found.destination).unwrap();
            let known = &self.known[&n];
            assert_eq!((found.state, found.run), (known.state, known.run), "item {n}");
            assert!(found.attempt == known.attempt || found.state == State::Extra, "item {n}");
            assert_eq!(found.outcome.is_some(), found.state == State::Done);
            assert_eq!(found.proof.is_some(), known.is_there, "item {n}");
            if found.run == self.run || found.state == State::Extra {
                *match found.state {
                    State::Planned => &mut counted.planned,
                    State::Leased => &mut counted.leased,
                    State::Done => &mut counted.done,
                    State::Failed => &mut counted.failed,
                    State::Blocked => &mut counted.blocked,
                    State::Retry => &mut counted.retry,
                    State::Dead => &mut counted.dead,
                    State::Extra => &mut counted.extra,
                } += 1;
            }
        }
        let totals = self.ledger().totals(self.run).unwrap();
        assert_eq!((totals.items(), totals.open()), (counted.items(), counted.open()));
        assert_eq!(
            (totals.done, totals.failed, totals.dead),
            (counted.done, counted.failed, counted.dead)
        );
        assert_eq!(
            (totals.leased, totals.retry, totals.extra),
            (counted.leased, counted.retry, counted.extra)
        );
        assert_eq!(totals.copied + totals.unchanged, totals.done);
        let open = self.ledger().open_items(self.run).unwrap();
        assert_eq!((open.all(), open.leased), (totals.open(), totals.leased));
    }
}

fn any_sequence_is_as_the_model_says<W: World>(calls: &[Call]) {
    let world = W::new();
    let mut model = Model::new(&world);
    for call in calls {
        model.apply(call);
        model.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_is_as_the_model_says(calls in proptest::collection::vec(call(), 1..80)) {
        any_sequence_is_as_the_model_says::<SqliteWorld>(&calls);
    }
}
