//! The one way from expectations to checked objects, whatever the destination is.
//!
//! Each kind of destination implements [`Compare`]; [`Checker`] calls it for every expectation, once for each place and
//! in parallel.

use std::collections::BTreeMap;

use crate::verdict::claims::Claims;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::Result;
use occystrap_base::parallel::in_parallel;
use occystrap_net::context::Context;
use occystrap_output::receipt::Expectation;

/// Compares what a destination holds with expectations.
pub trait Compare {
    /// Returns how messages name the place of an expectation.
    fn location(&self, expectation: &Expectation) -> String;

    /// Compares what is at the place of an expectation, and records what is wrong.
    fn compare(&self, expectation: &Expectation, object: &mut CheckedObject);

    /// Checks one expectation.
    fn check(&self, expectation: &Expectation) -> CheckedObject {
        let mut object = CheckedObject::expected(expectation, self.location(expectation));
        self.compare(expectation, &mut object);
        object
    }
}

/// Checks expectations in parallel.
pub struct Checker<'a> {
    expectations: &'a [Expectation],
    /// Indexes of the expectations of each place.
    places: Vec<Vec<usize>>,
}

impl<'a> Checker<'a> {
    /// Returns a checker for these expectations.
    #[must_use]
    pub fn of(expectations: &'a [Expectation]) -> Self {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, expectation) in expectations.iter().enumerate() {
            places.entry(expectation.place.subject()).or_default().push(index);
        }
        Self { expectations, places: places.into_values().collect() }
    }

    /// Returns the first expectation of each place.
    pub fn firsts(&self) -> impl Iterator<Item = &'a Expectation> {
        self.places.iter().filter_map(|place| self.expectations.get(*place.first()?))
    }

    /// Checks everything, as many places in parallel as the user allows, and then compares the config with `claims`. The
    /// expectations of one place are checked in turn, so that the first one leaves its answer for the others. The result
    /// has the order of the expectations. Errors when the user interrupts.
    pub fn check(
        &self,
        at: &(impl Compare + Sync),
        claims: &Claims,
        context: &Context,
    ) -> Result<Vec<CheckedObject>> {
        let found = in_parallel(&self.places, context.parallel, |place| -> Result<Vec<_>> {
            context.cancel.check()?;
            let check = |index: &usize| (*index, at.check(&self.expectations[*index]));
            Ok(place.iter().map(check).collect())
        });
        context.cancel.check()?;
        let mut found = found.into_iter().collect::<Result<Vec<_>>>()?.concat();
        found.sort_by_key(|(index, _)| *index);
        let mut objects: Vec<CheckedObject> = found.into_iter().map(|(_, object)| object).collect();
        claims.compare(self.expectations, &mut objects);
        Ok(objects)
    }
}
