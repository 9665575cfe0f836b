//! `storage-edit`: changing the destination, and the refusal that stands in for it in verify.
//!
//! The two are different types, linked in its place each: a verifying instance has no code path to
//! a write, whatever it imports.

use wasmtime::component::{HasData, Resource};

use super::blobs::Sink;
use super::storage::Directory;
use crate::error::{Error, Kind};
use crate::output::sink::FileSink;
use crate::plugin::bindings::storage_edit::Host;
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::limits;
use crate::plugin::state::State;

/// Links the interface to [`Editor`].
pub struct Granted;

impl HasData for Granted {
    type Data<'a> = Editor<'a>;
}

/// Links the interface to [`Refusal`].
pub struct Denied;

impl HasData for Denied {
    type Data<'a> = Refusal<'a>;
}

/// Writes, while writing.
pub struct Editor<'a>(pub &'a mut State);

impl Host for Editor<'_> {
    fn create_file(
        &mut self,
        _directory: Resource<Directory>,
        path: String,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        let state = &mut *self.0;
        state.granted(&path)?;
        let Some(writing) = &state.writing else { return Ok(Err(ErrorCode::ReadOnly)) };
        if writing.staging.len() >= limits::FILES {
            return Err(state.violation(format!("it wrote more than {} files", limits::FILES)));
        }
        match writing.staging.create() {
            Ok(file) => state.handle(Sink(FileSink::new(path, file))).map(Ok),
            Err(cause) => {
                let place = writing.staging.destination().folder().display().to_string();
                state.fail(Error::io(Kind::Destination, "create a file in", place, &cause));
                Ok(Err(ErrorCode::Other(None)))
            }
        }
    }

    fn lock(&mut self, _directory: Resource<Directory>) -> wasmtime::Result<Result<(), ErrorCode>> {
        let state = &mut *self.0;
        let Some(writing) = &mut state.writing else { return Ok(Err(ErrorCode::ReadOnly)) };
        match writing.staging.lock(limits::LOCK_WAIT, &state.cancel) {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                state.fail(error);
                Ok(Err(ErrorCode::Other(None)))
            }
        }
    }
}

/// Refuses, while verifying. An honest plugin does not try: the session ends.
pub struct Refusal<'a>(pub &'a mut State);

impl Host for Refusal<'_> {
    fn create_file(
        &mut self,
        _directory: Resource<Directory>,
        path: String,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        Err(self.0.violation(format!("it tried to write '{path}' while verifying")))
    }

    fn lock(&mut self, _directory: Resource<Directory>) -> wasmtime::Result<Result<(), ErrorCode>> {
        Err(self.0.violation("it tried to lock the destination while verifying"))
    }
}
