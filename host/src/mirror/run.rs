//! A run: items are claimed from the ledger, asked about, moved where that is needed, and recorded.
//!
//! One thread claims items and asks source and destination about many of them at a time: most are unchanged. It claims and
//! records while servers answer. The other items go to the movers, of which each moves one image at a time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::by_receipt;
use super::file::MirrorFile;
use super::item::{self, Attempt};
use super::look::{Question, Seen};
use super::pending_questions::{ASKED, PendingQuestions};
use super::plan;
use super::pulls::Pulls;
use super::referrers;
use super::repositories::Repositories;
use super::services::Services;
use occystrap_base::error::{Error, Result};
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::holding::{
    BlobCheck, BlobState, HeldBlob, HostAnswers, HostNote, Moved, Totals,
};
use occystrap_mirror::ledger::record::{
    self, BegunRun, ClaimRequest, ClaimedItem, Ending, FinishedItem, Lease, LeaseWrite, LedgerItem,
    Outcome, PlanChanges, RunEnd, RunId, RunKind, RunRequest, UnnamedItems, Verdict,
};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{HEARTBEAT_SECONDS, Ledger};
use occystrap_verify::receipt::plugins::Plugins;

/// Items that are claimed beside those, so that a question is at hand when an answer comes. A process that is killed counts
/// an attempt for each claimed item.
const AHEAD: usize = 32;

/// Answers that are recorded together, and items that are claimed together: a transaction costs as much as three items.
const PORTION: usize = 16;

/// Longest time without a look at the ledger while items are in work or wait.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// How a run is made.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Only images whose source or destination has one of these in its name; all where it is empty.
    pub only: Vec<String>,
    /// How old a proof may be, in seconds; any age where it is `None`.
    pub recheck: Option<u64>,
    /// Whether the run ends after the first failure.
    pub fail_fast: bool,
    /// How long the run begins images; without a limit where it is `None`.
    pub max_duration: Option<Duration>,
    /// Whether only what failed in the last run is tried again.
    pub is_retry: bool,
    /// Images that are moved at a time.
    pub movers: usize,
    /// Where an import goes; `None` for a run of the mirror.
    pub import: Option<String>,
}

/// Receiver of the events of a run.
pub trait RunEvents: Sync {
    /// The plan is recorded.
    fn planned(&self, begun: &BegunRun, changes: PlanChanges, unnamed: UnnamedItems);
    /// An item is moved from now on. Those that are unchanged only end.
    fn started(&self, _item: &MirrorItem<'_>) {}
    /// No item of a host is moved for some time, because it gives fewer pulls than the file wants to leave.
    fn paused(&self, host: &str, pulls_left: u64, pause: Duration);
    /// An item has ended, or waits so many seconds for another attempt.
    fn ended(&self, item: &MirrorItem<'_>, record: &FinishedItem, wait: Option<i64>);
}

/// A run that has ended.
pub struct EndedRun {
    /// Its number.
    pub id: RunId,
    /// What the ledger counts.
    pub totals: Totals,
    /// Sources that could not be listed, or of which the rules select nothing.
    pub failures: Vec<Error>,
    /// How long it took.
    pub took: Duration,
    /// Whether all its items ended.
    pub is_finished: bool,
    /// Whether the user stopped it.
    pub is_interrupted: bool,
    /// Whether its time was over.
    pub is_out_of_time: bool,
}

/// Plans and works until all is done, or the user interrupts. Errors when the file is wrong or the ledger fails.
pub fn run<L: Ledger + 'static>(
    file: &MirrorFile,
    ledger: &Arc<L>,
    services: &Services<'_>,
    options: &RunOptions,
    events: &dyn RunEvents,
) -> Result<EndedRun, Vec<Error>> {
    let started = Instant::now();
    let one = |error: Error| vec![error];
    services.consult(ledger).map_err(one)?;
    let worker = worker();
    let mut selection = options.import.clone().unwrap_or_else(|| options.only.join(" "));
    if options.is_retry {
        selection.insert_str(0, "retry ");
    }
    let request = RunRequest {
        kind: if options.import.is_some() { RunKind::Import } else { RunKind::Mirror },
        file_digest: file.digest,
        selection: &selection,
        worker: &worker,
    };
    let mut plan = plan::plan(file, services, Some(&**ledger))?;
    plan.keep_only(&options.only).map_err(one)?;
    item::check_each(&plan.items, services)?;
    let begun = ledger.begin_run(&request).map_err(one)?;
    // An import has what is new: the others stay.
    let is_part = !options.only.is_empty() || options.import.is_some();
    let (changes, unnamed) = match options.is_retry {
        true => plan.record_failures(&**ledger, begun.id).map_err(one)?,
        false => plan.record(&**ledger, begun.id, is_part).map_err(one)?,
    };
    let unlisted: Vec<_> = plan
        .failures
        .iter()
        .filter_map(|error| item::failed(error, &services.again)?.error)
        .collect();
    ledger.note_unlisted(begun.id, &unlisted).map_err(one)?;
    events.planned(&begun, changes, unnamed);
    let limits = file.document.hosts.iter();
    let limits = limits.filter_map(|host| Some((host.host.clone(), host.connections?.get())));
    let work = Work {
        file,
        ledger: &**ledger,
        services,
        plugins: Plugins::new(&services.catalog),
        options,
        events,
        run: begun.id,
        worker: &worker,
        items: plan.items.iter().map(|item| (&*item.destination.name, item)).collect(),
        limits: limits.collect(),
        repositories: Repositories::of(&plan.items, &**ledger, services).map_err(one)?,
        until: options.max_duration.and_then(|most| started.checked_add(most)),
        held: Mutex::default(),
        wake: Condvar::new(),
    };
    let outcome = work.all();
    work.note_traffic().map_err(one)?;
    if let Err(error) = &outcome
        && error.kind() != occystrap_base::error::Kind::Interrupted
    {
        return Err(vec![error.clone()]);
    }
    let is_interrupted = outcome.is_err();
    referrers::note_hosts(services, &**ledger).map_err(one)?;
    ledger.give_back().map_err(one)?;
    let totals = ledger.totals(begun.id).map_err(one)?;
    let text = serde_json::to_string(&totals).unwrap_or_default();
    let is_finished = matches!(
        ledger.finish_run(begun.id, &text).map_err(one)?,
        RunEnd::Closed | RunEnd::WasClosed
    );
    if !is_finished {
        ledger.stop_run(begun.id).map_err(one)?;
    }
    let (failures, took) = (std::mem::take(&mut plan.failures), started.elapsed());
    let is_out_of_time = !is_finished && work.is_out_of_time();
    Ok(EndedRun {
        id: begun.id,
        totals,
        failures,
        took,
        is_finished,
        is_interrupted,
        is_out_of_time,
    })
}

/// Begins a run of a kind in the ledger, or continues the one that was interrupted.
pub fn begin(
    ledger: &impl Ledger,
    file: &MirrorFile,
    kind: RunKind,
    selection: &str,
) -> Result<BegunRun> {
    let (file_digest, worker) = (file.digest, worker());
    ledger.begin_run(&RunRequest { kind, file_digest, selection, worker: &worker })
}

/// Returns a name for this process, unlike that of any other.
fn worker() -> String {
    let host = occystrap_mirror::ledger::lock::machine();
    format!("{host}/{}", std::process::id())
}

/// What the threads of a run share.
struct Work<'r, L> {
    file: &'r MirrorFile,
    ledger: &'r L,
    services: &'r Services<'r>,
    /// Plugins that read what they wrote.
    plugins: Plugins<'r>,
    options: &'r RunOptions,
    events: &'r dyn RunEvents,
    run: RunId,
    worker: &'r str,
    /// Items by the name of their destination.
    items: HashMap<&'r str, &'r MirrorItem<'r>>,
    /// Items in work at most, by host.
    limits: BTreeMap<String, u32>,
    repositories: Repositories<'r, L>,
    /// When no more images are begun.
    until: Option<Instant>,
    /// Leases of this process, and whether an item failed.
    held: Mutex<(HashSet<Lease>, bool)>,
    /// Wakes the thread that claims.
    wake: Condvar,
}

/// An item that was asked about.
struct Asked<'r> {
    lease: Lease,
    item: &'r MirrorItem<'r>,
    known: LedgerItem,
    /// Whether its proof is young enough.
    is_young: bool,
    /// Whether its referrers are asked for.
    asks_referrers: bool,
}

/// An item for a mover.
type Move<'r> = (Lease, &'r MirrorItem<'r>, Seen);

impl<'r, L: Ledger> Work<'r, L> {
    /// Works until no item is open. Errors when the user interrupts, or the ledger fails.
    fn all(&self) -> Result<()> {
        let (to_movers, moves) = sync_channel(0);
        let moves = Arc::new(Mutex::new(moves));
        let over = Mutex::new(false);
        let wake = Condvar::new();
        thread::scope(|scope| {
            let movers: Vec<_> = (0..self.options.movers.max(1))
                .map(|_| {
                    let moves = Arc::clone(&moves);
                    scope.spawn(move || self.move_each(&moves))
                })
                .collect();
            // When every mover has failed, nothing receives, and the thread that claims does not wait for ever.
            drop(moves);
            let heart = scope.spawn(|| self.beat(&over, &wake));
            let claimed = self.claim_each(to_movers);
            let moved = movers.into_iter().map(|mover| match mover.join() {
                Ok(outcome) => outcome,
                Err(_) => Err(Error::interrupted()),
            });
            // All of them have ended before the outcome of one counts.
            let moved: Vec<Result<()>> = moved.collect();
            let moved: Result<()> = moved.into_iter().collect();
            *over.lock().unwrap_or_else(PoisonError::into_inner) = true;
            wake.notify_all();
            let _ = heart.join();
            claimed.and(moved)
        })
    }

    fn held(&self) -> MutexGuard<'_, (HashSet<Lease>, bool)> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prolongs the leases until the run is over.
    fn beat(&self, over: &Mutex<bool>, wake: &Condvar) {
        let pause = Duration::from_secs(HEARTBEAT_SECONDS);
        let mut is_over = over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_over {
            is_over = wake
                .wait_timeout(is_over, pause)
                .map_or_else(|broken| broken.into_inner().0, |(guard, _)| guard);
            // What a process that is killed has asked since is not counted.
            if !*is_over && let Err(error) = self.note_traffic() {
                tracing::warn!("{error}");
            }
            let leases: Vec<Lease> = self.held().0.iter().copied().collect();
            if !*is_over && let Err(error) = self.ledger.heartbeat(&leases) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Records the requests and bytes since the last time.
    fn note_traffic(&self) -> Result<()> {
        let counted = self.services.context.counters.traffic().take();
        let answers = counted.answers.into_iter();
        let answers: Vec<_> =
            answers.map(|((host, code), number)| HostAnswers { host, code, number }).collect();
        let moved = Moved { sent: counted.sent, mounted: counted.mounted };
        self.ledger.note_traffic(self.run, &answers, moved)
    }

    /// Claims items, asks about them, and gives the movers what must be moved.
    fn claim_each(&self, to_movers: SyncSender<Move<'r>>) -> Result<()> {
        let hosts = &self.file.document.hosts;
        let mut pulls = Pulls::new(hosts, |host| self.services.request_host(host));
        let mut pending = PendingQuestions::new(&self.services.context, ASKED);
        loop {
            self.services.context.cancel.check()?;
            if self.options.fail_fast && self.held().1 || self.is_out_of_time() {
                return Ok(());
            }
            let mut moves = match pulls.ready() {
                Some(moves) => self.after_pause(moves)?,
                None => VecDeque::new(),
            };
            let most = (ASKED + AHEAD).saturating_sub(pending.len());
            if moves.is_empty() && most >= PORTION {
                let request = ClaimRequest {
                    run: self.run,
                    worker: self.worker,
                    most,
                    host_limits: &self.limits,
                };
                let claimed = self.ledger.claim(&request)?;
                if claimed.is_empty() && pending.len() == 0 {
                    let open = self.ledger.open_items(self.run)?;
                    if open.all() == 0 {
                        return Ok(());
                    }
                    self.nap(open.next_in);
                    continue;
                }
                self.held().0.extend(claimed.iter().map(|claimed| claimed.lease));
                self.ask(claimed, &mut pending)?;
            }
            if moves.is_empty() {
                moves = self.decide(pending.wait(PORTION)?)?.into();
            }
            for moved in moves {
                let host = &moved.1.source.host;
                if let Some(pause) = self.pause(host, &pulls)? {
                    pulls.wait(&host.clone(), moved, pause);
                } else if self.is_out_of_time() || to_movers.send(moved).is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn is_out_of_time(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Returns for how long images of a host wait, because it gives few pulls. The ledger gives none of them meanwhile.
    fn pause(&self, host: &str, pulls: &Pulls<Move<'r>>) -> Result<Option<Duration>> {
        let traffic = self.services.context.counters.traffic();
        let Some((left, pause)) = pulls.pause(host, traffic) else { return Ok(None) };
        if !pulls.has(host) {
            self.events.paused(host, left, pause);
            self.ledger.note_host(host, HostNote::PausedFor(pause.as_secs()))?;
            self.ledger.note_host(host, HostNote::PullsLeft(left))?;
        }
        Ok(Some(pause))
    }

    /// Asks for the first of the images that waited, which says how many pulls its host gives now.
    fn after_pause(&self, mut moves: VecDeque<Move<'r>>) -> Result<VecDeque<Move<'r>>> {
        let Some((lease, item, seen)) = moves.pop_front() else { return Ok(moves) };
        let answer = match Question::about(item, false, self.services) {
            Ok(question) => self.services.each([question], 1, Question::ask)?.pop(),
            Err(error) => Some(Err(error)),
        };
        match answer {
            Some(Err(error)) => self.finish(lease, item, failed(&error, self.services)?, &[])?,
            _ => moves.push_front((lease, item, seen)),
        }
        Ok(moves)
    }

    /// Waits until an item has ended, or for the time until one is ready, but not long.
    fn nap(&self, next_in: Option<u64>) {
        let wait = next_in.map_or(LONGEST_NAP, Duration::from_secs);
        let wait = wait.clamp(Duration::from_millis(10), LONGEST_NAP);
        drop(self.wake.wait_timeout(self.held(), wait));
    }

    /// Asks both ends of items. What need not be asked for is recorded.
    fn ask(
        &self,
        claimed: Vec<ClaimedItem>,
        pending: &mut PendingQuestions<'_, Asked<'r>, Result<Seen>>,
    ) -> Result<()> {
        let now = self.ledger.now()?;
        let mut ended = Vec::new();
        for ClaimedItem { lease, item: known } in claimed {
            let Some(item) = self.items.get(&*known.destination).copied() else {
                // It is of the plan of an earlier process; the next plan decides about it.
                self.ledger
                    .finish(lease, &FinishedItem::new(Ending::Retry { asked_wait: None }))?;
                self.drop_lease(lease);
                continue;
            };
            let is_young = |proof: record::Proof| {
                self.options.recheck.is_none_or(|most| proof.is_younger(now, most))
            };
            // An import asks the destination for every image: an older proof says nothing of it.
            let is_young = known.proof.is_some_and(is_young) && self.options.import.is_none();
            let asks_referrers = referrers::are_due(item, &known, self.ledger)?;
            if is_young && item.is_immutable() && !asks_referrers {
                ended.push((lease, item, unchanged()));
                continue;
            }
            let settings = &item.entry.settings;
            let is_new = self.repositories.is_new(item) && settings.keeps_digest();
            match Question::about(item, is_new, self.services) {
                Ok(question) => {
                    let question = question.after(known.proof);
                    let asked = Asked { lease, item, known, is_young, asks_referrers };
                    pending.ask(asked, question.ask());
                }
                Err(error) => ended.push((lease, item, failed(&error, self.services)?)),
            }
        }
        self.finish_all(ended)
    }

    /// Returns the items that must be moved, of those with an answer; the others are recorded.
    fn decide(&self, answers: Vec<(Asked<'r>, Result<Seen>)>) -> Result<Vec<Move<'r>>> {
        let (mut moves, mut ended) = (Vec::new(), Vec::new());
        for (Asked { lease, item, known, is_young, asks_referrers }, seen) in answers {
            let mut seen = match seen {
                Ok(seen) => seen,
                Err(error) => {
                    ended.push((lease, item, failed(&error, self.services)?));
                    continue;
                }
            };
            if is_young && seen.destination.is_none() {
                let (plugins, services) = (&self.plugins, self.services);
                seen.destination =
                    by_receipt::still_there(&known, seen.source, self.ledger, plugins, services)?;
            }
            seen.is_proved = is_young && item::is_unchanged(&known, &seen);
            if seen.is_proved && asks_referrers {
                moves.push((lease, item, seen));
            } else if seen.is_proved {
                let record = FinishedItem { want_digest: seen.source, ..unchanged() };
                ended.push((lease, item, record));
            } else if let Some(record) = item::by_policy(item, &seen) {
                ended.push((lease, item, record));
            } else {
                moves.push((lease, item, seen));
            }
        }
        self.finish_all(ended)?;
        Ok(moves)
    }

    /// Moves items until there are no more.
    fn move_each(&self, moves: &Mutex<Receiver<Move<'r>>>) -> Result<()> {
        loop {
            let next = moves.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((lease, item, seen)) = next else { return Ok(()) };
            let attempt = match self.services.context.cancel.check() {
                Ok(()) => {
                    self.repositories.seed(item)?;
                    self.events.started(item);
                    item::move_item(item, &seen, self.services)
                }
                Err(error) => Attempt::failed(&error, self.services),
            };
            if let Some(record) = &attempt.record {
                referrers::note(item, record, self.ledger)?;
            }
            match attempt.record {
                Some(record) => self.finish(lease, item, record, &attempt.blobs)?,
                // The lease is given back when the run ends.
                None => self.drop_lease(lease),
            }
        }
    }

    /// Records the end of an item that was moved.
    fn finish(
        &self,
        lease: Lease,
        item: &MirrorItem<'_>,
        record: FinishedItem,
        blobs: &[HeldBlob],
    ) -> Result<()> {
        if !blobs.is_empty() {
            self.ledger.note_blobs(blobs)?;
        }
        if matches!(record.ending, Ending::Done(_, Verdict::Verified)) {
            // A blob that was known to be bad was sent again and read in full.
            for HeldBlob { host, digest, .. } in blobs {
                let known = self.ledger.blob(host, digest)?;
                if known.is_some_and(|known| known.state == BlobState::Bad) {
                    self.ledger.record_blob(self.run, host, digest, &BlobCheck::Good)?;
                }
            }
        }
        let written = self.ledger.finish(lease, &record)?;
        self.ended(lease, item, record, written)
    }

    /// Records the ends of items that were not moved, in one transaction.
    fn finish_all(&self, ended: Vec<(Lease, &MirrorItem<'_>, FinishedItem)>) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = ended.iter().map(|(lease, _, record)| (*lease, record)).collect();
        let written = self.ledger.finish_all(&records)?;
        for ((lease, item, record), written) in ended.into_iter().zip(written) {
            self.ended(lease, item, record, written)?;
        }
        Ok(())
    }

    /// Tells that an item has ended.
    fn ended(
        &self,
        lease: Lease,
        item: &MirrorItem<'_>,
        mut record: FinishedItem,
        written: LeaseWrite,
    ) -> Result<()> {
        if written == LeaseWrite::Recorded(State::Dead) {
            // It was the last attempt.
            record.ending = Ending::Failed(Verdict::NotVerified);
        }
        if matches!(record.ending, Ending::Failed(_) | Ending::Blocked) {
            self.held().1 = true;
        }
        self.drop_lease(lease);
        let wait = match written {
            LeaseWrite::Postponed(wait) => Some(wait),
            LeaseWrite::Recorded(_) | LeaseWrite::Stale => None,
        };
        self.events.ended(item, &record, wait);
        if matches!(written, LeaseWrite::Recorded(_)) {
            self.repositories.ended(item)?;
        }
        Ok(())
    }

    fn drop_lease(&self, lease: Lease) {
        self.held().0.remove(&lease);
        self.wake.notify_all();
    }
}

/// Returns the record of an item that could not be asked about. Errors when the user interrupts.
fn failed(error: &Error, services: &Services<'_>) -> Result<FinishedItem> {
    item::failed(error, &services.again).ok_or_else(|| error.clone())
}

/// Returns the record of an item that is as it was when it was proved.
fn unchanged() -> FinishedItem {
    FinishedItem::new(Ending::Done(Outcome::Unchanged, Verdict::NotVerified))
}
