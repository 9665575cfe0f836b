//! Why an exchange failed, and whether trying again can help.
//!
//! What it refuses: to show a URL. Redirects carry signatures in theirs; a host is enough.

use std::error::Error as StdError;
use std::time::Duration;

use crate::error::{Error, Kind, io_reason};

/// All addresses of a name are such as nobody named.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotNamed(pub(crate) Error);

/// An exchange that brought no answer, or not a whole one.
pub(crate) enum Failure {
    /// May be over the next time; with the wait that the server asked for.
    Passing { error: Error, wait: Option<Duration> },
    /// The body of an answer ended before all of it had come. The network may have cut it; where
    /// every try ends at the same byte, the server has no more ([`super::arrived::Arrived::ended`]).
    Ended(Error),
    /// Will be the same the next time.
    Lasting(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

impl Failure {
    /// Where nobody tries again.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Lasting(error) | Self::Passing { error, .. } | Self::Ended(error) => error,
        }
    }

    pub(crate) fn passing(message: impl AsRef<str>) -> Self {
        Self::Passing { error: Error::new(Kind::Network, message), wait: None }
    }

    /// Silence for longer than is waited.
    pub(crate) fn silence(host: &str, limit: Duration) -> Self {
        Self::passing(format!("{host} sent nothing for {limit:?}"))
    }

    /// Hardly more than silence.
    pub(crate) fn trickle(host: &str, limit: Duration) -> Self {
        Self::passing(format!("{host} sent next to nothing for {limit:?}"))
    }

    /// What a failed exchange with `host` (as in a URL) was about.
    pub(crate) fn explain(error: &reqwest::Error, host: &str, insecure: bool) -> Self {
        if let Some(NotNamed(refused)) = find(error) {
            return Self::Lasting(refused.clone());
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::Lasting(explain_tls(tls, host));
        }
        if error.is_builder() {
            return Self::Lasting(Error::new(
                Kind::Network,
                format!("no valid request can be made to {host}"),
            ));
        }
        let reason = innermost(error);
        if !error.is_connect() {
            let failure =
                Error::new(Kind::Network, format!("the connection to {host} broke: {reason}"));
            let error = match insecure && reason.contains("invalid HTTP") {
                true => failure.hint("it may expect HTTPS: leave --insecure off"),
                false => failure,
            };
            return Self::Passing { error, wait: None };
        }
        match error.is_timeout() {
            true => unreachable(host, "no answer in time"),
            false => unreachable(host, &reason),
        }
    }
}

fn unreachable(host: &str, reason: &str) -> Failure {
    if NOBODY.iter().any(|words| reason.contains(words)) {
        // Asking again would not make one.
        let error = Error::new(Kind::Network, format!("there is no host '{host}'"));
        return Failure::Lasting(match host.contains('.') {
            true => error,
            false => error.hint(
                "a reference begins with its registry: docker.io/library/busybox, not library/busybox",
            ),
        });
    }
    let error = Error::new(Kind::Network, format!("cannot connect to {host}: {reason}"));
    let error = match reason.contains("handshake") {
        true => error.hint(SPEAKS_HTTP),
        false => error,
    };
    Failure::Passing { error, wait: None }
}

/// What resolvers say of a name that is nobody's (EAI_NONAME), in glibc, musl and macOS.
const NOBODY: [&str; 3] =
    ["Name or service not known", "Name does not resolve", "nodename nor servname provided"];

const SPEAKS_HTTP: &str = "if this registry speaks plain HTTP, use --insecure";

fn explain_tls(cause: &rustls::Error, host: &str) -> Error {
    match cause {
        rustls::Error::InvalidCertificate(reason) => Error::new(
            Kind::Network,
            format!("the certificate of {host} is not trusted: {reason}"),
        )
        .hint("to trust the authority that signed it, name its certificate with --ca-bundle FILE"),
        _ => Error::new(Kind::Network, format!("no TLS connection to {host}: {cause}"))
            .hint(SPEAKS_HTTP),
    }
}

/// The first cause of a type. I/O errors carry causes that `source` skips.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(here) = cause {
        if let Some(found) = here.downcast_ref() {
            return Some(found);
        }
        let inner = here.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => here.source(),
        };
    }
    None
}

/// The last cause says most: those above it only say that something failed.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(cause) => io_reason(cause),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nobody_s_is_not_asked_for_again() {
        let noname = "failed to lookup address information: Name or service not known";
        let again = "failed to lookup address information: Temporary failure in name resolution";
        assert!(matches!(unreachable("no.example", noname), Failure::Lasting(_)));
        assert!(matches!(unreachable("no.example", again), Failure::Passing { .. }));
        let error = unreachable("library", noname).into_error();
        assert_eq!(error.to_string(), "there is no host 'library'");
        assert!(error.hint_text().is_some());
    }
}
