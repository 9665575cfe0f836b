//! A wish to stop, and everybody who has to hear of it.
//!
//! Loops ask [`Cancel::check`] once a chunk, waits select on [`Cancel::cancelled`]. Work then ends
//! through the ordinary error path, so that everything is cleaned up by its owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, Result};

/// Shared by all parts of one run. Cheap to clone.
#[derive(Clone, Default)]
pub struct Cancel(Arc<State>);

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    notify: Notify,
    parent: Option<Cancel>,
}

impl Cancel {
    /// Ask everybody to stop.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// One that can be cancelled alone and is cancelled with this one. For loops that ask
    /// [`Self::check`]; waits belong to the parent.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(State { parent: Some(self.clone()), ..State::default() }))
    }

    /// The one that a wait must listen to: that of the run, where this is a child of it.
    #[must_use]
    pub fn root(&self) -> Self {
        self.0.parent.as_ref().map_or_else(|| self.clone(), Self::root)
    }

    /// An [`Error::interrupted`] when somebody asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.0.cancelled.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        self.0.parent.as_ref().map_or(Ok(()), Self::check)
    }

    /// Waits until somebody asks to stop; returns the error to end with.
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
