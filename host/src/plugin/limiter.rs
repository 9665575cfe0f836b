//! Limits the memory of one plugin: one sum over all memories, and one over all tables, of its store.
//!
//! What it refuses: growth beyond [`limits::MEMORY`] and [`limits::TABLE_ELEMENTS`], and more instances,
//! memories and tables than [`limits`] allows.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::state::{Violation, violation};
use crate::limits;

/// The sums of one store.
pub struct Limiter {
    plugin: Arc<str>,
    /// Bytes of all memories.
    memory: usize,
    /// Elements of all tables.
    elements: usize,
}

impl Limiter {
    /// Nothing was taken yet.
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
}

/// The sum after one of its parts has grown from `current` to `desired`; `None` where that is more
/// than `most`.
fn grown(sum: usize, current: usize, desired: usize, most: usize) -> Option<usize> {
    sum.checked_sub(current)?.checked_add(desired).filter(|sum| *sum <= most)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // What the memory's own type forbids fails without being counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        match grown(self.memory, current, desired, limits::MEMORY) {
            Some(sum) => self.memory = sum,
            None => {
                let most = limits::MEMORY >> 20;
                return Err(self.refuse(&format!("it wanted more than {most} MiB of memory")));
            }
        }
        Ok(true)
    }

    /// Ends the session: what was counted and is not there would have to be taken back, and wasmtime
    /// does not say how much that was.
    fn memory_grow_failed(&mut self, cause: wasmtime::Error) -> wasmtime::Result<()> {
        Err(self.refuse(&format!("it wanted memory that the system does not have ({cause})")))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        match grown(self.elements, current, desired, limits::TABLE_ELEMENTS) {
            Some(sum) => self.elements = sum,
            None => {
                let most = limits::TABLE_ELEMENTS;
                return Err(self.refuse(&format!("it wanted more than {most} table elements")));
            }
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, cause: wasmtime::Error) -> wasmtime::Result<()> {
        Err(self.refuse(&format!("it wanted a table that the system does not have ({cause})")))
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
