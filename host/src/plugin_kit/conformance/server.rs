//! Web server for plugins that write to one: it serves a folder as a WebDAV server does, only to this machine.
//!
//! It implements what an output needs: GET and HEAD with a range, PUT, MKCOL. It refuses paths that lead out of the
//! folder, folders in folders that do not exist, and every other method.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use occystrap_base::error::{Error, Kind, Result};

/// Longest line of a request, in bytes: the host sends shorter lines.
const LONGEST_LINE: u64 = 16 * 1024;

/// Longest silence of a connection before its thread ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Server that runs until it is dropped.
pub struct Server {
    host: String,
    stop: Arc<AtomicBool>,
}

/// Request of a client.
struct Request {
    method: String,
    path: PathBuf,
    length: u64,
    /// First byte, and the last byte if the request names it.
    range: Option<(u64, Option<u64>)>,
}

impl Server {
    /// Serves the content of a folder.
    pub fn start(root: &Path) -> Result<Self> {
        let fail = |cause: io::Error| {
            Error::io(Kind::Destination, "start a web server on", "127.0.0.1", &cause)
        };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(fail)?;
        let host = listener.local_addr().map_err(fail)?.to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let (root, stopped) = (root.to_owned(), Arc::clone(&stop));
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let root = root.clone();
                // The client sees what fails on its connection.
                std::thread::spawn(move || drop(serve(stream, &root)));
            }
        };
        std::thread::Builder::new().name("web server".to_owned()).spawn(accept).map_err(fail)?;
        Ok(Self { host, stop })
    }

    /// Returns the address, `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(&self.host));
    }
}

/// Returns the file or folder below `root` that the path of a URL names; `None` for a path that leads out.
pub fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let mut found = root.to_owned();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let name = decode(name);
        if matches!(name.as_slice(), b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return None;
        }
        found.push(std::ffi::OsString::from_vec(name));
    }
    Some(found)
}

/// Decodes percent-encoding (RFC 3986, 2.1); everything that is not an escape is kept.
fn decode(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

fn serve(stream: TcpStream, root: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read(&mut reader, root)? {
        let mut body = (&mut reader).take(request.length);
        answer(&request, &mut body, &mut writer)?;
        // The next request comes after the unread rest of this one.
        io::copy(&mut body, &mut io::sink())?;
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>, root: &Path) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.take(LONGEST_LINE).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let Some(path) = below(root, target) else { return Ok(None) };
    let mut request = Request { method: method.to_owned(), path, length: 0, range: None };
    loop {
        let mut line = String::new();
        reader.take(LONGEST_LINE).read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => request.length = value.trim().parse().unwrap_or(0),
            "range" => request.range = range(value.trim()),
            _ => {}
        }
    }
    Ok(Some(request))
}

fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()))
}

fn answer(request: &Request, body: &mut dyn Read, to: &mut TcpStream) -> io::Result<()> {
    let path = &request.path;
    let has_parent = || path.parent().is_some_and(Path::is_dir);
    let status = match request.method.as_str() {
        "GET" | "HEAD" if path.is_file() => return send(request, to),
        "GET" | "HEAD" => "404 Not Found",
        "PUT" if path.is_dir() => "405 Method Not Allowed",
        "PUT" if has_parent() => {
            io::copy(body, &mut File::create(path)?)?;
            "201 Created"
        }
        "MKCOL" if path.exists() => "405 Method Not Allowed",
        "MKCOL" if has_parent() => {
            std::fs::create_dir(path)?;
            "201 Created"
        }
        "PUT" | "MKCOL" => "409 Conflict",
        _ => "501 Not Implemented",
    };
    write!(to, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

fn send(request: &Request, to: &mut TcpStream) -> io::Result<()> {
    let mut file = File::open(&request.path)?;
    let size = file.metadata()?.len();
    let (from, end) = match request.range {
        Some((from, _)) if from >= size => {
            return write!(
                to,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\n\
                 Content-Length: 0\r\n\r\n"
            );
        }
        Some((from, last)) => (from, last.map_or(size, |last| last.saturating_add(1).min(size))),
        None => (0, size),
    };
    let length = end.saturating_sub(from);
    match request.range {
        Some(_) => {
            let last = end.saturating_sub(1);
            write!(
                to,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{last}/{size}\r\n"
            )?;
        }
        None => write!(to, "HTTP/1.1 200 OK\r\n")?,
    }
    write!(to, "Content-Length: {length}\r\n\r\n")?;
    if request.method == "GET" {
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut file.take(length), to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        let at = |path| below(Path::new("/r"), path);
        assert_eq!(at("/1/%C3%A4 x/y"), Some(PathBuf::from("/r/1/ä x/y")));
        assert_eq!(at("//"), Some(PathBuf::from("/r/")));
        for out in ["/..", "/a/%2e%2e/b", "/a/..%2fb/%2F", "/%00"] {
            assert_eq!(at(out), None, "{out}");
        }
    }
}
