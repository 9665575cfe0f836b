//! Failures of exchanges: the reason, and whether another attempt can help.
//!
//! What it refuses: to show a URL. URLs of redirects carry signatures; messages name the host only.

use std::error::Error as StdError;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::peer::Peer;
use super::proxy::Proxy;
use super::tls;
use occystrap_base::error::{Error, FaultOrigin, Kind, io_reason};

/// Error for a name all of whose addresses are outside of what the user allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotNamed(pub(crate) Error);

/// Failure of an exchange: no answer, or not a whole one.
pub enum Failure {
    /// Failure that may be over at the next attempt.
    Passing {
        /// Error to report.
        error: Error,
        /// Time that the server asked to wait.
        wait: Option<Duration>,
    },
    /// The body of an answer ended early. The network may have cut it; where every attempt ends at the same byte, the
    /// server has no more bytes (`ResumeState::ended`).
    Ended(Error),
    /// Failure that would be the same at the next attempt.
    Lasting(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

impl Failure {
    /// Returns the error, where no further attempt is made.
    pub fn into_error(self) -> Error {
        match self {
            Self::Lasting(error) => lasting(error),
            Self::Passing { error, .. } | Self::Ended(error) => passing(error),
        }
    }

    pub(crate) fn passing(message: impl AsRef<str>) -> Self {
        Self::Passing { error: Error::new(Kind::Network, message), wait: None }
    }

    /// Returns the failure of a server that was silent for too long.
    pub(crate) fn silence(peer: &Peer, limit: Duration) -> Self {
        Self::passing(format!("{peer} sent nothing for {limit:?}"))
    }

    /// Returns the failure of a server that sent next to nothing for too long.
    pub(crate) fn trickle(peer: &Peer, limit: Duration) -> Self {
        Self::passing(format!("{peer} sent next to nothing for {limit:?}"))
    }

    /// Explains a failed exchange with a server.
    pub(crate) fn explain(error: &reqwest::Error, peer: &Peer, insecure: bool) -> Self {
        if let Some(NotNamed(refused)) = find(error) {
            return Self::Lasting(refused.clone());
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::Lasting(explain_tls(tls, peer));
        }
        if error.is_builder() {
            return Self::Lasting(Error::new(
                Kind::Network,
                format!("no valid request can be made to {peer}"),
            ));
        }
        let reason = innermost(error);
        if !error.is_connect() {
            let failure =
                Error::new(Kind::Network, format!("the connection to {peer} broke: {reason}"));
            let error = match insecure && reason.contains("invalid HTTP version") {
                true => failure.hint(EXPECTS_HTTPS),
                false => failure,
            };
            return Self::Passing { error, wait: None };
        }
        match error.is_timeout() {
            true => unreachable(peer, "no answer in time"),
            false => unreachable(peer, &reason),
        }
    }
}

/// Marks an error of the network that another attempt would meet again.
pub(crate) fn lasting(error: Error) -> Error {
    marked(error, FaultOrigin::Lasting)
}

/// Marks an error of the network after the last attempt.
pub(crate) fn passing(error: Error) -> Error {
    marked(error, FaultOrigin::Passing)
}

fn marked(error: Error, origin: FaultOrigin) -> Error {
    match (error.kind(), error.origin()) {
        (Kind::Network, None) => error.with_origin(origin),
        _ => error,
    }
}

/// Hint where an HTTPS server gets a request of plain HTTP.
pub(crate) const EXPECTS_HTTPS: &str = "it may expect HTTPS: do not use --insecure";

fn unreachable(peer: &Peer, reason: &str) -> Failure {
    if UNKNOWN_NAME.iter().any(|words| reason.contains(words)) {
        // Another request would not make the name known.
        return Failure::Lasting(unknown_name(peer));
    }
    let because =
        |reason: &str| Error::new(Kind::Network, format!("cannot connect to {peer}: {reason}"));
    if let Some(via) = peer.via().filter(|_| reason.contains(WANTS_LOGIN)) {
        return Failure::Lasting(
            because("the proxy answered 407 Proxy Authentication Required").hint(proxy_login(via)),
        );
    }
    let error = because(match reason {
        NO_TUNNEL => "the proxy refuses to connect to it",
        reason => reason,
    });
    let error = match peer.via() {
        Some(_) => error.hint(format!("NO_PROXY={} goes there without a proxy", peer.host())),
        None if reason.contains("handshake") => error.hint(SPEAKS_HTTP),
        None => error,
    };
    Failure::Passing { error, wait: None }
}

fn unknown_name(peer: &Peer) -> Error {
    if let Some(via) = peer.via() {
        let (proxy, variable, host) = (via.host(), via.variable(), peer.host());
        let message = format!("there is no host '{proxy}', which is the proxy of {variable}");
        return Error::new(Kind::Network, message)
            .hint(format!("correct {variable}; NO_PROXY={host} goes to {host} without a proxy"));
    }
    let host = peer.host();
    let error = Error::new(Kind::Network, format!("there is no host '{host}'"));
    match host.contains('.') {
        true => error,
        false => error.hint(
            "a reference begins with its registry: docker.io/library/busybox, not library/busybox",
        ),
    }
}

/// Messages of resolvers for a name that does not exist (EAI_NONAME), in glibc, musl and macOS.
const UNKNOWN_NAME: [&str; 3] =
    ["Name or service not known", "Name does not resolve", "nodename nor servname provided"];

/// Message of the HTTP library for a proxy that answers 407.
const WANTS_LOGIN: &str = "proxy authorization required";

/// Message of the HTTP library for a proxy that answers with another error.
const NO_TUNNEL: &str = "tunnel error: unsuccessful";

/// Returns the hint for a proxy that answers 407.
pub(crate) fn proxy_login(via: &Proxy) -> String {
    let (variable, authority) = (via.variable(), via.authority());
    match via.has_login() {
        true => format!("the proxy refuses the login that {variable} names: correct it"),
        false => format!("the proxy wants a login: {variable}=http://USER:PASSWORD@{authority}"),
    }
}

const SPEAKS_HTTP: &str = "if this registry speaks plain HTTP, use --insecure";

fn explain_tls(cause: &rustls::Error, peer: &Peer) -> Error {
    let host = peer.host();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let Some((why, remedy)) = certificate(cause, name) else {
        return not_connected(cause, peer);
    };
    let message = format!("the certificate of {peer} is not trusted: {why}");
    Error::new(Kind::Network, message).hint(match remedy {
        Remedy::Renew => "renew it, or check the clock of this machine".to_owned(),
        Remedy::Clock => "check the clock of this machine".to_owned(),
        Remedy::Create => format!("make another one: {}", create(name)),
        Remedy::Trust => trust("the authority that signed it, name its certificate", host),
        Remedy::TrustItself => trust("it, name this very certificate", host),
    })
}

/// Returns the error for a TLS connection that failed for another reason than the server's certificate.
fn not_connected(cause: &rustls::Error, peer: &Peer) -> Error {
    let error =
        |why: &str| Error::new(Kind::Network, format!("no TLS connection to {peer}: {why}"));
    let identity = || {
        let folder = format!("/etc/containers/certs.d/{}/", peer.host());
        format!("put yours, client.cert with client.key, into {folder}")
    };
    match cause {
        rustls::Error::InvalidMessage(_) => error(&cause.to_string()).hint(SPEAKS_HTTP),
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                error("it asks for a certificate of the client").hint(identity())
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate => {
                error("it refuses the certificate of the client, or the lack of one")
                    .hint(identity())
            }
            AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::ProtocolVersion => error("it ended the handshake").hint(format!(
                "it has to offer TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305; if it \
                 asks for a certificate of the client, {}",
                identity()
            )),
            _ => error(&cause.to_string()),
        },
        _ => error(&cause.to_string()),
    }
}

/// Remedy for a certificate that is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    Renew,
    Clock,
    Create,
    Trust,
    TrustItself,
}

/// Returns the reason why the certificate of the server `name` is not trusted; `None` for an error about something
/// else.
pub(crate) fn certificate(cause: &rustls::Error, name: &str) -> Option<(String, Remedy)> {
    let rustls::Error::InvalidCertificate(reason) = cause else { return None };
    let (why, remedy) = match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("it has expired", Remedy::Renew)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("it is not valid yet", Remedy::Clock)
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => (
            "it names no host in its subjectAltName (a common name does not count)",
            Remedy::Create,
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            return Some((format!("it is not for the name '{name}'"), Remedy::Create));
        }
        CertificateError::UnknownIssuer => {
            ("no authority that is trusted has signed it", Remedy::Trust)
        }
        CertificateError::BadSignature => {
            ("the authority of that name that is trusted has not signed it", Remedy::Trust)
        }
        reason if tls::is_authority(reason) => (
            "it is marked as an authority's (CA:TRUE), and is itself not trusted",
            Remedy::TrustItself,
        ),
        reason if tls::is_short_key(reason) => {
            ("its key, or that of its authority, is of RSA below 2048 bits", Remedy::Create)
        }
        reason if tls::is_other_use(reason) => {
            ("it is not for servers (extendedKeyUsage without serverAuth)", Remedy::Create)
        }
        reason if tls::is_unknown_extension(reason) => {
            ("it has a critical extension that is not supported", Remedy::Create)
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            ("it is signed in a way that is not supported, such as with SHA-1", Remedy::Create)
        }
        CertificateError::BadEncoding => ("it is not encoded as X.509 asks for", Remedy::Create),
        reason if tls::is_old_version(reason) => {
            ("it is of a version before 3, which has no subjectAltName", Remedy::Create)
        }
        // The library's own text is for developers.
        _ => ("the TLS library does not accept it", Remedy::Create),
    };
    Some((why.to_owned(), remedy))
}

/// Returns how to trust the certificate of a host.
fn trust(what: &str, host: &str) -> String {
    format!(
        "to trust {what} with --ca-bundle FILE, or put it \
         into /etc/containers/certs.d/{host}/ca.crt"
    )
}

/// Returns how to make a certificate that every client accepts.
fn create(name: &str) -> String {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let kind = if bare.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout domain.key -out domain.crt \
         -subj /CN={bare} -addext subjectAltName={kind}:{bare}"
    )
}

/// Returns the first cause of a type. I/O errors carry causes that `source` skips.
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

/// Returns the last cause, which is the most specific: those above it only say that something failed.
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
    use super::super::proxy::Proxies;
    use super::*;

    #[test]
    fn a_name_that_is_nobody_s_is_not_asked_for_again() {
        let noname = "failed to lookup address information: Name or service not known";
        let again = "failed to lookup address information: Temporary failure in name resolution";
        let peer = |url: &str, proxies: &Proxies| Peer::new(&url.parse().unwrap(), proxies);
        let direct = Proxies::none();
        let example = peer("https://no.example/", &direct);
        assert!(matches!(unreachable(&example, noname), Failure::Lasting(_)));
        assert!(matches!(unreachable(&example, again), Failure::Passing { .. }));
        let error = unreachable(&peer("https://library/", &direct), noname).into_error();
        assert_eq!(error.to_string(), "there is no host 'library'");
        assert!(error.hint_text().is_some());
        let proxies =
            Proxies::new(|name| (name == "HTTPS_PROXY").then(|| "http://me:pw@p:1".into()));
        let error = unreachable(&peer("https://r.example/", &proxies), noname).into_error();
        assert_eq!(error.to_string(), "there is no host 'p', which is the proxy of HTTPS_PROXY");
    }
}
