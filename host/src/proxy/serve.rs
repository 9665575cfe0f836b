//! The run of a proxy: listening, what happens meanwhile, and the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::sync::watch;

use super::endpoint::ProxyBackend;
use super::event::ProxyEvent;
use super::metrics::MetricsPage;
use super::options::ProxyOptions;
use super::shared::Shared;
use crate::Session;
use occystrap_base::error::{Error, Result};
use occystrap_serve::endpoint::Endpoint;
use occystrap_serve::listener::{self, Listener};
use occystrap_serve::login::Logins;
use occystrap_serve::upload::Uploads;

/// How often the signal to stop is looked at.
const TICK: Duration = Duration::from_millis(100);

/// A proxy that listens.
pub struct Proxy {
    shared: Arc<Shared>,
    listener: Listener,
    metrics: Option<Listener>,
    logins: Option<Arc<Logins>>,
    events: Receiver<ProxyEvent>,
}

impl Proxy {
    /// Begins to listen. Errors when an option is wrong, and when clients of other hosts could connect without TLS or without
    /// a login and the user did not allow that.
    pub fn open(options: ProxyOptions, session: &Session) -> Result<Self> {
        check_exposure(&options)?;
        let tls = match &options.tls {
            Some((certificate, key)) => Some(listener::tls(certificate, key)?),
            None => None,
        };
        let logins = options.htpasswd.as_deref().map(Logins::read).transpose()?;
        if let Some(folder) = options.receipts.as_ref().filter(|folder| !folder.is_dir()) {
            let folder = folder.display();
            return Err(Error::usage(format!("the folder for receipts '{folder}' does not exist")));
        }
        let listen = options.listen;
        let (send, events) = channel();
        let shared = Arc::new(Shared::new(options, session, send)?);
        let listener = shared.context.runtime.block_on(Listener::bind(listen, tls))?;
        let metrics = shared
            .options
            .metrics
            .map(|address| shared.context.runtime.block_on(Listener::bind(address, None)));
        let metrics = metrics.transpose()?;
        Ok(Self { shared, listener, metrics, logins, events })
    }

    /// Returns the URL of the endpoint.
    pub fn url(&self) -> Result<String> {
        let scheme = if self.listener.has_tls() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.listener.address()?))
    }

    /// Returns the URL of the numbers of the run, where they can be read.
    pub fn metrics_url(&self) -> Result<Option<String>> {
        let address = self.metrics.as_ref().map(Listener::address).transpose()?;
        Ok(address.map(|address| format!("http://{address}/metrics")))
    }

    /// Answers requests until the session's user wants to stop. `each` gets what happens. What has begun then is finished, for
    /// the time of the options.
    pub fn serve(
        self,
        session: &Session,
        mut each: impl FnMut(ProxyEvent) -> Result<()>,
    ) -> Result<()> {
        let Self { shared, listener, metrics, logins, events } = self;
        let (stop, stopped) = watch::channel(false);
        let endpoint = Arc::new(Endpoint {
            backend: Arc::new(ProxyBackend(Arc::clone(&shared))),
            blobs: Arc::clone(&shared.blobs),
            uploads: Uploads::default(),
            logins,
        });
        let serving = shared.context.runtime.spawn(listener.serve(endpoint, stopped));
        let is_stopping = Arc::new(AtomicBool::new(false));
        // The numbers can be read until the end.
        let (_keep, until_end) = watch::channel(false);
        let page = metrics.map(|listener| {
            let (shared, is_stopping) = (Arc::clone(&shared), Arc::clone(&is_stopping));
            let page = Arc::new(MetricsPage { shared: Arc::clone(&shared), is_stopping });
            shared.context.runtime.spawn(listener.serve(page, until_end))
        });
        let mut deadline = None;
        let result = loop {
            let mut said = events.recv_timeout(TICK).into_iter().chain(events.try_iter());
            if let Err(error) = said.try_for_each(&mut each) {
                break Err(error);
            }
            match deadline {
                None if session.stop().check().is_err() => {
                    is_stopping.store(true, Ordering::Relaxed);
                    let _ = stop.send(true);
                    deadline = Some(std::time::Instant::now() + shared.options.grace);
                    each(ProxyEvent::Stopping)?;
                }
                None => {}
                Some(_) if serving.is_finished() && shared.taken() == 0 => break Ok(()),
                Some(end) if std::time::Instant::now() >= end => {
                    each(ProxyEvent::GivenUp)?;
                    break Ok(());
                }
                Some(_) => {}
            }
        };
        // Images in work are rolled back, where there are any.
        shared.session.stop().cancel();
        serving.abort();
        page.inspect(tokio::task::JoinHandle::abort);
        let until = std::time::Instant::now() + ROLLBACK;
        while shared.taken() > 0 && std::time::Instant::now() < until {
            std::thread::sleep(TICK);
        }
        let last = events.try_iter().try_for_each(each);
        if let Err(error) = shared.layer_cache.save(&occystrap_base::cancel::Cancel::default()) {
            tracing::warn!("{error}");
        }
        result.and(last)
    }
}

/// Time for images in work to end after they were cancelled.
const ROLLBACK: Duration = Duration::from_secs(10);

/// Checks that clients of other hosts need TLS and a login, or that the user does not want that.
fn check_exposure(options: &ProxyOptions) -> Result<()> {
    let address: SocketAddr = options.listen;
    if address.ip().is_loopback() {
        return Ok(());
    }
    if options.tls.is_none() && !options.allow_plain {
        return Err(Error::usage(format!(
            "clients of other hosts would reach '{address}' without TLS"
        ))
        .hint("give --tls-cert and --tls-key, or --allow-plain where the network is trusted"));
    }
    if options.htpasswd.is_none() && !options.allow_anyone {
        return Err(Error::usage(format!(
            "every client of other hosts could push to the downstream registry through '{address}'"
        ))
        .hint("give --htpasswd FILE, or --allow-anyone where the network is trusted"));
    }
    Ok(())
}
