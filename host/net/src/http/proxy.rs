//! Proxies of the environment: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in upper or lower case, read as Go reads
//! them (`golang.org/x/net/http/httpproxy`), and so as Docker, Podman and skopeo do.
//!
//! What it refuses: a proxy for `localhost` and loopback addresses; `HTTP_PROXY` where a web server runs the program
//! (`REQUEST_METHOD` is set: a client of that server chooses the variable); and to show a password.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

use super::url_secrets;

/// Schemes of proxies that are supported. Any other scheme is taken for HTTP's, as in Go.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// Proxies, one for each scheme, and their exceptions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// Proxy of requests.
#[derive(Clone, PartialEq)]
pub struct Proxy {
    url: Url,
    /// Name of the variable that names it.
    variable: &'static str,
}

/// Entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq)]
enum Exception {
    All,
    Network(IpNet),
    Address {
        address: IpAddr,
        port: Option<String>,
    },
    /// Domain with a dot in front. `exact` is true where the entry is also for the name itself.
    Domain {
        suffix: String,
        exact: bool,
        port: Option<String>,
    },
}

impl Proxies {
    /// Returns the proxies of this process's environment.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Returns no proxy for any request.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns the proxies that variables name. A malformed URL is ignored.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| {
            let set = |name: &'static str| {
                variable(name).filter(|value| !value.is_empty()).map(|value| (name, value))
            };
            names.into_iter().find_map(set)
        };
        let proxy = |names| first(names).and_then(|(name, value)| Proxy::parse(name, &value));
        let is_cgi = variable("REQUEST_METHOD").is_some_and(|value| !value.is_empty());
        let http = proxy(["HTTP_PROXY", "http_proxy"]).filter(|_| !is_cgi);
        let https = proxy(["HTTPS_PROXY", "https_proxy"]);
        let exceptions = first(["NO_PROXY", "no_proxy"]).map(|(_, value)| exceptions(&value));
        Self { http, https, exceptions: exceptions.unwrap_or_default() }
    }

    /// Returns the proxy for a URL.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        };
        proxy.filter(|_| self.is_proxied(url))
    }

    fn is_proxied(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        if host == "localhost" {
            return false;
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if address.is_some_and(|address| address.is_loopback()) {
            return false;
        }
        let port = url.port_or_known_default().map(|port| port.to_string()).unwrap_or_default();
        !self.exceptions.iter().any(|exception| exception.fits(bare, address, &port))
    }

    /// Sends connections through these proxies, and through no others.
    pub(crate) fn apply(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        let builder = builder.no_proxy();
        if self.http.is_none() && self.https.is_none() {
            return builder;
        }
        let proxies = Arc::new(self.clone());
        builder.proxy(reqwest::Proxy::custom(move |url| {
            proxies.of(url).map(|proxy| proxy.url.clone())
        }))
    }
}

impl Proxy {
    fn parse(variable: &'static str, value: &str) -> Option<Self> {
        let url = match value.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => {
                let scheme = scheme.to_ascii_lowercase();
                let scheme = if SCHEMES.contains(&&*scheme) { &scheme } else { "http" };
                Url::parse(&format!("{scheme}://{rest}"))
            }
            _ => Url::parse(&format!("http://{value}")),
        };
        let url = url.ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()))?;
        url_secrets::keep_login(&url);
        Some(Self { url, variable })
    }

    /// Returns the host of the proxy, for messages.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns host and port of the proxy, for messages.
    pub(crate) fn authority(&self) -> String {
        super::redirect::authority(&self.url)
    }

    /// Returns whether the variable has a login for it.
    pub(crate) fn has_login(&self) -> bool {
        !self.url.username().is_empty() || self.url.password().is_some()
    }

    /// Returns the name of its variable.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        self.variable
    }
}

/// Shows the proxy without its login.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.authority())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}, {})", self.variable)
    }
}

impl Exception {
    /// Returns whether the entry matches a host, which is given without brackets, and as an address where it is one.
    fn fits(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let is_port = |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == port);
        match self {
            Self::All => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address { address: wanted, port } => address == Some(*wanted) && is_port(port),
            Self::Domain { suffix, exact, port } => {
                (host.ends_with(suffix.as_str()) || *exact && host == &suffix[1..]) && is_port(port)
            }
        }
    }
}

/// Reads a value of `NO_PROXY`: entries that are malformed are skipped.
fn exceptions(list: &str) -> Vec<Exception> {
    let mut all = Vec::new();
    for entry in list.split(',') {
        let entry = entry.trim().to_lowercase();
        if entry == "*" {
            return vec![Exception::All];
        }
        all.extend(exception(&entry));
    }
    all
}

fn exception(entry: &str) -> Option<Exception> {
    if let Ok(network) = entry.parse::<IpNet>() {
        return Some(Exception::Network(network));
    }
    let (host, port) = match split_port(entry) {
        Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
        None => (entry, None),
    };
    let port = port.map(str::to_owned);
    if host.is_empty() {
        return None;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Exception::Address { address: address.to_canonical(), port });
    }
    let host = if host.starts_with("*.") { &host[1..] } else { host };
    let name = host.strip_prefix('.').unwrap_or(host);
    let exact = name.len() == host.len();
    // The name is spelled as in the host of a URL.
    let name = match name.is_ascii() {
        true => name.to_owned(),
        false => match Host::parse(name) {
            Ok(Host::Domain(name)) => name,
            _ => name.to_owned(),
        },
    };
    Some(Exception::Domain { suffix: format!(".{name}"), exact, port })
}

/// Splits `HOST:PORT` and `[ADDRESS]:PORT`; `None` where there is no port, or where it is not clear which part is the
/// port.
fn split_port(entry: &str) -> Option<(&str, &str)> {
    let (host, port) = entry.rsplit_once(':')?;
    if let Some(rest) = entry.strip_prefix('[') {
        let (inner, after) = rest.split_once(']')?;
        let port = after.strip_prefix(':')?;
        return (!inner.contains('[') && !port.contains([':', '[', ']'])).then_some((inner, port));
    }
    (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
