//! Bearer tokens, and their request from a token service (distribution project, "Token Authentication Specification"
//! and "Oauth2 Token Authentication").
//!
//! The registry chooses the URL of the service, so it is not trusted. What this module refuses: a URL that is not HTTP
//! or HTTPS, to send a password over plain HTTP unless the user allows that, and to follow a redirect for a request
//! that has a secret in its body.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use super::credential::Credential;
use super::login::{self, Login, member};
use super::scope;
use crate::http::redirect::{authority, other_scheme};
use crate::http::retry::RetryBudget;
use crate::http::wire::{Call, Wire};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::secret::{self, Secret};

/// The largest answer of a token service, in bytes. Tokens are sent in headers, which servers limit to some kilobytes.
const LARGEST_ANSWER: usize = 256 * 1024;

/// The shortest lifetime of a token, in seconds, and the one that the specification assumes when the answer has none.
const SHORTEST_LIFE: u64 = 60;

/// The longest lifetime of a token, in seconds: a day. A token that claims more is still requested again after it.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// The time before its end in which a token is no longer used, so that it does not expire during the request.
const MARGIN: Duration = Duration::from_secs(5);

/// A token, and the time until which it is used.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Token {
    /// Returns the header to send; `None` when the token has expired.
    pub(super) fn header(&self, now: Instant) -> Option<HeaderValue> {
        (now < self.until).then(|| self.header.clone())
    }
}

/// Returns the header of HTTP's Basic scheme (RFC 7617).
pub(super) fn basic(username: &str, password: &Secret) -> Result<HeaderValue> {
    let pair = format!("{username}:{}", password.expose());
    let text = base64::engine::general_purpose::STANDARD.encode(pair);
    // A short password is too short to be masked in all its encodings, but the encoded pair is long enough.
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

/// Requests the token of a challenge. `scope` is the scope that the work needs: see [`scope::asked`].
pub(super) async fn fetch(
    wire: &Wire,
    challenge: &Challenge,
    scope: &str,
    credential: &Credential,
) -> Result<Token> {
    if let Some(Login::RegistryToken(token)) = &credential.login {
        return given(token);
    }
    let url = realm(challenge)?;
    let host = authority(&url);
    let clear = url.scheme() != "https" && !wire.settings.insecure;
    if clear && credential.login.is_some() {
        let message = format!(
            "the registry asks to send the credentials over plain HTTP to {host}, which is refused"
        );
        return Err(Error::new(Kind::Auth, message).hint("--insecure allows plain HTTP"));
    }
    let scope = scope::asked(challenge.parameter("scope"), scope);
    let (call, authorization) =
        request(url, challenge.parameter("service"), &scope, credential.login.as_ref())?;
    let mut budget = RetryBudget::new(&wire.settings);
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

/// Returns the token that a file has for the registry itself. Its lifetime is not known.
fn given(token: &Secret) -> Result<Token> {
    secret::keep_token(token.expose());
    let header = sensitive(format!("Bearer {}", token.expose()))?;
    Ok(Token { header, until: Instant::now() + life(None) })
}

/// Returns the request for a token, and its `Authorization` header. An identity token is sent in a form ("Oauth2 Token
/// Authentication", "Getting a token"), a password in the header.
fn request(
    mut url: Url,
    service: Option<&str>,
    scope: &str,
    secret: Option<&Login>,
) -> Result<(Call, Option<HeaderValue>)> {
    let mut headers =
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    if let Some(Login::IdentityToken(token)) = secret {
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
    // Docker, Podman and skopeo do not send a login to a token service when its name or password is empty.
    if let Some(Login::Password { username, password }) = secret
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
    let (message, hint) = match &credential.login {
        Some(_) => (
            format!("{host} refused the credentials from {origin} ({status})"),
            "check user and password, or log in again with docker login",
        ),
        None => (
            format!("{host} gives no token without credentials ({status}): {origin}"),
            "use --username and --password, or log in with docker login",
        ),
    };
    Error::new(Kind::Auth, message).hint(hint)
}

/// The URL of the token service.
pub(super) fn realm(challenge: &Challenge) -> Result<Url> {
    let bad = |why: &str| Error::new(Kind::Auth, format!("the registry's challenge has {why}"));
    let realm = challenge.parameter("realm").ok_or_else(|| bad("no token service"))?;
    let mut url = Url::parse(realm).map_err(|_| bad("a token service that is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(&format!("a token service with {}", other_scheme(&url))));
    }
    // Otherwise the HTTP library would send them as Basic credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok(url)
}

/// Reads an answer as Go does: names may have any case, and the last of several counts. Errors do not repeat the
/// answer, because it may contain a token in the wrong member.
fn parse(body: &[u8], host: &str) -> Result<Token> {
    let malformed =
        |what: &str| Error::new(Kind::Auth, format!("the token service at {host} sent {what}"));
    let answer: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| malformed("something that is not a token's JSON"))?;
    let text = |name: &str| {
        login::text(&answer, name)
            .map(|text| Some(text).filter(|text| !text.is_empty()))
            .map_err(|_| malformed("something that is not a token's JSON"))
    };
    let token = match text("token")? {
        Some(token) => Some(token),
        None => text("access_token")?,
    };
    // A refresh token is not used, but it is a secret too.
    let refresh = member(&answer, "refresh_token").and_then(Value::as_str);
    token.into_iter().chain(refresh).for_each(secret::keep_token);
    let header = token.map(|token| sensitive(format!("Bearer {token}")));
    let header = header
        .ok_or_else(|| malformed("no token"))?
        .map_err(|_| malformed("a token that no header can carry"))?;
    // The specification has an integer here. Some services send 300.0 or "300".
    let seconds = member(&answer, "expires_in").and_then(|value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let until = Instant::now() + life(seconds) - MARGIN;
    Ok(Token { header, until })
}

/// Returns the lifetime of a token, limited to [`SHORTEST_LIFE`] and [`LONGEST_LIFE`].
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
            // The case of names, and duplicates, as Go reads them.
            (r#"{"Token":"a","refresh_token":5}"#, "Bearer a"),
            (r#"{"token":"x","token":"b"}"#, "Bearer b"),
            (r#"{"token":"","access_token":"c","expires_in":1e999,"issued_at":7}"#, "Bearer c"),
            (
                r#"{"token":"d","access_token":null,"expires_in":-5,"refresh_token":"x"}"#,
                "Bearer d",
            ),
        ] {
            let Ok(token) = parse(body.as_bytes(), "h") else {
                // serde does not accept the number 1e999.
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
    fn an_invalid_token_is_not_repeated() {
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
