//! Which part of a mirror a verification covers.

use std::time::Duration;

use occystrap_images::level::Level;
use occystrap_mirror::ledger::holding::Subset;
use occystrap_mirror::ledger::record::{LedgerItem, Proof, RunId, Verdict};
use occystrap_mirror::ledger::state::State;

/// Ten-thousandths of everything.
const WHOLE: u64 = 10_000;

/// Part of a mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    All,
    /// Part `index` of `of`: 1 to `of`. All parts together are everything, once.
    Of {
        /// 1 to `of`.
        index: u32,
        /// At least 1.
        of: u32,
    },
    /// A share, in ten-thousandths. Each verification begins where the last one ended.
    Share(u32),
    /// So many bytes, the oldest first.
    Bytes(u64),
}

/// What a verification covers, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Whether every byte of blobs is read.
    pub level: Level,
    /// How long it may take.
    pub max_duration: Option<Duration>,
    /// Bytes that are read at most, besides those of objects in work.
    pub max_bytes: Option<u64>,
    /// Only what was not verified within these seconds.
    pub max_age: Option<u64>,
    /// Part of the mirror.
    pub part: Part,
    /// Only what is recorded as bad.
    pub only_bad: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            level: Level::Fast,
            max_duration: None,
            max_bytes: None,
            max_age: None,
            part: Part::All,
            only_bad: false,
        }
    }
}

impl Selection {
    /// Returns it in one spelling. A verification that was interrupted is continued by one with the same spelling.
    #[must_use]
    pub fn spelled(&self) -> String {
        let Self { level, max_age, part, only_bad, .. } = self;
        let level = if *level == Level::Full { "full" } else { "fast" };
        let mut words = vec![level.to_owned()];
        words.extend(max_age.map(|age| format!("max-age={age}")));
        match part {
            Part::All | Part::Bytes(_) => {}
            Part::Of { index, of } => words.push(format!("part={index}/{of}")),
            Part::Share(share) => words.push(format!("share={share}")),
        }
        words.extend(only_bad.then(|| "failed".to_owned()));
        words.join(" ")
    }

    /// Returns the bytes that are read at most.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self.part {
            Part::Bytes(bytes) => Some(self.max_bytes.map_or(bytes, |most| most.min(bytes))),
            _ => self.max_bytes,
        }
    }

    /// Returns the part of the blobs.
    #[must_use]
    pub fn blobs(&self, run: RunId) -> Subset {
        match self.part {
            Part::All | Part::Bytes(_) => Subset::All,
            Part::Of { index, of } => Subset::Part { index, of },
            Part::Share(ten_thousandths) => Subset::Share { ten_thousandths, turn: turn(run) },
        }
    }

    /// Returns the place of an item in the order of verification: recorded bad, never verified, oldest. `None` where the
    /// verification does not cover it. `now` is the time of the ledger's clock.
    #[must_use]
    pub fn place(&self, item: &LedgerItem, run: RunId, now: i64) -> Option<(u8, i64)> {
        match (item.state, item.proof) {
            // Bad ones are in each part.
            (State::Failed, _) if item.verdict == Some(Verdict::Failed) => return Some((0, 0)),
            (State::Done, _) if self.only_bad => None,
            // Where a destination has no digests, the run that brought the image there leaves no proof.
            (State::Done, None)
                if matches!(item.verdict, Some(Verdict::Unconfirmed | Verdict::Verified)) =>
            {
                Some((1, 0))
            }
            (State::Done, Some(proof)) => {
                let is_young = self.max_age.is_some_and(|most| proof.is_younger(now, most));
                (!is_young).then_some((2, proof.verified_at))
            }
            _ => None,
        }
        .filter(|_| self.covers(item.id.0, run))
    }

    fn covers(&self, item: i64, run: RunId) -> bool {
        let number = item.unsigned_abs();
        match self.part {
            Part::All | Part::Bytes(_) => true,
            Part::Of { index, of } => {
                let of = u64::from(of.max(1));
                number % of == (u64::from(index).wrapping_sub(1)) % of
            }
            Part::Share(share) => {
                let share = u64::from(share).min(WHOLE);
                let shift = WHOLE - (turn(run) % WHOLE * share) % WHOLE;
                // A number that is prime spreads the items of one repository.
                (number.wrapping_mul(7_919) + shift) % WHOLE < share
            }
        }
    }
}

fn turn(run: RunId) -> u64 {
    run.0.unsigned_abs()
}

/// Returns whether a proof is at most so many seconds old.
#[must_use]
pub fn is_within(proof: Option<Proof>, now: i64, most: u64) -> bool {
    proof.is_some_and(|proof| proof.is_younger(now, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_and_successive_shares_cover_each_item_once() {
        for of in [1, 3, 7] {
            for item in 1..100 {
                let covers = |index| {
                    let part = Part::Of { index, of };
                    Selection { part, ..Selection::default() }.covers(item, RunId(1))
                };
                assert_eq!((1..=of).filter(|index| covers(*index)).count(), 1);
            }
        }
        let share = Selection { part: Part::Share(500), ..Selection::default() };
        for item in 1..300 {
            let turns = (11..31).filter(|run| share.covers(item, RunId(*run))).count();
            assert_eq!(turns, 1, "{item}");
        }
    }

    #[test]
    fn a_verification_is_continued_by_one_that_covers_the_same() {
        let one = Selection { max_bytes: Some(5), ..Selection::default() };
        assert_eq!(one.spelled(), Selection::default().spelled());
        let other = Selection { part: Part::Of { index: 3, of: 7 }, ..one };
        assert_eq!(other.spelled(), "fast part=3/7");
    }
}
