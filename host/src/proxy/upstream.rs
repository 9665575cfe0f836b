//! The registries from which clients pull through the proxy: a closed list, which the user names. Nothing else is asked.

use super::downstream::Downstream;
use crate::api::Clients;
use occystrap_base::error::{Error, Result};
use occystrap_net::context::{Blocking, Context};
use occystrap_net::registry::{Reference, Repository};
use occystrap_net::uri::Uri;
use occystrap_serve::backend::Asked;
use occystrap_serve::refusal::{Code, Refusal};

/// The registries from which clients pull. The first is for names without a registry.
#[derive(Clone, Default)]
pub struct Upstreams(Vec<Upstream>);

#[derive(Clone)]
struct Upstream {
    /// As clients name it: `docker.io`, `localhost:5000`.
    host: String,
    uri: Uri,
}

/// A repository of an upstream registry.
#[derive(Clone)]
pub struct Through {
    /// The repository there.
    pub reference: Reference,
    /// The name of the repository downstream: that of the registry, a slash, and the name there.
    pub name: String,
    uri: Uri,
}

impl Upstreams {
    /// Parses what the user typed: `[USER:PASSWORD@]HOST[:PORT]`, or the same as a URI with options. Errors when one of them is
    /// no registry, or is named twice.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let mut all: Vec<Upstream> = Vec::new();
        for text in texts {
            let typed = match text.contains("://") {
                true => text.clone(),
                false => format!("registry://{text}"),
            };
            let uri = Uri::parse(&typed)?;
            let host = uri.rest.trim_end_matches('/').to_owned();
            let shown = Uri::hide(text);
            if uri.scheme != "registry" || host.contains('/') {
                return Err(Error::usage(format!("'{shown}' is not a registry"))
                    .hint("write HOST[:PORT], such as docker.io"));
            }
            let host = Reference::parse(&format!("{host}/any/any"))?.host;
            if all.iter().any(|known| known.host == host) {
                return Err(Error::usage(format!("the upstream '{host}' is named twice")));
            }
            all.push(Upstream { host, uri });
        }
        Ok(Self(all))
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the repository of an upstream registry that a request means: of the one that it names (`?ns=`), of the one
    /// that the name begins with, else of the first one. Returns `None` without upstreams. Errors with 404 for a registry
    /// that is not in the list.
    pub fn chosen(&self, asked: &Asked) -> Result<Option<Through>, Refusal> {
        let name = asked.repository.as_str();
        let by_namespace = asked.namespace.as_ref().and_then(|namespace| {
            let named = self.0.iter().find(|one| one.is_called(namespace))?;
            Some((named, name))
        });
        let by_name = || {
            let (first, rest) = name.split_once('/')?;
            let named = self.0.iter().find(|one| one.folder() == first)?;
            Some((named, rest))
        };
        let (upstream, name) = match (by_namespace.or_else(by_name), &asked.namespace) {
            (Some(named), _) => named,
            (None, Some(_)) => {
                let message = "this proxy does not pull from the registry of the parameter 'ns'";
                return Err(Refusal::not_found(Code::NameUnknown, message));
            }
            (None, None) => match self.0.first() {
                Some(default) => (default, name),
                None => return Ok(None),
            },
        };
        let typed = format!("{}/{name}", upstream.host);
        let too_long =
            |_| Refusal::bad(Code::NameInvalid, "the name of the repository is too long");
        let reference = Reference::parse(&typed).map_err(too_long)?;
        let name = format!("{}/{}", upstream.folder(), reference.repository);
        Ok(Some(Through { reference, name, uri: upstream.uri.clone() }))
    }

    /// Returns whether a request can mean an upstream registry alone: it names one.
    #[must_use]
    pub fn is_named(&self, asked: &Asked) -> bool {
        let first = asked.repository.split_once('/').map(|(first, _)| first);
        asked.namespace.is_some()
            || first.is_some_and(|first| self.0.iter().any(|one| one.folder() == first))
    }

    /// Checks that the names of all repositories of the upstream registries are valid downstream.
    pub fn check(&self, downstream: &Downstream) -> Result<()> {
        self.0
            .iter()
            .try_for_each(|one| downstream.reference(&format!("{}/any", one.folder())).map(drop))
    }
}

impl Upstream {
    /// Returns the first part of the names downstream. A port cannot be part of such a name as it is.
    fn folder(&self) -> String {
        self.host.replace(':', "_")
    }

    fn is_called(&self, namespace: &str) -> bool {
        // Docker Hub has several names, which are one for a reference.
        let named = Reference::parse(&format!("{namespace}/any/any"));
        named.is_ok_and(|named| named.host == self.host)
    }
}

impl Through {
    /// Returns a client of the repository.
    pub fn repository(&self, clients: &Clients, context: &Context) -> Result<Blocking<Repository>> {
        let client = clients.of(&self.uri)?;
        let repository = client.repository(&self.reference, context.counters.clone())?;
        Ok(Blocking::new(repository, context))
    }

    /// Returns the name under which content of the repository is kept here. No client can ask for it as for a repository: such
    /// a name has no space.
    #[must_use]
    pub fn key(&self) -> String {
        format!("upstream {}", self.name)
    }

    /// Returns the URI of an image of the repository.
    #[must_use]
    pub fn image(&self, target: &str) -> Uri {
        let Reference { host, repository, .. } = &self.reference;
        let colon = if target.contains(':') { '@' } else { ':' };
        Uri { rest: format!("{host}/{repository}{colon}{target}"), ..self.uri.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        upstreams: &[&str],
        repository: &str,
        namespace: Option<&str>,
    ) -> Result<String, u16> {
        let texts: Vec<String> = upstreams.iter().map(|text| (*text).to_owned()).collect();
        let asked = Asked {
            repository: repository.to_owned(),
            namespace: namespace.map(str::to_owned),
            is_head: false,
        };
        let chosen = Upstreams::parse(&texts).unwrap().chosen(&asked);
        let chosen = chosen.map_err(|refusal| refusal.status.as_u16())?;
        Ok(chosen.map_or("none".to_owned(), |through| {
            format!("{} as {}", through.image("v1").rest, through.name)
        }))
    }

    #[test]
    fn a_request_means_a_registry_of_the_list_or_none() {
        let both = ["docker.io", "localhost:5000"];
        for (repository, namespace, expected) in [
            ("busybox", None, Ok("docker.io/library/busybox:v1 as docker.io/library/busybox")),
            ("a/b", Some("docker.io"), Ok("docker.io/a/b:v1 as docker.io/a/b")),
            ("a/b", Some("registry-1.docker.io"), Ok("docker.io/a/b:v1 as docker.io/a/b")),
            ("a", Some("localhost:5000"), Ok("localhost:5000/a:v1 as localhost_5000/a")),
            ("localhost_5000/a", None, Ok("localhost:5000/a:v1 as localhost_5000/a")),
            ("docker.io/library/a", None, Ok("docker.io/library/a:v1 as docker.io/library/a")),
            // A client that calls the registry otherwise, and is configured with a path.
            ("docker.io/a/b", Some("hub.test"), Ok("docker.io/a/b:v1 as docker.io/a/b")),
            ("a", Some("10.0.0.1"), Err(404)),
            ("a", Some("quay.io"), Err(404)),
            ("a", Some(""), Err(404)),
        ] {
            let found = chosen(&both, repository, namespace);
            assert_eq!(found, expected.map(str::to_owned), "{repository} {namespace:?}");
        }
        assert_eq!(chosen(&[], "a", None), Ok("none".to_owned()));
        assert_eq!(chosen(&[], "a", Some("docker.io")), Err(404));
    }

    #[test]
    fn wrong_upstreams_are_refused() {
        for wrong in [&["docker.io/library"][..], &["dir:///x"], &["docker.io", "index.docker.io"]]
        {
            let texts: Vec<String> = wrong.iter().map(|text| (*text).to_owned()).collect();
            assert!(Upstreams::parse(&texts).is_err(), "{wrong:?}");
        }
    }
}
