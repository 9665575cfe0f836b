//! The server that a request is for, as messages name it.

use std::fmt;

use url::Url;

use super::proxy::{Proxies, Proxy};
use super::redirect::authority;

/// A server, and the proxy that stands before it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    host: String,
    via: Option<Proxy>,
}

impl Peer {
    /// The server of a URL. A host is enough of it: what is after that may be a secret.
    pub(crate) fn new(url: &Url, proxies: &Proxies) -> Self {
        Self { host: authority(url), via: proxies.of(url).cloned() }
    }

    /// The host alone, with its port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The proxy that requests go through.
    pub(crate) fn via(&self) -> Option<&Proxy> {
        self.via.as_ref()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.via {
            None => f.write_str(&self.host),
            Some(via) => {
                write!(f, "{} (through the proxy {via} of {})", self.host, via.variable())
            }
        }
    }
}
