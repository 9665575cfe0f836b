//! Address of the container engine: from the URI, from `DOCKER_HOST`, or the first socket that exists.
//!
//! What it refuses: transports that occystrap does not support (`ssh://`, `npipe://`), and TLS without a check of the
//! engine's certificate.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::uri::Uri;
use occystrap_base::error::{Error, Kind, Result};

/// Ports that Docker uses by default: with TLS, and without.
const PORTS: (u16, u16) = (2376, 2375);

/// Docker's socket.
const DOCKER: &str = "/var/run/docker.sock";

/// Address of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// `HOST:PORT`.
        authority: String,
        /// Directory with `ca.pem`, `cert.pem` and `key.pem`, where the engine uses TLS.
        certificates: Option<PathBuf>,
    },
}

impl Address {
    /// Returns the engine that `socket` (of a URI) names, or the environment, or the first of the usual sockets that
    /// exists: Docker's, rootless Docker's, Podman's, rootless Podman's.
    pub fn find(
        socket: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
        exists: impl Fn(&Path) -> bool,
    ) -> Result<Self> {
        if let Some(socket) = socket {
            let path = socket.strip_prefix("unix://").unwrap_or(socket);
            if path.is_empty() {
                return Err(Error::usage("option 'socket': expected the path of a socket"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        if let Some(host) = variable("DOCKER_HOST") {
            return Self::parse(&host, variable);
        }
        let places = usual(variable("XDG_RUNTIME_DIR").as_deref());
        match places.iter().find(|path| exists(path)) {
            Some(path) => Ok(Self::Unix(path.clone())),
            None => {
                let places: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
                let message = format!(
                    "no container engine was found: none of these exists: {}",
                    places.join(", ")
                );
                Err(Error::new(Kind::Network, message).hint(WHERE))
            }
        }
    }

    /// Returns Docker's default address.
    #[must_use]
    pub fn usual() -> Self {
        Self::Unix(PathBuf::from(DOCKER))
    }

    /// Parses the value of `DOCKER_HOST`.
    fn parse(host: &str, variable: impl Fn(&'static str) -> Option<String>) -> Result<Self> {
        if let Some(path) = host.strip_prefix("unix://")
            && !path.is_empty()
        {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let Some(authority) = host.strip_prefix("tcp://").map(|rest| rest.trim_end_matches('/'))
        else {
            return Err(bad_host(host));
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if authority.is_empty() || !authority.chars().all(is_name) {
            return Err(bad_host(host));
        }
        let certificates = variable("DOCKER_TLS_VERIFY").map(|_| {
            let home = || variable("HOME").map_or_else(PathBuf::new, PathBuf::from).join(".docker");
            variable("DOCKER_CERT_PATH").map_or_else(home, PathBuf::from)
        });
        let port = if certificates.is_some() { PORTS.0 } else { PORTS.1 };
        // The colons of an IPv6 address are in brackets.
        let after_brackets = authority.rsplit(']').next().unwrap_or(authority);
        let authority = match after_brackets.contains(':') {
            true => authority.to_owned(),
            false => format!("{authority}:{port}"),
        };
        Ok(Self::Tcp { authority, certificates })
    }
}

/// Hint where no engine was found.
pub(super) const WHERE: &str =
    "is the daemon running? name its socket with ?socket=PATH, or with DOCKER_HOST=unix:///PATH";

fn usual(runtime: Option<&str>) -> Vec<PathBuf> {
    let runtime = runtime.map(Path::new);
    let own = |name: &str| runtime.map(|folder| folder.join(name));
    let places = [
        Some(PathBuf::from(DOCKER)),
        own("docker.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
        own("podman/podman.sock"),
    ];
    places.into_iter().flatten().collect()
}

fn bad_host(host: &str) -> Error {
    let shown = Uri::hide(host);
    let error = Error::usage(format!(
        "DOCKER_HOST is '{shown}', which is not an address of an engine that occystrap supports"
    ));
    match host.starts_with("ssh://") {
        true => error.hint("forward the socket with 'ssh -L /tmp/docker.sock:/var/run/docker.sock HOST', and name it with ?socket=/tmp/docker.sock"),
        false => error.hint("expected unix:///PATH or tcp://HOST:PORT"),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { authority, .. } => write!(f, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(socket: Option<&str>, set: &[(&str, &str)], there: &[&str]) -> Result<String> {
        let environment = |name: &str| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let exists = |path: &Path| there.iter().any(|known| Path::new(known) == path);
        Address::find(socket, environment, exists).map(|address| match &address {
            Address::Tcp { certificates: Some(folder), .. } => {
                format!("{address} with {}", folder.display())
            }
            _ => address.to_string(),
        })
    }

    #[test]
    fn the_uri_goes_before_the_environment_and_that_before_what_is_there() {
        let host = ("DOCKER_HOST", "unix:///b");
        let there = ["/run/podman/podman.sock", "/run/user/1/docker.sock"];
        assert_eq!(find(Some("/a"), &[host], &there).unwrap(), "unix:///a");
        assert_eq!(find(Some("unix:///a"), &[host], &there).unwrap(), "unix:///a");
        assert_eq!(find(None, &[host], &there).unwrap(), "unix:///b");
        let own = ("XDG_RUNTIME_DIR", "/run/user/1");
        assert_eq!(find(None, &[own], &there).unwrap(), "unix:///run/user/1/docker.sock");
        assert_eq!(find(None, &[], &there).unwrap(), "unix:///run/podman/podman.sock");
        assert_eq!(
            find(None, &[("DOCKER_HOST", "")], &there).unwrap(),
            "unix:///run/podman/podman.sock"
        );
        let error = find(None, &[own], &[]).unwrap_err();
        assert!(error.to_string().contains("/run/user/1/podman/podman.sock"), "{error}");
    }

    #[test]
    fn tcp_has_its_ports_and_its_certificates() {
        let tcp = |host, more: &[(&str, &str)]| {
            find(None, &[&[("DOCKER_HOST", host)], more].concat(), &[]).unwrap()
        };
        assert_eq!(tcp("tcp://host", &[]), "tcp://host:2375");
        assert_eq!(tcp("tcp://[::1]", &[]), "tcp://[::1]:2375");
        assert_eq!(tcp("tcp://[::1]:1/", &[]), "tcp://[::1]:1");
        let tls = ("DOCKER_TLS_VERIFY", "1");
        assert_eq!(tcp("tcp://h", &[tls, ("HOME", "/root")]), "tcp://h:2376 with /root/.docker");
        let path = ("DOCKER_CERT_PATH", "/certs");
        assert_eq!(tcp("tcp://h:1", &[tls, path]), "tcp://h:1 with /certs");
        // As in the docker command: the path alone does not turn TLS on.
        assert_eq!(tcp("tcp://h:1", &[path]), "tcp://h:1");
    }

    #[test]
    fn other_ways_are_refused() {
        for bad in
            ["ssh://user:secret@h", "npipe:////./pipe/x", "h:1", "unix://", "tcp://", "tcp://a/b"]
        {
            let error = find(None, &[("DOCKER_HOST", bad)], &[]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
