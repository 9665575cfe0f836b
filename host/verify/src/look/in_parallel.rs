//! Everything that must be somewhere, looked at side by side.

use std::collections::BTreeMap;

use crate::verdict::claims::Claims;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::Result;
use occystrap_base::parallel::in_parallel;
use occystrap_net::context::Context;
use occystrap_output::receipt::Expectation;

/// What is expected, by where it is expected.
pub struct Places<'a> {
    expectations: &'a [Expectation],
    /// Indexes of those that name the same place.
    jobs: Vec<Vec<usize>>,
}

impl<'a> Places<'a> {
    /// Of what is expected.
    pub fn of(expectations: &'a [Expectation]) -> Self {
        let mut jobs: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, expectation) in expectations.iter().enumerate() {
            jobs.entry(expectation.place.subject()).or_default().push(index);
        }
        Self { expectations, jobs: jobs.into_values().collect() }
    }

    /// One of each place.
    pub fn firsts(&self) -> impl Iterator<Item = &'a Expectation> {
        self.jobs.iter().filter_map(|job| self.expectations.get(*job.first()?))
    }

    /// Look at everything, at as many places side by side as the user wants; what an image has twice in
    /// turn, so that the first leaves its answer for the others. Then `claims` judge. In the order of
    /// what was expected. Errors when the user interrupts.
    pub fn look(
        &self,
        claims: &Claims,
        context: &Context,
        check: impl Fn(&Expectation) -> CheckedObject + Sync,
    ) -> Result<Vec<CheckedObject>> {
        let found = in_parallel(&self.jobs, context.parallel, |job| -> Result<Vec<_>> {
            context.cancel.check()?;
            Ok(job.iter().map(|index| (*index, check(&self.expectations[*index]))).collect())
        });
        context.cancel.check()?;
        let mut found = found.into_iter().collect::<Result<Vec<_>>>()?.concat();
        found.sort_by_key(|(index, _)| *index);
        let mut objects: Vec<CheckedObject> = found.into_iter().map(|(_, object)| object).collect();
        claims.judge(self.expectations, &mut objects);
        Ok(objects)
    }
}
