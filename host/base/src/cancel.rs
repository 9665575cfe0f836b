//! Signal to stop, for all parts of a run.
//!
//! Loops call [`Cancel::check`] once for each chunk, waits select on [`Cancel::cancelled`]. Work then ends through the
//! ordinary error path, so that each owner cleans up what it made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, Result};

/// Signal to stop. All clones share it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Cancel(Arc<State>);

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    notify: Notify,
    parent: Option<Cancel>,
}

impl Cancel {
    /// Sets the signal: all work that listens to it stops.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// Returns a signal that can be set alone, and is set with this one. It is for loops that call [`Self::check`];
    /// waits listen to the parent.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(State { parent: Some(self.clone()), ..State::default() }))
    }

    /// Returns the signal that a wait must listen to: that of the run, where this one is a child of it.
    #[must_use]
    pub fn root(&self) -> Self {
        self.0.parent.as_ref().map_or_else(|| self.clone(), Self::root)
    }

    /// Errors with [`Error::interrupted`] when the signal is set.
    pub fn check(&self) -> Result<()> {
        if self.0.cancelled.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        self.0.parent.as_ref().map_or(Ok(()), Self::check)
    }

    /// Waits until the signal is set, and returns the error to end with.
    pub async fn cancelled(&self) -> Error {
        let mut notified = std::pin::pin!(self.0.notify.notified());
        loop {
            notified.as_mut().enable();
            if let Err(stop) = self.check() {
                return stop;
            }
            notified.as_mut().await;
            notified.set(self.0.notify.notified());
        }
    }
}
