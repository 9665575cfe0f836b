//! Why a call failed, in words: what was tried, where, the engine's own reason, and what helps.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::address::WHERE;
use crate::error::{Error, Kind, io_reason};

/// A call that brought no answer, or not a whole one. `place` is the engine's address.
pub(super) fn explain(error: &reqwest::Error, place: &str) -> Error {
    let cause = innermost(error);
    let io = cause.downcast_ref::<io::Error>();
    let reason = io.map_or_else(|| cause.to_string(), io_reason);
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Error::new(Kind::Network, format!("no TLS connection to {place}: {tls}"))
            .hint("DOCKER_CERT_PATH names the folder with ca.pem, cert.pem and key.pem");
    }
    if !error.is_connect() {
        return Error::new(Kind::Network, format!("the connection to {place} broke: {reason}"));
    }
    let failure = Error::new(Kind::Network, format!("cannot connect to {place}: {reason}"));
    failure.hint(match io.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => {
            "be in the group that owns the socket ('docker', for most), or run this with sudo"
        }
        _ => WHERE,
    })
}

/// Nothing came, or nothing was taken, for too long.
pub(super) fn silence(place: &str, limit: Duration) -> Error {
    Error::new(Kind::Network, format!("{place} was silent for {} s", limit.as_secs()))
        .hint("the daemon may hang; its log says more")
}

/// An engine's answer of another status than the one hoped for, with what it gave as the reason.
pub(super) fn refused(what: &str, place: &str, status: StatusCode, body: &[u8]) -> Error {
    let kind = match status {
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Auth,
        _ => Kind::Network,
    };
    Error::new(kind, format!("{what}: {place} answered {status}: {}", reason(body)))
}

/// No such image.
pub(super) fn absent(image: &str, place: &str) -> Error {
    Error::new(Kind::NotFound, format!("{place} has no image '{image}'"))
        .hint("'docker images' or 'podman images' lists what it has; pull the image first")
}

/// `{"message": "..."}` from both; text from whoever stands between.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => one_line(&refusal.message),
        Err(_) if body.is_empty() => "no reason given".to_owned(),
        Err(_) => one_line(&String::from_utf8_lossy(body)),
    }
}

/// Podman gives its reasons as lists of several lines.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The last cause says most: those above it only say that something failed. I/O errors carry
/// causes that `source` skips.
fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    loop {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let next = match inner {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => cause.source(),
        };
        match next {
            Some(next) => cause = next,
            None => return cause,
        }
    }
}
