//! Sessions: the authentication that a registry last accepted, for one repository and one scope.
//!
//! Parallel requests share a session: the first one gets the token, and the others wait for it. What this module
//! refuses: to send a login before the registry asks for one, except after an answer that may hide something from users
//! without a login; and to repeat unknown text of a server in an error.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as BlockingMutex, PoisonError};

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use super::credential::{self, Credential};
use super::login::Login;
use super::reference::Reference;
use super::scope;
use super::token::{self, Token};
use super::version_check::VersionCheck;
use crate::http::peer::Peer;
use crate::http::wire::Wire;
use occystrap_base::error::{Error, Kind, Result};

/// The most schemes that an error lists when occystrap supports none of them.
const MOST_SCHEMES_SHOWN: usize = 4;

/// The authentication schemes that errors may name (IANA's registry, and those of clouds). Another word of a server is
/// not repeated, because it may be part of a secret that the server was sent.
const SCHEMES: [&str; 12] = [
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "digest",
    "dpop",
    "hoba",
    "mutual",
    "negotiate",
    "ntlm",
    "oauth",
    "scram-sha-1",
    "scram-sha-256",
];

/// A host, and the name of a repository there.
type RepositoryKey = (String, String);

/// The sessions of one run.
#[derive(Default)]
pub(super) struct Sessions {
    /// By repository, then by scope.
    sessions: BlockingMutex<HashMap<RepositoryKey, HashMap<String, Arc<AuthSession>>>>,
    /// By host. All sessions with a registry share its answer at `/v2/`.
    version_checks: BlockingMutex<HashMap<String, Arc<VersionCheck>>>,
}

impl Sessions {
    /// Returns the session of a repository and a scope. It is made at the first call, and shared by the later ones.
    pub(super) fn session(&self, of: &Reference, scope: &str) -> Arc<AuthSession> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let own = sessions.entry(key(of)).or_default();
        let session = own.entry(scope.to_owned()).or_insert_with(|| {
            let mut checks = self.version_checks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::new(AuthSession::new(checks.entry(of.host.clone()).or_default().clone()))
        });
        session.clone()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().map(HashMap::len).sum()
    }

    /// Forgets the sessions of a repository. Requests that use one keep it.
    pub(super) fn forget(&self, of: &Reference) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(of));
    }
}

fn key(of: &Reference) -> RepositoryKey {
    (of.host.clone(), of.repository.clone())
}

/// The authentication that a registry last accepted, for one repository and one scope.
pub(super) struct AuthSession {
    state: Mutex<State>,
    /// The challenges at `/v2/`. All sessions with the same registry share them.
    version_check: Arc<VersionCheck>,
}

#[derive(Default)]
struct State {
    /// The number of renewals. When a pass is refused for several requests, only one of them renews it.
    generation: u64,
    auth: Auth,
    /// The outcome of the last search for a login. Errors mention it.
    found: Option<Credential>,
    /// Whether the registry has asked for a login in any answer.
    was_asked: bool,
    /// Whether [`AuthSession::introduce`] was called.
    introduced: bool,
    /// The error of a login that was sent, or could not be used, although the registry had not asked for one.
    rejected: Option<Error>,
}

#[derive(Default)]
enum Auth {
    /// The registry has not asked for a login.
    #[default]
    Open,
    Basic(HeaderValue),
    Bearer {
        challenge: Challenge,
        token: Token,
    },
}

/// The authentication of a request.
pub(super) struct Pass {
    pub(super) header: Option<HeaderValue>,
    generation: u64,
}

impl AuthSession {
    pub(super) fn new(version_check: Arc<VersionCheck>) -> Self {
        Self { state: Mutex::default(), version_check }
    }

    /// Returns the authentication for the next request. An expired token is replaced first.
    pub(super) async fn pass(&self, wire: &Wire, of: &Reference, scope: &str) -> Result<Pass> {
        let mut state = self.state.lock().await;
        let header = match &state.auth {
            Auth::Open => None,
            Auth::Basic(header) => Some(header.clone()),
            Auth::Bearer { challenge, token } => match token.header(Instant::now()) {
                Some(header) => Some(header),
                None => {
                    let challenge = challenge.clone();
                    state.renew(wire, &challenge, of, scope).await?
                }
            },
        };
        Ok(Pass { header, generation: state.generation })
    }

    /// Gets a new pass after `refused` was refused. Returns `true` when the new pass replaces authentication that this
    /// request sent: if the registry refuses the new one too, another renewal does not help. Returns `false` when
    /// another request renewed it, because that pass may have expired, and when the request was sent without
    /// authentication. Errors ([`Kind::Auth`]) when the user has no login that the registry accepts.
    pub(super) async fn renew(
        &self,
        refused: &Pass,
        challenges: &[Challenge],
        wire: &Wire,
        of: &Reference,
        scope: &str,
    ) -> Result<bool> {
        let mut state = self.state.lock().await;
        if state.generation != refused.generation {
            return Ok(false);
        }
        let known = match &state.auth {
            // A registry may omit its challenge in an answer that hides something.
            Auth::Bearer { challenge, .. } => Some(challenge.clone()),
            Auth::Basic(_) | Auth::Open => None,
        };
        let Some(challenge) = usable(challenges).or(known.as_ref()) else {
            return Err(match (&state.rejected, &state.auth) {
                (Some(reason), _) => reason.clone(),
                (None, Auth::Basic(_)) if refused.header.is_some() => state.auth_error(of, scope),
                (None, _) if challenges.is_empty() => {
                    let error = unsupported(challenges, &of.host);
                    match state.auth_error(of, scope).hint_text() {
                        Some(hint) => error.hint(hint),
                        None => error,
                    }
                }
                (None, _) => unsupported(challenges, &of.host),
            });
        };
        state.renew(wire, challenge, of, scope).await?;
        Ok(refused.header.is_some())
    }

    /// Gets a pass although the registry did not ask for a login. Some registries hide from users without a login what
    /// they may not see (403, 404), or do not say how to log in (401). The challenge is that of the answer, or that of
    /// `/v2/`. Returns whether to repeat the request. If the login is not accepted, the first answer counts, and the
    /// error of the login is kept for messages. Errors when the run is cancelled.
    pub(super) async fn introduce(
        &self,
        refused: &Pass,
        offered: &[Challenge],
        wire: &Wire,
        of: &Reference,
        scope: &str,
        endpoint: &Url,
    ) -> Result<bool> {
        let mut state = self.state.lock().await;
        if state.generation != refused.generation {
            return Ok(true);
        }
        if std::mem::replace(&mut state.introduced, true) {
            return Ok(false);
        }
        let introduced = async {
            let found = credential::find(&wire.settings, of, &wire.cancel).await?;
            let has_login = found.login.is_some();
            state.found = Some(found);
            if !has_login {
                return Ok::<_, Error>(false);
            }
            let asked = match usable(offered) {
                Some(challenge) => Some(challenge.clone()),
                None => usable(self.version_check.challenges(wire, endpoint).await?).cloned(),
            };
            let Some(challenge) = asked else { return Ok(false) };
            state.log_in(wire, &challenge, of, scope).await?;
            Ok(true)
        };
        match introduced.await {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => {
                tracing::debug!(%error, "continuing without credentials");
                state.rejected = Some(error);
                Ok(false)
            }
            outcome => outcome,
        }
    }

    /// Continues without a login after the registry refused the login of [`Self::introduce`].
    pub(super) async fn withdraw(&self, refused: &Pass, reason: Error) {
        let mut state = self.state.lock().await;
        if state.generation == refused.generation {
            state.generation += 1;
            state.auth = Auth::Open;
            state.rejected = Some(reason);
        }
    }

    /// Returns the hint for a registry that reports that an image does not exist.
    pub(super) async fn hint_if_absent(&self) -> String {
        let state = self.state.lock().await;
        let login = state.found.as_ref().filter(|found| found.login.is_some());
        match (&state.rejected, login) {
            (Some(reason), _) => format!("check the name and the tag; {reason}"),
            (None, Some(Credential { origin, .. })) => {
                format!("check the name and the tag, and that the account of {origin} may read it")
            }
            (None, None) => "check the name and the tag; private images need credentials".into(),
        }
    }

    /// Returns the error for a registry that refuses access.
    pub(super) async fn auth_error(&self, of: &Reference, scope: &str, server: &Peer) -> Error {
        let state = self.state.lock().await;
        match &state.rejected {
            Some(reason) => reason.clone(),
            None => {
                let pushes = scope::pushes(scope);
                auth_error(of, &server.to_string(), state.found.as_ref(), state.was_asked, pushes)
            }
        }
    }
}

impl State {
    async fn renew(
        &mut self,
        wire: &Wire,
        challenge: &Challenge,
        of: &Reference,
        scope: &str,
    ) -> Result<Option<HeaderValue>> {
        // Search again: the last login may have expired if it was from a helper.
        let found = credential::find(&wire.settings, of, &wire.cancel).await?;
        for error in &found.troubles {
            tracing::warn!("{error}; continuing without it");
        }
        self.found = Some(found);
        self.log_in(wire, challenge, of, scope).await
    }

    /// Gets a pass with the login that was found.
    async fn log_in(
        &mut self,
        wire: &Wire,
        challenge: &Challenge,
        of: &Reference,
        scope: &str,
    ) -> Result<Option<HeaderValue>> {
        self.was_asked = true;
        let header;
        if challenge.scheme == "bearer" {
            let token = match &self.found {
                Some(found) => token::fetch(wire, challenge, scope, found).await?,
                None => return Err(self.auth_error(of, scope)),
            };
            header = token.header(Instant::now());
            self.auth = Auth::Bearer { challenge: challenge.clone(), token };
        } else {
            let login = self.found.as_ref().and_then(|found| found.login.as_ref());
            let Some(Login::Password { username, password }) = login else {
                return Err(self.auth_error(of, scope));
            };
            let basic = token::basic(username, password)?;
            if matches!(&self.auth, Auth::Basic(refused) if *refused == basic) {
                return Err(self.auth_error(of, scope));
            }
            header = Some(basic.clone());
            self.auth = Auth::Basic(basic);
        }
        self.generation += 1;
        Ok(header)
    }

    fn auth_error(&self, of: &Reference, scope: &str) -> Error {
        auth_error(of, &of.host, self.found.as_ref(), self.was_asked, scope::pushes(scope))
    }
}

/// Returns the challenge to answer, where occystrap supports one. A token is preferred to Basic authentication, because
/// it allows less.
pub(super) fn usable(challenges: &[Challenge]) -> Option<&Challenge> {
    let scheme = |name: &str| challenges.iter().find(|one| one.scheme == name);
    scheme("bearer").or(scheme("basic"))
}

/// Returns the error for a registry that offers no supported scheme.
fn unsupported(challenges: &[Challenge], host: &str) -> Error {
    let known = |one: &Challenge| {
        SCHEMES.into_iter().find(|known| *known == one.scheme).unwrap_or("an unknown scheme")
    };
    let schemes: Vec<_> = challenges.iter().take(MOST_SCHEMES_SHOWN).map(known).collect();
    let which = match schemes.is_empty() {
        true => "but does not name a scheme".to_owned(),
        false => format!("by {}, which is not supported", schemes.join(" or ")),
    };
    Error::new(Kind::Auth, format!("{host} requires authentication, {which}"))
}

/// Returns the error for a registry that refuses access. `server` is its name in messages, `pushes` states whether the
/// request was part of a push, and `was_asked` whether the registry has asked for a login.
fn auth_error(
    of: &Reference,
    server: &str,
    found: Option<&Credential>,
    was_asked: bool,
    pushes: bool,
) -> Error {
    let (host, place) = (&of.host, format!("{}/{}", of.host, of.repository));
    let other = format!("--username and --password, or `docker login {host}`");
    // A registry may refuse access instead of reporting that an image does not exist.
    let absent = if pushes { "" } else { "; the image may also not exist" };
    let without = if pushes { "accepts no push without" } else { "requires" };
    let (message, hint) = match found {
        None => (
            format!("{server} forbids access, and does not ask for credentials"),
            format!("if you have credentials, use {other}{absent}"),
        ),
        Some(Credential { login: None, origin, .. }) if !was_asked => (
            format!("{server} forbids access, and does not ask for credentials"),
            format!("if you have credentials, use {other}{absent}; {origin}"),
        ),
        Some(Credential { login: Some(_), origin, .. }) if !was_asked => (
            format!("{server} forbids access, and does not ask for credentials"),
            format!(
                "the credentials from {origin} were not sent, because neither this answer nor /v2/ asks for any{absent}"
            ),
        ),
        Some(Credential { login: Some(Login::Password { .. }), origin, .. }) => (
            format!("{server} refused the credentials from {origin}"),
            match pushes {
                true => format!(
                    "check user and password, and that this account may push to {place}; for another account, use {other}"
                ),
                false => {
                    format!("check user and password, or use another account, with {other}{absent}")
                }
            },
        ),
        Some(Credential {
            login: Some(Login::IdentityToken(_) | Login::RegistryToken(_)),
            origin,
            ..
        }) => (
            format!("{server} does not accept the token from {origin}"),
            format!("use a password, with {other}{absent}"),
        ),
        Some(Credential { login: None, origin, .. }) => {
            (format!("{server} {without} credentials: {origin}"), format!("use {other}{absent}"))
        }
    };
    Error::new(Kind::Auth, message).hint(hint)
}
