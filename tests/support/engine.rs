//! A container engine in this process, on a Unix socket of its own, that can be made to misbehave.
//!
//!     let engine = Engine::start();
//!     engine.put(&image, shape::docker25(&[&image], Pack::Plain).bytes());
//!     engine.fault("GET", "/get", Fault::CutAfter(3_000), 1);
//!     ... occystrap process engine.uri("app:1") ...
//!     assert_eq!(engine.requests("GET", "/get"), 1);
//!
//! It answers what Docker answers to version, info, inspect, export, load, tag and untag, and holds
//! what was loaded (`engine_store.rs`). It stops when it is dropped.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use occystrap_net::docker::Address;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::engine_store::{Habits, Held, Store};
use super::image::TestImage;
use super::registry_answer::{Plan, Reply};
use super::registry_fault::{self, Fault, Rule};

/// A running engine.
pub struct Engine {
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A change of an image while it is loaded.
type Change = Box<dyn FnMut(&mut Held) + Send>;

#[derive(Default)]
struct State {
    store: Store,
    change: Option<Change>,
    /// A load is answered well, and nothing is kept.
    forgets: bool,
    /// After a load the engine does not answer any more.
    leaves: bool,
    gone: bool,
    rules: Vec<Rule>,
    /// A part of a path, and why what is asked for there fails.
    reasons: Vec<(String, String)>,
    log: Vec<(String, String)>,
    /// Bodies of loads that ended well.
    loaded: Vec<Bytes>,
    /// Bytes that were read of every load, whatever its result.
    received: usize,
    /// A pause after each piece of a load.
    slow: Duration,
}

impl Engine {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("occystrap-engine-").tempdir().unwrap();
        let listener =
            std::os::unix::net::UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { folder, state, stop: Some(stop), thread: Some(thread) }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    pub fn address(&self) -> Address {
        Address::Unix(self.socket())
    }

    /// `docker://NAME?socket=PATH`.
    pub fn uri(&self, name: &str) -> String {
        format!("docker://{name}?socket={}", self.socket().display())
    }

    /// An image, under its name and its ID, which exports as these bytes.
    pub fn put(&self, image: &TestImage, archive: impl Into<Bytes>) {
        self.state().store.put(image, archive.into());
    }

    /// Changes what inspect says of a name.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.state().store.get_mut(name).unwrap().inspected);
    }

    /// From now on its images are in containerd's store.
    pub fn containerd(&self) {
        self.state().store.habits = Habits::Containerd;
    }

    /// From now on it calls images as Podman does.
    pub fn podman(&self) {
        self.state().store.habits = Habits::Podman;
    }

    /// Changes every image that is loaded.
    pub fn on_load(&self, change: impl FnMut(&mut Held) + Send + 'static) {
        self.state().change = Some(Box::new(change));
    }

    /// From now on it says that it has loaded what it has not.
    pub fn forgets(&self) {
        self.state().forgets = true;
    }

    /// It ends after the next load.
    pub fn leaves(&self) {
        self.state().leaves = true;
    }

    /// Gives an image another name, taking it from whatever image has it.
    pub fn tag(&self, name: &str, new: &str) {
        assert!(self.state().store.tag(name, new), "there is no {name}");
    }

    /// The names of all its images.
    pub fn names(&self) -> Vec<String> {
        self.state().store.names()
    }

    /// From now on each piece of a load takes so long.
    pub fn slow(&self, pause: Duration) {
        self.state().slow = pause;
    }

    /// See [`super::registry::Registry::fault`].
    pub fn fault(&self, method: &str, path_part: &str, fault: Fault, times: usize) {
        self.state().rules.push(Rule::new(method, path_part, fault, times));
    }

    /// From now on it fails (500) where the path contains a text, and says why.
    pub fn fails(&self, path_part: &str, reason: &str) {
        self.state().reasons.push((path_part.to_owned(), reason.to_owned()));
    }

    /// Returns the number of requests with a method and a path that contains a text.
    pub fn requests(&self, method: &str, path_part: &str) -> usize {
        let fits = |entry: &&(String, String)| entry.0 == method && entry.1.contains(path_part);
        self.state().log.iter().filter(fits).count()
    }

    /// Archives that were loaded, to their end.
    pub fn loaded(&self) -> Vec<Bytes> {
        self.state().loaded.clone()
    }

    /// Bytes of loads that were read, whatever became of them.
    pub fn received(&self) -> usize {
        self.state().received
    }

    /// The ID that a name stands for.
    pub fn id(&self, name: &str) -> Option<String> {
        let state = self.state();
        state.store.get(name).map(|held| held.inspected["Id"].as_str().unwrap().to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: UnixListener, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(request, Arc::clone(&state)));
            let server = hyper::server::conn::http1::Builder::new();
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn serve(
    request: hyper::Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Reply, std::io::Error> {
    let (head, mut body) = request.into_parts();
    let method = head.method.to_string();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let (fault, slow) = {
        let mut state = state.lock().unwrap();
        if state.gone {
            return Err(std::io::Error::other("the engine is gone"));
        }
        state.log.push((method.clone(), path.clone()));
        (registry_fault::meet(&mut state.rules, &method, &path), state.slow)
    };
    // Refused before it is read, as an engine refuses what it has no room for. Go's server goes on to
    // read after its answer: a connection that is closed at once fails for the client that still writes,
    // perhaps before the answer was read.
    let refused = matches!(fault, Some(Fault::Status(..)));
    let body = match refused {
        true => {
            tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
            Bytes::new()
        }
        false => receive(body, &state, slow).await?,
    };
    let plain = state.lock().unwrap().answer(&method, &path, body);
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let plan = match fault {
        Some(Fault::Status(status, _)) => message(status, "the fault that was asked for"),
        fault => plain.spoil(fault),
    };
    Ok(plan.reply(false))
}

async fn receive(
    mut body: Incoming,
    state: &Mutex<State>,
    slow: Duration,
) -> Result<Bytes, std::io::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(std::io::Error::other)?;
        let Ok(piece) = frame.into_data() else { continue };
        state.lock().unwrap().received += piece.len();
        whole.extend_from_slice(&piece);
        tokio::time::sleep(slow).await;
    }
    Ok(whole.freeze())
}

fn document(status: u16, document: &Value) -> Plan {
    Plan::new(status, vec![("content-type", "application/json".into())], document.to_string())
}

fn message(status: u16, text: &str) -> Plan {
    document(status, &json!({ "message": text }))
}

impl State {
    fn answer(&mut self, method: &str, path: &str, body: Bytes) -> Plan {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = path.trim_start_matches('/');
        let rest = path.strip_prefix("images/").unwrap_or_default();
        if let Some((_, reason)) = self.reasons.iter().find(|(part, _)| path.contains(part)) {
            return message(500, reason);
        }
        let of = |call: &str| rest.strip_suffix(call).and_then(|name| self.store.get(name));
        match method {
            "GET" if path == "version" => document(
                200,
                &json!({ "Version": "1.0-test", "ApiVersion": "1.41", "Components": [{ "Name": "Engine" }] }),
            ),
            "GET" if path == "info" => {
                let pair = match self.store.habits == Habits::Containerd {
                    true => ["driver-type", "io.containerd.snapshotter.v1"],
                    false => ["Backing Filesystem", "extfs"],
                };
                document(200, &json!({ "DriverStatus": [pair] }))
            }
            "GET" if rest.ends_with("/history") => match of("/history") {
                Some(held) => document(200, &held.history),
                None => message(404, "No such image"),
            },
            "GET" if rest.ends_with("/json") => match of("/json") {
                Some(held) => document(200, &held.inspected),
                None => message(404, "No such image"),
            },
            "GET" if rest.ends_with("/get") => match of("/get") {
                Some(held) => Plan::new(200, Vec::new(), held.archive.clone()),
                None => message(404, "No such image"),
            },
            "POST" if rest == "load" => {
                self.loaded.push(body.clone());
                let mut nothing = |_: &mut Held| ();
                let change: &mut dyn FnMut(&mut Held) = match &mut self.change {
                    Some(change) => change.as_mut(),
                    None => &mut nothing,
                };
                let name = match self.forgets {
                    true => None,
                    false => self.store.load(&body, change),
                };
                self.gone = self.leaves;
                let name = name.unwrap_or_else(|| "test:1".to_owned());
                let lines = format!(
                    "{{\"status\":\"Loading layer\",\"id\":\"1\"}}\r\n\
                     {{\"stream\":\"Loaded image: {name}\\n\"}}\r\n"
                );
                Plan::new(200, vec![("content-type", "application/json".into())], lines)
            }
            "POST" if rest.ends_with("/tag") => {
                let value = |name: &str| {
                    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
                    pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
                };
                let new = format!("{}:{}", value("repo"), value("tag"));
                match self.store.tag(rest.trim_end_matches("/tag"), &new) {
                    true => Plan::new(201, Vec::new(), ""),
                    false => message(404, "No such image"),
                }
            }
            "DELETE" => match self.store.untag(rest) {
                true => document(200, &json!([{ "Untagged": rest }])),
                false => message(404, "No such image"),
            },
            _ => message(404, "page not found"),
        }
    }
}
