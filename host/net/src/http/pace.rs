//! Time of the next request to a host: the user's rate limit, and the pauses that hosts ask for. All tasks of a run
//! share it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;

/// Hosts that are remembered at a time. Redirects can name any number; the hosts whose turn is longest over are
/// forgotten first.
const MOST_HOSTS: usize = 1_024;

/// Longest interval that is honoured, in seconds: an hour between requests. Longer ones overflow clocks.
const LONGEST_INTERVAL: f64 = 3_600.0;

pub(crate) struct Pace {
    interval: Duration,
    /// Intervals of single hosts.
    own: HashMap<String, Duration>,
    hosts: Mutex<HashMap<String, Host>>,
}

/// Returns the time between two requests.
fn interval(rate: f64) -> Duration {
    let seconds = (1.0 / rate).clamp(0.0, LONGEST_INTERVAL);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

#[derive(Clone, Copy)]
struct Host {
    /// First slot that is free.
    next: Instant,
    /// Time before which no request is sent to the host, whatever its slot.
    held: Instant,
}

impl Pace {
    /// Allows at most `rate` requests a second to each host.
    pub(crate) fn new(rate: Option<f64>) -> Self {
        let interval = rate.map_or(Duration::ZERO, interval);
        Self { interval, own: HashMap::new(), hosts: Mutex::default() }
    }

    /// Allows at most so many requests a second to single hosts, named as [`Self::turn`] names them.
    pub(crate) fn with_rates(self, rates: impl Iterator<Item = (String, f64)>) -> Self {
        Self { own: rates.map(|(host, rate)| (host, interval(rate))).collect(), ..self }
    }

    /// Waits for the turn of this request. Errors when the run is cancelled.
    pub(crate) async fn turn(&self, host: &str, cancel: &Cancel) -> Result<()> {
        loop {
            let slot = self.reserve(host);
            sleep_until(slot, cancel).await?;
            if self.held(host) <= slot {
                return Ok(());
            }
        }
    }

    /// Holds back all requests to a host for a while.
    pub(crate) fn hold(&self, host: &str, pause: Duration) {
        let until = Instant::now() + pause;
        self.with(host, |host| {
            host.held = host.held.max(until);
            host.next = host.next.max(until);
        });
    }

    fn reserve(&self, host: &str) -> Instant {
        let now = Instant::now();
        let interval = self.own.get(host).copied().unwrap_or(self.interval);
        self.with(host, |host| {
            let slot = host.next.max(now);
            host.next = slot + interval;
            slot
        })
    }

    fn held(&self, host: &str) -> Instant {
        self.with(host, |host| host.held)
    }

    fn with<T>(&self, host: &str, change: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if hosts.len() >= MOST_HOSTS {
            hosts.retain(|_, host| host.next > now);
        }
        change(hosts.entry(host.to_owned()).or_insert(Host { next: now, held: now }))
    }
}

/// Sleeps. Errors at once when the run is cancelled.
pub(crate) async fn sleep_until(until: Instant, cancel: &Cancel) -> Result<()> {
    cancel.check()?;
    if until <= Instant::now() {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep_until(until) => Ok(()),
        stop = cancel.cancelled() => Err(stop),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn tasks_share_one_pace_and_hosts_do_not() {
        run(async {
            let pace = Arc::new(Pace::new(Some(50.0)));
            let start = Instant::now();
            let tasks: Vec<_> = (0..6)
                .map(|n| {
                    let pace = pace.clone();
                    let host = if n == 5 { "other" } else { "host" };
                    tokio::spawn(async move {
                        pace.turn(host, &Cancel::default()).await.unwrap();
                        start.elapsed()
                    })
                })
                .collect();
            let mut times = Vec::new();
            for task in tasks {
                times.push(task.await.unwrap());
            }
            // Five requests at 50 a second need four intervals of 20 ms.
            assert!(times[..5].iter().max() >= Some(&Duration::from_millis(80)), "{times:?}");
            assert!(times[5] < Duration::from_millis(40), "{times:?}");
        });
    }

    #[test]
    fn a_hold_also_stops_those_who_have_a_slot() {
        run(async {
            let pace = Pace::new(Some(20.0));
            let cancel = Cancel::default();
            pace.turn("host", &cancel).await.unwrap();
            let start = Instant::now();
            let second = pace.turn("host", &cancel);
            let hold = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                pace.hold("host", Duration::from_millis(150));
            };
            let (second, ()) = tokio::join!(second, hold);
            second.unwrap();
            assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
        });
    }

    #[test]
    fn a_cancelled_run_does_not_wait() {
        run(async {
            let pace = Pace::new(Some(0.000_001));
            let cancel = Cancel::default();
            pace.turn("host", &cancel).await.unwrap();
            let stop = cancel.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                stop.cancel();
            });
            let start = Instant::now();
            assert!(pace.turn("host", &cancel).await.is_err());
            assert!(start.elapsed() < Duration::from_secs(5));
        });
    }

    #[test]
    fn any_number_of_hosts_is_bounded() {
        let pace = Pace::new(None);
        for n in 0..3 * MOST_HOSTS {
            pace.reserve(&n.to_string());
        }
        assert!(pace.hosts.lock().unwrap().len() <= MOST_HOSTS);
    }
}
