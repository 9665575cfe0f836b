//! Faults of the registry for tests.

use std::time::Duration;

/// A fault of the registry.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers this status, with headers, instead of doing anything.
    Status(u16, Vec<(&'static str, String)>),
    /// Sends this many bytes of the right body and closes the connection.
    CutAfter(usize),
    /// Like [`Fault::CutAfter`], but the connection stays open and silent.
    HangAfter(usize),
    /// The right body, byte by byte, with a pause in front of each.
    Trickle(Duration),
    /// Says nothing for this long, and then does as it should.
    Delay(Duration),
    /// Another body, its length announced rightly.
    Body(Vec<u8>),
    /// Another body, sent in chunks without an announced length.
    Chunked(Vec<u8>),
    /// Announces another length than the body has.
    Length(u64),
    /// Does as it should, and answers another status.
    OtherStatus(u16),
    /// The right body, with another value of a header.
    Header(&'static str, String),
    /// The right body, without a header; of `content-length`, as HTTP sends what has none.
    NoHeader(&'static str),
    /// A manifest of this media type and these bytes, as if it were the one that was asked for.
    Manifest(&'static str, Vec<u8>),
    /// A web page with status 200.
    Html,
    /// Answers this status with this body, instead of doing anything.
    Answer(u16, Vec<u8>),
    /// A redirect (307) to a URL.
    Redirect(String),
    /// Answers a range request with the whole.
    IgnoreRange,
    /// Answers each range request with 416, without a word on the size.
    RefuseRange,
    /// Answers each range request with this status.
    RangeStatus(u16),
    /// Answers a request for the last bytes with the whole; other ranges are known.
    IgnoreSuffix,
    /// These bytes, as a body that was compressed with gzip on its way.
    Coded(Vec<u8>),
    /// The same, for clients that accept it.
    CodedVariant(Vec<u8>),
    /// The right body, all of it whatever the range, in chunks of which the last one never comes: the
    /// connection closes.
    NoEnd,
    /// Answers this status, with headers, without reading what is sent.
    Early(u16, Vec<(&'static str, String)>),
    /// All tokens become invalid before the request body is read.
    Expire,
    /// Reads this many bytes of what is sent and closes the connection.
    CutRequest(usize),
    /// Reads nothing of what is sent, and says nothing.
    Deaf,
    /// Reads what is sent in portions of about so many bytes, with pauses.
    SlowRead(usize, Duration),
}

impl Fault {
    /// A bare status.
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }

    /// A status that asks for a login with a password.
    pub fn challenged(self) -> Self {
        let challenge = ("www-authenticate", "Basic realm=\"r\"".to_owned());
        match self {
            Self::Status(status, headers) => {
                Self::Status(status, [headers, vec![challenge]].concat())
            }
            fault => fault,
        }
    }

    /// Returns "Too many requests" with the header `Retry-After`.
    pub fn too_many(retry_after: &str) -> Self {
        Self::Status(429, vec![("retry-after", retry_after.to_owned())])
    }
}

/// A fault, and the requests that meet it.
#[derive(Debug)]
pub struct Rule {
    method: String,
    path_part: String,
    fault: Fault,
    left: usize,
}

impl Rule {
    pub fn new(method: &str, path_part: &str, fault: Fault, times: usize) -> Self {
        Self { method: method.to_owned(), path_part: path_part.to_owned(), fault, left: times }
    }
}

/// The fault that a request meets: the first that fits and is not used up.
pub fn meet(rules: &mut [Rule], method: &str, path: &str) -> Option<Fault> {
    let fits =
        |rule: &&mut Rule| rule.left > 0 && rule.method == method && path.contains(&rule.path_part);
    let rule = rules.iter_mut().find(fits)?;
    rule.left -= 1;
    Some(rule.fault.clone())
}
