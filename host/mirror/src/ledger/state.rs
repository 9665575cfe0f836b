//! The states of an item, and the only place that says which state follows which.
//!
//! Statements of a store name the states that they start from with [`StateChange::from`], and take the state that follows
//! from [`State::after`]. So SQLite and any later store have the same state machine.

use super::words::words;

words! {
    /// State of an item in its latest run.
    State {
        /// Waits to be claimed for the first time.
        Planned = "planned",
        /// A worker has it.
        Leased = "leased",
        /// Ended well: it has an outcome and a verdict.
        Done = "done",
        /// Ended with a lasting error, or its verification FAILED.
        Failed = "failed",
        /// Ended because a policy of FILE forbids the change (`on-conflict: error`).
        Blocked = "blocked",
        /// Waits to be claimed again, not before a certain time.
        Retry = "retry",
        /// Ended because every attempt failed, or lost its worker.
        Dead = "dead",
        /// Is at the destination, and no rule of FILE names it.
        Extra = "extra",
    }
}

/// A step that changes the state of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateChange {
    /// A plan names the item in a run that it was not in.
    Name,
    /// A complete plan does not name it.
    Unname,
    /// A worker takes it.
    Claim,
    /// Its worker finished it well.
    Finish,
    /// Its worker found a lasting error.
    Fail,
    /// Its worker found that a policy forbids it.
    Block,
    /// Its worker found a passing error.
    Postpone,
    /// Its worker returns it as it was, because it stops.
    GiveBack,
    /// Its worker died, or sent no heartbeat for the time of a lease.
    Lose,
    /// A verification found the destination wrong.
    Doubt,
    /// A verification or a repair found the destination right.
    Confirm,
}

impl StateChange {
    /// All steps.
    pub const ALL: &'static [Self] = &[
        Self::Name,
        Self::Unname,
        Self::Claim,
        Self::Finish,
        Self::Fail,
        Self::Block,
        Self::Postpone,
        Self::GiveBack,
        Self::Lose,
        Self::Doubt,
        Self::Confirm,
    ];

    /// Returns the states in which the step is possible.
    pub fn from(self) -> impl Iterator<Item = State> {
        State::ALL.iter().copied().filter(move |state| state.after(self, 1).is_some())
    }
}

/// Claims of an item in one run, after which it is `dead` instead of `retry`: the first one and five more. Five waits
/// with [`backoff`] are an hour; what fails longer needs a person.
pub const MOST_ATTEMPTS: u32 = 6;

impl State {
    /// Returns the state after a step, or `None` where the step is not possible. `attempt` is the number of claims that
    /// count, with the present one.
    #[must_use]
    pub fn after(self, step: StateChange, attempt: u32) -> Option<Self> {
        let again = if attempt >= MOST_ATTEMPTS { Self::Dead } else { Self::Retry };
        match (self, step) {
            (Self::Leased, StateChange::Finish) => Some(Self::Done),
            (Self::Leased, StateChange::Fail) => Some(Self::Failed),
            (Self::Leased, StateChange::Block) => Some(Self::Blocked),
            (Self::Leased, StateChange::Postpone | StateChange::Lose) => Some(again),
            (Self::Leased, StateChange::GiveBack) if attempt <= 1 => Some(Self::Planned),
            (Self::Leased, StateChange::GiveBack) => Some(Self::Retry),
            // A lease ends before its item goes into another run.
            (Self::Leased, StateChange::Name | StateChange::Unname | StateChange::Claim) => None,
            (Self::Planned | Self::Retry, StateChange::Claim) => Some(Self::Leased),
            (Self::Done | Self::Failed, StateChange::Doubt) => Some(Self::Failed),
            (Self::Done | Self::Failed, StateChange::Confirm) => Some(Self::Done),
            (_, StateChange::Name) => Some(Self::Planned),
            (Self::Extra, StateChange::Unname) => None,
            (_, StateChange::Unname) => Some(Self::Extra),
            _ => None,
        }
    }

    /// Returns whether work remains: the state is `planned`, `leased` or `retry`.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Planned | Self::Leased | Self::Retry)
    }

    /// Returns whether the item ended without what FILE wants: `failed`, `blocked` or `dead`.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Blocked | Self::Dead)
    }
}

/// First wait before a retry, in seconds. Most passing errors pass within it.
const FIRST_WAIT: i64 = 10;
/// Longest wait that [`backoff`] chooses, in seconds.
const LONGEST_WAIT: i64 = 3_600;
/// Longest wait that a server may ask for, in seconds. Pull limits of public registries are for six hours.
const LONGEST_ASKED_WAIT: i64 = 86_400;

/// Returns the seconds to wait before the next attempt: 10, 40, 160, 640, 2,560 after the first to fifth attempt, plus up
/// to a quarter (`spread`, any number, decides which part, so that items do not return all at once). A longer wait that
/// the server asked for is kept, up to a day.
#[must_use]
pub fn backoff(attempt: u32, asked: Option<u64>, spread: u64) -> i64 {
    let exponent = attempt.clamp(1, 9) - 1;
    let base = (FIRST_WAIT << (2 * exponent)).min(LONGEST_WAIT);
    let part = i64::try_from(spread % 1_000).unwrap_or(0);
    let own = (base + base * part / 4_000).min(LONGEST_WAIT);
    let asked = asked.map_or(0, |asked| i64::try_from(asked).unwrap_or(i64::MAX));
    own.max(asked.min(LONGEST_ASKED_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_from_its_word() {
        for state in State::ALL {
            assert_eq!(state.word().parse::<State>().unwrap(), *state);
        }
        assert!("lost".parse::<State>().is_err());
    }

    #[test]
    fn only_a_leased_item_ends_and_only_a_waiting_one_is_claimed() {
        for step in [
            StateChange::Finish,
            StateChange::Fail,
            StateChange::Block,
            StateChange::Postpone,
            StateChange::Lose,
            StateChange::GiveBack,
        ] {
            assert_eq!(step.from().collect::<Vec<_>>(), [State::Leased], "{step:?}");
        }
        assert_eq!(StateChange::Claim.from().collect::<Vec<_>>(), [State::Planned, State::Retry]);
        assert!(!StateChange::Unname.from().any(|state| state == State::Leased));
        for step in [StateChange::Doubt, StateChange::Confirm] {
            assert_eq!(step.from().collect::<Vec<_>>(), [State::Done, State::Failed], "{step:?}");
        }
        assert_eq!(StateChange::ALL.len(), 11);
    }

    #[test]
    fn the_sixth_attempt_is_the_last() {
        assert_eq!(State::Leased.after(StateChange::Postpone, 5), Some(State::Retry));
        assert_eq!(State::Leased.after(StateChange::Postpone, 6), Some(State::Dead));
        assert_eq!(State::Leased.after(StateChange::Lose, 6), Some(State::Dead));
    }

    #[test]
    fn waits_grow_from_ten_seconds_to_an_hour() {
        let waits: Vec<_> = (1..=6).map(|attempt| backoff(attempt, None, 0)).collect();
        assert_eq!(waits, [10, 40, 160, 640, 2_560, 3_600]);
        assert_eq!(backoff(1, None, 999), 12);
        assert_eq!(backoff(5, None, 999), 3_199);
        assert_eq!(backoff(u32::MAX, None, u64::MAX), 3_600);
        assert_eq!(backoff(1, Some(7_200), 0), 7_200);
        assert_eq!(backoff(1, Some(u64::MAX), 0), 86_400);
        assert_eq!(backoff(1, Some(1), 0), 10);
    }
}
