//! Limits the memory of one plugin: one sum over all memories, and one over all tables, of its store.
//!
//! What it refuses: growth beyond [`limits::MEMORY`] and [`limits::TABLE_ELEMENTS`], and more instances,
//! memories and tables than [`limits`] allows.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::user_limit;
use super::violation::{Violation, violation};
use occystrap_base::error::{Error, Kind};
use occystrap_base::limits;

/// The limiter of one store, with the sums so far.
pub struct Limiter {
    plugin: Arc<str>,
    /// Bytes of all memories.
    memory: usize,
    /// Elements of all tables.
    elements: usize,
}

/// The part of a store that grows.
#[derive(Clone, Copy)]
enum Part {
    /// A memory, in bytes.
    Memory,
    /// A table, in elements.
    Table,
}

impl Limiter {
    /// Returns the limiter of a store that has taken nothing yet.
    #[must_use]
    pub fn new(plugin: Arc<str>) -> Self {
        Self { plugin, memory: 0, elements: 0 }
    }

    /// Returns the bytes of all memories.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Counts the growth of one memory or table from `current` to `desired`, and returns whether its own type
    /// allows it: growth beyond `maximum` fails and is not counted. Errors when the sum would exceed its limit.
    fn grow(
        &mut self,
        part: Part,
        (current, desired): (usize, usize),
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let (sum, most) = match part {
            Part::Memory => (&mut self.memory, limits::MEMORY),
            Part::Table => (&mut self.elements, limits::TABLE_ELEMENTS),
        };
        let grown = sum.checked_sub(current).and_then(|rest| rest.checked_add(desired));
        if let Some(grown) = grown.filter(|grown| *grown <= most) {
            *sum = grown;
            return Ok(true);
        }
        let most = match part {
            Part::Memory => format!("{} MiB of memory", most >> 20),
            Part::Table => format!("{most} table elements"),
        };
        let rule = format!("it wanted more than {most}");
        Err(wasmtime::Error::new(Violation(violation(&self.plugin, rule))))
    }

    /// Returns the error for growth that the system refused. It ends the session: the growth was counted, and
    /// wasmtime does not say how much of it there was.
    fn refused(&self, part: Part, cause: &wasmtime::Error) -> wasmtime::Error {
        let what = match part {
            Part::Memory => "its memory",
            Part::Table => "its table",
        };
        let message = format!("plugin '{}': the system does not give {what}: {cause}", self.plugin);
        let error = Error::new(Kind::Plugin, message);
        wasmtime::Error::new(Violation(user_limit::explained(error, &cause.to_string())))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(Part::Memory, (current, desired), maximum)
    }

    fn memory_grow_failed(&mut self, cause: wasmtime::Error) -> wasmtime::Result<()> {
        Err(self.refused(Part::Memory, &cause))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(Part::Table, (current, desired), maximum)
    }

    fn table_grow_failed(&mut self, cause: wasmtime::Error) -> wasmtime::Result<()> {
        Err(self.refused(Part::Table, &cause))
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
