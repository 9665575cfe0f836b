//! Counts what one session makes the host keep in memory, write to disks, and compute.
//!
//! What it refuses: more than [`limits::HOST_MEMORY`] of host memory, more bytes of the plugin's own than
//! [`limits::OWN_BYTES`] and as many again as it moved of the image, and more processor time of the host than
//! [`limits::HOST_TIME`] for anything but moving and hashing content.

use std::time::Duration;

use wasmtime::component::Resource;

use super::state::{GuestState, Writing};
use crate::destination::sink::Sink;
use crate::receipt::WrittenFile;
use occystrap_base::error::Result;
use occystrap_base::limits;

impl GuestState {
    /// Returns a new handle for the guest, within the limit on handles.
    pub(super) fn handle<T: Send + 'static>(&mut self, what: T) -> wasmtime::Result<Resource<T>> {
        match self.table.push(what) {
            Ok(handle) => Ok(handle),
            Err(_) => {
                Err(self.violation(format!("it opened more than {} handles", limits::HANDLES)))
            }
        }
    }

    /// Counts bytes that are hashed because the plugin asked.
    pub fn count_hashed(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.hashed = self.hashed.saturating_add(bytes);
        let most = self.allowance.hashed_bytes;
        if self.hashed > most {
            let rule = format!("it had more than {most} bytes hashed");
            return Err(self.violation(rule));
        }
        Ok(())
    }

    /// Counts a network request that the plugin causes. The inner error is that of an interruption.
    pub(super) fn request(&mut self) -> wasmtime::Result<Result<()>> {
        self.requests += 1;
        if self.requests > limits::REQUESTS {
            let rule = format!("it made more than {} requests", limits::REQUESTS);
            return Err(self.violation(rule));
        }
        Ok(self.cancel.check())
    }

    /// Counts bytes of host memory that stay until the session ends, or until [`Self::release`].
    pub fn keep(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.used.memory = self.used.memory.saturating_add(bytes);
        if self.used.memory > limits::HOST_MEMORY {
            let most = limits::HOST_MEMORY >> 20;
            let rule = format!("it made the host keep more than {most} MiB for it");
            return Err(self.violation(rule));
        }
        Ok(())
    }

    /// Subtracts the bytes of something that is gone.
    pub fn release(&mut self, bytes: usize) {
        self.used.memory = self.used.memory.saturating_sub(bytes);
    }

    /// Counts an item that the host remembers by its name.
    pub fn remember(&mut self, name: &str) -> wasmtime::Result<()> {
        self.keep(limits::REMEMBERED + name.len())
    }

    /// Counts bytes that the plugin has written and that are not part of the image.
    pub fn count_own(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.used.own = self.used.own.saturating_add(bytes);
        let most = self.allowance.own_bytes;
        if self.used.own > most.saturating_add(self.used.moved) {
            let rule = format!(
                "it wrote more than {most} bytes of its own, and as many as it moved of the image"
            );
            return Err(self.violation(rule));
        }
        Ok(())
    }

    /// Counts bytes of the image that were moved for the plugin.
    pub fn count_moved(&mut self, bytes: u64) {
        self.used.moved = self.used.moved.saturating_add(bytes);
    }

    /// Ends the session where the host has computed too long for it.
    pub fn check_host_time(&self) -> wasmtime::Result<()> {
        let most = self.allowance.host_time;
        if self.clock.served() > most {
            return Err(self.violation(format!("it kept the host busy for more than {most:?}")));
        }
        Ok(())
    }

    /// Returns a handle for a sink, and counts the memory that it holds.
    pub(super) fn sink(&mut self, sink: Sink) -> wasmtime::Result<Resource<Sink>> {
        self.keep(sink.held())?;
        self.handle(sink)
    }

    /// Calls a function on a sink, and counts the change of the memory that it holds.
    pub(super) fn at_sink<T>(
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

    /// Takes a sink that is no longer used out of the table.
    pub(super) fn take_sink(&mut self, sink: Resource<Sink>) -> wasmtime::Result<Sink> {
        let sink = self.table.delete(sink)?;
        self.release(sink.held());
        Ok(sink)
    }

    /// Adds a file to the journal.
    pub(super) fn journal(&mut self, written: WrittenFile) -> wasmtime::Result<()> {
        let pieces = written.extents.len() * limits::PIECE_KEPT;
        // Its name is in the list of finished files as well.
        self.keep(limits::REMEMBERED + 2 * written.path.len() + pieces)?;
        if let Some(Writing { journal, .. }) = &mut self.writing {
            journal.record_written(written);
        }
        Ok(())
    }

    /// Runs a call in which the host moves or hashes content. Its processor time is not counted, up to the time
    /// that as many bytes take on a slow machine; `None` is for content that is moved only once.
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
