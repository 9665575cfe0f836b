//! Answers of hosts and bytes of a whole run, for its report. The counters of all its images share one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Pairs of host and status that are counted. A run asks a few hosts; redirects may lead to many.
const MOST_PAIRS: usize = 4_096;

/// Function that gets the name of a host which must not be asked, and for how long.
type PauseWatcher = Box<dyn Fn(&str, Duration) + Send + Sync>;

/// Answers of hosts, and bytes that registries got.
#[derive(Default)]
pub struct Traffic {
    answers: Mutex<BTreeMap<(String, u16), u64>>,
    sent: AtomicU64,
    mounted: AtomicU64,
    watcher: Mutex<Option<PauseWatcher>>,
    pulls: Mutex<BTreeMap<String, PullsLeft>>,
}

/// What a registry still gives: the header `RateLimit-Remaining: N;w=SECONDS` of Docker Hub (the IETF draft "RateLimit
/// header fields for HTTP", 03).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullsLeft {
    /// Number of pulls.
    pub number: u64,
    /// Time for which the registry counts pulls, if it says that.
    pub window: Option<Duration>,
}

impl PullsLeft {
    /// Parses the value of the header. Returns `None` for anything else.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let number = parts.next()?.parse().ok()?;
        let window = parts.find_map(|part| part.strip_prefix("w=")?.trim().parse().ok());
        Some(Self { number, window: window.map(Duration::from_secs) })
    }
}

/// What a run has asked and sent since it was counted last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Number of answers by host and status (RFC 9110, 15); 0 stands for no answer.
    pub answers: BTreeMap<(String, u16), u64>,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Bytes of blobs that registries mounted.
    pub mounted: u64,
}

impl Traffic {
    /// Returns what was counted, and begins anew.
    #[must_use]
    pub fn take(&self) -> Counted {
        let (answers, sent) =
            (std::mem::take(&mut *self.answers()), self.sent.swap(0, Ordering::Relaxed));
        Counted { answers, sent, mounted: self.mounted.swap(0, Ordering::Relaxed) }
    }

    /// Sets the function that gets the hosts that said "too many requests", with the time that they asked for. It takes
    /// the place of an earlier one.
    pub fn watch_pauses(&self, watcher: impl Fn(&str, Duration) + Send + Sync + 'static) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(watcher));
    }

    /// Drops the function that gets pauses.
    pub fn stop_watching(&self) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns what a host said last of the pulls that it still gives. `host` is the name that requests have.
    #[must_use]
    pub fn pulls_left(&self, host: &str) -> Option<PullsLeft> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied()
    }

    pub(crate) fn note_pulls(&self, host: &str, left: PullsLeft) {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        if pulls.len() < MOST_PAIRS || pulls.contains_key(host) {
            pulls.insert(host.to_owned(), left);
        }
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<(String, u16), u64>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer; the status 0 for none.
    pub(crate) fn count_answer(&self, host: &str, status: u16) {
        let mut answers = self.answers();
        let key = (host.to_owned(), status);
        if answers.len() < MOST_PAIRS || answers.contains_key(&key) {
            *answers.entry(key).or_default() += 1;
        }
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_mounted(&self, bytes: u64) {
        self.mounted.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn note_pause(&self, host: &str, wait: Duration) {
        if let Some(watcher) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner) {
            watcher(host, wait);
        }
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_a_host_still_gives_is_a_number_and_a_window() {
        let window = Some(Duration::from_secs(21_600));
        for (value, left) in [
            ("76;w=21600", Some(PullsLeft { number: 76, window })),
            (" 76 ; w=21600 ", Some(PullsLeft { number: 76, window })),
            ("0", Some(PullsLeft { number: 0, window: None })),
            ("76;w=soon", Some(PullsLeft { number: 76, window: None })),
            ("", None),
            ("many;w=21600", None),
            ("-1", None),
        ] {
            assert_eq!(PullsLeft::parse(value), left, "{value}");
        }
    }

    #[test]
    fn what_was_taken_is_not_counted_again() {
        let traffic = Traffic::default();
        traffic.count_answer("a", 200);
        traffic.count_answer("a", 200);
        traffic.count_answer("a", 0);
        traffic.count_sent(7);
        let counted = traffic.take();
        let answers = [(("a".to_owned(), 0), 1), (("a".to_owned(), 200), 2)];
        assert_eq!(counted.answers, BTreeMap::from(answers));
        assert_eq!((counted.sent, counted.mounted), (7, 0));
        assert_eq!(traffic.take(), Counted::default());
    }

    #[test]
    fn the_number_of_hosts_has_an_end() {
        let traffic = Traffic::default();
        for host in 0..2 * MOST_PAIRS {
            traffic.count_answer(&format!("host{host}"), 200);
        }
        traffic.count_answer("host0", 200);
        let counted = traffic.take().answers;
        assert_eq!(counted.len(), MOST_PAIRS);
        assert_eq!(counted[&("host0".to_owned(), 200)], 2);
    }

    #[test]
    fn a_pause_is_told_once() {
        let (traffic, calls) = (Traffic::default(), Arc::new(AtomicU64::new(0)));
        traffic.note_pause("a", Duration::from_secs(1));
        let to = Arc::clone(&calls);
        traffic.watch_pauses(move |_, wait| {
            to.fetch_add(wait.as_secs(), Ordering::Relaxed);
        });
        traffic.note_pause("a", Duration::from_secs(3));
        traffic.stop_watching();
        traffic.note_pause("a", Duration::from_secs(9));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }
}
