//! The headers that a plugin may send, and those that it may read.
//!
//! What this module refuses: all other headers. A list of forbidden headers would be incomplete: servers define headers
//! such as `X-HTTP-Method-Override`.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use occystrap_base::limits;

/// The headers of a request that reads.
const READING: [&str; 5] =
    ["accept", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since"];

/// The additional headers of a request that writes.
const CHANGING: [&str; 4] =
    ["cache-control", "content-disposition", "content-language", "content-type"];

/// The prefixes of names that are hidden from a plugin: cookies, and headers of authentication.
const HIDDEN: [&str; 4] = ["set-cookie", "proxy-", "www-", "authentication"];

/// The reason why a plugin's headers are not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are more headers, or more bytes, than a request needs.
    TooMuch,
    /// A plugin may not send this header.
    Name(String),
    /// The value of this header has characters that are not allowed, such as control characters and line ends (RFC
    /// 9110, 5.5).
    Value(String),
}

/// Returns a plugin's headers for a request. `changes` states whether the request writes.
pub fn sent(given: Vec<(String, String)>, changes: bool) -> Result<HeaderMap, Refused> {
    let length: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > limits::HTTP_HEADERS || length > limits::HTTP_HEADER_BYTES {
        return Err(Refused::TooMuch);
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let known =
            READING.contains(&name.as_str()) || (changes && CHANGING.contains(&name.as_str()));
        let Some(header) = known.then(|| HeaderName::try_from(name.as_str()).ok()).flatten() else {
            return Err(Refused::Name(name));
        };
        let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        match HeaderValue::try_from(value) {
            Ok(value) if plain => drop(headers.insert(header, value)),
            _ => return Err(Refused::Value(name)),
        }
    }
    Ok(headers)
}

/// Returns a server's headers for a plugin: names in lower case, and only values that are text.
#[must_use]
pub fn seen(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = |name: &&HeaderName| {
        let name = name.as_str();
        !HIDDEN.iter().any(|hidden| name.starts_with(hidden))
    };
    let mut left = limits::HTTP_HEADER_BYTES;
    let mut all = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| shown(name)) {
        let Ok(value) = value.to_str() else { continue };
        let Some(rest) = left.checked_sub(name.as_str().len() + value.len()) else { break };
        left = rest;
        all.push((name.to_string(), value.to_owned()));
    }
    all.truncate(limits::HTTP_HEADERS);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(name: &str, value: &str) -> Result<usize, Refused> {
        sent(vec![(name.to_owned(), value.to_owned())], true).map(|headers| headers.len())
    }

    #[test]
    fn headers_of_the_host_are_refused_to_plugins() {
        for name in [
            "authorization",
            "Authorization",
            "cookie",
            "host",
            "connection",
            "transfer-encoding",
            "content-length",
            "te",
            "upgrade",
            "expect",
            "range",
            "proxy-authorization",
            "x-y",
            "x-http-method-override",
            "x-forwarded-for",
            "destination",
            "accept-encoding",
            "",
            "content-type\r\nx",
            "accept ",
            "user-agent",
            "referer",
        ] {
            assert_eq!(send(name, "v"), Err(Refused::Name(name.to_owned())), "{name}");
        }
        for value in ["a\r\nHost: b", "a\nb", "a\0", "a\u{7f}", "\t", "ä"] {
            assert!(matches!(send("accept", value), Err(Refused::Value(_))), "{value:?}");
        }
        assert_eq!(send("content-type", "text/plain"), Ok(1));
        let reading = sent(vec![("content-type".into(), "x".into())], false);
        assert!(matches!(reading, Err(Refused::Name(_))));
        let many = vec![("accept".to_owned(), "x".to_owned()); limits::HTTP_HEADERS + 1];
        assert_eq!(sent(many, true), Err(Refused::TooMuch));
    }

    #[test]
    fn cookies_and_logins_are_not_seen() {
        let mut headers = HeaderMap::new();
        for name in [
            "set-cookie",
            "set-cookie2",
            "www-authenticate",
            "proxy-authenticate",
            "authentication-info",
            "etag",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("secret"));
        }
        headers.insert("x-odd", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(seen(&headers), [("etag".to_owned(), "secret".to_owned())]);
        let long = HeaderValue::try_from("x".repeat(limits::HTTP_HEADER_BYTES)).unwrap();
        headers.insert("a", long);
        assert_eq!(seen(&headers).len(), 1);
    }
}
