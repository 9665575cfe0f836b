//! Server of a request, as messages name it.

use std::fmt;

use url::Url;

use super::proxy::{Proxies, Proxy};
use super::redirect::authority;

/// Server, and the proxy in front of it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    host: String,
    via: Option<Proxy>,
}

impl Peer {
    /// Returns the server of a URL. Only the host is kept: the text after it may be a secret.
    pub(crate) fn new(url: &Url, proxies: &Proxies) -> Self {
        Self { host: authority(url), via: proxies.of(url).cloned() }
    }

    /// Returns the host alone, with its port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the proxy that requests go through.
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
