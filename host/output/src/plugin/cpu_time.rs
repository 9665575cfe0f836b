//! What stops a plugin that computes for too long. `clock.rs` measures the time.

use std::time::Duration;

use wasmtime::{Store, UpdateDeadline};

use super::state::GuestState;
use super::violation::Violation;

/// Ends a session at the next tick of the engine after the guest has computed for `most`, after the host has worked for
/// the guest longer than it may, or after the user has interrupted the run.
pub(super) fn limit(store: &mut Store<GuestState>, most: Duration) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut context| {
        let state = context.data_mut();
        state.clock.tick();
        if let Err(stop) = state.cancel.check() {
            return Err(wasmtime::Error::new(Violation(stop)));
        }
        state.check_host_time()?;
        if state.clock.computed() > most {
            return Err(state.violation(format!("it computed for more than {most:?}")));
        }
        Ok(UpdateDeadline::Continue(1))
    });
}
