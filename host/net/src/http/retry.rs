//! Repetition of requests that failed for a passing reason.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::Instant;

use super::counters::Counters;
use super::failure::{Failure, lasting, passing};
use super::pace::sleep_until;
use super::settings::Settings;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;

/// Longest wait between two attempts: a user is looking at a progress bar.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Longest wait that a server can ask for between two attempts. Docker Hub's window is hours, for which no run should hang.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// Longest wait that is believed: a hostile server could name years.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Doublings of the wait: it is at its longest by then, and shifts stay in range.
const MOST_DOUBLINGS: u32 = 10;

/// Attempts that are left for one piece of work.
pub(crate) struct RetryBudget {
    allowed: u32,
    used: u32,
    backoff: Duration,
}

impl RetryBudget {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { allowed: settings.retries, used: 0, backoff: settings.backoff }
    }

    /// Allows one attempt, for work that is not worth a wait.
    pub(crate) fn none() -> Self {
        Self { allowed: 0, used: 0, backoff: Duration::ZERO }
    }

    /// Refills the budget after progress: later failures are counted anew.
    pub(crate) fn refill(&mut self) {
        self.used = 0;
    }

    /// Waits after a failure, and allows the next attempt. Errors when the failure is lasting, the attempts are used
    /// up, or the run is cancelled.
    pub(crate) async fn pause(
        &mut self,
        failure: Failure,
        counters: &Counters,
        cancel: &Cancel,
    ) -> Result<()> {
        let (error, asked) = match failure {
            Failure::Lasting(error) => return Err(lasting(error)),
            Failure::Passing { error, wait } => (error, wait),
            Failure::Ended(error) => (error, None),
        };
        if self.used >= self.allowed {
            return Err(passing(error));
        }
        let wait = self.backoff(fastrand::f64()).max(asked.unwrap_or(Duration::ZERO));
        self.used += 1;
        counters.count_retry();
        tracing::debug!(reason = %error, retry = self.used, of = self.allowed, ?wait, "trying again");
        sleep_until(Instant::now() + wait, cancel).await
    }

    /// Returns the wait: exponential, and at random between half and the whole, so that parallel tasks spread out.
    fn backoff(&self, random: f64) -> Duration {
        let whole = self.backoff.saturating_mul(1 << self.used.min(MOST_DOUBLINGS));
        whole.min(LONGEST_BACKOFF).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

/// Returns whether another attempt may change a status (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4). A server without a
/// function (501), or without this version of HTTP (505), will not have it in a moment either.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    match status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        status => status.is_server_error(),
    }
}

/// Returns the wait that an answer asks for (RFC 9110, 10.2.3), in seconds or as a date, up to a day; `None` when it cannot
/// be read.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.bytes().all(|c| c.is_ascii_digit()) && !text.is_empty() {
        // More digits than fit are a very long wait.
        true => text.parse().map_or(LONGEST_ASKED_WAIT, Duration::from_secs),
        false => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_ASKED_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        retry_after(&headers, now)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_a_day_at_most() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked(" 0 "), Some(Duration::ZERO));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for long in ["86401", "99999999999999999999999999", "Sat, 06 Nov 2094 08:49:47 GMT"] {
            assert_eq!(asked(long), Some(LONGEST_ASKED_WAIT), "{long}");
        }
        for odd in ["", "-1", "1.5", "soon", "+5"] {
            assert_eq!(asked(odd), None, "{odd}");
        }
    }

    #[test]
    fn waits_double_with_jitter_up_to_the_longest() {
        let mut budget = RetryBudget::new(&Settings::default());
        assert_eq!(budget.backoff(0.0), Duration::from_millis(250));
        assert_eq!(budget.backoff(1.0), Duration::from_millis(500));
        budget.used = 2;
        assert_eq!(budget.backoff(1.0), Duration::from_secs(2));
        budget.used = u32::MAX;
        assert_eq!(budget.backoff(1.0), LONGEST_BACKOFF);
    }

    #[test]
    fn only_some_statuses_pass() {
        for (status, passing) in [
            (408, true),
            (429, true),
            (500, true),
            (503, true),
            (501, false),
            (505, false),
            (404, false),
            (401, false),
            (200, false),
        ] {
            assert_eq!(is_passing(StatusCode::from_u16(status).unwrap()), passing, "{status}");
        }
    }
}
