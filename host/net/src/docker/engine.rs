//! Calls to an engine. Each is made once: an engine is on this machine or near, and a load that was started cannot be
//! repeated from here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::address::Address;
use super::answer::{
    About, EngineHistoryStep, EngineInfo, Inspected, ListedNames, RawImage, Version,
};
use super::failure::{absent, explain, refused, silence};
use crate::http::Proxies;
use crate::http::certificates;
use crate::http::tls::{self, Authorities};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result, io_reason};
use occystrap_base::files::regular;
use occystrap_base::oci::ImageName;

/// Longest silence in a call that looks something up. Engines answer within milliseconds, or, under load, within
/// seconds.
pub const LOOKING: Duration = Duration::from_secs(60);

/// Longest silence while an engine works on an image. Before an export it collects the whole image in a temporary
/// directory, and after a load it unpacks the image, both without output. Docker 20.10 on a busy machine needed 8 s for
/// each gigabyte of an export; this is enough for a hundred.
pub const WORKING: Duration = Duration::from_secs(15 * 60);

/// Bytes of the largest answer that is read. An inspected image carries its config, which may have 8 MiB.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Bytes of the longest reason of a refusal that is read.
const LARGEST_REASON: usize = 64 * 1024;

/// Bytes of the longest name. Docker's limit is 255 characters for a name and 128 for a tag, and a digest has 71.
const LONGEST_NAME: usize = 512;

/// Client for one engine. Cheap to clone. It connects at its first call.
#[derive(Clone)]
pub struct Engine {
    address: Address,
    /// Error of every call, where no engine was found.
    absent: Option<Error>,
    http: reqwest::Client,
    base: Url,
    pub(super) place: Arc<str>,
    pub(super) cancel: Cancel,
}

impl Engine {
    /// Finds the engine that `?socket=` names, or the environment, or the first usual socket that exists. Where there
    /// is none, every call fails with [`Kind::Network`]: a missing engine is like one that does not answer, and not a
    /// mistake of the user. Errors: [`Kind::Usage`] for a malformed address.
    pub fn find(socket: Option<&str>, cancel: &Cancel) -> Result<Self> {
        let environment = |name: &str| std::env::var(name).ok();
        match Address::find(socket, environment, |path: &Path| path.exists()) {
            Err(absent) if absent.kind() == Kind::Network => {
                Ok(Self { absent: Some(absent), ..Self::new(&Address::usual(), cancel)? })
            }
            found => Self::new(&found?, cancel),
        }
    }

    /// Creates a client for an address. Waits listen to `cancel`, which must be the run's and not a child of it.
    pub fn new(address: &Address, cancel: &Cancel) -> Result<Self> {
        let url = match address {
            // The host is sent along and has no meaning.
            Address::Unix(_) => "http://localhost/".to_owned(),
            Address::Tcp { authority, certificates: None } => format!("http://{authority}/"),
            Address::Tcp { authority, certificates: Some(_) } => format!("https://{authority}/"),
        };
        let base = Url::parse(&url)
            .map_err(|_| Error::usage(format!("{address} is not the address of an engine")))?;
        let proxies = Proxies::from_environment();
        let place = match proxies.of(&base).filter(|_| matches!(address, Address::Tcp { .. })) {
            Some(via) => format!("{address} (through the proxy {via} of {})", via.variable()),
            None => address.to_string(),
        };
        Ok(Self {
            address: address.clone(),
            absent: None,
            http: connect(address, &proxies)?,
            base,
            place: place.into(),
            cancel: cancel.clone(),
        })
    }

    /// Returns the address, for messages: `unix:///var/run/docker.sock`.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns whether the engine is at another machine, as far as its address says that.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match &self.address {
            Address::Unix(_) => false,
            Address::Tcp { authority, .. } => {
                let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
                let ip = host.trim_start_matches('[').trim_end_matches(']');
                host != "localhost"
                    && !ip.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        }
    }

    /// Returns the names of all images.
    pub async fn names(&self) -> Result<Vec<String>> {
        let images: Vec<ListedNames> = self.json("images/json", "the list of images").await?;
        Ok(images.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect())
    }

    /// Returns a client for the same engine with its own connections. A connection belongs to the runtime that made it;
    /// where its reader runs on that runtime, its bytes cross no thread.
    pub fn apart(&self) -> Result<Self> {
        Ok(Self { absent: self.absent.clone(), ..Self::new(&self.address, &self.cancel)? })
    }

    /// Returns a client for the same engine that does not listen to the signal to stop, to clean up after it.
    pub fn apart_from_stop(&self) -> Result<Self> {
        Self::new(&self.address, &Cancel::default())
    }

    /// Returns the description of the engine.
    pub async fn about(&self) -> Result<About> {
        let version: Version = self.json("version", "the engine's version").await?;
        let info: EngineInfo = self.json("info", "the engine's state").await?;
        let about = About::new(version, &info);
        tracing::debug!(
            place = &*self.place,
            version = occystrap_base::error::printable(&about.version),
            podman = about.podman,
            containerd_store = about.containerd_store,
            "engine"
        );
        Ok(about)
    }

    /// Returns the description of an image, by name, `name@digest`, ID or the start of an ID; `None` when the engine
    /// has no such image. Errors: [`Kind::Usage`] for text that cannot be a name, [`Kind::Network`], [`Kind::Auth`],
    /// [`Kind::Source`] for a malformed answer.
    pub async fn inspect(&self, image: &str) -> Result<Option<Inspected>> {
        let Some(raw) = self.inspected::<RawImage>(image).await? else { return Ok(None) };
        Inspected::new(raw, &format!("{}: image '{image}'", self.place)).map(Some)
    }

    /// Returns everything that the engine says about an image, as it says it; `None` when it has no such image. Errors:
    /// as [`Self::inspect`].
    pub async fn describe(&self, image: &str) -> Result<Option<serde_json::Value>> {
        self.inspected(image).await
    }

    async fn inspected<T: DeserializeOwned>(&self, image: &str) -> Result<Option<T>> {
        check_name(image)?;
        let what = format!("image '{image}'");
        let response =
            self.call(Method::GET, &format!("images/{image}/json"), &[], LOOKING).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self.expect(response, &what).await?;
        self.parse(response, &what).await.map(Some)
    }

    /// Returns the build steps of an image, first to last. Errors: as [`Self::inspect`], and [`Kind::NotFound`].
    pub async fn history(&self, image: &str) -> Result<Vec<EngineHistoryStep>> {
        check_name(image)?;
        let path = format!("images/{image}/history");
        let response = self.call(Method::GET, &path, &[], LOOKING).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.absent(image));
        }
        let what = format!("history of '{image}'");
        let response = self.expect(response, &what).await?;
        let mut steps: Vec<EngineHistoryStep> = self.parse(response, &what).await?;
        steps.reverse();
        Ok(steps)
    }

    /// Returns the error for an image that the engine does not have.
    #[must_use]
    pub fn absent(&self, image: &str) -> Error {
        absent(image, &self.place)
    }

    /// Gives an image (by name or ID) another name, and takes that name from the image that has it. A name without a
    /// tag gets `latest`. Errors: as [`Self::inspect`], and [`Kind::NotFound`].
    pub async fn tag(&self, image: &str, name: &ImageName) -> Result<()> {
        check_name(image)?;
        check_name(&name.to_string())?;
        let query = [("repo", name.repository.as_str()), ("tag", name.tag_or_latest())];
        let path = format!("images/{image}/tag");
        let response = self.call(Method::POST, &path, &query, LOOKING).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.absent(image));
        }
        self.expect(response, &format!("tagging '{image}' as '{name}'")).await.map(drop)
    }

    /// Removes a name from an image. Returns `false` when no image has the name. With its last name the image is
    /// removed, unless a container uses it: then the engine refuses ([`Kind::Network`]).
    pub async fn untag(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        let query = [("noprune", "true")];
        let path = format!("images/{name}");
        let response = self.call(Method::DELETE, &path, &query, LOOKING).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.expect(response, &format!("untagging '{name}'")).await.map(|_| true)
    }

    async fn json<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T> {
        let response = self.call(Method::GET, path, &[], LOOKING).await?;
        let response = self.expect(response, what).await?;
        self.parse(response, what).await
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Response> {
        let url = self.url(path, query)?;
        let request = self.http.request(method.clone(), url).send();
        let response = self.patiently(limit, request).await?;
        tracing::debug!(%method, path, status = response.status().as_u16(), "engine answered");
        Ok(response)
    }

    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<reqwest::RequestBuilder> {
        Ok(self.http.request(method, self.url(path, query)?))
    }

    pub(super) fn post(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: reqwest::Body,
    ) -> Result<reqwest::RequestBuilder> {
        let request = self.http.post(self.url(path, query)?).body(body);
        Ok(request.header(reqwest::header::CONTENT_TYPE, "application/x-tar"))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url> {
        if let Some(absent) = &self.absent {
            return Err(absent.clone());
        }
        let mut url = self
            .base
            .join(path)
            .map_err(|_| Error::usage(format!("'{path}' makes no call to {}", self.place)))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Returns the answer, where its status is one of success.
    pub(super) async fn expect(&self, response: Response, what: &str) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.read(response, LARGEST_REASON, what).await.unwrap_or_default();
        Err(refused(what, &self.place, status, &body))
    }

    async fn parse<T: DeserializeOwned>(&self, response: Response, what: &str) -> Result<T> {
        let body = self.read(response, LARGEST_ANSWER, what).await?;
        serde_json::from_slice(&body).map_err(|cause| {
            Error::source(format!(
                "{what}: {} sent an answer that the Docker Engine API does not describe: {cause}",
                self.place
            ))
            .hint("is this the socket of a Docker or Podman engine?")
        })
    }

    async fn read(&self, mut response: Response, limit: usize, what: &str) -> Result<BytesMut> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.patiently(LOOKING, response.chunk()).await? {
            if body.len() + piece.len() > limit {
                let place = format!("{what}: size of the answer of {}", self.place);
                return Err(Error::mismatch(place, format!("at most {limit} bytes"), "more"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Waits for a part of an answer: until it arrives, the silence is too long, or the run is cancelled.
    pub(super) async fn patiently<T>(
        &self,
        limit: Duration,
        part: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            outcome = tokio::time::timeout(limit, part) => match outcome {
                Ok(Ok(part)) => Ok(part),
                Ok(Err(error)) => Err(explain(&error, &self.place)),
                Err(_) => Err(silence(&self.place, limit)),
            },
            stop = self.cancel.cancelled() => Err(stop),
        }
    }
}

/// Errors for text that is not the name of an image (with tag or digest) or an ID. Other text could lead to another
/// call.
pub fn check_name(image: &str) -> Result<()> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let fits = !image.is_empty()
        && image.len() <= LONGEST_NAME
        && image.chars().all(is_name)
        && image.split('/').all(|part| !matches!(part, "" | "." | ".."));
    match fits {
        true => Ok(()),
        false => Err(Error::usage(format!("'{image}' is not the name of an image"))),
    }
}

fn connect(address: &Address, proxies: &Proxies) -> Result<reqwest::Client> {
    let unprepared = |cause: &dyn std::fmt::Display| {
        Error::new(Kind::Network, format!("cannot prepare a connection to {address}: {cause}"))
    };
    let builder = reqwest::Client::builder()
        .user_agent(concat!("occystrap/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(crate::http::settings::CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    let (mut named, mut identities) = (Vec::new(), Vec::new());
    let builder = match address {
        Address::Unix(path) => builder.no_proxy().unix_socket(path.as_path()),
        Address::Tcp { certificates: None, .. } => proxies.apply(builder),
        Address::Tcp { certificates: Some(folder), .. } => {
            let read = |name: &str| {
                let path = folder.join(name);
                regular::read(&path, regular::LARGEST_PEM)
                    .map_err(|cause| bad_certificates(&path, &io_reason(&cause)))
            };
            named = certificates::certificates(&read("ca.pem")?).ok_or_else(|| {
                bad_certificates(&folder.join("ca.pem"), &"there is no certificate in it")
            })?;
            let identity = certificates::identity(&read("cert.pem")?, &read("key.pem")?);
            identities
                .push(identity.map_err(|cause| bad_certificates(&folder.join("key.pem"), &cause))?);
            proxies.apply(builder)
        }
    };
    let tls = tls::configure(Authorities::Named, &named, identities);
    let builder = builder.tls_backend_preconfigured(tls.map_err(|cause| unprepared(&cause))?);
    builder.build().map_err(|cause| unprepared(&cause))
}

fn bad_certificates(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::usage(format!("cannot use '{}' for the engine: {cause}", path.display()))
        .hint("DOCKER_CERT_PATH names the folder with ca.pem, cert.pem and key.pem")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_other_call() {
        for good in ["a", "a/b:1", "localhost:5000/x@sha256:00", "sha256:ff", "0123abcd"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in
            ["", "../containers/x", "a/../b", "/a", "a//b", "a?b", "a#b", "a%2fb", "a b", "é"]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"x".repeat(513)).is_err());
    }
}
