//! A simulated registry: it makes manifests and blobs from numbers, keeps none of them, answers after a set delay, and lies
//! on order. It is cheap enough for 100,000 images, and counts requests and connections.
//!
//!     let source = Simulated::start(Shape { repositories: 20, tags: 10, ..Shape::default() });
//!     ... mirror source.host()/sim/app0:t0 to destination.host()/mirror/app0 ...
//!     assert_eq!(source.counted().requests, 400);
//!
//! Each connection has a thread, which reads HTTP/1.1 by itself: that costs a tenth of a library for servers in an unoptimised
//! build. Repositories are `ANY/appN`, tags `tN`. The same image has the same bytes at every simulated registry. A registry that
//! begins empty remembers 8 bytes for each object that it was sent, and makes the object again when it is asked for.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::simulated_http::{Answer, Request, read_request, span};
use super::simulated_image::{Image, MANIFEST, digest};

/// What a simulated registry has, and how it answers.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Number of repositories.
    pub repositories: u32,
    /// Tags in each.
    pub tags: u32,
    /// Time before each answer.
    pub delay: Duration,
    /// Whether it begins without images.
    pub is_empty: bool,
    /// Images out of 100 with a fault.
    pub faults: u32,
}

impl Default for Shape {
    fn default() -> Self {
        let delay = Duration::ZERO;
        Self { repositories: 1, tags: 1, delay, is_empty: false, faults: 0 }
    }
}

/// What goes wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Its layer is answered with 503, once.
    Unavailable,
    /// Its manifest is answered with 429, once.
    TooMany,
    /// The connection is closed in the middle of its layer, once.
    Cut,
    /// Its manifest is never there.
    Missing,
    /// Its layer always has other bytes than its digest says.
    WrongDigest,
}

impl Lie {
    /// Returns whether an image with this fault cannot land.
    pub fn is_lasting(self) -> bool {
        matches!(self, Self::Missing | Self::WrongDigest)
    }
}

/// What a registry was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// All requests.
    pub requests: u64,
    /// Those that are neither HEAD nor GET.
    pub writes: u64,
    /// Blobs that were sent.
    pub uploads: u64,
    /// Blobs that were mounted.
    pub mounts: u64,
    /// Connections.
    pub connections: u64,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    writes: AtomicU64,
    uploads: AtomicU64,
    mounts: AtomicU64,
    connections: AtomicU64,
}

/// A running simulated registry. It stops when it is dropped.
pub struct Simulated {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    shape: Shape,
    counters: Counters,
    is_over: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Hashes of what was sent: repository and reference, or repository and digest.
    sent: HashSet<u64>,
    /// Images whose content changed, and how often.
    changed: HashMap<(u32, u32), u32>,
    /// Faults that happen once and have happened.
    met: HashSet<(u32, u32)>,
}

impl Simulated {
    /// Starts on a port of 127.0.0.1. Errors when the system has no port.
    pub fn start(shape: Shape) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (counters, kept) = (Counters::default(), Mutex::default());
        let state = Arc::new(State { shape, counters, is_over: AtomicBool::new(false), kept });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                let state = Arc::clone(&shared);
                // The client closes the connection, or ends.
                thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Ok(Self { address, state })
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns what it was asked so far.
    pub fn counted(&self) -> Counted {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.state.counters;
        Counted {
            requests: of(&counters.requests),
            writes: of(&counters.writes),
            uploads: of(&counters.uploads),
            mounts: of(&counters.mounts),
            connections: of(&counters.connections),
        }
    }

    /// Gives an image another content.
    pub fn change(&self, repository: u32, tag: u32) {
        *self.state.kept().changed.entry((repository, tag)).or_default() += 1;
    }

    /// Returns what goes wrong with an image.
    pub fn lie(&self, repository: u32, tag: u32) -> Option<Lie> {
        self.state.lie(repository, tag)
    }

    /// Returns the digest of the manifest of an image.
    pub fn digest(&self, repository: u32, tag: u32) -> String {
        let version = self.state.version(repository, tag);
        digest(&Image { repository, tag, version }.manifest())
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

/// What a path names: repository, kind and target.
struct Named<'p> {
    name: &'p str,
    repository: u32,
    kind: &'p str,
    target: &'p str,
}

impl<'p> Named<'p> {
    fn of(path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix("/v2/")?;
        let (rest, target, kind) = match rest.split_once("/blobs/uploads/") {
            Some((name, session)) => (name, session, "uploads"),
            None => {
                let (rest, target) = rest.rsplit_once('/')?;
                let (name, kind) = rest.rsplit_once('/')?;
                (name, target, kind)
            }
        };
        let repository = rest.rsplit_once("app")?.1.parse().ok()?;
        Some(Self { name: rest, repository, kind, target })
    }
}

impl State {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self, repository: u32, tag: u32) -> u32 {
        self.kept().changed.get(&(repository, tag)).copied().unwrap_or(0)
    }

    fn lie(&self, repository: u32, tag: u32) -> Option<Lie> {
        // Knuth's multiplicative hash: neighbours differ.
        let number = (repository.wrapping_mul(1_000_003) ^ tag).wrapping_mul(2_654_435_761) >> 8;
        let lies = [Lie::Unavailable, Lie::TooMany, Lie::Cut, Lie::Missing, Lie::WrongDigest];
        (number % 100 < self.shape.faults).then(|| lies[(number / 100) as usize % lies.len()])
    }

    /// Returns whether an image has this fault now. Faults that pass happen once.
    fn meets(&self, image: Image, lie: Lie) -> bool {
        self.lie(image.repository, image.tag) == Some(lie)
            && (lie.is_lasting() || self.kept().met.insert((image.repository, image.tag)))
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            self.counters.requests.fetch_add(1, Ordering::Relaxed);
            let is_read = request.method == "GET" || request.method == "HEAD";
            self.counters.writes.fetch_add(u64::from(!is_read), Ordering::Relaxed);
            if !self.shape.delay.is_zero() {
                thread::sleep(self.shape.delay);
            }
            let (answer, cut) = self.answer(&request);
            let mut head = format!(
                "HTTP/1.1 {} Simulated\r\nContent-Length: {}\r\n",
                answer.status,
                answer.body.len()
            );
            for (name, value) in &answer.headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            let mut bytes = head.into_bytes();
            if request.method != "HEAD" {
                bytes.extend_from_slice(&answer.body);
            }
            if cut {
                bytes.truncate(bytes.len() - answer.body.len() / 2);
                return writer.write_all(&bytes);
            }
            writer.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Returns the answer, and whether the connection is closed within it.
    fn answer(&self, request: &Request) -> (Answer, bool) {
        if request.path == "/v2/" {
            return (Answer::empty(200), false);
        }
        let Some(named) = Named::of(&request.path) else { return (Answer::empty(404), false) };
        if named.repository >= self.shape.repositories {
            return (Answer::empty(404), false);
        }
        match (named.kind, &*request.method) {
            ("tags", "GET") => (self.tags(&named), false),
            ("manifests", "GET" | "HEAD") => (self.manifest(&named), false),
            ("manifests", "PUT") => (self.keep(&named, &request.body), false),
            ("blobs", "GET" | "HEAD") => self.blob(&named, request),
            ("uploads", _) => (self.upload(&named, request), false),
            _ => (Answer::empty(404), false),
        }
    }

    fn images(&self, repository: u32) -> impl Iterator<Item = Image> + '_ {
        let image = move |tag| Image { repository, tag, version: self.version(repository, tag) };
        (0..self.shape.tags).map(image)
    }

    /// Returns the images of a repository, and the next version of each, which may be being sent.
    fn recent(&self, repository: u32) -> impl Iterator<Item = Image> + '_ {
        let next = |image: Image| Image { version: image.version + 1, ..image };
        self.images(repository).flat_map(move |image| [image, next(image)])
    }

    /// Returns whether the registry has an object of a repository.
    fn has(&self, name: &str, object: &str) -> bool {
        !self.shape.is_empty || self.kept().sent.contains(&key(name, object))
    }

    fn sent(&self, name: &str, object: &str) {
        self.kept().sent.insert(key(name, object));
    }

    fn tags(&self, named: &Named<'_>) -> Answer {
        let tags = (0..self.shape.tags).map(|tag| format!("t{tag}"));
        let tags: Vec<_> =
            tags.filter(|tag| self.has(named.name, tag)).map(|tag| format!("\"{tag}\"")).collect();
        if tags.is_empty() {
            return Answer::empty(404);
        }
        let body = format!("{{\"name\":\"{}\",\"tags\":[{}]}}", named.name, tags.join(","));
        Answer { status: 200, headers: Vec::new(), body: body.into_bytes() }
    }

    fn manifest(&self, named: &Named<'_>) -> Answer {
        let found = match named.target.strip_prefix('t') {
            Some(tag) => self.images(named.repository).find(|image| tag.parse() == Ok(image.tag)),
            None => self
                .recent(named.repository)
                .find(|image| digest(&image.manifest()) == named.target),
        };
        let Some(image) = found.filter(|_| self.has(named.name, named.target)) else {
            return Answer::empty(404);
        };
        if self.meets(image, Lie::Missing) {
            return Answer::empty(404);
        }
        if self.meets(image, Lie::TooMany) {
            return Answer::empty(429).with("Retry-After", "0");
        }
        let body = image.manifest();
        let digest = digest(&body);
        Answer { status: 200, headers: vec![("Content-Type", MANIFEST.to_owned())], body }
            .with("Docker-Content-Digest", digest)
    }

    /// Keeps which version of an image a tag has now.
    fn keep(&self, named: &Named<'_>, body: &[u8]) -> Answer {
        let digest = digest(body);
        let is_sent = |image: &Image| image.manifest() == body;
        let found = self.recent(named.repository).find(is_sent);
        if let Some(Image { repository, tag, version }) = found
            && named.target.starts_with('t')
        {
            self.kept().changed.insert((repository, tag), version);
        }
        self.sent(named.name, named.target);
        self.sent(named.name, &digest);
        Answer::empty(201).with("Docker-Content-Digest", digest)
    }

    fn blob(&self, named: &Named<'_>, request: &Request) -> (Answer, bool) {
        if !self.has(named.name, named.target) {
            return (Answer::empty(404), false);
        }
        let mut parts = self.recent(named.repository).flat_map(|image| {
            let [shared, own] = image.layers();
            let config = std::iter::once_with(move || (image.config(), false));
            let layers = [(shared, false), (own, true)];
            layers.into_iter().chain(config).map(move |(bytes, is_own)| (image, bytes, is_own))
        });
        let found = parts.find(|(_, bytes, _)| digest(bytes) == named.target);
        let Some((image, mut body, is_own)) = found else { return (Answer::empty(404), false) };
        let is_whole = request.method == "GET" && request.range.is_none();
        if is_own && is_whole && self.meets(image, Lie::Unavailable) {
            return (Answer::empty(503), false);
        }
        if is_own && self.meets(image, Lie::WrongDigest) {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
        let cut = is_own && is_whole && self.meets(image, Lie::Cut);
        let length = body.len();
        let answer = match request.range.as_deref().and_then(|range| span(range, length)) {
            None => Answer { status: 200, headers: Vec::new(), body },
            Some((first, last)) => {
                let body = body[first..=last].to_vec();
                Answer { status: 206, headers: Vec::new(), body }
                    .with("Content-Range", format!("bytes {first}-{last}/{length}"))
            }
        };
        (answer.with("Content-Type", "application/octet-stream"), cut)
    }

    fn upload(&self, named: &Named<'_>, request: &Request) -> Answer {
        let option = |name: &str| {
            let mut pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
            let value = pairs.find(|(key, _)| *key == name)?.1;
            Some(value.replace("%3A", ":").replace("%2F", "/"))
        };
        let location = format!("/v2/{}/blobs/uploads/1", named.name);
        match (&*request.method, option("mount"), option("digest")) {
            ("POST", Some(digest), _) => {
                let from = option("from").unwrap_or_default();
                if self.has(&from, &digest) {
                    self.counters.mounts.fetch_add(1, Ordering::Relaxed);
                    self.sent(named.name, &digest);
                    let place = format!("/v2/{}/blobs/{digest}", named.name);
                    return Answer::empty(201)
                        .with("Location", place)
                        .with("Docker-Content-Digest", digest);
                }
                Answer::empty(202).with("Location", location).with("Range", "0-0")
            }
            ("PUT" | "POST", _, Some(digest)) => {
                self.counters.uploads.fetch_add(1, Ordering::Relaxed);
                self.sent(named.name, &digest);
                let place = format!("/v2/{}/blobs/{digest}", named.name);
                Answer::empty(201).with("Location", place).with("Docker-Content-Digest", digest)
            }
            _ => Answer::empty(202).with("Location", location).with("Range", "0-0"),
        }
    }
}

fn key(name: &str, object: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, object).hash(&mut hasher);
    hasher.finish()
}
