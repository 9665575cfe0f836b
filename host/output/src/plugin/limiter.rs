//! Limits the memory of one plugin: one sum over all memories, and one over all tables, of its store.
//!
//! What it refuses: growth beyond [`limits::MEMORY`] and [`limits::TABLE_ELEMENTS`], and more instances,
//! memories and tables than [`limits`] allows.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::state::{Violation, violation};
use super::user_limit;
use occystrap_base::error::{Error, Kind};
use occystrap_base::limits;

/// Sums of one store.
pub struct Limiter {
    plugin: Arc<str>,
    /// Bytes of all memories.
    memory: usize,
    /// Elements of all tables.
    elements: usize,
}

impl Limiter {
    /// Returns sums of a store that has taken nothing yet.
    #[must_use]
    pub fn new(plugin: Arc<str>) -> Self {
        Self { plugin, memory: 0, elements: 0 }
    }

    /// Bytes of all memories.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    fn refuse(&self, rule: &str) -> wasmtime::Error {
        wasmtime::Error::new(Violation(violation(&self.plugin, rule)))
    }

    /// Ends the session: the growth was counted, and wasmtime does not say how much of it there was.
    fn no_memory(&self, what: &str, cause: &wasmtime::Error) -> wasmtime::Error {
        let message = format!("plugin '{}': the system does not give {what}: {cause}", self.plugin);
        let error = Error::new(Kind::Plugin, message);
        wasmtime::Error::new(Violation(user_limit::explained(error, &cause.to_string())))
    }
}

/// Counts the growth of one part of a sum, from `current` to `desired`, and returns whether its own type
/// allows it: what `maximum` forbids fails without being counted. Errors where the sum would be more than
/// `most`.
fn grow(
    sum: &mut usize,
    (current, desired, maximum): (usize, usize, Option<usize>),
    most: usize,
) -> Result<bool, Exceeded> {
    if maximum.is_some_and(|maximum| desired > maximum) {
        return Ok(false);
    }
    let grown = sum.checked_sub(current).and_then(|rest| rest.checked_add(desired));
    *sum = grown.filter(|sum| *sum <= most).ok_or(Exceeded)?;
    Ok(true)
}

/// A sum that would be larger than its limit.
struct Exceeded;

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = grow(&mut self.memory, (current, desired, maximum), limits::MEMORY);
        let most = limits::MEMORY >> 20;
        grown.map_err(|Exceeded| self.refuse(&format!("it wanted more than {most} MiB of memory")))
    }

    fn memory_grow_failed(&mut self, cause: wasmtime::Error) -> wasmtime::Result<()> {
        Err(self.no_memory("its memory", &cause))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let most = limits::TABLE_ELEMENTS;
        let grown = grow(&mut self.elements, (current, desired, maximum), most);
        grown.map_err(|Exceeded| self.refuse(&format!("it wanted more than {most} table elements")))
    }

    fn table_grow_failed(&mut self, cause: wasmtime::Error) -> wasmtime::Result<()> {
        Err(self.no_memory("its table", &cause))
    }

    fn instances(&self) -> usize {
        limits::INSTANCES
    }

    fn memories(&self) -> usize {
        limits::MEMORIES
    }

    fn tables(&self) -> usize {
        limits::TABLES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn the_limit_is_for_the_sum_of_all_memories() {
        let mut limiter = Limiter::new("test".into());
        assert!(limiter.memory_growing(0, 40 * MIB, None).unwrap());
        assert!(limiter.memory_growing(0, 20 * MIB, None).unwrap());
        assert!(limiter.memory_growing(20 * MIB, 24 * MIB, None).unwrap());
        assert_eq!(limiter.memory(), limits::MEMORY);
        let error = limiter.memory_growing(40 * MIB, 40 * MIB + 1, None).unwrap_err();
        assert!(error.to_string().contains("more than 64 MiB of memory"), "{error}");
    }

    #[test]
    fn the_limit_is_for_the_sum_of_all_tables() {
        let mut limiter = Limiter::new("test".into());
        assert!(limiter.table_growing(0, 150_000, None).unwrap());
        assert!(limiter.table_growing(0, 50_000, None).unwrap());
        let error = limiter.table_growing(50_000, 50_001, None).unwrap_err();
        assert!(error.to_string().contains("more than 200000 table elements"), "{error}");
    }

    #[test]
    fn growth_that_the_type_forbids_is_not_counted() {
        let mut limiter = Limiter::new("test".into());
        for _ in 0..100 {
            assert!(!limiter.memory_growing(MIB, 30 * MIB, Some(2 * MIB)).unwrap());
            assert!(!limiter.table_growing(1, 150_000, Some(2)).unwrap());
        }
        assert!(limiter.memory_growing(0, 64 * MIB, Some(64 * MIB)).unwrap());
        assert!(limiter.table_growing(0, 200_000, None).unwrap());
    }
}
