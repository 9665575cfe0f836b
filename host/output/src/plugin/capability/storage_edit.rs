//! `storage-edit`: changes the destination; refuses that while verifying. `granted_path.rs` checks each path, and
//! `destination/staging.rs` keeps what is written until the commit.

use wasmtime::component::Resource;

use super::edit::{Editor, Refusal};
use crate::destination::sink::{FileSink, Sink};
use crate::plugin::bindings::storage_edit::Host;
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::handle::DirectoryHandle;
use crate::plugin::violation::Violation;
use occystrap_base::error::{Error, Kind};
use occystrap_base::limits;

impl Host for Editor<'_> {
    fn create_file(
        &mut self,
        _directory: Resource<DirectoryHandle>,
        path: String,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        let state = &mut *self.0;
        state.granted(&path)?;
        if let Some(sink) = state.sink_of_plan(&path) {
            return sink;
        }
        let Some(staging) = state.writing.as_mut().and_then(|writing| writing.pending.files())
        else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        if staging.len() >= limits::FILES {
            return Err(state.violation(format!("it wrote more than {} files", limits::FILES)));
        }
        if let Err(refused) = staging.claim(&path) {
            // The plugin may continue without the file; if it gives up, the user sees this reason.
            state.noted = Some(refused);
            return Ok(Err(ErrorCode::InvalidPath));
        }
        match staging.create() {
            Ok(file) => {
                state.remember(&path)?;
                state.sink(Sink::File(Box::new(FileSink::new(path, file)))).map(Ok)
            }
            Err(cause) => {
                staging.release(&path);
                let place = staging.destination().folder().display().to_string();
                state.fail(Error::io(Kind::Destination, "create a file in", place, &cause));
                Ok(Err(ErrorCode::Other(None)))
            }
        }
    }

    fn lock(
        &mut self,
        _directory: Resource<DirectoryHandle>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        let state = &mut *self.0;
        if state.only_plans() {
            // Nothing is written that another process could disturb.
            return Ok(Ok(()));
        }
        if let Some(error) = &state.unlocked {
            // A second wait would take as long as the first.
            return Err(wasmtime::Error::new(Violation(error.clone())));
        }
        let cancel = state.cancel.clone();
        let Some(staging) = state.writing.as_mut().and_then(|writing| writing.pending.files())
        else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        match staging.lock(limits::LOCK_WAIT, &cancel) {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                state.unlocked = Some(error.clone());
                state.fail(error);
                Ok(Err(ErrorCode::Other(None)))
            }
        }
    }
}

impl Host for Refusal<'_> {
    fn create_file(
        &mut self,
        _directory: Resource<DirectoryHandle>,
        path: String,
    ) -> wasmtime::Result<Result<Resource<Sink>, ErrorCode>> {
        Err(self.0.violation(format!("it tried to write '{path}' while verifying")))
    }

    fn lock(
        &mut self,
        _directory: Resource<DirectoryHandle>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        Err(self.0.violation("it tried to lock the destination while verifying"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::destination::hash_memo::HashMemo;
    use crate::plugin::state::GuestState;
    use occystrap_base::cancel::Cancel;

    #[test]
    fn a_lock_that_was_not_got_is_not_waited_for_again() {
        let mut state = GuestState::new(Arc::from("test"), Cancel::default(), HashMemo::default());
        let lock = |state: &mut GuestState| Editor(state).lock(Resource::new_own(0));
        assert!(matches!(lock(&mut state), Ok(Err(ErrorCode::ReadOnly))));
        state.unlocked = Some(Error::new(Kind::Destination, "another process holds the lock"));
        let error = lock(&mut state).unwrap_err();
        assert_eq!(error.to_string(), "another process holds the lock");
    }
}
