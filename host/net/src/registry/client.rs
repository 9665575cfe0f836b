//! The client of one run: the connections, the tokens and the rate limit that its tasks share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::known_blobs::{BlobRecord, KnownBlobs};
use super::reference::Reference;
use super::repository::Repository;
use super::scope;
use super::session::Sessions;
use crate::http::certificates::{self, CertificateFolder};
use crate::http::counters::Counters;
use crate::http::pace::Pace;
use crate::http::peer::Peer;
use crate::http::settings::Settings;
use crate::http::tls::{self, Authorities};
use crate::http::wire::Wire;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};

/// The most headers of one answer that are read. Real answers have some twenty, and a proxy in front of a registry may
/// add some hundred. The HTTP library also limits their bytes.
const MOST_HEADERS: usize = 1_000;

/// The `User-Agent` of all requests.
const USER_AGENT: &str = concat!("occystrap/", env!("CARGO_PKG_VERSION"));

/// The connections, tokens and rate limits of one run. Cheap to clone. Connections are made, files read and requests
/// sent only when they are needed.
#[derive(Clone)]
pub struct RegistryClient {
    /// The connections to registries without certificate folders.
    http: reqwest::Client,
    /// The connections by host: those of `http`, or connections with the certificates of the host's folders.
    own: Arc<Mutex<HashMap<String, reqwest::Client>>>,
    settings: Arc<Settings>,
    pace: Arc<Pace>,
    cancel: Cancel,
    sessions: Arc<Sessions>,
    known: KnownBlobs,
}

impl RegistryClient {
    /// Returns a client for one run. Errors when the settings contradict each other, or the CA bundle cannot be used.
    pub fn new(settings: &Settings, cancel: Cancel) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            http: connect(settings, CertificateFolder::default(), &|builder| builder)?,
            own: Arc::default(),
            settings: Arc::new(settings.clone()),
            pace: Arc::new(Pace::new(settings.rate_limit).with_rates(host_rates(settings))),
            cancel,
            sessions: Arc::default(),
            known: KnownBlobs::default(),
        })
    }

    /// Returns a client with other settings for the same run. It shares the rate limit ([`Settings::rate_limit`] of
    /// this client), and the tokens only when the settings are the same.
    pub fn with_settings(&self, settings: &Settings) -> Result<Self> {
        if *settings == *self.settings {
            return Ok(self.clone());
        }
        Ok(Self {
            pace: self.pace.clone(),
            known: self.known.clone(),
            ..Self::new(settings, self.cancel.clone())?
        })
    }

    /// Lets what was found for one image count for the others of this run: a blob that was read back is not read back
    /// again in the same repository, and whether all kinds of requests of clients get the same manifest
    /// ([`Repository::check_resolved`]) is tested once for each repository. By default both are tested for each image.
    #[must_use]
    pub fn for_many_images(self) -> Self {
        self.known.count_for_many();
        self
    }

    /// Lets clients of this run mount blobs from repositories that earlier runs recorded.
    #[must_use]
    pub fn with_record(self, record: Arc<dyn BlobRecord>) -> Self {
        self.known.consult(record);
        self
    }

    /// Returns whether the registries that were asked have the API for referrers, by host.
    #[must_use]
    pub fn referrer_apis(&self) -> BTreeMap<String, bool> {
        self.known.referrer_apis()
    }

    /// Returns the name that requests to a registry have: `registry-1.docker.io` for `docker.io`.
    #[must_use]
    pub fn request_host(&self, host: &str) -> Option<String> {
        request_host(host, &self.settings)
    }

    /// Returns a client that shares connections, tokens and rate limit, and is cancelled separately.
    #[must_use]
    pub fn with_cancel(&self, cancel: Cancel) -> Self {
        Self { cancel, ..self.clone() }
    }

    /// Returns whether registries are reached by plain HTTP.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.settings.insecure
    }

    /// Returns a repository to pull from. `counters` count its retries and rate limits. Errors when its host is not
    /// valid in a URL.
    pub fn repository(&self, reference: &Reference, counters: Arc<Counters>) -> Result<Repository> {
        self.open(reference, scope::pull(&reference.repository), counters)
    }

    /// Returns a repository to push to. It is as [`Self::repository`], but requests tokens that allow pull and push.
    pub fn repository_to_push(
        &self,
        reference: &Reference,
        counters: Arc<Counters>,
    ) -> Result<Repository> {
        self.open(reference, scope::push(&reference.repository), counters)
    }

    fn open(
        &self,
        reference: &Reference,
        scope: String,
        counters: Arc<Counters>,
    ) -> Result<Repository> {
        let wire = Wire {
            http: self.connections(&reference.host)?,
            settings: self.settings.clone(),
            pace: self.pace.clone(),
            counters,
            cancel: self.cancel.clone(),
            follows: true,
            guard: None,
        };
        Repository::new(reference, scope, self.sessions.clone(), self.known.clone(), wire)
    }

    /// Returns the connections to a registry, and to the token services and storage hosts that it names: as with Docker
    /// and Podman, the registry's certificates apply to them too. Errors when its certificates cannot be used.
    fn connections(&self, host: &str) -> Result<reqwest::Client> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = own.get(host) {
            return Ok(known.clone());
        }
        // The folders of a host are read once, so that an error in them is reported once.
        let folder = certificates::of_host(&self.settings.certificate_folders, host)?;
        let made = match folder.is_empty() {
            true => self.http.clone(),
            false => connect(&self.settings, folder, &|builder| builder)?,
        };
        own.insert(host.to_owned(), made.clone());
        Ok(made)
    }
}

impl Repository {
    /// Returns a repository with a client of its own. Several repositories of one run come from
    /// [`RegistryClient::repository`], and share connections, tokens and the rate limit.
    pub fn open(
        reference: &Reference,
        settings: &Settings,
        counters: Arc<Counters>,
        cancel: Cancel,
    ) -> Result<Self> {
        RegistryClient::new(settings, cancel)?.repository(reference, counters)
    }
}

/// Returns the rates of single hosts, by the server that is asked.
fn host_rates(settings: &Settings) -> impl Iterator<Item = (String, f64)> {
    settings
        .host_rates
        .iter()
        .filter_map(|(host, rate)| Some((request_host(host, settings)?, *rate)))
}

fn request_host(host: &str, settings: &Settings) -> Option<String> {
    let reference = Reference::parse(&format!("{host}/any")).ok()?;
    let endpoint = reference.endpoint(settings.insecure).ok()?;
    Some(Peer::new(&endpoint, &settings.proxies).host().to_owned())
}

/// Makes a pool of connections. `folder` has the certificates of a registry's folders. `adapt` completes the
/// configuration. Errors when the certificates cannot be used.
pub(crate) fn connect(
    settings: &Settings,
    folder: CertificateFolder,
    adapt: &dyn Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client> {
    let failed = |cause: &dyn std::error::Error| {
        let mut cause = cause;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Error::new(Kind::Network, format!("cannot prepare HTTPS: {cause}"))
            .hint("install the system's CA certificates (package ca-certificates), or name some with --ca-bundle FILE")
    };
    let mut named =
        settings.ca_bundle.as_deref().map(certificates::bundle).transpose()?.unwrap_or_default();
    named.extend(folder.authorities);
    let tls = match tls::configure(Authorities::SystemAndNamed, &named, folder.identities) {
        Ok(tls) => tls,
        // Plain HTTP needs no certificates. A redirect to HTTPS then fails because there are none.
        Err(_) if settings.insecure => {
            tls::configure(Authorities::Named, &[], Vec::new()).map_err(|cause| failed(&cause))?
        }
        Err(cause) => return Err(failed(&cause)),
    };
    let builder = settings.proxies.apply(reqwest::Client::builder());
    let builder = adapt(builder)
        .user_agent(USER_AGENT)
        // Go's HTTP client, which the clients of registries use, accepts a header over several lines, a space after a
        // header's name, and many headers. Some registries and proxies therefore send them.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(MOST_HEADERS)
        .connect_timeout(settings.connect_timeout)
        // Redirects are followed by `redirect`.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tls_backend_preconfigured(tls);
    builder.build().map_err(|cause| failed(&cause))
}
