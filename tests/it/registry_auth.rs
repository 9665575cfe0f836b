//! Logins at a registry: which credentials are sent, and that no other server gets them.

use std::sync::{Arc, Mutex};

use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::manifest::OCI_MANIFEST;

use crate::support::registry::{ALWAYS, Auth, Fault, Registry, Users};
use crate::support::user::{User, descriptor, pull, run, seen};

const LAYER: &[u8] = b"a layer";
const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn requiring(auth: Auth) -> Registry {
    let registry = Registry::start();
    registry.put_blob(LAYER);
    registry.put_manifest("a/b", "v1", OCI_MANIFEST, BODY);
    registry.require(auth);
    registry
}

#[track_caller]
fn refused(user: &User, registry: &Registry) -> Error {
    let error = user.pull(registry, LAYER).unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert!(!seen(&error).contains("hunter2"), "{}", seen(&error));
    let place = format!("{}/a/b@{}: ", registry.url_host(), descriptor(LAYER).digest);
    assert!(error.to_string().starts_with(&place), "{error}");
    assert_eq!(error.to_string().matches("/a/b").count(), 1, "{error}");
    error
}

#[test]
fn basic() {
    let registry = requiring(Auth::basic("me", "hunter2:x"));
    let user = User::new().named("me", "hunter2:x");
    assert_eq!(user.pull(&registry, LAYER).unwrap(), LAYER);
    let sent: Vec<_> =
        registry.requests().iter().map(|one| one.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["", "Basic bWU6aHVudGVyMjp4"], "nothing is sent before it is asked for");

    let error = refused(&User::new().named("me", "hunter2"), &registry);
    assert!(error.to_string().contains("refused the credentials from --username"), "{error}");
    // A wrong password is not sent more often than it takes: accounts are locked by that.
    let user = User::new().named("me", "hunter2");
    let repository = user.open(&registry.url_host());
    for requests in [2, 1] {
        let before = registry.requests().len();
        run(repository.manifest("v1")).unwrap_err();
        assert_eq!(registry.requests().len() - before, requests);
    }

    let error = refused(&User::new(), &registry);
    assert!(error.to_string().contains("requires credentials"), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(
        hint.contains("--username")
            && hint.contains(&format!("docker login {}", registry.url_host()))
    );
}

#[test]
fn an_anonymous_token_is_got_once_for_all_requests() {
    let registry = requiring(Auth::Bearer(Users::Anybody));
    let user = User::new();
    let repository = user.open(&registry.url_host());
    run(async {
        repository.manifest("v1").await.unwrap();
        let what = descriptor(LAYER);
        let pulls = (0..8).map(|_| pull(&repository, &what));
        for outcome in futures_util::future::join_all(pulls).await {
            outcome.unwrap();
        }
    });
    assert_eq!(registry.tokens_given(), 1);
    let asked = registry.requests_of("GET", "/token");
    // The scope and the service are one parameter each, whatever characters they have.
    assert_eq!(asked[0].path, "/token?service=tests+%26+more&scope=repository%3Aa%2Fb%3Apull");
    // One request for the challenge, one for the token, and then each request with the token.
    assert_eq!(registry.requests().len(), 2 + 9);
}

#[test]
fn parallel_requests_without_a_token_get_one_together() {
    let registry = requiring(Auth::Bearer(Users::Anybody));
    let user = User::new();
    let repository = user.open(&registry.url_host());
    run(async {
        let what = descriptor(LAYER);
        let pulls = (0..8).map(|_| pull(&repository, &what));
        for outcome in futures_util::future::join_all(pulls).await {
            outcome.unwrap();
        }
    });
    assert_eq!(registry.tokens_given(), 1);
}

#[test]
fn a_token_for_a_password() {
    let registry = requiring(Auth::bearer("me", "hunter2"));
    assert_eq!(User::new().named("me", "hunter2").pull(&registry, LAYER).unwrap(), LAYER);
    let passwords = registry
        .requests()
        .into_iter()
        .filter(|one| one.header("authorization").starts_with("Basic"));
    assert!(passwords.map(|one| one.path).all(|path| path.starts_with("/token?")));

    let error = refused(&User::new().named("me", "hunter2!"), &registry);
    assert!(
        error.to_string().contains("refused the credentials from --username and --password (401"),
        "{error}"
    );
    let error = refused(&User::new(), &registry);
    assert!(error.to_string().contains("no token without credentials"), "{error}");
    assert!(error.hint_text().unwrap().contains("docker login"));
}

#[test]
fn a_token_for_an_identity_token() {
    let registry = requiring(Auth::Bearer(Users::IdentityToken("id-hunter2&=".into())));
    let config =
        format!(r#"{{"auths":{{"{}":{{"identitytoken":"id-hunter2&="}}}}}}"#, registry.url_host());
    assert_eq!(User::new().logged_in(&config).pull(&registry, LAYER).unwrap(), LAYER);
    let asked = registry.requests_of("POST", "/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token");
    assert_eq!(asked[0].header("content-type"), "application/x-www-form-urlencoded");
    let form = String::from_utf8(asked[0].body.to_vec()).unwrap();
    for part in [
        "grant_type=refresh_token",
        "refresh_token=id-hunter2%26%3D",
        "scope=repository%3Aa%2Fb%3Apull",
        "service=tests+%26+more",
        "client_id=occystrap",
    ] {
        assert!(form.contains(part), "{form}");
    }
    let wrong = config.replace("id-hunter2", "other-hunter2");
    let error = refused(&User::new().logged_in(&wrong), &registry);
    assert!(error.to_string().contains("config.json'"), "{error}");
}

#[test]
fn an_identity_token_is_not_posted_anywhere_else() {
    let (registry, other) =
        (requiring(Auth::Bearer(Users::IdentityToken("id-hunter2".into()))), Registry::start());
    for status in [302, 307, 308] {
        let headers = vec![("location", format!("{}/token", other.base()))];
        registry.fault("POST", "/token", Fault::Status(status, headers), 1);
        let config = format!(
            r#"{{"auths":{{"{}":{{"identitytoken":"id-hunter2"}}}}}}"#,
            registry.url_host()
        );
        refused(&User::new().logged_in(&config), &registry);
    }
    assert!(other.requests().is_empty());
}

#[test]
fn a_token_that_is_no_longer_good_is_replaced_once() {
    let registry = requiring(Auth::Bearer(Users::Anybody));
    let user = User::new();
    let repository = user.open(&registry.url_host());
    run(async {
        repository.manifest("v1").await.unwrap();
        registry.revoke_tokens();
        assert_eq!(pull(&repository, &descriptor(LAYER)).await.unwrap(), LAYER);
    });
    assert_eq!(registry.tokens_given(), 2);
    assert_eq!(user.counters.retries(), 0);

    registry.fault(
        "GET",
        "/blobs/",
        Fault::Status(
            401,
            vec![("www-authenticate", format!("Bearer realm=\"{}/token\"", registry.base()))],
        ),
        ALWAYS,
    );
    let before = registry.requests().len();
    let error = run(pull(&repository, &descriptor(LAYER))).unwrap_err();
    assert_eq!(error.kind(), Kind::Auth);
    // Refused, a new token, refused again: enough.
    assert_eq!(registry.requests().len() - before, 3);
}

#[test]
fn a_token_is_replaced_in_the_middle_of_a_download() {
    let registry = requiring(Auth::Bearer(Users::Anybody));
    let bytes = vec![7; 500_000];
    registry.put_blob(&bytes);
    let user = User::new();
    let repository = user.open(&registry.url_host());
    run(async {
        repository.manifest("v1").await.unwrap();
        registry.fault("GET", "/blobs/", Fault::CutAfter(100_000), 1);
        let what = descriptor(&bytes);
        let mut download = repository.blob(&what);
        let mut got = download.next().await.unwrap().unwrap().to_vec();
        registry.revoke_tokens();
        while let Some(chunk) = download.next().await.unwrap() {
            got.extend_from_slice(&chunk);
        }
        assert_eq!(got, bytes);
    });
    assert_eq!(registry.tokens_given(), 2);
}

#[test]
fn forbidden_is_an_auth_error() {
    let registry = requiring(Auth::Open);
    registry.fault("GET", "/blobs/", Fault::status(403), ALWAYS);
    let error = refused(&User::new().named("me", "hunter2"), &registry);
    assert!(error.to_string().contains("forbids access"), "{error}");
    // The registry was asked how to log in, and has no answer: the password stays here.
    let asked: Vec<_> = registry.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1], "/v2/");
    assert!(registry.requests().iter().all(|request| request.header("authorization").is_empty()));
    assert!(error.hint_text().unwrap().contains("were not sent"), "{error:?}");

    // Asked for credentials first, and then refused.
    let registry = requiring(Auth::basic("me", "hunter2"));
    registry.fault("GET", "/blobs/", Fault::Delay(std::time::Duration::ZERO), 1);
    registry.fault("GET", "/blobs/", Fault::status(403), 1);
    let error = refused(&User::new().named("me", "hunter2"), &registry);
    assert!(error.to_string().contains("refused the credentials from --username"), "{error}");
}

#[test]
fn challenges_are_understood_in_every_spelling() {
    for headers in [
        &["bEaReR REALM = {realm} , SERVICE=s,scope=\"repository:a/b:pull\""][..],
        &["Negotiate abc==, Basic realm=\"x\\\"y\", Bearer realm=\"{realm}\""],
        &["Negotiate", "Bearer\trealm=\"{realm}\",error=\"invalid_token\""],
        &[",,Digest realm=\"x\", nonce=\"a,b=c\",Bearer realm=\"{realm}\""],
    ] {
        let registry = requiring(Auth::Bearer(Users::Anybody));
        registry.challenge(headers);
        assert_eq!(User::new().pull(&registry, LAYER).unwrap(), LAYER, "{headers:?}");
    }
}

#[test]
fn challenges_that_cannot_be_answered_say_why() {
    for (headers, expected) in [
        (&["Negotiate"][..], "by negotiate, which is not supported"),
        (&[], "does not name a scheme"),
        (&["Bearer service=\"x\""], "has no token service"),
        (&["Bearer realm=\"/token\""], "not a URL"),
        (&["Bearer realm=\"file:///etc/passwd\""], "the scheme 'file'"),
    ] {
        let registry = requiring(Auth::bearer("me", "hunter2"));
        registry.challenge(headers);
        let error = refused(&User::new().named("me", "hunter2"), &registry);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(registry.requests_of("GET", "/token").is_empty());
    }
}

#[test]
fn a_password_is_not_sent_to_a_realm_over_plain_http() {
    let (registry, plain) = (Registry::start_tls(), Registry::start());
    registry.put_blob(LAYER);
    registry.require(Auth::bearer("me", "hunter2"));
    registry.challenge(&[&format!("Bearer realm=\"{}/token\"", plain.base())]);
    let mut user = User::new().named("me", "hunter2");
    user.settings.insecure = false;
    user.settings.ca_bundle = Some(user.file("ca.pem", registry.certificate()));
    let error = refused(&user, &registry);
    assert!(error.to_string().contains("over plain HTTP"), "{error}");
    assert!(plain.requests().is_empty());
}

#[test]
fn a_token_service_that_fails_is_tried_again_and_then_an_error() {
    let registry = requiring(Auth::Bearer(Users::Anybody));
    registry.fault("GET", "/token", Fault::status(503), 2);
    let user = User::new();
    assert_eq!(user.pull(&registry, LAYER).unwrap(), LAYER);
    assert_eq!(user.counters.retries(), 2);

    for (body, expected) in [
        (&b"<html>"[..], "not a token's JSON"),
        (b"{}", "no token"),
        (&[b' '; 300_000], "more than 262144 bytes"),
    ] {
        registry.fault("GET", "/token", Fault::Body(body.to_vec()), 1);
        let error = User::new().pull(&registry, LAYER).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Helpers are found on the PATH, which is one for all tests: this one runs itself again with
/// another.
#[test]
fn credential_helpers_are_asked() {
    use std::os::unix::fs::PermissionsExt as _;
    if std::env::var_os("OCCYSTRAP_TEST_HELPERS").is_some() {
        return ask_helpers();
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, script) in [
        (
            "password",
            r#"read host; echo "{\"ServerURL\":\"$host\",\"Username\":\"me\",\"Secret\":\"hunter2\"}""#,
        ),
        ("identity", r#"read host; echo '{"Username":"<token>","Secret":"hunter2"}'"#),
        ("unknown", "read host; echo 'credentials not found in native keychain'; exit 1"),
        ("broken", "read host; echo hunter2; echo hunter2 >&2; exit 1"),
        ("babbling", "read host; echo hunter2"),
        ("hanging", "exec sleep 60"),
    ] {
        let file = dir.path().join(format!("docker-credential-{name}"));
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::join_paths(
        std::iter::once(dir.path().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "registry_auth::credential_helpers_are_asked", "--nocapture"])
        .env("OCCYSTRAP_TEST_HELPERS", "1")
        .env("PATH", path.unwrap())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn ask_helpers() {
    let of = |section: &str, registry: &Registry, name: &str| match section {
        "credsStore" => format!(r#"{{"credsStore":"{name}"}}"#),
        _ => format!(
            r#"{{"credsStore":"broken","credHelpers":{{"{}":"{name}"}}}}"#,
            registry.url_host()
        ),
    };
    for section in ["credsStore", "credHelpers"] {
        let registry = requiring(Auth::basic("me", "hunter2"));
        let config = |name| User::new().logged_in(&of(section, &registry, name));
        assert_eq!(config("password").pull(&registry, LAYER).unwrap(), LAYER);
        for (name, expected) in [
            ("unknown", "has no credentials for 127.0.0.1"),
            ("broken", "docker-credential-broken failed"),
            ("babbling", "gave no valid answer"),
            ("missing", "cannot be run"),
        ] {
            let error = refused(&config(name), &registry);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let identity = requiring(Auth::Bearer(Users::IdentityToken("hunter2".into())));
        let user = User::new().logged_in(&of(section, &identity, "identity"));
        assert_eq!(user.pull(&identity, LAYER).unwrap(), LAYER);

        let user = config("hanging");
        let repository = user.open(&registry.url_host());
        run(async {
            let cancel = user.cancel.clone();
            let stop = async move {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                cancel.cancel();
            };
            let (outcome, ()) = tokio::join!(repository.manifest("v1"), stop);
            assert_eq!(outcome.unwrap_err().kind(), Kind::Interrupted);
        });
    }
}

/// Collects everything that is traced on this thread.
#[derive(Clone, Default)]
pub struct Trace(pub Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_secret_is_traced() {
    let trace = Trace::default();
    let writer = trace.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let storage = Registry::start();
    storage.put_file("/l4yer", LAYER);
    tracing::subscriber::with_default(subscriber, || {
        for (auth, config) in [
            (Auth::basic("me", "hunter2"), r#"{"username":"me","password":"hunter2"}"#),
            (Auth::bearer("me", "hunter2"), r#"{"auth":"bWU6aHVudGVyMg=="}"#),
            (
                Auth::Bearer(Users::IdentityToken("hunter2".into())),
                r#"{"identitytoken":"hunter2"}"#,
            ),
        ] {
            let registry = requiring(auth);
            registry.fault("GET", "/token", Fault::status(500), 1);
            registry.fault("POST", "/token", Fault::status(500), 1);
            let config = format!(r#"{{"auths":{{"{}":{config}}}}}"#, registry.url_host());
            let user = User::new().logged_in(&config);
            let repository = user.open(&registry.url_host());
            run(async {
                repository.manifest("v1").await.unwrap();
                registry.fault(
                    "GET",
                    "/blobs/",
                    Fault::Redirect(format!("{}/l4yer?sig=s1gned", storage.base())),
                    1,
                );
                storage.fault("GET", "/l4yer", Fault::status(500), 1);
                assert_eq!(pull(&repository, &descriptor(LAYER)).await.unwrap(), LAYER);
            });
        }
    });
    let text = String::from_utf8(trace.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("trying again") && text.contains("answered"), "{text}");
    for secret in ["hunter2", "bWU6aHVudGVyMg", "t0ken-", "s1gned", "l4yer"] {
        assert!(!text.contains(secret), "{secret} in: {text}");
    }
}
