//! `storage-edit`: changing the destination, and the refusal in verify.

use wasmtime::component::Resource;

use super::edit::{Editor, Refusal};
use super::storage::Directory;
use crate::error::{Error, Kind};
use crate::limits;
use crate::output::sink::{FileSink, Sink};
use crate::plugin::bindings::storage_edit::Host;
use crate::plugin::bindings::types::ErrorCode;

impl Host for Editor<'_> {
    fn create_file(
        &mut self,
        _directory: Resource<Directory>,
        path: String,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        let state = &mut *self.0;
        state.granted(&path)?;
        let Some(staging) = state.writing.as_mut().and_then(|writing| writing.pending.files())
        else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        if staging.len() >= limits::FILES {
            return Err(state.violation(format!("it wrote more than {} files", limits::FILES)));
        }
        if let Err(refused) = staging.claim(&path) {
            // The plugin may go on without it; if it gives up, this is why.
            state.noted = Some(refused);
            return Ok(Err(ErrorCode::InvalidPath));
        }
        match staging.create() {
            Ok(file) => state.handle(Sink::File(Box::new(FileSink::new(path, file)))).map(Ok),
            Err(cause) => {
                let place = staging.destination().folder().display().to_string();
                state.fail(Error::io(Kind::Destination, "create a file in", place, &cause));
                Ok(Err(ErrorCode::Other(None)))
            }
        }
    }

    fn lock(&mut self, _directory: Resource<Directory>) -> wasmtime::Result<Result<(), ErrorCode>> {
        let state = &mut *self.0;
        let cancel = state.cancel.clone();
        let Some(staging) = state.writing.as_mut().and_then(|writing| writing.pending.files())
        else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        match staging.lock(limits::LOCK_WAIT, &cancel) {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                state.fail(error);
                Ok(Err(ErrorCode::Other(None)))
            }
        }
    }
}

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
