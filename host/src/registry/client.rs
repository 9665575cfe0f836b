//! One run's way to registries: the connections, the tokens and the pace that its tasks share.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::greeting::Greeting;
use super::reference::Reference;
use super::repository::Repository;
use super::scope;
use super::session::Session;
use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result, io_reason};
use crate::http::counters::Counters;
use crate::http::pace::Pace;
use crate::http::settings::Settings;
use crate::http::wire::Wire;
use crate::regular;

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("occystrap/", env!("CARGO_PKG_VERSION"));

/// Connections, tokens and rate limits of one run. Cheap to clone. Nothing is connected, read or
/// asked before it is needed.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
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
            http: connect(settings, &|builder| builder)?,
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
            http: self.http.clone(),
            settings: self.settings.clone(),
            pace: self.pace.clone(),
            counters,
            cancel: self.cancel.clone(),
            follows: true,
            guard: None,
        };
        Repository::new(reference, scope, self.sessions.clone(), wire)
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

/// Connections, with more said of how they are made.
pub(crate) fn connect(
    settings: &Settings,
    adapt: &dyn Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client> {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    // Fails only where there is one already, which then is used.
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let builder = || {
        adapt(reqwest::Client::builder())
            .user_agent(USER_AGENT)
            .connect_timeout(settings.connect_timeout)
            // Followed by hand: see `redirect`.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
    };
    let failed = |cause: &dyn std::error::Error| {
        let mut cause = cause;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Error::new(Kind::Network, format!("cannot prepare HTTPS: {cause}"))
            .hint("install the system's CA certificates (package ca-certificates), or name some with --ca-bundle FILE")
    };
    let certificates = settings.ca_bundle.as_deref().map(bundle).transpose()?.unwrap_or_default();
    match builder().tls_certs_merge(certificates).build() {
        Ok(client) => Ok(client),
        // Plain HTTP needs no certificates; a redirect to HTTPS then fails for want of them.
        Err(_) if settings.insecure => {
            builder().tls_certs_only([]).build().map_err(|cause| failed(&cause))
        }
        Err(cause) => Err(failed(&cause)),
    }
}

fn bundle(file: &Path) -> Result<Vec<reqwest::Certificate>> {
    let place = file.display();
    let pem = regular::read(file, regular::LARGEST_PEM).map_err(|cause| {
        Error::usage(format!("cannot read the CA bundle '{place}': {}", io_reason(&cause)))
    })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::usage(format!("the CA bundle '{place}' holds no certificate"))
            .hint("a bundle is a text file with one or more '-----BEGIN CERTIFICATE-----' blocks")),
    }
}
