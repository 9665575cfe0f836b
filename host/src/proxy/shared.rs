//! What all requests to a proxy share.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use hyper::StatusCode;
use tokio::sync::Semaphore;

use super::counts::Counts;
use super::event::ProxyEvent;
use super::known::UpstreamState;
use super::options::ProxyOptions;
use super::remembered::Remembered;
use crate::Session;
use crate::api::Clients;
use crate::pipeline::Request;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;
use occystrap_net::context::{Blocking, Context};
use occystrap_net::registry::Repository;
use occystrap_output::layer_cache::LayerCache;
use occystrap_output::plugin::Catalog;
use occystrap_serve::received::ReceivedBlobs;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::room::Room;

/// Images that wait for their turn. Builds push hundreds at the same time.
const QUEUE: usize = 256;

/// What all requests share.
pub struct Shared {
    /// What the user set.
    pub options: ProxyOptions,
    /// Session whose signal to stop ends the work on images: a proxy that is stopped finishes them first.
    pub session: Session,
    /// Clients of registries.
    pub clients: Clients,
    /// Output plugins.
    pub catalog: Catalog,
    /// Context of requests.
    pub context: Context,
    /// Blobs that clients sent.
    pub blobs: Arc<ReceivedBlobs>,
    /// Manifests that clients sent.
    pub remembered: Remembered,
    /// What is known of upstream registries.
    pub through: UpstreamState,
    /// A move through the filters, for questions to the layer cache.
    pub filtered: Request,
    /// What filters made of layers.
    pub layer_cache: Arc<LayerCache>,
    /// Places of images in work.
    pub working: Arc<Semaphore>,
    /// Places of images in work and of those that wait.
    pub queue: Arc<Semaphore>,
    /// Numbers of the run.
    pub counts: Counts,
    /// What the user gets to read.
    events: Sender<ProxyEvent>,
}

impl Shared {
    /// Prepares a proxy. Errors when the options are wrong: a filter that does not exist, a folder that is not there.
    pub fn new(
        options: ProxyOptions,
        session: &Session,
        events: Sender<ProxyEvent>,
    ) -> Result<Self> {
        let session = session.clone().cancel(Cancel::default());
        let (clients, catalog, context) =
            (session.clients(), session.catalog()?, session.context()?);
        options.upstreams.check(&options.downstream)?;
        let room = Room::new(&context.temp_dir, options.spool_size);
        let blobs = Arc::new(ReceivedBlobs::new(&context.temp_dir, room));
        let uri = options.downstream.uri("any", None);
        // A filter that is wrong must not be found out by the first client.
        let (filtered, _) =
            options.process(&uri, &uri, true).prepare_with(&session, &clients, &catalog)?;
        let layer_cache = match &options.layer_cache {
            Some(path) => LayerCache::open(path, &filtered.target)?,
            None => LayerCache::of_this_run(),
        };
        let _ = clients.of(&uri)?.for_many_images();
        Ok(Self {
            remembered: Remembered::new(options.remember),
            through: UpstreamState::new(options.remember),
            working: Arc::new(Semaphore::new(options.concurrency)),
            queue: Arc::new(Semaphore::new(options.concurrency + QUEUE)),
            layer_cache: Arc::new(layer_cache),
            filtered,
            counts: Counts::default(),
            options,
            session,
            clients,
            catalog,
            context,
            blobs,
            events,
        })
    }

    /// Returns whether images are filtered.
    pub fn has_filters(&self) -> bool {
        !self.options.filters.is_empty()
    }

    /// Returns the repository of the downstream registry that has this name here.
    pub fn repository(&self, name: &str) -> Result<Blocking<Repository>, Refusal> {
        let reference = self.options.downstream.repository(name)?;
        let uri = self.options.downstream.uri("any", None);
        let opened = self.clients.of(&uri).and_then(|client| {
            client.repository_to_push(&reference, self.context.counters.clone())
        });
        let repository = opened.map_err(|error| self.refusal(&error, Code::NameUnknown))?;
        Ok(Blocking::new(repository, &self.context))
    }

    /// Returns how many images are in work or wait.
    pub fn taken(&self) -> usize {
        self.options.concurrency + QUEUE - self.queue.available_permits()
    }

    /// Returns the refusal for an error, in the words of the error but for the name of the registry.
    pub fn refusal(&self, error: &occystrap_base::error::Error, absent: Code) -> Refusal {
        Refusal::of(error, absent, self.options.downstream.hidden(&error.to_string()))
    }

    /// Tells the user something.
    pub fn tell(&self, event: ProxyEvent) {
        // The receiver lives as long as the proxy.
        let _ = self.events.send(event);
    }
}

/// Returns the refusal for work that broke down: a fault of this program.
pub fn broke_down() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, "the work broke down")
}
