//! The access of plugins to web servers in one run: the allowed places, and the logins for them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use reqwest::header::HeaderValue;
use url::Url;

use super::allow::Allow;
use super::client::WebClient;
use super::elsewhere::ForeignLayers;
use super::netrc::{Logins, Netrc};
use super::resolver::Resolver;
use crate::http::certificates::CertificateFolder;
use crate::http::pace::Pace;
use crate::http::wire::{Guard, Wire};
use crate::http::{Counters, Proxies, Settings};
use crate::registry::client;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;

/// The allowed places, logins and settings. Cheap to clone; clones share connections and the rate limit. By default no
/// place is allowed.
#[derive(Clone, Default)]
pub struct Access(Arc<Inner>);

#[derive(Default)]
struct Inner {
    allow: Arc<Allow>,
    logins: Logins,
    netrc: OnceLock<Result<Arc<Netrc>>>,
    settings: Arc<Settings>,
    pace: OnceLock<Arc<Pace>>,
    http: OnceLock<Result<reqwest::Client>>,
    foreign_layers: ForeignLayers,
}

impl Access {
    /// Returns an access to the places of `allow`, with these logins. It uses the certificates, retries, rates and
    /// timeouts of `settings`. It does not use the login of `settings`, which is for registries only.
    #[must_use]
    pub fn new(allow: Allow, logins: Logins, settings: &Settings) -> Self {
        let settings = Settings {
            username: None,
            password: None,
            authfile: None,
            insecure: false,
            // A proxy would connect to addresses that cannot be checked here.
            proxies: Proxies::none(),
            ..settings.clone()
        };
        let (allow, settings) = (Arc::new(allow), Arc::new(settings));
        Self(Arc::new(Inner { allow, logins, settings, ..Inner::default() }))
    }

    /// Returns the same access with another treatment of layers that are stored elsewhere.
    #[must_use]
    pub fn with_foreign_layers(&self, foreign_layers: ForeignLayers) -> Self {
        let Inner { allow, logins, settings, .. } = &*self.0;
        let (allow, logins, settings) = (allow.clone(), logins.clone(), settings.clone());
        Self(Arc::new(Inner { allow, logins, settings, foreign_layers, ..Inner::default() }))
    }

    /// Returns the treatment of layers that are stored elsewhere.
    #[must_use]
    pub fn foreign_layers(&self) -> ForeignLayers {
        self.0.foreign_layers
    }

    /// Returns the same access, and also allows `url`, which must end with `/`, and everything below it: the
    /// destination that the user typed.
    #[must_use]
    pub fn with_place(&self, url: Url) -> Self {
        let mut allow = Allow::clone(&self.0.allow);
        allow.place(url);
        Self::new(allow, self.0.logins.clone(), &self.0.settings)
            .with_foreign_layers(self.0.foreign_layers)
    }

    /// Returns the allowed places.
    #[must_use]
    pub fn allow(&self) -> &Allow {
        &self.0.allow
    }

    /// Returns a client for one session of a plugin. `login` is sent only to the server of its URL. Errors when the
    /// certificates or the logins cannot be used.
    pub fn client(
        &self,
        login: Option<(Url, HeaderValue)>,
        counters: Arc<Counters>,
        cancel: Cancel,
    ) -> Result<WebClient> {
        // The file is read when the first client needs it.
        let netrc = self.0.netrc.get_or_init(|| self.0.logins.read().map(Arc::new)).clone()?;
        Ok(WebClient::new(self.wire(counters, cancel)?, self.0.allow.clone(), netrc, login))
    }

    /// Returns a client for layers that are stored at URLs of their manifests. `login` is that of the URL. Unlike
    /// [`Self::client`] it follows redirects, and sends no other login.
    pub(super) fn client_for_layers(
        &self,
        login: Option<(Url, HeaderValue)>,
        counters: Arc<Counters>,
        cancel: Cancel,
    ) -> Result<WebClient> {
        let allow = self.0.allow.clone();
        let guard: Guard = Arc::new(move |url: &Url| allow.check_address(url));
        let wire = Wire { follows: true, guard: Some(guard), ..self.wire(counters, cancel)? };
        Ok(WebClient::for_layers(wire, self.0.allow.clone(), login))
    }

    fn wire(&self, counters: Arc<Counters>, cancel: Cancel) -> Result<Wire> {
        let http = self.0.http.get_or_init(|| {
            client::connect(&self.0.settings, CertificateFolder::default(), &|builder| {
                builder.dns_resolver(Arc::new(Resolver::new(self.0.allow.clone())))
            })
        });
        let pace = self.0.pace.get_or_init(|| Arc::new(Pace::new(self.0.settings.rate_limit)));
        Ok(Wire {
            http: http.clone()?,
            settings: self.0.settings.clone(),
            pace: pace.clone(),
            counters,
            cancel,
            follows: false,
            guard: None,
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Access").field(&self.0.allow).finish()
    }
}
