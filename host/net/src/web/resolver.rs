//! The resolver of names. It checks every address before a connection is made.
//!
//! The connection uses the checked addresses, so a name that resolves to another address the next time (DNS rebinding)
//! gains nothing. What this module refuses: a name all of whose addresses are neither public nor allowed.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::allow::Allow;
use crate::http::failure::NotNamed;
use occystrap_base::error::{Error, Kind};

/// A future with the addresses of a name. The port is not used.
type Looked = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

/// A function that resolves names.
type Lookup = Arc<dyn Fn(String) -> Looked + Send + Sync>;

/// The resolver of one client.
pub struct Resolver {
    allow: Arc<Allow>,
    lookup: Lookup,
}

impl Resolver {
    /// Returns a resolver that uses that of the operating system.
    #[must_use]
    pub fn new(allow: Arc<Allow>) -> Self {
        let system = |host: String| -> Looked {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
        };
        Self { allow, lookup: Arc::new(system) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow, lookup) = (Arc::clone(&self.allow), Arc::clone(&self.lookup));
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = lookup(host.clone()).await?;
            let (good, bad): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.into_iter().partition(|address| allow.reaches(&host, address.ip()));
            match (good.is_empty(), bad.first()) {
                (true, Some(bad)) => Err(Box::new(refused(&host, bad)) as _),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

fn refused(host: &str, found: &SocketAddr) -> NotNamed {
    let address = found.ip();
    let message = format!("{host} resolves to {address}, which is not a public address");
    let hint = format!("to allow it, allow the address as well: --allow-net {address}");
    NotNamed(Error::new(Kind::Auth, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn resolve(resolver: &Resolver) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(resolver.resolve("a.example".parse().unwrap()));
        found
            .map(|found| found.map(|address| address.ip().to_string()).collect())
            .map_err(|refused| refused.to_string())
    }

    /// Returns a resolver with given answers of a name server, one after the other.
    fn answering(allow: &[&str], answers: &'static [&'static [&'static str]]) -> Resolver {
        let mut named = Allow::default();
        allow.iter().for_each(|name| named.name(name).unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let lookup = move |_: String| -> Looked {
            let answer = answers[asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)];
            let parse = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
            Box::pin(std::future::ready(Ok(answer.iter().map(parse).collect())))
        };
        Resolver { allow: Arc::new(named), lookup: Arc::new(lookup) }
    }

    #[test]
    fn a_name_that_is_bound_again_gains_nothing() {
        let rebinding: &[&[&str]] =
            &[&["1.1.1.1"], &["127.0.0.1"], &["169.254.169.254", "::1"], &["1.1.1.1", "10.0.0.1"]];
        let resolver = answering(&["a.example"], rebinding);
        assert_eq!(resolve(&resolver).unwrap(), ["1.1.1.1"]);
        assert!(
            resolve(&resolver).unwrap_err().contains("127.0.0.1, which is not a public address")
        );
        assert!(resolve(&resolver).unwrap_err().contains("169.254.169.254"));
        // Only the public addresses are used.
        assert_eq!(resolve(&resolver).unwrap(), ["1.1.1.1"]);
    }

    #[test]
    fn an_address_that_was_named_is_reached() {
        let resolver = answering(&["a.example", "10.0.0.0/8"], &[&["10.0.0.1"]]);
        assert_eq!(resolve(&resolver).unwrap(), ["10.0.0.1"]);
    }
}
