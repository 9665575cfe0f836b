//! What a registry was last satisfied with, for one repository and one purpose.
//!
//! Parallel requests share it: one of them gets the token, the others wait for it.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use super::credential::{self, Credential, Secret};
use super::greeting::Greeting;
use super::reference::Reference;
use super::scope;
use super::token::{self, Token};
use crate::http::peer::Peer;
use crate::http::wire::Wire;
use occystrap_base::error::{Error, Kind, Result};

/// Schemes that are shown when none of them is known: more is noise.
const MOST_SCHEMES_SHOWN: usize = 4;

/// Authentication schemes that have a name (IANA's registry, and those of clouds). Another word of a
/// server's is not repeated: it may be a part of what the server was sent.
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

pub(super) struct Session {
    state: Mutex<State>,
    /// Shared by all sessions with the same registry.
    greeting: Arc<Greeting>,
}

#[derive(Default)]
struct State {
    /// Counts renewals, so that of several requests with the same refused pass only one renews.
    generation: u64,
    way: Way,
    /// What was last found, for an error's sake.
    found: Option<Credential>,
    /// Whether the registry has asked for a login, in an answer to any request.
    was_asked: bool,
    /// Whether [`Session::introduce`] was tried.
    introduced: bool,
    /// Why a login that was found could not be used, where the registry had not asked for one.
    rejected: Option<Error>,
}

#[derive(Default)]
enum Way {
    /// Nobody asked.
    #[default]
    Open,
    Basic(HeaderValue),
    Bearer {
        challenge: Challenge,
        token: Token,
    },
}

/// What to send with a request.
pub(super) struct Pass {
    pub(super) header: Option<HeaderValue>,
    generation: u64,
}

impl Session {
    pub(super) fn new(greeting: Arc<Greeting>) -> Self {
        Self { state: Mutex::default(), greeting }
    }

    /// What to send now. A token that ends is replaced first.
    pub(super) async fn pass(&self, wire: &Wire, of: &Reference, scope: &str) -> Result<Pass> {
        let mut state = self.state.lock().await;
        let header = match &state.way {
            Way::Open => None,
            Way::Basic(header) => Some(header.clone()),
            Way::Bearer { challenge, token } => match token.header(Instant::now()) {
                Some(header) => Some(header),
                None => {
                    let challenge = challenge.clone();
                    state.renew(wire, &challenge, of, scope).await?
                }
            },
        };
        Ok(Pass { header, generation: state.generation })
    }

    /// After a pass was refused: gets a new one as the registry asks. `true` when it was got for
    /// this request in the place of a refused one: should it be refused as well, no other will be
    /// better. What another request got may have ended by now, and who sent nothing was not
    /// refused. Errors ([`Kind::Auth`]) when there is none to be had.
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
        let known = match &state.way {
            // A registry that hides what it has need not repeat its challenge.
            Way::Bearer { challenge, .. } => Some(challenge.clone()),
            Way::Basic(_) | Way::Open => None,
        };
        let Some(challenge) = usable(challenges).or(known.as_ref()) else {
            return Err(match (&state.rejected, &state.way) {
                (Some(reason), _) => reason.clone(),
                (None, Way::Basic(_)) if refused.header.is_some() => state.refusal(of, scope),
                (None, _) if challenges.is_empty() => {
                    let error = unknown(challenges, &of.host);
                    match state.refusal(of, scope).hint_text() {
                        Some(hint) => error.hint(hint),
                        None => error,
                    }
                }
                (None, _) => unknown(challenges, &of.host),
            });
        };
        state.renew(wire, challenge, of, scope).await?;
        Ok(refused.header.is_some())
    }

    /// Gets a pass although the registry did not ask for one: some registries hide what only users with a
    /// login may see (403, 404), or do not say how to log in (401). The challenge is the one of the answer, or
    /// that of `/v2/`. Returns whether to repeat the request. A login that is not accepted changes nothing: it is
    /// remembered for the error. Errors on a cancelled run.
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
            let has_login = found.secret.is_some();
            state.found = Some(found);
            if !has_login {
                return Ok::<_, Error>(false);
            }
            let asked = match usable(offered) {
                Some(challenge) => Some(challenge.clone()),
                None => usable(self.greeting.challenges(wire, endpoint).await?).cloned(),
            };
            let Some(challenge) = asked else { return Ok(false) };
            state.log_in(wire, &challenge, of, scope).await?;
            Ok(true)
        };
        match introduced.await {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => {
                tracing::debug!(%error, "going on without credentials");
                state.rejected = Some(error);
                Ok(false)
            }
            outcome => outcome,
        }
    }

    /// Goes on without a login after the registry refused that of [`Self::introduce`].
    pub(super) async fn withdraw(&self, refused: &Pass, reason: Error) {
        let mut state = self.state.lock().await;
        if state.generation == refused.generation {
            state.generation += 1;
            state.way = Way::Open;
            state.rejected = Some(reason);
        }
    }

    /// Returns what a user can do where the registry says that an image does not exist.
    pub(super) async fn hint_if_absent(&self) -> String {
        let state = self.state.lock().await;
        let login = state.found.as_ref().filter(|found| found.secret.is_some());
        match (&state.rejected, login) {
            (Some(reason), _) => format!("check the name and the tag; {reason}"),
            (None, Some(Credential { origin, .. })) => {
                format!("check the name and the tag, and that the account of {origin} may read it")
            }
            (None, None) => "check the name and the tag; private images need credentials".into(),
        }
    }

    /// Returns the error for a registry that is not satisfied with what it got.
    pub(super) async fn refusal(&self, of: &Reference, scope: &str, server: &Peer) -> Error {
        let state = self.state.lock().await;
        match &state.rejected {
            Some(reason) => reason.clone(),
            None => {
                let pushes = scope::pushes(scope);
                refusal(of, &server.to_string(), state.found.as_ref(), state.was_asked, pushes)
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
        // Not the credential of last time: a helper's may have ended.
        let found = credential::find(&wire.settings, of, &wire.cancel).await?;
        for error in &found.troubles {
            tracing::warn!("{error}; going on without it");
        }
        self.found = Some(found);
        self.log_in(wire, challenge, of, scope).await
    }

    /// Gets a pass with the credential that was found.
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
                None => return Err(self.refusal(of, scope)),
            };
            header = token.header(Instant::now());
            self.way = Way::Bearer { challenge: challenge.clone(), token };
        } else {
            let secret = self.found.as_ref().and_then(|found| found.secret.as_ref());
            let Some(Secret::Password { username, password }) = secret else {
                return Err(self.refusal(of, scope));
            };
            let basic = token::basic(username, password)?;
            if matches!(&self.way, Way::Basic(refused) if *refused == basic) {
                return Err(self.refusal(of, scope));
            }
            header = Some(basic.clone());
            self.way = Way::Basic(basic);
        }
        self.generation += 1;
        Ok(header)
    }

    fn refusal(&self, of: &Reference, scope: &str) -> Error {
        refusal(of, &of.host, self.found.as_ref(), self.was_asked, scope::pushes(scope))
    }
}

/// The challenge to answer, where one of them can be. Registries that offer both take the password for a
/// token, and the token is narrower.
pub(super) fn usable(challenges: &[Challenge]) -> Option<&Challenge> {
    let scheme = |name: &str| challenges.iter().find(|one| one.scheme == name);
    scheme("bearer").or(scheme("basic"))
}

fn unknown(challenges: &[Challenge], host: &str) -> Error {
    let known = |one: &Challenge| {
        SCHEMES.into_iter().find(|known| *known == one.scheme).unwrap_or("a scheme of its own")
    };
    let schemes: Vec<_> = challenges.iter().take(MOST_SCHEMES_SHOWN).map(known).collect();
    let which = match schemes.is_empty() {
        true => "but does not say which".to_owned(),
        false => format!("by {}, which is not supported", schemes.join(" or ")),
    };
    Error::new(Kind::Auth, format!("{host} wants authentication, {which}"))
}

/// `server` is what messages call the registry, `pushes` what it was asked for, `was_asked` whether it has asked for a
/// login.
fn refusal(
    of: &Reference,
    server: &str,
    found: Option<&Credential>,
    was_asked: bool,
    pushes: bool,
) -> Error {
    let (host, place) = (&of.host, format!("{}/{}", of.host, of.repository));
    let other = format!("--username and --password, or `docker login {host}`");
    // A registry does not tell strangers what it has.
    let absent = if pushes { "" } else { "; the image may also not exist" };
    let without = if pushes { "takes no push without" } else { "wants" };
    let (message, hint) = match found {
        None => (
            format!("{server} forbids access, and does not ask for credentials"),
            format!("if you have some, give them: {other}{absent}"),
        ),
        Some(Credential { secret: None, origin, .. }) if !was_asked => (
            format!("{server} forbids access, and does not ask for credentials"),
            format!("if you have some, give them: {other}{absent}; {origin}"),
        ),
        Some(Credential { secret: Some(_), origin, .. }) if !was_asked => (
            format!("{server} forbids access, and does not ask for credentials"),
            format!(
                "those from {origin} were not sent, since neither this answer nor /v2/ asks for any{absent}"
            ),
        ),
        Some(Credential { secret: Some(Secret::Password { .. }), origin, .. }) => (
            format!("{server} refused the credentials from {origin}"),
            match pushes {
                true => format!(
                    "check user and password, and that this account may push to {place}; to name another account: {other}"
                ),
                false => {
                    format!("check user and password, or name another account: {other}{absent}")
                }
            },
        ),
        Some(Credential {
            secret: Some(Secret::IdentityToken(_) | Secret::RegistryToken(_)),
            origin,
            ..
        }) => (
            format!("{server} does not accept the token from {origin}"),
            format!("use a password: {other}{absent}"),
        ),
        Some(Credential { secret: None, origin, .. }) => (
            format!("{server} {without} credentials: {origin}"),
            format!("give some: {other}{absent}"),
        ),
    };
    Error::new(Kind::Auth, message).hint(hint)
}
