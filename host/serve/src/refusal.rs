//! Errors as the distribution specification spells them ("Error Codes"): a status, a code, and a message for the user.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use occystrap_base::error::{Error, Kind, one_line};
use occystrap_base::secret;

use crate::reply::{Body, Reply};

/// Code of an error (distribution specification, "Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The blob is not in the repository.
    BlobUnknown,
    /// The upload is not as the request says.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// The digest is not one, or not that of the bytes.
    DigestInvalid,
    /// The manifest names a blob that is not there.
    ManifestBlobUnknown,
    /// The manifest is not one.
    ManifestInvalid,
    /// There is no such manifest.
    ManifestUnknown,
    /// The name of the repository is not one.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// The size is not the promised one.
    SizeInvalid,
    /// A login is needed.
    Unauthorized,
    /// The login does not allow it.
    Denied,
    /// The endpoint does not do that.
    Unsupported,
    /// Too much at the same time, or too often.
    TooManyRequests,
    /// Another server or this one is not able to do it now (registries use the code for 503).
    Unavailable,
    /// Anything else (registries use the code for 5xx).
    Unknown,
}

impl Code {
    /// Returns the code as it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Answer to a request that is not done.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Status of the answer.
    pub status: StatusCode,
    /// Code of the error.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// Creates a refusal. The message is made one line, and secrets in it are masked.
    pub fn new(status: StatusCode, code: Code, message: impl AsRef<str>) -> Self {
        let message = secret::mask(&one_line(message.as_ref())).into_owned();
        Self { status, code, message, headers: Vec::new() }
    }

    /// Creates a refusal of a request that is wrong in itself.
    pub fn bad(code: Code, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// Creates a refusal for something that is not there.
    pub fn not_found(code: Code, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// Creates a refusal of something that the endpoint does not do.
    pub fn unsupported(message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message)
    }

    /// Creates a refusal for the present: the same request may succeed after `wait`.
    pub fn later(status: StatusCode, message: impl AsRef<str>, wait: Duration) -> Self {
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
            _ => Code::Unavailable,
        };
        Self::new(status, code, message)
            .with(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
    }

    /// Returns the refusal for a failed request to another server or a failed write, with a message for the client.
    /// What the other server says keeps its meaning: "not found" is 404 with the code `absent`, "too many requests" is
    /// 429, and everything else that fails there is 502.
    pub fn of(error: &Error, absent: Code, message: impl AsRef<str>) -> Self {
        match (error.kind(), error.asked_wait()) {
            (Kind::NotFound, _) => Self::not_found(absent, message),
            (Kind::Network, Some(wait)) => {
                Self::later(StatusCode::TOO_MANY_REQUESTS, message, wait)
            }
            (Kind::Usage, _) => Self::bad(Code::NameInvalid, message),
            (Kind::Source, _) => Self::bad(Code::ManifestInvalid, message),
            (Kind::Interrupted, _) => Self::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "the proxy is being stopped",
                Duration::from_secs(5),
            ),
            _ => Self::new(StatusCode::BAD_GATEWAY, Code::Unknown, message),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Returns the answer.
    #[must_use]
    pub fn reply(self) -> Reply {
        let document = json!({ "errors": [{ "code": self.code.name(), "message": self.message }] });
        let bytes = Bytes::from(document.to_string());
        let mut reply = Response::new(Body::from(bytes));
        *reply.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        reply.headers_mut().insert(header::CONTENT_TYPE, json);
        for (name, value) in self.headers {
            reply.headers_mut().append(name, value);
        }
        reply
    }
}
