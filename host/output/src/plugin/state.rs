//! What the host keeps for one running plugin.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use wasmtime::component::ResourceTable;

use super::budget::Spent;
use super::capability::wasi::Runtime;
use super::clock::Clock;
use super::limiter::Limiter;
use crate::destination::hash_memo::HashMemo;
use crate::destination::read_access::FolderReader;
use crate::destination::{Journal, Pending, ReadAccess};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind};
use occystrap_base::files::destination::Destination;
use occystrap_base::limits;
use occystrap_base::warnings::Warnings;

/// The data of a store.
pub struct State {
    /// Name of the plugin, for messages.
    pub plugin: Arc<str>,
    /// Handles of the guest.
    pub table: ResourceTable,
    /// Memory and tables.
    pub limits: Limiter,
    /// What this session may take.
    pub allowance: limits::Allowance,
    /// Time spent computing.
    pub clock: Clock,
    /// Hears of Ctrl-C.
    pub cancel: Cancel,
    /// What the user named, for reading.
    pub access: Option<ReadAccess>,
    /// The file that is being read from its start on, by its path.
    pub reading: Option<(String, Arc<File>)>,
    /// Only while writing.
    pub writing: Option<Writing>,
    /// What was hashed in this run.
    pub memory: HashMemo,
    /// Ways through layers that are open.
    pub walks: usize,
    /// What its language's runtime keeps.
    pub runtime: Runtime,
    /// What it warned the user about.
    pub warnings: Warnings,
    /// Whether the plugin completes an image: its warnings are about what the commit will do.
    pub is_finalizing: bool,
    /// Lines logged so far.
    pub logged: u64,
    /// Bytes hashed so far because the plugin asked.
    pub hashed: u64,
    /// Host memory and bytes written so far because the plugin asked.
    pub spent: Spent,
    /// Requests to the network so far because the plugin asked.
    pub requests: u64,
    /// Answers of web servers that it holds.
    pub answers: usize,
    /// Why the destination could not be locked.
    pub unlocked: Option<Error>,
    /// Why the first host call failed, in words; the guest sees only a code.
    pub failure: Option<Error>,
    /// Why the last call was refused, in words. No failure of the session: a plugin may look whether
    /// something is there and readable, and do something else.
    pub noted: Option<Error>,
}

/// What a writing session has more than a verifying one.
pub struct Writing {
    /// What nobody sees yet.
    pub pending: Pending,
    /// What was written and read.
    pub journal: Journal,
}

/// `types` has no functions.
impl super::bindings::types::Host for State {}

impl State {
    /// For one session of a plugin.
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
            clock: Clock::default(),
            cancel,
            access: None,
            reading: None,
            writing: None,
            memory,
            walks: 0,
            runtime: Runtime::default(),
            warnings: Warnings::default(),
            is_finalizing: false,
            logged: 0,
            hashed: 0,
            spent: Spent::default(),
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

    /// Keep why a host call failed; the first reason is the one that matters.
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Count bytes that are hashed because the plugin asked.
    pub fn count_hashed(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.hashed = self.hashed.saturating_add(bytes);
        let most = self.allowance.hashed_bytes;
        if self.hashed > most {
            let rule = format!("it had more than {most} bytes hashed");
            return Err(self.violation(rule));
        }
        Ok(())
    }

    /// A rule that the plugin broke: the session ends here.
    pub fn violation(&self, rule: impl fmt::Display) -> wasmtime::Error {
        wasmtime::Error::new(Violation(violation(&self.plugin, rule)))
    }
}

/// The error for a rule that a plugin broke.
pub fn violation(plugin: &str, rule: impl fmt::Display) -> Error {
    Error::new(Kind::Plugin, format!("plugin '{plugin}' was stopped: {rule}"))
}

/// Carries our error through wasmtime.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub Error);
