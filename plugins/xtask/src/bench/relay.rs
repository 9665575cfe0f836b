//! A relay in front of a registry, which counts requests and adds latency to each of them. All programs that are compared
//! go through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// A running relay on 127.0.0.1. Its threads end with this process.
pub struct Relay {
    /// `127.0.0.1:PORT`.
    pub host: String,
    state: Arc<State>,
}

struct State {
    upstream: String,
    counted: Mutex<Counted>,
    /// Milliseconds before each request is passed on.
    delay: AtomicU64,
}

/// What went through a relay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub requests: u64,
    /// Blobs that were sent.
    pub uploads: u64,
    /// Blobs that the client asked the registry to mount.
    pub mounts: u64,
}

impl Relay {
    /// Starts a relay to a server.
    pub fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let (counted, delay) = (Mutex::default(), AtomicU64::new(0));
        let state = Arc::new(State { upstream: upstream.to_owned(), counted, delay });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A connection that breaks is the client's or the registry's to report.
                thread::spawn(move || drop(state.pass(stream)));
            }
        });
        Ok(Self { host, state })
    }

    /// Sets the time before each request is passed on.
    pub fn set_delay(&self, delay: Duration) {
        let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(0);
        self.state.delay.store(milliseconds, Ordering::Relaxed);
    }

    /// Returns what was counted, and begins anew.
    pub fn take(&self) -> Counted {
        std::mem::take(&mut *self.state.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn pass(&self, client: TcpStream) -> Result<()> {
        let mut server = TcpStream::connect(&self.upstream)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || {
            let _ = std::io::copy(&mut answers, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        let mut client = BufReader::new(client);
        let passed = self.requests(&mut client, &mut server);
        let _ = server.shutdown(Shutdown::Both);
        passed
    }

    /// Passes requests on, each after the delay.
    fn requests(&self, client: &mut BufReader<TcpStream>, server: &mut TcpStream) -> Result<()> {
        loop {
            let (mut head, mut length, mut is_chunked) = (String::new(), 0, false);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if client.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                head.push_str(&line);
                let Some((name, value)) = line.split_once(':') else { continue };
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse()?;
                }
                is_chunked |= name.eq_ignore_ascii_case("transfer-encoding");
            }
            self.count(&head);
            thread::sleep(Duration::from_millis(self.delay.load(Ordering::Relaxed)));
            server.write_all(head.as_bytes())?;
            std::io::copy(&mut client.by_ref().take(length), server)?;
            while is_chunked {
                line.clear();
                client.read_line(&mut line)?;
                server.write_all(line.as_bytes())?;
                let size = u64::from_str_radix(line.trim(), 16)?;
                // Each chunk, also the empty one, ends with a line break.
                std::io::copy(&mut client.by_ref().take(size + 2), server)?;
                is_chunked = size > 0;
            }
        }
    }

    fn count(&self, head: &str) {
        let first = head.lines().next().unwrap_or_default();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.requests += 1;
        counted.uploads +=
            u64::from(first.starts_with("PUT ") && first.contains("/blobs/uploads/"));
        counted.mounts += u64::from(first.starts_with("POST ") && first.contains("mount="));
    }
}
