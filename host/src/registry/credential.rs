//! Who the user is at a registry: given on the command line, or found where `docker login`,
//! `podman login` and credential helpers keep it.
//!
//! Nothing is looked up before a registry asks. What it refuses: to show a secret, or anything that
//! a helper printed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError as Refusal, DockerCredential};
use tokio::sync::oneshot;

use super::reference::Reference;
use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result, io_reason, printable};
use crate::http::settings::Settings;
use crate::regular;
use crate::secret::Secret as Hidden;

/// Largest file with credentials that is read: real ones have some kilobytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// How Docker names Docker Hub in its files and to its helpers.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a user can prove to be.
#[derive(Clone)]
pub(super) enum Secret {
    Password {
        username: String,
        password: Hidden,
    },
    /// A refresh token of an OAuth2 token service.
    IdentityToken(Hidden),
}

/// The outcome of looking.
pub(super) struct Credential {
    pub(super) secret: Option<Secret>,
    /// Where the secret is from, or why there is none, for an error's sake.
    pub(super) origin: String,
}

/// Looks for the credential of a repository. Helpers run in a thread of their own: they may ask the
/// user, or hang. Errors when the file that the user named cannot be used, or on a cancelled run.
pub(super) async fn find(
    settings: &Settings,
    reference: &Reference,
    cancel: &Cancel,
) -> Result<Credential> {
    if let (Some(username), Some(password)) = (&settings.username, &settings.password) {
        let secret = Secret::Password { username: username.clone(), password: password.clone() };
        return Ok(Credential { secret: Some(secret), origin: settings.login_origin.into() });
    }
    let authfile = settings.authfile.clone();
    let keys = keys(reference);
    let (send, receive) = oneshot::channel();
    let looking = move || {
        // Nobody listens any more when the run was cancelled.
        let _ = send.send(match authfile {
            Some(file) => look_into(&file, &keys),
            None => look_around(&places(|name| std::env::var_os(name)), &keys),
        });
    };
    let spawned = std::thread::Builder::new().name("credentials".into()).spawn(looking);
    spawned.map_err(|cause| {
        Error::new(Kind::Auth, format!("cannot look for credentials: {}", io_reason(&cause)))
    })?;
    tokio::select! {
        found = receive => found.unwrap_or_else(|_| Err(Error::new(Kind::Auth, "looking for credentials failed"))),
        stop = cancel.cancelled() => Err(stop),
    }
}

/// Where tools keep credentials, in the order of containers-auth.json(5), with Docker's last.
fn places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let docker = path("DOCKER_CONFIG").or_else(|| Some(path("HOME")?.join(".docker")));
    [
        path("REGISTRY_AUTH_FILE"),
        path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The names that a repository's credential may be kept under, the most special first: Podman keeps
/// them by repository or namespace, too.
fn keys(reference: &Reference) -> Vec<String> {
    let whole = format!("{}/{}", reference.host, reference.repository);
    let mut keys: Vec<String> =
        whole.match_indices('/').map(|(end, _)| whole[..end].to_owned()).collect();
    keys.push(whole.clone());
    keys.reverse();
    if reference.host == "docker.io" {
        keys.extend([DOCKER_HUB_KEY, "index.docker.io", "registry-1.docker.io"].map(str::to_owned));
    }
    keys
}

/// Files that nobody named may be missing or broken: then the registry is asked anonymously, and
/// the reason is told when it refuses.
fn look_around(files: &[PathBuf], keys: &[String]) -> Result<Credential> {
    let mut reasons = Vec::new();
    for file in files.iter().filter(|file| file.exists()) {
        match look_into(file, keys) {
            Ok(found) if found.secret.is_some() => return Ok(found),
            Ok(nothing) => reasons.push(nothing.origin),
            Err(error) => {
                tracing::warn!(%error, "going on without credentials");
                reasons.push(error.to_string());
            }
        }
    }
    if reasons.is_empty() {
        reasons.push("no credentials are configured".into());
    }
    Ok(Credential { secret: None, origin: reasons.join("; ") })
}

fn look_into(file: &Path, keys: &[String]) -> Result<Credential> {
    let place = file.display();
    let unusable = |why: &str| Error::new(Kind::Auth, format!("credentials in '{place}': {why}"));
    let read = |cause: &std::io::Error| {
        Error::io(Kind::Auth, "read credentials from", place.to_string(), cause)
    };
    let bytes = regular::read(file, LARGEST_FILE).map_err(|cause| read(&cause))?;
    let config: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_| unusable("the file is not JSON"))?;
    let has = |section: &str, key: &str| config.get(section).and_then(|all| all.get(key)).is_some();
    // A helper is named for whole registries, an entry for anything down to a repository. What has
    // neither is asked for under the registry's usual name: there may be a store for all.
    let known = |key: &&String| has("auths", key) || has("credHelpers", key);
    let usual = || {
        keys.iter()
            .find(|key| *key == DOCKER_HUB_KEY)
            .or(keys.iter().find(|key| !key.contains('/')))
    };
    let Some(key) = keys.iter().find(known).or_else(usual) else {
        return Err(unusable("no key fits"));
    };
    let nothing =
        || Credential { secret: None, origin: format!("'{place}' has no credentials for {key}") };
    match docker_credential::get_credential_from_reader(bytes.as_slice(), key) {
        Ok(found) => {
            let secret = match found {
                DockerCredential::IdentityToken(token) => Secret::IdentityToken(token.into()),
                DockerCredential::UsernamePassword(username, password) => {
                    Secret::Password { username, password: password.into() }
                }
            };
            let origin = match helper(&config, key) {
                Some(helper) => format!("{helper} (which '{place}' names)"),
                None => format!("'{place}'"),
            };
            Ok(Credential { secret: Some(secret), origin })
        }
        Err(Refusal::NoCredentialConfigured) => Ok(nothing()),
        // How helpers say that they know nobody (docker-credential-helpers, `errCredentialsNotFound`).
        Err(Refusal::HelperFailure { stdout, stderr, .. })
            if format!("{stdout}{stderr}").contains("credentials not found") =>
        {
            Ok(nothing())
        }
        Err(Refusal::HelperFailure { helper, .. }) => {
            Err(unusable(&format!("{helper} failed"))
                .hint(format!("try: echo {key} | {helper} get")))
        }
        Err(Refusal::HelperCommunicationError) => Err(unusable(&format!(
            "the credential helper for {key} cannot be run, or does not listen"
        ))),
        Err(Refusal::MalformedHelperResponse) => {
            Err(unusable(&format!("the credential helper for {key} gave no valid answer")))
        }
        Err(_) => Err(unusable(&format!("the entry for {key} is malformed"))
            .hint("log in again to write it anew")),
    }
}

/// The program that was asked for a key: one for that registry goes before entries of the file, the
/// one for all comes after them, as in `docker_credential`.
fn helper(config: &serde_json::Value, key: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(|all| all.get(key));
    let entry = config.get("auths").and_then(|all| all.get(key));
    let holds = |name: &str| entry.and_then(|entry| entry.get(name)).is_some();
    let common = || {
        config
            .get("credsStore")
            .filter(|_| !["auth", "identitytoken", "username"].into_iter().any(holds))
    };
    let name = own.or_else(common)?.as_str()?;
    Some(format!("docker-credential-{}", printable(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(config: &str, image: &str) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        let found = look_into(&file, &keys(&Reference::parse(image).unwrap()))?;
        Ok(match found.secret {
            Some(Secret::Password { username, password }) => {
                format!("{username}:{}", password.expose())
            }
            Some(Secret::IdentityToken(token)) => format!("token {}", token.expose()),
            None => "nothing".into(),
        })
    }

    #[test]
    fn entries_are_found_under_every_name() {
        // bWU6cHc= is me:pw, b3RoZXI6cHc= is other:pw.
        for (config, image, expected) in [
            (r#"{"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#, "quay.io/a/b", "me:pw"),
            (
                r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cHc="}}}"#,
                "docker.io/a",
                "me:pw",
            ),
            (r#"{"auths":{"docker.io":{"auth":"bWU6cHc="}}}"#, "docker.io/a", "me:pw"),
            (r#"{"auths":{"https://quay.io/v2/":{"auth":"bWU6cHc="}}}"#, "quay.io/a", "me:pw"),
            (
                r#"{"auths":{"quay.io":{"auth":"bWU6cHc="},"quay.io/a/b":{"auth":"b3RoZXI6cHc="}}}"#,
                "quay.io/a/b",
                "other:pw",
            ),
            (
                r#"{"auths":{"quay.io":{"auth":"bWU6cHc="},"quay.io/a/b":{"auth":"b3RoZXI6cHc="}}}"#,
                "quay.io/a/c",
                "me:pw",
            ),
            (r#"{"auths":{"quay.io":{"username":"me","password":"pw"}}}"#, "quay.io/a", "me:pw"),
            (r#"{"auths":{"quay.io":{"identitytoken":"tok"}}}"#, "quay.io/a", "token tok"),
            (r#"{"auths":{"localhost:5000":{"auth":"bWU6cHc="}}}"#, "localhost:5000/a", "me:pw"),
            (r#"{"auths":{"localhost:5000":{"auth":"bWU6cHc="}}}"#, "localhost:5001/a", "nothing"),
            (r#"{"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#, "quay.io.evil.example/a", "nothing"),
            (r#"{"auths":{"quay.io":{}}}"#, "quay.io/a", "nothing"),
            ("{}", "quay.io/a", "nothing"),
        ] {
            assert_eq!(look(config, image).unwrap(), expected, "{config} {image}");
        }
    }

    #[test]
    fn who_gave_a_credential_is_told() {
        for (config, expected) in [
            (r#"{"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#, None),
            (r#"{"credHelpers":{"quay.io":"pass"}}"#, Some("docker-credential-pass")),
            (r#"{"credsStore":"all","auths":{"quay.io":{}}}"#, Some("docker-credential-all")),
            (r#"{"credsStore":"all","auths":{"quay.io":{"auth":"bWU6cHc="}}}"#, None),
            (
                r#"{"credHelpers":{"quay.io":"pass"},"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#,
                Some("docker-credential-pass"),
            ),
        ] {
            let config = serde_json::from_str(config).unwrap();
            assert_eq!(helper(&config, "quay.io").as_deref(), expected, "{config}");
        }
    }

    #[test]
    fn broken_files_are_named_without_their_secrets() {
        for config in [
            "",
            "null?",
            "[",
            r#"{"auths":{"quay.io":{"auth":"c2VjcmV0"}}}"#,
            r#"{"auths":{"quay.io":{"auth":"se$cret"}}}"#,
            r#"{"auths":{"quay.io":"secret"}}"#,
        ] {
            let error = look(config, "quay.io/a").expect_err(config);
            assert_eq!(error.kind(), Kind::Auth);
            assert!(error.to_string().contains("config.json'"), "{error}");
            assert!(!error.to_string().contains("cret"), "{error}");
        }
    }

    #[test]
    fn places_are_those_of_podman_and_docker() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            places(|name| set.iter().find(|(key, _)| key == name).map(|(_, value)| value.into()))
        };
        assert_eq!(with(&[("HOME", "/h")]), [PathBuf::from("/h/.docker/config.json")]);
        assert_eq!(
            with(&[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("XDG_RUNTIME_DIR", "/x"),
                ("REGISTRY_AUTH_FILE", "/r")
            ]),
            ["/r", "/x/containers/auth.json", "/d/config.json"].map(PathBuf::from)
        );
        assert!(with(&[("HOME", "")]).is_empty());
    }

    #[test]
    fn a_broken_file_that_nobody_named_does_not_stop_the_search() {
        let dir = tempfile::tempdir().unwrap();
        let (broken, good) = (dir.path().join("broken"), dir.path().join("good"));
        std::fs::write(&broken, "{").unwrap();
        std::fs::write(&good, r#"{"auths":{"quay.io":{"identitytoken":"tok"}}}"#).unwrap();
        let keys = keys(&Reference::parse("quay.io/a").unwrap());
        let found =
            look_around(&[dir.path().join("missing"), broken.clone(), good], &keys).unwrap();
        assert!(
            matches!(found.secret, Some(Secret::IdentityToken(token)) if token.expose() == "tok")
        );
        let nothing = look_around(&[broken], &keys).unwrap();
        assert!(nothing.secret.is_none() && nothing.origin.contains("not JSON"));
    }
}
