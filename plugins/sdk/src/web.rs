//! Functions for outputs on web servers: verifying what a receipt names, creating folders, and PUT.

use crate::check::finding;
use crate::http_in::{self, Header, Range, Response};
use crate::http_out::{self, Method};
use crate::types::ErrorCode;
use crate::verifier::{Finding, Level, Problem};
use crate::writer::{Error, Expectation, Place};

/// Checks that every file below `folder` that the receipt names exists with its size and, at
/// [`Level::Full`], with its digest. Returns one finding for each difference.
///
/// A server that does not answer, or rejects the login, is an error and not a finding: nothing is known
/// about the files then.
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

/// Returns the size of the file at a URL: `None` if there is no file, `Some(None)` if the server does not
/// state the size. If the size is the expected one, the last byte is read too, because some servers answer
/// a HEAD request from memory.
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
    // 416: the file ends before this byte.
    if part.status() == 416 {
        return Ok(Some(Some(0)));
    }
    match is_there(&part)? {
        true if part.read(1)?.is_empty() => Ok(Some(Some(0))),
        true => Ok(Some(size)),
        false => Ok(None),
    }
}

/// Returns whether a response means that the file exists. A status other than 2xx, 404 and 410 is an
/// error: the host reports the status to the user.
fn is_there(answer: &Response) -> Result<bool, ErrorCode> {
    match answer.status() {
        200..=299 => Ok(true),
        404 | 410 => Ok(false),
        _ => Err(ErrorCode::Unavailable),
    }
}

/// Returns the value of a header of a response. `name` is in lower case.
#[must_use]
pub fn header(answer: &Response, name: &str) -> Option<String> {
    let found = answer.headers().into_iter().find(|header| header.name == name);
    found.map(|Header { value, .. }| value)
}

/// Creates a folder on a WebDAV server. `url` ends with `/`. A folder that exists already is not an
/// error.
pub fn make_folder(url: &str) -> Result<(), Error> {
    let answer = http_out::send(Method::Mkcol, url, &[], &[])?;
    match answer.status() {
        // 405: the folder exists (RFC 4918, 9.3.1).
        200..=299 | 405 => Ok(()),
        409 => Err(Error::Other(format!("'{url}': the parent folder does not exist"))),
        _ => Err(Error::Host(ErrorCode::Unavailable)),
    }
}

/// Sends a small body with PUT. Any status other than 2xx is an error.
pub fn put(url: &str, content_type: &str, body: &[u8]) -> Result<(), Error> {
    let header = Header { name: "content-type".to_owned(), value: content_type.to_owned() };
    match http_out::send(Method::Put, url, &[header], body)?.status() {
        200..=299 => Ok(()),
        _ => Err(Error::Host(ErrorCode::Unavailable)),
    }
}
