//! Settings of the connections to registries.
//!
//! What it refuses: to show the password, and settings that contradict each other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::certificates;
use super::proxy::Proxies;
use occystrap_base::error::{Error, Result};
use occystrap_base::secret::Secret;

/// Longest wait for a connection. Registries accept one within milliseconds, and a SYN was repeated three times by
/// then.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest silence while an answer or a part of it is due. Registries that fetch a blob from cold storage were seen to
/// need half a minute.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// First wait before a repeated request; it doubles with each. It is short enough not to be felt after a dropped
/// connection.
pub const BACKOFF: Duration = Duration::from_millis(500);

/// Settings of connections to registries. There is one for each set of credentials.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// User's name, together with a password. It takes precedence over credentials in files.
    pub username: Option<String>,
    /// The password or access token of that user.
    pub password: Option<Secret>,
    /// Origin of these two, for errors: such as `the URI`.
    pub login_origin: &'static str,
    /// Docker's `config.json` or Podman's `auth.json`, instead of the places where these tools look.
    pub authfile: Option<PathBuf>,
    /// Whether to use plain HTTP instead of HTTPS. Certificates are always checked.
    pub insecure: bool,
    /// PEM file with certificates to trust besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Directories with one directory of certificates for each registry, in the order of search.
    pub certificate_folders: Vec<PathBuf>,
    /// Proxies that requests go through.
    pub proxies: Proxies,
    /// Attempts after the first one, for a request that failed for a passing reason.
    pub retries: u32,
    /// Requests a second to each host; `None` for no limit.
    pub rate_limit: Option<f64>,
    /// Most requests a second to single hosts, as [`Reference`](crate::registry::Reference) spells them; they take the
    /// place of [`Self::rate_limit`].
    pub host_rates: BTreeMap<String, f64>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence in the middle of an exchange.
    pub idle_timeout: Duration,
    /// First wait before a request is made again.
    pub backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            username: None,
            password: None,
            login_origin: "--username and --password",
            authfile: None,
            insecure: false,
            ca_bundle: None,
            certificate_folders: certificates::roots(std::env::home_dir()),
            proxies: Proxies::from_environment(),
            retries: 3,
            rate_limit: None,
            host_rates: BTreeMap::new(),
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            backoff: BACKOFF,
        }
    }
}

impl Settings {
    /// Errors ([`occystrap_base::error::Kind::Usage`]) when the settings contradict each other.
    pub fn check(&self) -> Result<()> {
        if self.username.is_some() != self.password.is_some() {
            let (given, missing) = match self.username {
                Some(_) => ("username", "password"),
                None => ("password", "username"),
            };
            return Err(Error::usage(format!("a {given} was given for the registry, but no {missing}"))
                .hint("give --username and --password (or OCCYSTRAP_USERNAME and OCCYSTRAP_PASSWORD) together"));
        }
        // In HTTP's Basic scheme the first colon ends the name (RFC 7617, 2).
        if self.username.as_ref().is_some_and(|name| name.contains(':')) {
            return Err(Error::usage("a username for a registry cannot contain ':'"));
        }
        match self.rate_limit {
            Some(rate) if !rate.is_finite() || rate <= 0.0 => Err(Error::usage(format!(
                "a rate limit is a number of requests a second above 0, not {rate}"
            ))),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("username", &self.username)
            .field("password", &self.password)
            .field("authfile", &self.authfile)
            .field("insecure", &self.insecure)
            .field("ca_bundle", &self.ca_bundle)
            .field("retries", &self.retries)
            .field("rate_limit", &self.rate_limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let settings = Settings {
            username: Some("me".into()),
            password: Some("hunter2".into()),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(settings.check().is_ok());
    }

    #[test]
    fn meaningless_settings_are_refused() {
        let name = |name: &str| Settings { username: Some(name.into()), ..Settings::default() };
        let rate = |rate| Settings { rate_limit: Some(rate), ..Settings::default() };
        let colon = Settings { password: Some("".into()), ..name("a:b") };
        for bad in [name("me"), colon, rate(0.0), rate(-1.0), rate(f64::NAN), rate(f64::INFINITY)] {
            assert_eq!(bad.check().unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
