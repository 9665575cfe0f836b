//! A container engine in this process, on a Unix socket of its own, that can be told to misbehave.
//!
//!     let engine = Engine::start();
//!     engine.put(&image, shape::docker25(&[&image], Pack::Plain).bytes());
//!     engine.fault("GET", "/get", Fault::CutAfter(3_000), 1);
//!     ... occystrap process engine.uri("app:1") ...
//!     assert_eq!(engine.requests("GET", "/get"), 1);
//!
//! It answers what Docker answers to version, info, inspect, export, load, tag and untag. It keeps
//! what was loaded as it came. It stops when it is dropped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use occystrap::docker::Address;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::image::TestImage;
use super::registry::{Plan, Reply};
use super::registry_fault::{self, Fault, Rule};

/// A running engine.
pub struct Engine {
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// By name and by ID: what inspect says, and what export gives.
    images: BTreeMap<String, (Value, Bytes)>,
    containerd: bool,
    rules: Vec<Rule>,
    log: Vec<(String, String)>,
    /// Bodies of loads that ended well.
    loaded: Vec<Bytes>,
    /// How much of every load was read, whatever its end.
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
        let inspected = inspected(image);
        let id = image.id();
        let archive = archive.into();
        let mut state = self.state();
        for name in [image.name.clone(), id.to_string(), id.hex(), id.hex()[..12].to_owned()] {
            state.images.insert(name, (inspected.clone(), archive.clone()));
        }
    }

    /// Changes what inspect says of a name.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.state().images.get_mut(name).unwrap().0);
    }

    /// From now on its images are in containerd's store.
    pub fn containerd(&self) {
        self.state().containerd = true;
    }

    /// From now on each piece of a load takes so long.
    pub fn slow(&self, pause: Duration) {
        self.state().slow = pause;
    }

    /// See [`super::registry::Registry::fault`].
    pub fn fault(&self, method: &str, path_part: &str, fault: Fault, times: usize) {
        self.state().rules.push(Rule::new(method, path_part, fault, times));
    }

    /// How many requests there were with a method, and a path that contains a text.
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
        state.images.get(name).map(|(image, _)| image["Id"].as_str().unwrap().to_owned())
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

/// What Docker says of an image.
fn inspected(image: &TestImage) -> Value {
    let diff_ids: Vec<String> = image.diff_ids().iter().map(ToString::to_string).collect();
    let size: usize = image.layers.iter().map(Vec::len).sum();
    json!({
        "Id": image.id().to_string(),
        "RepoTags": [image.name],
        "RepoDigests": [],
        "Created": "2026-01-02T03:04:05Z",
        "Architecture": "amd64",
        "Os": "linux",
        "Size": size,
        "RootFS": { "Type": "layers", "Layers": diff_ids },
    })
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
    let (head, body) = request.into_parts();
    let method = head.method.to_string();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let (fault, slow) = {
        let mut state = state.lock().unwrap();
        state.log.push((method.clone(), path.clone()));
        (registry_fault::meet(&mut state.rules, &method, &path), state.slow)
    };
    // Refused before it is read, as an engine refuses what it has no room for.
    let refused = matches!(fault, Some(Fault::Status(..)));
    let body = match refused {
        true => Bytes::new(),
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
        let of = |call: &str| rest.strip_suffix(call).map(|name| self.images.get(name));
        match method {
            "GET" if path == "version" => document(
                200,
                &json!({ "Version": "1.0-test", "ApiVersion": "1.41", "Components": [{ "Name": "Engine" }] }),
            ),
            "GET" if path == "info" => {
                let pair = match self.containerd {
                    true => ["driver-type", "io.containerd.snapshotter.v1"],
                    false => ["Backing Filesystem", "extfs"],
                };
                document(200, &json!({ "DriverStatus": [pair] }))
            }
            "GET" if rest.ends_with("/json") => match of("/json").flatten() {
                Some((inspected, _)) => document(200, inspected),
                None => message(404, "No such image"),
            },
            "GET" if rest.ends_with("/get") => match of("/get").flatten() {
                Some((_, archive)) => Plan::new(200, Vec::new(), archive.clone()),
                None => message(404, "No such image"),
            },
            "POST" if rest == "load" => {
                self.loaded.push(body);
                let lines = "{\"status\":\"Loading layer\",\"id\":\"1\"}\r\n\
                             {\"stream\":\"Loaded image: test:1\\n\"}\r\n";
                Plan::new(200, vec![("content-type", "application/json".into())], lines)
            }
            "POST" if rest.ends_with("/tag") => match of("/tag").flatten().cloned() {
                Some(image) => {
                    let value = |name: &str| {
                        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
                        pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
                    };
                    self.images.insert(format!("{}:{}", value("repo"), value("tag")), image);
                    Plan::new(201, Vec::new(), "")
                }
                None => message(404, "No such image"),
            },
            "DELETE" => match self.images.remove(rest) {
                Some(_) => document(200, &json!([{ "Untagged": rest }])),
                None => message(404, "No such image"),
            },
            _ => message(404, "page not found"),
        }
    }
}
