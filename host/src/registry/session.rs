//! What a registry was last satisfied with, for one repository and one purpose.
//!
//! Parallel requests share it: one of them gets the token, the others wait for it.

use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::challenge::Challenge;
use super::credential::{self, Credential, Secret};
use super::reference::Reference;
use super::scope;
use super::token::{self, Token};
use crate::error::{Error, Kind, Result};
use crate::http::wire::Wire;

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

#[derive(Default)]
pub(super) struct Session {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts renewals, so that of several requests with the same refused pass only one renews.
    generation: u64,
    way: Way,
    /// What was last found, for an error's sake.
    found: Option<Credential>,
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
        // Registries that offer both take the password for a token, and the token is narrower.
        let scheme = |name: &str| challenges.iter().find(|one| one.scheme == name);
        let Some(challenge) = scheme("bearer").or(scheme("basic")) else {
            return Err(unknown(challenges, &of.host));
        };
        state.renew(wire, challenge, of, scope).await?;
        Ok(refused.header.is_some())
    }

    /// The error for a registry that is not satisfied with what it got.
    pub(super) async fn refusal(&self, of: &Reference, scope: &str) -> Error {
        refusal(of, self.state.lock().await.found.as_ref(), scope::pushes(scope))
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
        let found = self.found.insert(credential::find(&wire.settings, of, &wire.cancel).await?);
        let header;
        if challenge.scheme == "bearer" {
            let token = token::fetch(wire, challenge, scope, found).await?;
            header = token.header(Instant::now());
            self.way = Way::Bearer { challenge: challenge.clone(), token };
        } else {
            let Some(Secret::Password { username, password }) = &found.secret else {
                return Err(refusal(of, Some(found), scope::pushes(scope)));
            };
            let basic = token::basic(username, password)?;
            if matches!(&self.way, Way::Basic(refused) if *refused == basic) {
                return Err(refusal(of, Some(found), scope::pushes(scope)));
            }
            header = Some(basic.clone());
            self.way = Way::Basic(basic);
        }
        self.generation += 1;
        Ok(header)
    }
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

/// `pushes` is what it was asked for.
fn refusal(of: &Reference, found: Option<&Credential>, pushes: bool) -> Error {
    let (host, place) = (&of.host, format!("{}/{}", of.host, of.repository));
    let other = format!("--username and --password, or `docker login {host}`");
    // A registry does not tell strangers what it has.
    let absent = if pushes { "" } else { "; the image may also not exist" };
    let without = if pushes { "takes no push without" } else { "wants" };
    let (message, hint) = match found {
        None => (
            format!("{host} forbids access, and does not ask for credentials"),
            format!("if you have some, give them: {other}{absent}"),
        ),
        Some(Credential { secret: Some(Secret::Password { .. }), origin }) => (
            format!("{host} refused the credentials from {origin}"),
            match pushes {
                true => format!(
                    "check user and password, and that this account may push to {place}; to name another account: {other}"
                ),
                false => {
                    format!("check user and password, or name another account: {other}{absent}")
                }
            },
        ),
        Some(Credential { secret: Some(Secret::IdentityToken(_)), origin }) => (
            format!("{host} does not accept the identity token from {origin}"),
            format!("use a password: {other}{absent}"),
        ),
        Some(Credential { secret: None, origin }) => (
            format!("{host} {without} credentials: {origin}"),
            format!("give some: {other}{absent}"),
        ),
    };
    Error::new(Kind::Auth, message).hint(hint)
}
