//! Connections: accepting, TLS, limits, and the end of all of them.
//!
//! What it refuses: more connections than the limits, headers that do not arrive, and clients that do not read.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use occystrap_base::error::{Error, Kind, Result};

use crate::limits::{
    HANDSHAKE_WITHIN, HEAD_WITHIN, LARGEST_HEAD, MOST_CONNECTIONS, MOST_CONNECTIONS_OF_ADDRESS,
    MOST_HEADERS, RATE_WINDOW,
};
use crate::reply::Reply;

/// How often uploads and blobs that nothing uses are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Pause after a failed accept: the process may have no more descriptors for a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request that are kept in memory while its headers are read: some more than they may have, so that larger
/// ones get an answer that says so.
const HEAD_BUFFER: usize = 2 * LARGEST_HEAD;

/// What answers the requests of clients.
pub trait Answers: Send + Sync + 'static {
    /// Answers a request of a client at `address`.
    fn answer(
        &self,
        request: Request<Incoming>,
        address: IpAddr,
    ) -> impl Future<Output = Reply> + Send;

    /// Drops what no request has used for a time. Called once a minute.
    fn sweep(&self) {}
}

/// A place where clients connect.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Begins to listen. Errors when the address cannot be used.
    pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self> {
        let tcp = TcpListener::bind(address).await.map_err(|cause| {
            let error = Error::io(Kind::Usage, "listen on", address, &cause);
            match cause.kind() {
                io::ErrorKind::AddrInUse => {
                    error.hint("another program listens there: choose another port")
                }
                _ => error,
            }
        })?;
        Ok(Self { tcp, tls })
    }

    /// Returns the address, with the port that the system chose where none was named.
    pub fn address(&self) -> Result<SocketAddr> {
        self.tcp.local_addr().map_err(|cause| Error::io(Kind::Usage, "listen on", "a port", &cause))
    }

    /// Returns whether clients connect with TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Answers requests until `stop` becomes true. Then no connection is accepted, and requests that have begun get
    /// their answers; this returns when all have.
    pub async fn serve(self, endpoint: Arc<impl Answers>, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let of_address = Arc::new(Mutex::new(HashMap::<IpAddr, usize>::new()));
        let mut connections = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                _ = sweep.tick() => {
                    endpoint.sweep();
                    continue;
                }
                _ = connections.join_next(), if !connections.is_empty() => continue,
                accepted = accept(&self.tcp, &places) => accepted,
            };
            let Some((stream, peer, place)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Some(counted) = CountedAddress::new(&of_address, peer.ip()) else {
                // Dropped: the client sees a closed connection, and others have their places.
                continue;
            };
            let (endpoint, tls, stop) = (Arc::clone(&endpoint), self.tls.clone(), stop.clone());
            connections.spawn(async move {
                let _held = (place, counted);
                serve_one(stream, peer.ip(), tls, endpoint, stop).await;
            });
        }
        drop(self.tcp);
        while connections.join_next().await.is_some() {}
    }
}

/// Waits until the endpoint is to stop, which it also is where its owner is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Accepts a connection as soon as there is a place. Returns `None` when the system refuses.
async fn accept(
    tcp: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, peer) = tcp.accept().await.ok()?;
    Some((stream, peer, place))
}

/// A connection of an address, which is counted until this is dropped.
struct CountedAddress {
    table: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl CountedAddress {
    /// Counts a connection. Returns `None` where the address has too many.
    fn new(table: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr) -> Option<Self> {
        let mut counts = table.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= MOST_CONNECTIONS_OF_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Self { table: Arc::clone(table), address })
    }
}

impl Drop for CountedAddress {
    fn drop(&mut self) {
        let mut counts = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn serve_one(
    stream: TcpStream,
    address: IpAddr,
    tls: Option<TlsAcceptor>,
    endpoint: Arc<impl Answers>,
    stop: watch::Receiver<bool>,
) {
    // Small answers must not wait for more.
    let _ = stream.set_nodelay(true);
    match tls {
        None => requests(stream, address, endpoint, stop).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, address, endpoint, stop).await,
            Ok(Err(cause)) => tracing::debug!("{address}: no TLS: {cause}"),
            Err(_) => tracing::debug!("{address}: no TLS in time"),
        },
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    address: IpAddr,
    endpoint: Arc<impl Answers>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let endpoint = Arc::clone(&endpoint);
        async move { Ok::<_, std::convert::Infallible>(endpoint.answer(request, address).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(MOST_HEADERS)
        .max_buf_size(HEAD_BUFFER)
        .serve_connection(TokioIo::new(ReadInTime::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = ended {
        tracing::debug!("{address}: {cause}");
    }
}

/// A connection that ends where its client does not read for [`RATE_WINDOW`].
struct ReadInTime<S> {
    stream: S,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> ReadInTime<S> {
    fn new(stream: S) -> Self {
        Self { stream, waiting: None }
    }

    fn timed<T>(
        &mut self,
        task: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(RATE_WINDOW)));
        match waiting.as_mut().poll(task) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadInTime<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadInTime<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.timed(task, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(task, parts);
        self.timed(task, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(task);
        self.timed(task, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(task);
        self.timed(task, shut)
    }
}

/// Returns TLS with a certificate and its key, both in PEM. Errors when they cannot be read or do not belong together.
pub fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let place = |path: &Path| path.display().to_string();
    let unread = |path: &Path, cause: &dyn std::fmt::Display| {
        Error::usage(format!("cannot read '{}' as PEM: {cause}", place(path)))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|cause| unread(certificate, &cause))?;
    if chain.is_empty() {
        return Err(Error::usage(format!("'{}' has no certificate", place(certificate))));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|cause| unread(key, &cause))?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key_der))
            .map_err(|cause| {
                let (certificate, key) = (place(certificate), place(key));
                Error::usage(format!("'{certificate}' and '{key}' cannot be used for TLS: {cause}"))
            })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
