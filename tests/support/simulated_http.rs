//! Requests and answers of a simulated registry, as HTTP/1.1 has them.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::TcpStream;

/// Longest line of a request.
const LONGEST_LINE: u64 = 16 * 1024;

/// A request, without its body.
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub range: Option<String>,
    /// That of a manifest; others are skipped.
    pub body: Vec<u8>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Returns the first and the last byte of a range (RFC 9110, 14.1.2).
pub fn span(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = length.checked_sub(1)?;
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => Some((first, last.min(end))),
        (Ok(first), Err(_)) => Some((first, end)),
        (Err(_), Ok(count)) => Some((length.saturating_sub(count), end)),
        (Err(_), Err(_)) => None,
    }
    .filter(|(first, last)| first <= last)
}

/// Reads a request to the end of its body. Returns `None` when the client has closed the connection.
pub fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if next_line(reader, &mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let (mut length, mut is_chunked, mut range) = (0_u64, false, None);
    loop {
        if next_line(reader, &mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("range") {
            range = Some(value.to_owned());
        }
    }
    while is_chunked {
        next_line(reader, &mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        skip(reader, size)?;
        next_line(reader, &mut line)?;
        is_chunked = size > 0;
    }
    let mut body = Vec::new();
    match method == "PUT" && path.contains("/manifests/") {
        true => drop(reader.by_ref().take(length).read_to_end(&mut body)?),
        false => skip(reader, length)?,
    }
    Ok(Some(Request { method, path, query, range, body }))
}

fn next_line(reader: &mut BufReader<TcpStream>, line: &mut String) -> io::Result<usize> {
    line.clear();
    reader.by_ref().take(LONGEST_LINE).read_line(line)
}

fn skip(reader: &mut BufReader<TcpStream>, bytes: u64) -> io::Result<()> {
    io::copy(&mut reader.by_ref().take(bytes), &mut io::sink()).map(drop)
}
