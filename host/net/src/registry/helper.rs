//! Credential helpers: programs that keep logins (docker-credential-helpers, "Development").
//!
//! What this module refuses: to show any output of a helper, because it may be a password.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Deserialize as _;
use serde_json::{Deserializer, Map, Value};

use super::login::{self, Login};

/// The user name of a helper's answer whose secret is an identity token.
const IS_TOKEN: &str = "<token>";

/// The text in the output of a helper that has no login for the key (docker-credential-helpers,
/// `errCredentialsNotFound`).
const NOT_FOUND: &str = "credentials not found";

/// The reason why a helper gave no login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The program cannot be started.
    NoProgram,
    /// The program ended with an error.
    Failed,
    /// The output is not the JSON of a helper.
    Malformed,
}

/// Returns the program of a helper.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Requests the login of a key from a helper. Returns `None` when the helper has none, or an empty one.
pub(super) fn ask(name: &str, key: &str) -> Result<Option<Login>, Trouble> {
    let mut child = Command::new(program(name))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|_| Trouble::NoProgram)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper for a single registry may end without reading its input.
        let _ = stdin.write_all(key.as_bytes());
    }
    let output = child.wait_with_output().map_err(|_| Trouble::Failed)?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let is_absent = String::from_utf8_lossy(&said).contains(NOT_FOUND);
        return if is_absent { Ok(None) } else { Err(Trouble::Failed) };
    }
    parse(&output.stdout)
}

/// Reads an answer as Docker and Podman do: names may have any case, and text after the object is ignored.
pub(super) fn parse(answer: &[u8]) -> Result<Option<Login>, Trouble> {
    let answer = Map::<String, Value>::deserialize(&mut Deserializer::from_slice(answer))
        .map_err(|_| Trouble::Malformed)?;
    let text = |name: &str| login::text(&answer, name).map_err(|_| Trouble::Malformed);
    let (username, secret) = (text("Username")?, text("Secret")?);
    Ok(match username {
        IS_TOKEN if secret.is_empty() => None,
        IS_TOKEN => Some(Login::IdentityToken(secret.into())),
        username => Login::with_password(username, secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_helpers() {
        for (answer, expected) in [
            (r#"{"ServerURL":"h","Username":"me","Secret":"pw"}"#, Ok("me:pw")),
            (r#"{"Username":"AWS","Secret":"eyJ+/="}"#, Ok("AWS:eyJ+/=")),
            (r#"{"ServerURL":"h","Username":"<token>","Secret":"tok"}"#, Ok("token tok")),
            (r#"{"ServerURL":"h","Username":"","Secret":""}"#, Ok("nothing")),
            (r#"{"ServerURL":"h"}"#, Ok("nothing")),
            (r#"{"Username":null,"Secret":null}"#, Ok("nothing")),
            (r#"{"Username":"<token>","Secret":""}"#, Ok("nothing")),
            (r#"{"username":"me","secret":"pw"}"#, Ok("me:pw")),
            ("{\"Username\":\"me\",\"Secret\":\"pw\"}\nbye\n", Ok("me:pw")),
            (r#"{"Username":"x","Username":"me","Secret":"pw"}"#, Ok("me:pw")),
            ("{}", Ok("nothing")),
            ("", Err(Trouble::Malformed)),
            ("pw", Err(Trouble::Malformed)),
            (r#"{"Username":5}"#, Err(Trouble::Malformed)),
        ] {
            let found = parse(answer.as_bytes()).map(|found| match found {
                Some(Login::Password { username, password }) => {
                    format!("{username}:{}", password.expose())
                }
                Some(Login::IdentityToken(token)) => format!("token {}", token.expose()),
                Some(Login::RegistryToken(_)) => "of another kind".to_owned(),
                None => "nothing".to_owned(),
            });
            assert_eq!(found, expected.map(str::to_owned), "{answer}");
        }
    }
}
