//! Errors of calls to an engine: the call, its place, the engine's own reason, and a hint.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::address::WHERE;
use crate::http::failure::certificate;
use occystrap_base::error::{Error, FaultOrigin, Kind, io_reason};

/// Returns the error for a call without an answer, or without a whole one. `place` is the engine's address.
pub(super) fn explain(error: &reqwest::Error, place: &str) -> Error {
    let cause = innermost(error);
    let io = cause.downcast_ref::<io::Error>();
    let reason = io.map_or_else(|| cause.to_string(), io_reason);
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        // The address of an engine is its name, with a scheme and a port.
        let host = place.split("://").last().unwrap_or(place);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let why = certificate(tls, name);
        let why =
            why.map_or_else(|| tls.to_string(), |(why, _)| format!("of its certificate: {why}"));
        return Error::new(Kind::Network, format!("no TLS connection to {place}: {why}"))
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

/// Returns the error for an engine that sent nothing, or took nothing, for too long.
pub(super) fn silence(place: &str, limit: Duration) -> Error {
    Error::new(Kind::Network, format!("{place} was silent for {} s", limit.as_secs()))
        .hint("the daemon may hang; look at its log")
}

/// Returns the error for an answer with a status other than success, with the engine's reason.
pub(super) fn refused(what: &str, place: &str, status: StatusCode, body: &[u8]) -> Error {
    let kind = match status {
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Auth,
        _ => Kind::Network,
    };
    let reason = reason(body);
    let message = format!("{what}: {place} answered {status}: {reason}");
    match is_damage(&reason) {
        true => damaged(&message),
        false => with_depth(Error::new(kind, message), &reason),
    }
}

/// Hint where an engine's store is damaged. Another load does not repair it: Docker 20.10 was seen to take no layer
/// that it believes to have.
pub const DAMAGED: &str = "the engine's own store is damaged, and it does not replace a layer that it believes to have: remove every image there that shares these layers, then load the image again";

/// Returns the error of an engine that reports damage in its store.
pub(super) fn damaged(message: &str) -> Error {
    Error::source(message).hint(DAMAGED).with_origin(FaultOrigin::DamagedEngineStore)
}

/// Records in an error that an engine refuses an image for its number of layers, where the reason that it gives says so.
pub(super) fn with_depth(error: Error, reason: &str) -> Error {
    match reason.contains("max depth exceeded") {
        true => error.with_origin(FaultOrigin::TooManyLayers),
        false => error,
    }
}

/// Returns whether an engine's reason is damage in its store, and not a passing problem.
pub(super) fn is_damage(reason: &str) -> bool {
    /// Of tar-split, which both engines use; of Docker's layer store; and of both where a layer is missing.
    const REASONS: [&str; 4] = [
        "file integrity checksum failed",
        "could not verify layer data",
        "layer does not exist",
        "layer not known",
    ];
    // Directories of layers have such names. Without one the path may be in the engine's temporary directory.
    let of_layer = |part: &str| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
    REASONS.iter().any(|known| reason.contains(known))
        || reason.contains("no such file or directory") && reason.split('/').any(of_layer)
}

/// Returns the error for an image that the engine does not have.
pub(super) fn absent(image: &str, place: &str) -> Error {
    Error::new(Kind::NotFound, format!("{place} has no image '{image}'"))
        .hint("'docker images' or 'podman images' lists what it has; pull the image first")
}

/// Returns the reason in an answer: `{"message": "..."}` from both engines, text from a proxy between.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => one_line(&refusal.message),
        Err(_) if body.is_empty() => "no reason given".to_owned(),
        Err(_) => one_line(&String::from_utf8_lossy(body)),
    }
}

/// Returns a reason on one line. Podman gives its reasons as lists of several lines.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the last cause, which is the most specific: those above it only say that something failed. I/O errors carry
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_trouble() {
        let layer = "0198344180c3ac7bc7fb917d20a9ab204e593d27f8dae2c5a95c9f32afe5bd6b";
        for reason in [
            // Docker 20.10 and Podman 4.3: a file of a layer was changed, or removed.
            "file integrity checksum failed for \"f1\"",
            "unable to create tempfile: reading blob sha256:00e9: file integrity checksum failed for \"f1\"",
            &format!("open /var/lib/docker/vfs/dir/{layer}/f1: no such file or directory"),
            &format!("lstat /var/lib/docker/overlay2/{layer}/diff: no such file or directory"),
        ] {
            assert!(is_damage(reason), "{reason}");
        }
        for reason in [
            "open /var/lib/docker/tmp/docker-export-1: no such file or directory",
            "write /var/lib/docker/tmp/x: no space left on device",
            "reading blob sha256:00e9: context canceled",
            &format!("open /var/lib/docker/vfs/dir/{layer}/f1: too many open files"),
        ] {
            assert!(!is_damage(reason), "{reason}");
        }
    }
}
