//! The state that the host keeps for one running plugin.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use wasmtime::component::ResourceTable;

use super::guest_clock::GuestClock;
use super::limiter::Limiter;
use super::violation::{Violation, violation};
use crate::destination::hash_memo::HashMemo;
use crate::destination::read_access::FolderReader;
use crate::destination::{Journal, Pending, ReadAccess};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Error;
use occystrap_base::files::destination::Destination;
use occystrap_base::limits;
use occystrap_base::warnings::Warnings;

/// The data of a store.
pub struct GuestState {
    /// Name of the plugin, for messages.
    pub plugin: Arc<str>,
    /// Handles of the guest.
    pub table: ResourceTable,
    /// Limits on memory and tables.
    pub limits: Limiter,
    /// Limits on this session.
    pub allowance: limits::Allowance,
    /// Time spent computing.
    pub clock: GuestClock,
    /// Set when the user interrupts.
    pub cancel: Cancel,
    /// The destination that the user named, for reading.
    pub access: Option<ReadAccess>,
    /// The file that is being read from its start, with its path.
    pub reading: Option<(String, Arc<File>)>,
    /// The pending writes; `None` while verifying.
    pub writing: Option<Writing>,
    /// Digests that are known from this run.
    pub memory: HashMemo,
    /// Number of walks through layers that are open.
    pub walks: usize,
    /// State of the plugin's language runtime.
    pub runtime: LanguageRuntime,
    /// Warnings of the plugin.
    pub warnings: Warnings,
    /// Set while the plugin finalizes an image: its warnings are then about what the commit will do.
    pub is_finalizing: bool,
    /// Lines logged so far.
    pub logged: u64,
    /// Bytes hashed so far because the plugin asked.
    pub hashed: u64,
    /// Host memory and bytes written so far because the plugin asked.
    pub used: ResourceUse,
    /// Requests to the network so far because the plugin asked.
    pub requests: u64,
    /// Number of answers of web servers that it holds.
    pub answers: usize,
    /// The error when the destination could not be locked.
    pub unlocked: Option<Error>,
    /// The error of the first host call that failed; the guest sees only a code.
    pub failure: Option<Error>,
    /// The reason why the last call was refused. It does not fail the session: a plugin may check whether a
    /// file exists and is readable, and continue otherwise.
    pub noted: Option<Error>,
}

/// The additional state of a writing session.
pub struct Writing {
    /// Writes that are not visible yet.
    pub pending: Pending,
    /// The journal of what was written and read.
    pub journal: Journal,
}

impl GuestState {
    /// Returns the state of a new session.
    #[must_use]
    pub fn new(plugin: Arc<str>, cancel: Cancel, memory: HashMemo) -> Self {
        let limits = Limiter::new(Arc::clone(&plugin));
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HANDLES);
        Self {
            plugin,
            table,
            limits,
            allowance: limits::Allowance::default(),
            clock: GuestClock::default(),
            cancel,
            access: None,
            reading: None,
            writing: None,
            memory,
            walks: 0,
            runtime: LanguageRuntime::default(),
            warnings: Warnings::default(),
            is_finalizing: false,
            logged: 0,
            hashed: 0,
            used: ResourceUse::default(),
            requests: 0,
            answers: 0,
            unlocked: None,
            failure: None,
            noted: None,
        }
    }

    /// Returns the directory or file that was granted, for reading.
    #[must_use]
    pub fn destination(&self) -> Option<&FolderReader> {
        self.access.as_ref().and_then(ReadAccess::storage)
    }

    /// Returns the directory or file that a writing session may change.
    #[must_use]
    pub fn writable(&self) -> Option<&Destination> {
        self.writing.as_ref().and_then(|writing| writing.pending.storage())
    }

    /// Keeps the error of a host call; the first error is the one that is reported.
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Returns the error for a rule that the plugin broke, which ends the session.
    pub fn violation(&self, rule: impl fmt::Display) -> wasmtime::Error {
        wasmtime::Error::new(Violation(violation(&self.plugin, rule)))
    }
}

/// The resources that a session has used, as `budget` counts them.
#[derive(Debug, Default)]
pub struct ResourceUse {
    /// Bytes of host memory that its calls have left behind.
    pub(super) memory: usize,
    /// Bytes of the plugin's own that were written.
    pub(super) own: u64,
    /// Bytes of the image that were moved for it.
    pub(super) moved: u64,
}

/// The state of a language runtime: text that it printed without a newline, for both streams, and the position
/// in the sequence of numbers.
#[derive(Default)]
pub struct LanguageRuntime {
    pub(super) lines: [Vec<u8>; 2],
    pub(super) number: u64,
}
