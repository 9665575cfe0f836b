//! The users of the registry for tests, and its token service.

use std::collections::HashMap;

/// The login that the registry requires.
#[derive(Debug, Clone)]
pub enum Auth {
    /// None: every user has access.
    Open,
    /// A name and password (HTTP's Basic scheme).
    Basic { user: String, password: String },
    /// A token of the service at `/token`, which gives one to these users.
    Bearer(Users),
}

/// The users that get a token.
#[derive(Debug, Clone)]
pub enum Users {
    Anybody,
    Password {
        user: String,
        password: String,
    },
    /// By POST, as in OAuth2.
    IdentityToken(String),
}

impl Auth {
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic { user: user.into(), password: password.into() }
    }

    pub fn bearer(user: &str, password: &str) -> Self {
        Self::Bearer(Users::Password { user: user.into(), password: password.into() })
    }
}

/// The tokens that were given out.
#[derive(Debug)]
pub struct Gate {
    pub auth: Auth,
    /// Sent with 401 in place of the right challenge; `{realm}` stands for the token service.
    pub challenges: Option<Vec<String>>,
    /// Sent to requests without a login, in place of 401 and a challenge.
    pub hides: Option<u16>,
    /// Valid tokens with their scopes.
    valid: HashMap<String, Vec<String>>,
    given: usize,
}

impl Gate {
    pub fn new() -> Self {
        Self { auth: Auth::Open, challenges: None, hides: None, valid: HashMap::new(), given: 0 }
    }

    /// Makes all tokens that were given out so far invalid.
    pub fn revoke(&mut self) {
        self.valid.clear();
    }

    pub fn given(&self) -> usize {
        self.given
    }

    /// Checks whether a request is allowed. If not, returns the challenges of the answer. A read needs any token;
    /// a push (`pushes`) one for pushing there; a mount `from` elsewhere also one for pulling there.
    pub fn admit(
        &self,
        authorization: Option<&str>,
        realm: &str,
        repository: &str,
        pushes: bool,
        from: Option<&str>,
    ) -> Result<(), Vec<String>> {
        let allows = |scopes: &[String], name: &str, wanted: &str| {
            let start = format!("repository:{name}:");
            let actions = scopes.iter().filter_map(|scope| scope.strip_prefix(&start));
            actions.flat_map(|actions| actions.split(',')).any(|action| action == wanted)
        };
        let (passes, challenge) = match &self.auth {
            Auth::Open => (true, String::new()),
            Auth::Basic { user, password } => (
                authorization == Some(&basic(user, password)),
                "Basic realm=\"registry for tests\"".to_owned(),
            ),
            Auth::Bearer(_) => (
                authorization
                    .and_then(|text| text.strip_prefix("Bearer "))
                    .and_then(|token| self.valid.get(token))
                    .is_some_and(|scopes| {
                        (!pushes || allows(scopes, repository, "push"))
                            && from.is_none_or(|from| allows(scopes, from, "pull"))
                    }),
                format!(
                    r#"Bearer realm="{realm}",service="tests & more",scope="repository:{repository}:pull""#
                ),
            ),
        };
        if passes {
            return Ok(());
        }
        Err(match &self.challenges {
            Some(all) => all.iter().map(|text| text.replace("{realm}", realm)).collect(),
            None => vec![challenge],
        })
    }

    /// The token service: a token's JSON, or nothing for a user that gets none.
    pub fn token(
        &mut self,
        method: &str,
        authorization: Option<&str>,
        form: &str,
    ) -> Option<String> {
        let Auth::Bearer(users) = &self.auth else { return None };
        let known = match users {
            Users::Anybody => authorization.is_none(),
            Users::Password { user, password } => authorization == Some(&basic(user, password)),
            Users::IdentityToken(token) => {
                let mut fields = url::form_urlencoded::parse(form.as_bytes());
                method == "POST"
                    && fields.any(|(name, value)| name == "refresh_token" && value == *token)
            }
        };
        known.then(|| {
            self.given += 1;
            let token = format!("t0ken-{}", self.given);
            let scopes = url::form_urlencoded::parse(form.as_bytes())
                .filter(|(name, _)| name == "scope")
                .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .collect();
            self.valid.insert(token.clone(), scopes);
            match users {
                Users::IdentityToken(_) => {
                    format!(r#"{{"access_token":"{token}","expires_in":300}}"#)
                }
                _ => format!(r#"{{"token":"{token}","expires_in":300}}"#),
            }
        })
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}
