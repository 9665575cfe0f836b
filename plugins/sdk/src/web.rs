//! Checking what a receipt promises of things on a web server, and making its folders.

use crate::check::finding;
use crate::http_in::{self, Header, Range, Response};
use crate::http_out::{self, Method};
use crate::types::ErrorCode;
use crate::verifier::{Finding, Level, Problem};
use crate::writer::{Error, Expectation, Place};

/// Check that everything that is at a path below `folder` is there with its size and, at
/// [`Level::Full`], its digest. A server that does not answer, or does not let us in, is an error and
/// no finding: nothing was seen.
pub fn check_web_expectations(
    folder: &str,
    expectations: &[Expectation],
    level: Level,
) -> Result<Vec<Finding>, ErrorCode> {
    let mut findings = Vec::new();
    for expectation in expectations {
        if let Place::File(path) = &expectation.place {
            findings.extend(check(folder, path, expectation, level)?);
        }
    }
    Ok(findings)
}

fn check(
    folder: &str,
    path: &str,
    expectation: &Expectation,
    level: Level,
) -> Result<Option<Finding>, ErrorCode> {
    let url = format!("{folder}{path}");
    let expected = expectation.digest.clone();
    let found = match level {
        Level::Fast => stat(&url, expectation.size)?.map(|size| (size, expected.clone())),
        Level::Full => http_in::hash(&url)?.map(|found| (Some(found.size), Some(found.digest))),
    };
    let Some((size, digest)) = found else {
        return Ok(Some(finding(path, Problem::Missing, None, None, "is not there")));
    };
    let side = |size: u64| Some(format!("{size} bytes"));
    Ok(match (expectation.size, size) {
        (Some(expected), Some(size)) if expected != size => {
            let message = "has another size";
            Some(finding(path, Problem::SizeMismatch, side(expected), side(size), message))
        }
        _ if expected.is_some() && digest != expected => {
            let message = "has other content";
            Some(finding(path, Problem::DigestMismatch, expected, digest, message))
        }
        _ => None,
    })
}

/// The size of what is at a URL, if the server says it, with its last byte read: some servers answer
/// a HEAD from memory. `None` when nothing is there.
fn stat(url: &str, expected: Option<u64>) -> Result<Option<Option<u64>>, ErrorCode> {
    let head = http_in::head(url, &[])?;
    if !is_there(&head)? {
        return Ok(None);
    }
    let size = header(&head, "content-length").and_then(|text| text.parse().ok());
    let Some(last) = expected.and_then(|size| size.checked_sub(1)).filter(|_| size == expected)
    else {
        return Ok(Some(size));
    };
    let part = http_in::get(url, &[], Some(Range { offset: last, len: 1 }))?;
    // 416: it ends before.
    if part.status() == 416 {
        return Ok(Some(Some(0)));
    }
    match is_there(&part)? {
        true if part.read(1)?.is_empty() => Ok(Some(Some(0))),
        true => Ok(Some(size)),
        false => Ok(None),
    }
}

/// Whether an answer is about something. Any other than yes and no is an error: the host tells the
/// user what it was.
fn is_there(answer: &Response) -> Result<bool, ErrorCode> {
    match answer.status() {
        200..=299 => Ok(true),
        404 | 410 => Ok(false),
        _ => Err(ErrorCode::Unavailable),
    }
}

/// A header of an answer; names are in lower case.
#[must_use]
pub fn header(answer: &Response, name: &str) -> Option<String> {
    let found = answer.headers().into_iter().find(|header| header.name == name);
    found.map(|Header { value, .. }| value)
}

/// Make a folder on a WebDAV server, whose URL ends with `/`. That it is there already is no error.
pub fn make_folder(url: &str) -> Result<(), Error> {
    let answer = http_out::send(Method::Mkcol, url, &[], &[])?;
    match answer.status() {
        // 405: there is one (RFC 4918, 9.3.1).
        200..=299 | 405 => Ok(()),
        409 => Err(Error::Other(format!("'{url}': the folder above it is not there"))),
        _ => Err(Error::Host(ErrorCode::Unavailable)),
    }
}

/// PUT a small body; any answer but 2xx is an error.
pub fn put(url: &str, content_type: &str, body: &[u8]) -> Result<(), Error> {
    let header = Header { name: "content-type".to_owned(), value: content_type.to_owned() };
    match http_out::send(Method::Put, url, &[header], body)?.status() {
        200..=299 => Ok(()),
        _ => Err(Error::Host(ErrorCode::Unavailable)),
    }
}
