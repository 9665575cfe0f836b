//! Bearer tokens: asking a token service for one (distribution project, "Token Authentication
//! Specification" and "Oauth2 Token Authentication").
//!
//! The place of the service comes from the registry and is hostile: only HTTP(S), no password over
//! plain HTTP unless the user allows that, no redirect for a request that carries one in its body.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::auth_file::{self, member};
use super::challenge::Challenge;
use super::credential::{Credential, Secret};
use super::scope;
use crate::http::redirect::{authority, other_scheme};
use crate::http::retry::Budget;
use crate::http::wire::{Call, Wire};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::secret::{self, Secret as Hidden};

/// Largest answer of a token service: tokens are sent in headers, which servers limit to some
/// kilobytes.
const LARGEST_ANSWER: usize = 256 * 1024;

/// What the specification says to assume, and the least that a token lives.
const SHORTEST_LIFE: u64 = 60;

/// A day: what claims to live longer is asked for again anyway.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// A token is not used in its last seconds, so that it does not expire on the way.
const MARGIN: Duration = Duration::from_secs(5);

/// A token and when it ends.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Token {
    /// The header to send, as long as the token is good.
    pub(super) fn header(&self, now: Instant) -> Option<HeaderValue> {
        (now < self.until).then(|| self.header.clone())
    }
}

/// The header of HTTP's Basic scheme (RFC 7617).
pub(super) fn basic(username: &str, password: &Hidden) -> Result<HeaderValue> {
    let pair = format!("{username}:{}", password.expose());
    let text = base64::engine::general_purpose::STANDARD.encode(pair);
    // The spellings of a short password are too short to be known by themselves.
    secret::keep(&text);
    sensitive(format!("Basic {text}"))
}

fn sensitive(text: String) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Error::new(Kind::Auth, "a credential has characters that no header can carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Gets the token that a challenge asks for. `scope` is what the work needs: see [`scope::asked`].
pub(super) async fn fetch(
    wire: &Wire,
    challenge: &Challenge,
    scope: &str,
    credential: &Credential,
) -> Result<Token> {
    if let Some(Secret::RegistryToken(token)) = &credential.secret {
        return given(token);
    }
    let url = realm(challenge)?;
    let host = authority(&url);
    let clear = url.scheme() != "https" && !wire.settings.insecure;
    if clear && credential.secret.is_some() {
        let message = format!(
            "the registry wants the credentials sent over plain HTTP to {host}; that is refused"
        );
        return Err(Error::new(Kind::Auth, message).hint("--insecure allows plain HTTP"));
    }
    let scope = scope::asked(challenge.parameter("scope"), scope);
    let (call, authorization) =
        request(url, challenge.parameter("service"), &scope, credential.secret.as_ref())?;
    let mut budget = Budget::new(&wire.settings);
    loop {
        let mut answer = wire.exchange(&call, authorization.as_ref(), &mut budget).await?;
        if !answer.status().is_success() {
            return Err(refused(&host, answer.status(), credential));
        }
        match answer.read(LARGEST_ANSWER, "a token").await {
            Ok(body) => return parse(&body, &host),
            Err(failure) => wire.pause(&mut budget, failure).await?,
        }
    }
}

/// The token that a file holds for the registry itself: how long it lives is not known.
fn given(token: &Hidden) -> Result<Token> {
    secret::keep_token(token.expose());
    let header = sensitive(format!("Bearer {}", token.expose()))?;
    Ok(Token { header, until: Instant::now() + life(None) })
}

/// What to ask: with an identity token a form ("Oauth2 Token Authentication", "Getting a token"), else a
/// query, with a password in the header that is returned beside it.
fn request(
    mut url: Url,
    service: Option<&str>,
    scope: &str,
    secret: Option<&Secret>,
) -> Result<(Call, Option<HeaderValue>)> {
    let mut headers =
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    if let Some(Secret::IdentityToken(token)) = secret {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("client_id", "occystrap");
        form.append_pair("service", service.unwrap_or_default());
        form.append_pair("scope", scope);
        form.append_pair("refresh_token", token.expose());
        let body = Some(Bytes::from(form.finish()));
        let call = Call { body, foreign: true, ..Call::new(Method::POST, url, headers) };
        return Ok((call, None));
    }
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    for one in scope.split_ascii_whitespace() {
        query.append_pair("scope", one);
    }
    let mut authorization = None;
    // Docker, Podman and skopeo send no half of a login to a token service.
    if let Some(Secret::Password { username, password }) = secret
        && !username.is_empty()
        && !password.expose().is_empty()
    {
        query.append_pair("account", username);
        authorization = Some(basic(username, password)?);
    }
    drop(query);
    Ok((Call { foreign: true, ..Call::new(Method::GET, url, headers) }, authorization))
}

fn refused(host: &str, status: StatusCode, credential: &Credential) -> Error {
    let origin = &credential.origin;
    let (message, hint) = match &credential.secret {
        Some(_) => (
            format!("{host} refused the credentials from {origin} ({status})"),
            "check user and password, or log in again with docker login",
        ),
        None => (
            format!("{host} gives no token without credentials ({status}): {origin}"),
            "give --username and --password, or log in with docker login",
        ),
    };
    Error::new(Kind::Auth, message).hint(hint)
}

/// The URL of the token service.
pub(super) fn realm(challenge: &Challenge) -> Result<Url> {
    let bad = |why: &str| Error::new(Kind::Auth, format!("the registry's challenge names {why}"));
    let realm = challenge.parameter("realm").ok_or_else(|| bad("no token service"))?;
    let mut url = Url::parse(realm).map_err(|_| bad("a token service that is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(&format!("a token service with {}", other_scheme(&url))));
    }
    // Or they would be sent as Basic credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok(url)
}

/// Reads an answer as Go does: names in any case, the last of several. Errors do not repeat what was sent: it may be
/// a token in the wrong place.
fn parse(body: &[u8], host: &str) -> Result<Token> {
    let malformed =
        |what: &str| Error::new(Kind::Auth, format!("the token service at {host} sent {what}"));
    let answer: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| malformed("something that is not a token's JSON"))?;
    let text = |name: &str| {
        auth_file::text(&answer, name)
            .map(|text| Some(text).filter(|text| !text.is_empty()))
            .map_err(|_| malformed("something that is not a token's JSON"))
    };
    let token = match text("token")? {
        Some(token) => Some(token),
        None => text("access_token")?,
    };
    // A refresh token is not used, and no less secret.
    let refresh = member(&answer, "refresh_token").and_then(Value::as_str);
    token.into_iter().chain(refresh).for_each(secret::keep_token);
    let header = token.map(|token| sensitive(format!("Bearer {token}")));
    let header = header
        .ok_or_else(|| malformed("no token"))?
        .map_err(|_| malformed("a token that no header can carry"))?;
    // A number in the specification; some services send 300.0 or "300".
    let seconds = member(&answer, "expires_in").and_then(|value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let until = Instant::now() + life(seconds) - MARGIN;
    Ok(Token { header, until })
}

/// Whatever a service says, a token is used for a while, and not for ever.
fn life(seconds: Option<f64>) -> Duration {
    let seconds = seconds.filter(|seconds| seconds.is_finite()).unwrap_or(SHORTEST_LIFE as f64);
    Duration::from_secs((seconds as u64).clamp(SHORTEST_LIFE, LONGEST_LIFE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::challenge;

    #[test]
    fn lives_are_clamped() {
        for (said, expected) in [
            (None, 60),
            (Some(300.0), 300),
            (Some(0.0), 60),
            (Some(-1.0), 60),
            (Some(1e300), 86_400),
            (Some(f64::NAN), 60),
            (Some(f64::INFINITY), 60),
        ] {
            assert_eq!(life(said), Duration::from_secs(expected), "{said:?}");
        }
    }

    #[test]
    fn answers_name_the_token_in_two_ways() {
        for (body, expected) in [
            (r#"{"token":"a"}"#, "Bearer a"),
            (r#"{"access_token":"b","expires_in":"300"}"#, "Bearer b"),
            // As Go reads JSON.
            (r#"{"Token":"a","refresh_token":5}"#, "Bearer a"),
            (r#"{"token":"x","token":"b"}"#, "Bearer b"),
            (r#"{"token":"","access_token":"c","expires_in":1e999,"issued_at":7}"#, "Bearer c"),
            (
                r#"{"token":"d","access_token":null,"expires_in":-5,"refresh_token":"x"}"#,
                "Bearer d",
            ),
        ] {
            let Ok(token) = parse(body.as_bytes(), "h") else {
                // 1e999 is no JSON number for serde.
                assert!(body.contains("1e999"), "{body}");
                continue;
            };
            let header = token.header(Instant::now()).unwrap();
            assert_eq!(header, expected);
            assert!(header.is_sensitive());
            assert!(token.header(Instant::now() + Duration::from_secs(900)).is_none());
        }
    }

    #[test]
    fn what_is_not_a_token_is_not_repeated() {
        for body in [
            "",
            "<html>s3cret",
            "[]",
            "{}",
            r#"{"token":5}"#,
            r#"{"token":"s3cret\nX-Evil: 1"}"#,
            r#"{"token":""}"#,
        ] {
            let error = parse(body.as_bytes(), "auth.example").err().unwrap();
            assert_eq!(error.kind(), Kind::Auth);
            assert!(
                error.to_string().contains("auth.example") && !error.to_string().contains("s3cret")
            );
        }
    }

    #[test]
    fn realms_are_http_and_carry_no_credentials() {
        let realm = |value: &str| realm(&challenge::parse(&format!("Bearer realm=\"{value}\""))[0]);
        assert_eq!(
            realm("https://a:b@auth.example/t?x=y").unwrap().as_str(),
            "https://auth.example/t?x=y"
        );
        for bad in ["", "/token", "ftp://x/", "file:///etc/passwd", "javascript:1"] {
            assert!(realm(bad).is_err(), "{bad}");
        }
    }
}
