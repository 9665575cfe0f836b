//! A web server that keeps what it receives, and misbehaves on request.
//!
//! Written over sockets, not with a library: no library sends what a hostile server sends.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request that was answered, or not.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// A misbehaviour of a path.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer of these bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// An answer that never ends, as fast as the line is.
    Endless,
    /// Silence, with the connection open.
    Silence,
    /// Silence after the head of an answer.
    Stalls,
    /// An answer of this status without a body, once.
    Once(&'static str),
    /// HEAD tells of the file as it is, GET is 404: what servers with caches do.
    OnlyHead,
}

#[derive(Default)]
struct State {
    requests: Mutex<Vec<Request>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<BTreeMap<String, Fault>>,
    connections: Mutex<usize>,
    stop: AtomicBool,
}

/// The server. Stops when it is dropped.
pub struct Web {
    host: String,
    state: Arc<State>,
}

impl Web {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let own = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.stop.load(Ordering::SeqCst) {
                    break;
                }
                let (state, Ok(stream)) = (Arc::clone(&own), stream) else { continue };
                *state.connections.lock().unwrap() += 1;
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { host, state }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `http://127.0.0.1:PORT`, as `--allow-net` takes it.
    pub fn origin(&self) -> String {
        format!("http://{}", self.host)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Number of connections, whatever was sent.
    pub fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }

    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.files.lock().unwrap().clone()
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        self.state.files.lock().unwrap().insert(path.to_owned(), content.to_vec());
    }

    pub fn remove(&self, path: &str) {
        self.state.files.lock().unwrap().remove(path).expect("a file to be removed");
    }

    pub fn fault(&self, path: &str, fault: Fault) {
        self.state.faults.lock().unwrap().insert(path.to_owned(), fault);
    }

    /// An answer without a body for a path.
    pub fn answers(&self, path: &str, status: &str, headers: &str) {
        let text =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
        self.fault(path, Fault::Raw(text.into_bytes()));
    }

    /// The same, once; the connection goes on.
    pub fn fault_once(&self, path: &str, status: &'static str) {
        self.fault(path, Fault::Once(status));
    }

    pub fn mend(&self) {
        self.state.faults.lock().unwrap().clear();
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.host);
    }
}

fn serve(stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        state.requests.lock().unwrap().push(request.clone());
        let fault = state.faults.lock().unwrap().get(&request.path).cloned();
        let answered = match fault {
            Some(Fault::Raw(bytes)) => {
                let _ = writer.write_all(&bytes);
                return;
            }
            Some(Fault::Once(status)) => {
                state.faults.lock().unwrap().remove(&request.path);
                writer
                    .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            }
            Some(Fault::Silence) => return wait(state),
            Some(Fault::Stalls) => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
                return wait(state);
            }
            Some(Fault::Endless) => {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunk = [&b"10000\r\n"[..], &vec![b'x'; 0x10000], b"\r\n"].concat();
                let mut sent = writer.write_all(head);
                while sent.is_ok() && !state.stop.load(Ordering::SeqCst) {
                    sent = writer.write_all(&chunk);
                }
                return;
            }
            Some(Fault::OnlyHead) if request.method != "HEAD" => {
                writer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            }
            Some(Fault::OnlyHead) | None => writer.write_all(&answer(&request, state)),
        };
        if answered.is_err() {
            return;
        }
    }
}

fn wait(state: &State) {
    while !state.stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

/// Answers as an honest server does.
fn answer(request: &Request, state: &State) -> Vec<u8> {
    let mut files = state.files.lock().unwrap();
    let empty =
        |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    match request.method.as_str() {
        "PUT" => {
            files.insert(request.path.clone(), request.body.clone());
            empty("201 Created")
        }
        // A service with unknown behaviour: here, it replaces files.
        "POST" => {
            files.insert(request.path.clone(), request.body.clone());
            empty("200 OK")
        }
        "MKCOL" => empty("201 Created"),
        "GET" | "HEAD" => {
            let Some(file) = files.get(&request.path) else { return empty("404 Not Found") };
            let whole = file.len();
            let range = request.headers.get("range").and_then(|range| part(range, whole));
            let (status, from, to) = match range {
                Some((from, _)) if from >= whole => {
                    return format!(
                        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{whole}\r\n\
                         Content-Length: 0\r\n\r\n"
                    )
                    .into_bytes();
                }
                Some((from, to)) => ("206 Partial Content", from, to.min(whole)),
                None => ("200 OK", 0, whole),
            };
            let part = if from == 0 && to == whole {
                String::new()
            } else {
                format!("Content-Range: bytes {from}-{}/{whole}\r\n", to - 1)
            };
            let mut bytes =
                format!("HTTP/1.1 {status}\r\n{part}Content-Length: {}\r\n\r\n", to - from)
                    .into_bytes();
            if request.method == "GET" {
                bytes.extend_from_slice(&file[from..to]);
            }
            bytes
        }
        _ => empty("405 Method Not Allowed"),
    }
}

/// `bytes=FROM-[TO]`, the end not included.
fn part(range: &str, whole: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let to = to.parse::<usize>().map_or(whole, |last| last.saturating_add(1));
    Some((from.parse().ok()?, to))
}
