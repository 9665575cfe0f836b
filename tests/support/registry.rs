//! A registry in this process, on a port of its own, that can be made to misbehave.
//!
//!     let registry = Registry::start();
//!     let layer = registry.put_blob(b"bytes");
//!     registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
//!     registry.fault("GET", "/blobs/", Fault::CutAfter(3), 1);      // the first GET of a blob
//!     ... pull from registry.url_host() ...
//!     assert_eq!(registry.requests_of("GET", "/blobs/").len(), 2);
//!
//! It serves what the distribution specification calls pull: `/v2/`, manifests by tag and digest,
//! blobs with ranges, all with HEAD; push, as `registry_upload` says; its token service at `/token`;
//! and files under any other path ([`Registry::put_file`]) to be the storage host that another
//! registry redirects to. Blobs that a test puts there are in all repositories, those that are
//! pushed are in one. It stops when it is dropped.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use occystrap_base::oci::digest::Digest;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::registry_answer::{Plan, Reply, content};
use super::registry_auth::Gate;
pub use super::registry_auth::{Auth, Users};
pub use super::registry_fault::Fault;
use super::registry_fault::{self, Rule};
use super::registry_tls::Identity;
pub use super::registry_upload::Location;
use super::registry_upload::Uploads;

/// For [`Registry::fault`]: every request.
pub const ALWAYS: usize = usize::MAX;

/// A running registry.
pub struct Registry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    identity: Option<Identity>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: std::time::Instant,
}

impl Request {
    /// A header as text, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) struct State {
    pub(super) base: String,
    pub(super) blobs: HashMap<Digest, Bytes>,
    /// By repository and tag or digest: media type and bytes.
    pub(super) manifests: HashMap<(String, String), (String, Bytes)>,
    pub(super) uploads: Uploads,
    /// Bytes that are left of a blob that is announced as complete.
    short: HashMap<Digest, usize>,
    files: HashMap<String, Bytes>,
    rules: Vec<Rule>,
    gate: Gate,
    /// Tags in one page of a list at most.
    tag_page: usize,
    /// Referrers in one page of a list; `None` without the API for them.
    pub(super) referrer_page: Option<usize>,
    /// Whether an index may list manifests that are not there.
    pub(super) takes_sparse: bool,
    pub(super) log: Vec<Request>,
}

impl Registry {
    /// Plain HTTP on 127.0.0.1.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// HTTPS, with a certificate for `localhost` and 127.0.0.1 which a client must trust by
    /// [`Registry::certificate`].
    pub fn start_tls() -> Self {
        Self::start_as(Identity::new())
    }

    /// HTTPS, with this certificate.
    pub fn start_as(identity: Identity) -> Self {
        Self::launch(Some(identity))
    }

    fn launch(identity: Option<Identity>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if identity.is_some() { "https" } else { "http" };
        let state = Arc::new(Mutex::new(State {
            base: format!("{scheme}://{address}"),
            blobs: HashMap::new(),
            manifests: HashMap::new(),
            uploads: Uploads::default(),
            short: HashMap::new(),
            files: HashMap::new(),
            rules: Vec::new(),
            gate: Gate::new(),
            tag_page: usize::MAX,
            referrer_page: None,
            takes_sparse: false,
            log: Vec::new(),
        }));
        let (stop, stopped) = oneshot::channel();
        let acceptor = identity.as_ref().map(Identity::acceptor);
        let served = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, acceptor, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, identity, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`.
    pub fn url_host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT` or `https://...`, without a slash.
    pub fn base(&self) -> String {
        self.state().base.clone()
    }

    /// The certificate, in PEM, when it speaks TLS.
    pub fn certificate(&self) -> &str {
        &self.identity.as_ref().expect("a registry with TLS").certificate
    }

    /// Stores a blob.
    pub fn put_blob(&self, bytes: impl AsRef<[u8]>) -> Digest {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let digest = Digest::of(&bytes);
        self.state().blobs.insert(digest, bytes);
        digest
    }

    /// Stores a manifest under a tag and its digest.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: impl AsRef<[u8]>,
    ) -> Digest {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let digest = Digest::of(&bytes);
        for target in [tag.to_owned(), digest.to_string()] {
            let stored = (media_type.to_owned(), bytes.clone());
            self.state().manifests.insert((repository.to_owned(), target), stored);
        }
        digest
    }

    /// Stores what a GET of a path (without query) gives, without a login.
    pub fn put_file(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.state().files.insert(path.to_owned(), bytes);
    }

    /// From now on, `times` requests with this method and a path (with query) that contains
    /// `path_part` go wrong. Of several faults that fit a request, the first that is not used up
    /// counts: faults that are set one after the other happen one after the other.
    pub fn fault(&self, method: &str, path_part: &str, fault: Fault, times: usize) {
        self.state().rules.push(Rule::new(method, path_part, fault, times));
    }

    /// Keeps the first bytes of a blob, and goes on telling of all of it: docker-registry does so for a
    /// file that was cut.
    pub fn shorten_blob(&self, digest: Digest, left: usize) {
        self.state().short.insert(digest, left);
    }

    /// Lists at most so many tags in one page.
    pub fn set_tag_page(&self, tags: usize) {
        self.state().tag_page = tags;
    }

    /// Does everything right from now on.
    pub fn mend(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.short.clear();
    }

    /// Sets which users may pull and push from now on.
    pub fn require(&self, auth: Auth) {
        self.state().gate.auth = auth;
    }

    /// Sends these `WWW-Authenticate` headers with 401; `{realm}` stands for the token service.
    pub fn challenge(&self, headers: &[&str]) {
        self.state().gate.challenges = Some(headers.iter().map(|text| text.to_string()).collect());
    }

    /// Answers requests that may not pass with this status and no challenge; `/v2/` goes on sending one.
    pub fn hide(&self, status: u16) {
        self.state().gate.hides = Some(status);
    }

    /// Tokens given out so far are no longer good.
    pub fn revoke_tokens(&self) {
        self.state().gate.revoke();
    }

    /// Tokens given out so far.
    pub fn tokens_given(&self) -> usize {
        self.state().gate.given()
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().log.clone()
    }

    /// Those with a method, and a path that contains a text.
    pub fn requests_of(&self, method: &str, path_part: &str) -> Vec<Request> {
        let fits = |request: &Request| request.method == method && request.path.contains(path_part);
        self.requests().into_iter().filter(fits).collect()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    state: Arc<Mutex<State>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Head and body are written one after the other: the second would wait for a delayed ACK.
        let _ = stream.set_nodelay(true);
        let (state, acceptor) = (state.clone(), acceptor.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(request, state.clone()));
            let server = hyper::server::conn::http1::Builder::new();
            match acceptor {
                None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        });
    }
}

async fn serve(
    request: hyper::Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Reply, std::io::Error> {
    let (head, mut body) = request.into_parts();
    let at = std::time::Instant::now();
    let method = head.method.to_string();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let fault = registry_fault::meet(&mut state.lock().unwrap().rules, &method, &path);
    let read = read(&mut body, fault.as_ref()).await;
    let request = Request { method, path, headers: head.headers, body: read?, at };
    let plain = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        match fault {
            Some(Fault::CutRequest(_)) => return Err(std::io::Error::other("cut")),
            Some(Fault::Expire) => state.gate.revoke(),
            _ => {}
        }
        let is_suffix = request.header("range").starts_with("bytes=-");
        let ranged = match fault {
            Some(Fault::IgnoreRange | Fault::NoEnd) => false,
            Some(Fault::IgnoreSuffix) => !is_suffix,
            _ => true,
        };
        // A refused request has no effect.
        match fault {
            Some(Fault::Status(..) | Fault::Early(..) | Fault::Answer(..)) => {
                Plan::new(200, Vec::new(), "")
            }
            Some(Fault::RefuseRange) if !request.header("range").is_empty() => {
                Plan::new(416, Vec::new(), "")
            }
            Some(Fault::RangeStatus(status)) if !request.header("range").is_empty() => {
                Plan::error(status, "FAULT")
            }
            _ => state.answer(&request, ranged),
        }
    };
    if let Some(Fault::Deaf) = fault {
        std::future::pending::<()>().await;
    }
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let fault = match fault {
        Some(Fault::CodedVariant(body)) => {
            request.header("accept-encoding").contains("gzip").then_some(Fault::Coded(body))
        }
        fault => fault,
    };
    Ok(plain.spoil(fault).reply(request.method == "HEAD"))
}

/// A request, as far as the fault lets it be read.
async fn read(body: &mut Incoming, fault: Option<&Fault>) -> Result<Bytes, std::io::Error> {
    let limit = match fault {
        Some(Fault::Early(..) | Fault::Expire | Fault::Deaf) => return Ok(Bytes::new()),
        Some(Fault::CutRequest(bytes)) => *bytes,
        _ => usize::MAX,
    };
    let (mut read, mut portion) = (Vec::new(), 0);
    while read.len() < limit
        && let Some(frame) = body.frame().await
    {
        let data = frame.map_err(std::io::Error::other)?.into_data().unwrap_or_default();
        read.extend_from_slice(&data);
        if let Some(Fault::SlowRead(most, pause)) = fault {
            portion += data.len();
            if portion >= *most {
                portion = 0;
                tokio::time::sleep(*pause).await;
            }
        }
    }
    Ok(read.into())
}

impl State {
    /// Returns a page of the tags of a repository, as the distribution specification has it.
    fn tags(&self, repository: &str, query: &str) -> Plan {
        let asked = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let of = |key: &&(String, String)| key.0 == repository;
        let mut tags: Vec<&str> = self.manifests.keys().filter(of).map(|key| &*key.1).collect();
        if tags.is_empty() {
            return Plan::error(404, "NAME_UNKNOWN");
        }
        tags.retain(|tag| !tag.contains(':'));
        tags.sort_unstable();
        let (most, last) = (asked("n").map(|n| n.parse().unwrap()), asked("last"));
        tags.retain(|tag| last.as_deref().is_none_or(|last| *tag > last));
        let count = most.unwrap_or(usize::MAX).min(self.tag_page);
        let page: Vec<&str> = tags.iter().take(count).copied().collect();
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if page.len() < tags.len() {
            let last = page.last().unwrap();
            let link = format!("</v2/{repository}/tags/list?n={count}&last={last}>; rel=\"next\"");
            headers.push(("link", link));
        }
        Plan::new(200, headers, serde_json::json!({"name": repository, "tags": page}).to_string())
    }

    /// Returns the answer of a registry.
    fn answer(&mut self, request: &Request, ranged: bool) -> Plan {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let authorization =
            request.headers.get("authorization").and_then(|value| value.to_str().ok());
        if let Some(file) = self.files.get(path) {
            return content(file.clone(), "application/octet-stream", request, ranged);
        }
        if path == "/token" {
            let form = if request.method == "POST" {
                std::str::from_utf8(&request.body).unwrap_or("")
            } else {
                query
            };
            return match self.gate.token(&request.method, authorization, form) {
                Some(json) => {
                    Plan::new(200, vec![("content-type", "application/json".into())], json)
                }
                None => Plan::error(401, "UNAUTHORIZED"),
            };
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Plan::error(404, "NOT_FOUND") };
        let parts = rest.rsplit_once('/').and_then(|(rest, target)| {
            let (repository, kind) = rest.rsplit_once('/')?;
            Some((repository, kind, target))
        });
        let (repository, kind, target) = match rest.split_once("/blobs/uploads/") {
            Some((repository, session)) => (repository, "uploads", session),
            None => parts.unwrap_or_default(),
        };
        let reads = ["GET", "HEAD"].contains(&request.method.as_str());
        let from = url::form_urlencoded::parse(query.as_bytes());
        let from = from.into_iter().find(|(name, _)| name == "from").map(|(_, value)| value);
        let realm = format!("{}/token", self.base);
        if let Err(challenges) =
            self.gate.admit(authorization, &realm, repository, !reads, from.as_deref())
        {
            if let Some(status) =
                self.gate.hides.filter(|_| !rest.is_empty() && authorization.is_none())
            {
                return Plan::error(status, "DENIED");
            }
            let mut plan = Plan::error(401, "UNAUTHORIZED");
            plan.headers.extend(challenges.into_iter().map(|text| ("www-authenticate", text)));
            return plan;
        }
        match kind {
            "" if rest.is_empty() => Plan::new(200, Vec::new(), "{}"),
            "manifests" if reads => {
                match self.manifests.get(&(repository.to_owned(), target.to_owned())) {
                    Some((media_type, bytes)) => {
                        let mut plan = content(bytes.clone(), media_type, request, false);
                        plan.headers.push(("docker-content-digest", Digest::of(bytes).to_string()));
                        plan
                    }
                    None => Plan::error(404, "MANIFEST_UNKNOWN"),
                }
            }
            "referrers" if reads => self.referrers(repository, target, query),
            "tags" if reads && target == "list" => self.tags(repository, query),
            "blobs" if reads => {
                match target.parse().ok().and_then(|digest| self.blob(repository, digest)) {
                    Some(bytes) => {
                        let plan = content(bytes, "application/octet-stream", request, ranged);
                        match target.parse().ok().and_then(|digest| self.short.get(&digest)) {
                            Some(left) => plan.shortened(*left),
                            None => plan,
                        }
                    }
                    None => Plan::error(404, "BLOB_UNKNOWN"),
                }
            }
            "uploads" => self.upload(request, repository, target, query),
            "manifests" if request.method == "PUT" => self.keep(request, repository, target),
            "blobs" | "manifests" if request.method == "DELETE" => {
                self.delete(repository, kind, target)
            }
            _ => Plan::error(405, "UNSUPPORTED"),
        }
    }
}
