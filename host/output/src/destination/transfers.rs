//! The pool of transfers of one session to a server: so many run at once as the user allows.
//!
//! Pushes to a registry ([`super::push`]) and uploads to a web server ([`super::uploads`]) run here. What it
//! refuses: to outlive the session. Transfers that still run when the pool is dropped end with it.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::journal::Pushed;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_net::context::Context;

/// The transfers of one session.
pub struct Transfers {
    /// How many send at once.
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
    runtime: Handle,
}

/// A transfer under way.
pub struct Transfer(oneshot::Receiver<Result<Pushed>>);

impl Transfer {
    /// Waits for its end.
    pub fn wait(self) -> Result<Pushed> {
        // The task ends without an answer when the run is over.
        self.0.blocking_recv().unwrap_or_else(|_| Err(Error::interrupted()))
    }
}

impl Transfers {
    /// Returns an empty pool, with as many places as the user allows.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        let places = Arc::new(Semaphore::new(context.parallel.max(1)));
        Self { places, tasks: JoinSet::new(), runtime: context.runtime.clone() }
    }

    /// Starts a transfer. `content` says what is sent; it may block, and runs before the transfer takes a place.
    /// Where it returns no body, nothing is sent. `send` sends the body.
    pub fn start<Body, Sending>(
        &mut self,
        content: impl FnOnce() -> Result<(Descriptor, Option<Body>)> + Send + 'static,
        diff_id: Option<Digest>,
        progress: LayerProgress,
        send: impl FnOnce(Descriptor, Body, LayerProgress) -> Sending + Send + 'static,
    ) -> Transfer
    where
        Body: Send + 'static,
        Sending: Future<Output = Result<()>> + Send + 'static,
    {
        let (done, transfer) = oneshot::channel();
        let places = Arc::clone(&self.places);
        let task = async move {
            let sent = async {
                let content = tokio::task::spawn_blocking(content);
                let (blob, body) = content.await.map_err(|_| Error::interrupted())??;
                if let Some(body) = body {
                    let _place = places.acquire().await.map_err(|_| Error::interrupted())?;
                    send(blob.clone(), body, progress.clone()).await?;
                }
                progress.finish();
                Ok(Pushed { blob, diff_id })
            };
            let _ = done.send(sent.await);
        };
        self.tasks.spawn_on(task, &self.runtime);
        Transfer(transfer)
    }

    /// Waits until no transfer runs.
    pub async fn settle(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
