//! A relay in front of a server, which notes each request and the bytes of its body.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running relay on 127.0.0.1. Its threads end with the connections and the test binary.
pub struct Relay {
    host: String,
    passed: Arc<Mutex<Vec<Passed>>>,
    /// Number of requests that a test has taken.
    taken: Cell<usize>,
}

/// A request that went through.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Its method and its path with the query.
    pub line: String,
    /// Bytes of its body so far.
    pub bytes: u64,
}

impl Passed {
    /// Returns whether it sent bytes of a blob.
    pub fn is_upload(&self) -> bool {
        self.line.contains("/blobs/uploads/") && self.bytes > 0
    }
}

impl Relay {
    /// Starts a relay to `HOST:PORT`.
    pub fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let passed = Arc::new(Mutex::new(Vec::new()));
        let (to, notes) = (to.to_owned(), Arc::clone(&passed));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If no server listens any more, the client's connection ends as well.
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let notes = Arc::clone(&notes);
                std::thread::spawn(move || pass(client, server, &notes));
            }
        });
        Self { host, passed, taken: Cell::default() }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns what has passed so far.
    pub fn passed(&self) -> Vec<Passed> {
        self.passed.lock().unwrap().clone()
    }

    /// Returns what has passed since this was called before.
    pub fn take(&self) -> Vec<Passed> {
        let passed = self.passed();
        let before = self.taken.replace(passed.len());
        passed[before..].to_vec()
    }
}

fn pass(client: TcpStream, mut server: TcpStream, notes: &Mutex<Vec<Passed>>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    // A connection that breaks is the client's or the server's to report.
    let _ = requests(&mut BufReader::new(client), &mut server, notes);
    let _ = server.shutdown(Shutdown::Both);
}

fn requests(
    client: &mut BufReader<TcpStream>,
    server: &mut TcpStream,
    notes: &Mutex<Vec<Passed>>,
) -> std::io::Result<()> {
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
                length = value.trim().parse().unwrap();
            }
            is_chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        let line_end = head.find(" HTTP/").unwrap_or(head.len());
        let note = Passed { line: head[..line_end].to_owned(), bytes: 0 };
        let place = {
            let mut notes = notes.lock().unwrap();
            notes.push(note);
            notes.len() - 1
        };
        server.write_all(head.as_bytes())?;
        body(client, server, length, notes, place)?;
        while is_chunked {
            line.clear();
            client.read_line(&mut line)?;
            server.write_all(line.as_bytes())?;
            let size = u64::from_str_radix(line.trim(), 16).unwrap();
            body(client, server, size, notes, place)?;
            // Each chunk, also the empty one, ends with a line break.
            std::io::copy(&mut client.by_ref().take(2), server)?;
            is_chunked = size > 0;
        }
    }
}

fn body(
    client: &mut BufReader<TcpStream>,
    server: &mut TcpStream,
    mut left: u64,
    notes: &Mutex<Vec<Passed>>,
    place: usize,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let read = client.read(&mut piece[..most])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        server.write_all(&piece[..read])?;
        left -= read as u64;
        notes.lock().unwrap()[place].bytes += read as u64;
    }
    Ok(())
}
