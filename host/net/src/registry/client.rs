//! One run's way to registries: the connections, the tokens and the pace that its tasks share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::greeting::Greeting;
use super::reference::Reference;
use super::repository::Repository;
use super::scope;
use super::session::Session;
use crate::http::certificates::{self, Folder};
use crate::http::counters::Counters;
use crate::http::pace::Pace;
use crate::http::settings::Settings;
use crate::http::tls::{self, Authorities};
use crate::http::wire::Wire;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};

/// Headers of one answer that are read: real ones have some twenty, and what stands in front of a registry may add
/// some hundred. The HTTP library has a limit for their bytes as well.
const MOST_HEADERS: usize = 1_000;

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("occystrap/", env!("CARGO_PKG_VERSION"));

/// Connections, tokens and rate limits of one run. Cheap to clone. Nothing is connected, read or
/// asked before it is needed.
#[derive(Clone)]
pub struct Client {
    /// For registries without certificates of their own.
    http: reqwest::Client,
    /// By host: `http`, or connections with the certificates of the host's folders.
    own: Arc<Mutex<HashMap<String, reqwest::Client>>>,
    settings: Arc<Settings>,
    pace: Arc<Pace>,
    cancel: Cancel,
    sessions: Arc<Sessions>,
}

/// The sessions of one run, and the greetings that they share.
#[derive(Default)]
pub(super) struct Sessions {
    /// By host and scope.
    sessions: Mutex<HashMap<(String, String), Arc<Session>>>,
    /// By host.
    greetings: Mutex<HashMap<String, Arc<Greeting>>>,
}

impl Client {
    /// A client for one run. Errors when the settings contradict each other, or the CA bundle
    /// cannot be used.
    pub fn new(settings: &Settings, cancel: Cancel) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            http: connect(settings, Folder::default(), &|builder| builder)?,
            own: Arc::default(),
            settings: Arc::new(settings.clone()),
            pace: Arc::new(Pace::new(settings.rate_limit)),
            cancel,
            sessions: Arc::default(),
        })
    }

    /// A client with other settings in the same run: the same pace (and so this client's
    /// [`Settings::rate_limit`]), but tokens of its own unless the settings are the same.
    pub fn with_settings(&self, settings: &Settings) -> Result<Self> {
        if *settings == *self.settings {
            return Ok(self.clone());
        }
        Ok(Self { pace: self.pace.clone(), ..Self::new(settings, self.cancel.clone())? })
    }

    /// The same with another wish to stop: for one of many who share connections, tokens and pace.
    #[must_use]
    pub fn with_cancel(&self, cancel: Cancel) -> Self {
        Self { cancel, ..self.clone() }
    }

    /// Whether it speaks plain HTTP.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.settings.insecure
    }

    /// A repository to pull from. `counters` count what happens on its behalf. Errors when its host
    /// makes no URL.
    pub fn repository(&self, reference: &Reference, counters: Arc<Counters>) -> Result<Repository> {
        self.open(reference, scope::pull(&reference.repository), counters)
    }

    /// A repository to push to: as [`Self::repository`], but where the registry gives out tokens,
    /// one that allows both is asked for.
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
        Repository::new(reference, scope, self.sessions.clone(), wire)
    }

    /// The connections for a registry, and for the token services and storage hosts that it names: as with Docker
    /// and Podman, its certificates count there as well. Errors when its certificates cannot be used.
    fn connections(&self, host: &str) -> Result<reqwest::Client> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = own.get(host) {
            return Ok(known.clone());
        }
        // Read once for a host, so that what is wrong in a folder is said once.
        let folder = certificates::of_host(&self.settings.certificate_folders, host)?;
        let made = match folder.is_empty() {
            true => self.http.clone(),
            false => connect(&self.settings, folder, &|builder| builder)?,
        };
        own.insert(host.to_owned(), made.clone());
        Ok(made)
    }
}

/// The session of a host and a scope, which all who need the same share.
pub(super) fn session(sessions: &Sessions, host: &str, scope: &str) -> Arc<Session> {
    let Sessions { sessions, greetings } = sessions;
    let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let session = sessions.entry((host.to_owned(), scope.to_owned())).or_insert_with(|| {
        let mut greetings = greetings.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::new(Session::new(greetings.entry(host.to_owned()).or_default().clone()))
    });
    session.clone()
}

/// Makes connections. `folder` is what the folders of a registry hold; `adapt` says more of how connections are made.
pub(crate) fn connect(
    settings: &Settings,
    folder: Folder,
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
        // Plain HTTP needs no certificates; a redirect to HTTPS then fails for want of them.
        Err(_) if settings.insecure => {
            tls::configure(Authorities::Named, &[], Vec::new()).map_err(|cause| failed(&cause))?
        }
        Err(cause) => return Err(failed(&cause)),
    };
    let builder = settings.proxies.apply(reqwest::Client::builder());
    let builder = adapt(builder)
        .user_agent(USER_AGENT)
        // As Go's HTTP client, which the clients of registries use, and so what stands in front of registries
        // gets away with: a header over several lines, one with a space in its name, many headers.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(MOST_HEADERS)
        .connect_timeout(settings.connect_timeout)
        // Followed by hand: see `redirect`.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tls_backend_preconfigured(tls);
    builder.build().map_err(|cause| failed(&cause))
}
