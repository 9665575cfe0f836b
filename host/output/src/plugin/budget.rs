//! Counts what one session has the host keep in memory, write to disks, and compute.
//!
//! What it refuses: more than [`limits::HOST_MEMORY`] of host memory, more bytes of a plugin's own than
//! [`limits::OWN_BYTES`] and as many again as it moved of the image, and more processor time of the
//! host than [`limits::HOST_TIME`] for anything but moving and hashing content.

use std::time::Duration;

use wasmtime::component::Resource;

use super::state::{State, Writing};
use crate::destination::journal::WrittenFile;
use crate::destination::sink::Sink;
use occystrap_base::limits;

/// What is counted of one session.
#[derive(Debug, Default)]
pub struct Spent {
    /// Bytes of host memory that its calls have left behind.
    memory: usize,
    /// Bytes of its own that it had written.
    own: u64,
    /// Bytes of the image that were moved for it.
    moved: u64,
}

impl State {
    /// Counts bytes of host memory that stay until the session ends, or until [`Self::release`].
    pub fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.spent.memory = self.spent.memory.saturating_add(bytes);
        if self.spent.memory > limits::HOST_MEMORY {
            let most = limits::HOST_MEMORY >> 20;
            let rule = format!("it made the host keep more than {most} MiB for it");
            return Err(self.violation(rule));
        }
        Ok(())
    }

    /// Takes back what was counted of something that is gone.
    pub fn release(&mut self, bytes: usize) {
        self.spent.memory = self.spent.memory.saturating_sub(bytes);
    }

    /// Counts something that the host remembers by its name.
    pub fn remember(&mut self, name: &str) -> wasmtime::Result<()> {
        self.keep(limits::REMEMBERED + name.len())
    }

    /// Counts bytes that the plugin has written and that are none of the image.
    pub fn count_own(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.spent.own = self.spent.own.saturating_add(bytes);
        let most = self.allowance.own_bytes;
        if self.spent.own > most.saturating_add(self.spent.moved) {
            let rule = format!(
                "it wrote more than {most} bytes of its own, and as many as it moved of the image"
            );
            return Err(self.violation(rule));
        }
        Ok(())
    }

    /// Counts bytes of the image that were moved for the plugin.
    pub fn count_moved(&mut self, bytes: u64) {
        self.spent.moved = self.spent.moved.saturating_add(bytes);
    }

    /// Ends the session where the host has computed too long for it.
    pub fn check_host_time(&self) -> wasmtime::Result<()> {
        let most = self.allowance.host_time;
        if self.clock.served() > most {
            return Err(self.violation(format!("it kept the host busy for more than {most:?}")));
        }
        Ok(())
    }

    /// A handle for a sink, which counts with what it holds.
    pub(in crate::plugin) fn sink(&mut self, sink: Sink) -> wasmtime::Result<Resource<Sink>> {
        self.keep(sink.held())?;
        self.handle(sink)
    }

    /// A call on a sink, which holds more or less after it.
    pub(in crate::plugin) fn at_sink<T>(
        &mut self,
        sink: &Resource<Sink>,
        call: impl FnOnce(&mut Sink) -> T,
    ) -> wasmtime::Result<T> {
        let sink = self.table.get_mut(sink)?;
        let before = sink.held();
        let answer = call(sink);
        let after = sink.held();
        self.release(before);
        self.keep(after)?;
        Ok(answer)
    }

    /// A sink that is not used any more.
    pub(super) fn take_sink(&mut self, sink: Resource<Sink>) -> wasmtime::Result<Sink> {
        let sink = self.table.delete(sink)?;
        self.release(sink.held());
        Ok(sink)
    }

    /// A file of the journal.
    pub(super) fn journal(&mut self, written: WrittenFile) -> wasmtime::Result<()> {
        let pieces = written.extents.len() * limits::PIECE_KEPT;
        // Its name stands in the list of finished files as well.
        self.keep(limits::REMEMBERED + 2 * written.path.len() + pieces)?;
        if let Some(Writing { journal, .. }) = &mut self.writing {
            journal.record_written(written);
        }
        Ok(())
    }

    /// A call in which the host moves or hashes content. Its processor time does not count, up to what
    /// as many bytes take on a slow machine; `None` is for content that is moved once.
    pub(super) fn transferring<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> (T, Option<u64>),
    ) -> T {
        let began = self.clock.begin();
        let (answer, bytes) = call(self);
        let most = bytes.map(|bytes| Duration::from_nanos(bytes.saturating_mul(SLOWEST)));
        self.clock.end(began, most.unwrap_or(Duration::MAX));
        answer
    }
}

/// Nanoseconds in which a slow machine decompresses and hashes one byte: 5 MB/s. bzip2 gives 7, xz 20, and
/// gzip some hundreds on a busy machine of today.
const SLOWEST: u64 = 200;
