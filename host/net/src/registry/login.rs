//! Logins at a registry, and the JSON members in which tools and services keep them.
//!
//! The JSON is read as Go reads it, in which these tools are written: the case of names is ignored, and `null` is an
//! empty string.

use serde_json::{Map, Value};

use occystrap_base::secret::Secret;

/// A login at a registry.
#[derive(Clone)]
pub(super) enum Login {
    /// A name and a password. One of them may be empty.
    Password { username: String, password: Secret },
    /// A refresh token of an OAuth2 token service.
    IdentityToken(Secret),
    /// A token that the registry itself accepts.
    RegistryToken(Secret),
}

impl Login {
    /// Returns a login by password; `None` when both are empty, which requests access without a login.
    pub(super) fn with_password(username: &str, password: &str) -> Option<Self> {
        let is_login = !username.is_empty() || !password.is_empty();
        let login = || Self::Password { username: username.to_owned(), password: password.into() };
        is_login.then(login)
    }
}

/// The error for a member that is not a string, and for an entry without a readable login.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Returns a member by its name; where no name is equal, by the name in any case.
pub(super) fn member<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let any_case =
        || of.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    of.get(name).or_else(any_case)
}

/// Returns a string member by its name; an empty string where it is absent or `null`.
pub(super) fn text<'a>(of: &'a Map<String, Value>, name: &str) -> Result<&'a str, Malformed> {
    match member(of, name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Malformed),
    }
}
