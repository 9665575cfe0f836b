//! Access to a destination: [`Editor`] changes it while writing, [`Refusal`] stands in for it while verifying.
//!
//! The two are different types, linked in its place each: a verifying instance has no code path to
//! a write, whatever it imports. `storage_edit`, `registry_push`, `engine_load` and `http_out` are implemented
//! for both. A plugin that only plans has the first, and a destination to which nothing can be written.

use wasmtime::component::{HasData, Resource};

use crate::destination::sink::{FileSink, Sink};
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::state::GuestState;

/// Links an interface to [`Editor`].
pub struct Granted;

impl HasData for Granted {
    type Data<'a> = Editor<'a>;
}

/// Links an interface to [`Refusal`].
pub struct WriteDenied;

impl HasData for WriteDenied {
    type Data<'a> = Refusal<'a>;
}

/// Access while writing.
pub struct Editor<'a>(pub &'a mut GuestState);

/// Refusal while verifying. A correct plugin does not call these functions: the session ends.
pub struct Refusal<'a>(pub &'a mut GuestState);

impl GuestState {
    /// Whether the plugin only plans.
    pub(super) fn only_plans(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.pending.is_plan())
    }

    /// Returns a sink for a plugin that only plans: what it writes before it is asked for its plan goes to a file
    /// that is gone with the session. `None` for a plugin that writes an image.
    pub(super) fn sink_of_plan(
        &mut self,
        path: &str,
    ) -> Option<wasmtime::Result<Result<Resource<Sink>, ErrorCode>>> {
        let file = self.writing.as_ref()?.pending.scratch()?;
        Some(match file {
            Ok(file) => {
                self.sink(Sink::File(Box::new(FileSink::new(path.to_owned(), file)))).map(Ok)
            }
            Err(error) => {
                self.fail(error);
                Ok(Err(ErrorCode::Other(None)))
            }
        })
    }
}
