//! The places on web servers, and the addresses that are not public, that the user allowed.
//!
//! What this module refuses: everything else.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::{canonical, is_public};
use crate::http::redirect::authority;
use crate::uri::{Uri, logins_in};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::secret;

/// The name of the local machine (RFC 6761, 6.3).
const LOCALHOST: &str = "localhost";

/// The allowed places and addresses.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    /// URLs that end with `/`. Each allows itself and everything below it.
    places: Vec<Url>,
    networks: Vec<IpNet>,
}

impl Allow {
    /// Adds a value of `--allow-net`: `HOST[:PORT][/PATH]` for HTTPS, the same after `http://` for plain HTTP, or
    /// `ADDRESS/BITS`, a network that names may resolve to. Errors ([`Kind::Usage`]) when it has another form.
    pub fn name(&mut self, text: &str) -> Result<()> {
        let malformed = || {
            let shown =
                if text.contains(['@', '?']) { Uri::hide(&https(text)) } else { text.into() };
            Error::usage(format!("--allow-net '{shown}': expected HOST[:PORT] or ADDRESS/BITS"))
                .hint("such as files.example.com, http://nas.local:8080 or 192.168.1.0/24")
        };
        if let Ok(network) = text.parse::<IpNet>() {
            self.networks.push(network);
            return Ok(());
        }
        logins_in(&https(text)).iter().for_each(|login| secret::keep(login));
        let mut url = Url::parse(&https(text)).map_err(|_| malformed())?;
        let odd = !matches!(url.scheme(), "http" | "https")
            || has_login(&url)
            || url.query().is_some()
            || url.fragment().is_some()
            || url.host_str().is_none_or(|host| host.ends_with('.') || host.contains('*'));
        if odd {
            return Err(malformed());
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        self.place(url);
        Ok(())
    }

    /// Adds a place that the user allowed in another way, such as a destination. The URL must end with `/`.
    pub fn place(&mut self, url: Url) {
        // An address that the user typed is allowed, public or not.
        if let Some(address) = literal(&url) {
            self.networks.push(IpNet::from(address));
        }
        self.places.push(url);
    }

    /// Returns whether a URL is at or below an allowed place. If its host is an address, the address must be allowed as
    /// well.
    #[must_use]
    pub fn permits(&self, url: &Url) -> bool {
        let within = |place: &&Url| {
            let folder = place.path();
            let path = url.path();
            // The URL of a folder may also lack the slash.
            place.origin() == url.origin()
                && (path.starts_with(folder) || folder.strip_suffix('/') == Some(path))
        };
        self.places.iter().any(|place| within(&place))
            && literal(url).is_none_or(|address| self.reaches("", address))
    }

    /// Returns whether connections to an address of `host` are allowed.
    #[must_use]
    pub fn reaches(&self, host: &str, address: IpAddr) -> bool {
        let address = canonical(address);
        let own = host == LOCALHOST && address.is_loopback() && self.names_host(LOCALHOST);
        is_public(address) || own || self.networks.iter().any(|network| network.contains(&address))
    }

    /// Errors when the host of a URL is an address that is not allowed. The addresses of a name are checked when it is
    /// resolved.
    pub fn check_address(&self, url: &Url) -> Result<()> {
        match literal(url).filter(|address| !self.reaches("", *address)) {
            None => Ok(()),
            Some(address) => {
                Err(Error::new(Kind::Auth, format!("{} is not a public address", authority(url)))
                    .hint(format!("to allow it: --allow-net {address}")))
            }
        }
    }

    /// Returns whether plain HTTP is allowed for the host and port of a URL.
    #[must_use]
    pub fn is_plain(&self, url: &Url) -> bool {
        let plain = |place: &&Url| place.scheme() == "http" && place.host() == url.host();
        // The port as it is typed: URLs omit 80 and 443.
        let port = url.port();
        self.places.iter().filter(plain).any(|place| place.port() == port)
    }

    fn names_host(&self, host: &str) -> bool {
        self.places.iter().any(|place| place.host_str() == Some(host))
    }
}

/// Returns a place with a scheme. The default is HTTPS.
fn https(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// Returns whether a URL contains a login.
pub(super) fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(canonical(address.into())),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(names: &[&str]) -> Allow {
        let mut allow = Allow::default();
        names.iter().for_each(|name| allow.name(name).unwrap());
        allow
    }

    fn permits(names: &[&str], url: &str) -> bool {
        allow(names).permits(&Url::parse(url).unwrap())
    }

    #[test]
    fn only_named_urls_are_allowed() {
        let cases = [
            ("a.example", "https://a.example/x", true),
            ("A.Example", "https://a.example/x", true),
            ("a.example:443", "https://a.example/x", true),
            ("a.example", "https://a.example:8443/x", false),
            ("a.example", "http://a.example/x", false),
            ("a.example", "https://b.a.example/x", false),
            ("a.example", "https://a.example.evil/x", false),
            ("http://a.example", "https://a.example/x", false),
            ("http://a.example", "http://a.example/x", true),
            ("http://a.example:8080", "http://a.example/x", false),
            ("a.example/in", "https://a.example/in/x", true),
            ("a.example/in", "https://a.example/in", true),
            ("a.example/in", "https://a.example/inner", false),
            ("a.example/in/", "https://a.example/in/../out", false),
            ("a.example/in/", "https://a.example/in/%2e%2e/out", false),
            ("10.0.0.1", "https://10.0.0.1/", true),
            ("[::1]:81", "https://[::1]:81/", true),
            ("10.0.0.0/8", "https://10.0.0.1/", false),
        ];
        for (name, url, expected) in cases {
            assert_eq!(permits(&[name], url), expected, "{name}: {url}");
        }
        assert!(!permits(&[], "https://a.example/"));
    }

    #[test]
    fn an_address_that_is_not_public_is_named_itself() {
        let address = |text: &str| text.parse().unwrap();
        let named = allow(&["files.example", "192.168.1.7", "10.1.0.0/16"]);
        for (text, expected) in [
            ("1.1.1.1", true),
            ("192.168.1.7", true),
            ("::ffff:192.168.1.7", true),
            ("192.168.1.8", false),
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(named.reaches("files.example", address(text)), expected, "{text}");
        }
        let local = allow(&["http://localhost:81"]);
        assert!(local.reaches("localhost", address("127.0.0.1")));
        assert!(local.reaches("localhost", address("::1")));
        assert!(!local.reaches("localhost", address("10.0.0.1")));
        assert!(!local.reaches("other.example", address("127.0.0.1")));
        assert!(!named.reaches("localhost", address("127.0.0.1")));
    }

    #[test]
    fn a_text_that_names_no_place_is_refused() {
        for bad in [
            "",
            "/",
            "http://",
            "ftp://a",
            "user@a",
            "https://u:p@a",
            "a?x",
            "a#x",
            "a b",
            "a.",
            "*.example",
        ] {
            let outcome = Allow::default().name(bad);
            assert_eq!(outcome.map_err(|error| error.exit_code()), Err(2), "{bad}");
        }
    }
}
