//! Searching one layer, member by member.

use super::budget::Budget;
use super::found::Match;
use super::pattern::Pattern;
use occystrap_base::error::Result;
use occystrap_layer::overlay::Trace;
use occystrap_layer::tar::Member;

/// What was found in a layer, and what the layer does to those below it.
#[derive(Default)]
pub struct LayerSearch {
    pub(super) matches: Vec<Match>,
    pub(super) trace: Trace,
}

impl LayerSearch {
    /// The next member. Errors when there is no room for more.
    pub fn see(&mut self, member: &Member, pattern: &Pattern, budget: &Budget) -> Result<()> {
        let path = member.plain_path();
        budget.take(size_of::<u64>())?;
        self.trace.add(member, &path);
        if pattern.matches(&member.path) {
            let found = Match::of(member);
            budget.take(found.weight())?;
            self.matches.push(found);
        }
        Ok(())
    }
}
