//! Registries that hide images from requests without a login: Artifactory, Nexus, zot and others answer 404, or 403 or 401
//! without a challenge, and only `/v2/` says how to log in.

use crate::support::cli::Sandbox;
use crate::support::real::hello;
use crate::support::registry::{Auth, Registry};

const LOGIN: [&str; 4] = ["--username", "me", "--password", "hunter2"];

fn hiding(auth: Auth, status: u16) -> Registry {
    let registry = Registry::start();
    registry.require(auth);
    registry.hide(status);
    registry
}

fn requests_of_greeting(registry: &Registry) -> usize {
    registry.requests().iter().filter(|request| request.path == "/v2/").count()
}

#[test]
fn a_login_is_used_where_a_registry_hides_what_it_has() {
    for status in [401, 403, 404] {
        for auth in [Auth::basic("me", "hunter2"), Auth::bearer("me", "hunter2")] {
            let said = format!("{status} {auth:?}");
            let registry = hiding(auth, status);
            let sandbox = Sandbox::new();
            let image = format!("registry://{}/team/app:1", registry.url_host());
            let insecure = [&["--insecure"][..], &LOGIN].concat();
            let run = |arguments: &[&str]| {
                let ran = sandbox.run(&[&insecure, arguments].concat());
                assert_eq!(ran.code, 0, "{said} {arguments:?}: {}{}", ran.stdout, ran.stderr);
            };
            let hello = format!("tar://{}", hello().display());
            run(&["process", &hello, &image, "--receipt", "r.json"]);
            run(&["process", &image, "dir://d"]);
            run(&["info", &image]);
            run(&["check", &image]);
            run(&["verify", "r.json"]);
            assert_eq!(requests_of_greeting(&registry), 5, "{said}: once a run");
        }
    }
}

#[test]
fn the_login_of_a_file_is_used_as_well() {
    let registry = hiding(Auth::basic("me", "hunter2"), 404);
    let sandbox = Sandbox::new();
    let image = format!("registry://{}/team/app:1", registry.url_host());
    let file =
        format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#, registry.url_host());
    std::fs::create_dir(sandbox.path("home/.docker")).unwrap();
    std::fs::write(sandbox.path("home/.docker/config.json"), file).unwrap();
    let hello = format!("tar://{}", hello().display());
    sandbox.run(&["--insecure", "process", &hello, &image]).exits(0);
    sandbox.run(&["--insecure", "info", &image]).exits(0);
}

#[test]
fn a_hint_does_not_ask_for_what_the_user_did() {
    // The image is not there, and the login is right.
    let registry = hiding(Auth::basic("me", "hunter2"), 404);
    let sandbox = Sandbox::new();
    let image = format!("registry://{}/team/app:1", registry.url_host());
    let with = |login: &[&str]| {
        let ran = sandbox.run(&[&["--insecure", "info", &image], login].concat());
        ran.exits(1);
        ran.stderr.replace(&registry.url_host(), "[host]")
    };
    assert_eq!(
        with(&LOGIN),
        "error: [host]/team/app:1: image not found\nhint: check the name and the tag, and that the \
         account of --username and --password may read it\n"
    );
    // The login is wrong: what the registry answers without one still counts.
    assert_eq!(
        with(&["--username", "me", "--password", "wrong"]),
        "error: [host]/team/app:1: image not found\nhint: check the name and the tag; [host] refused \
         the credentials from --username and --password\n"
    );
    // Without a login nothing more is asked.
    let before = requests_of_greeting(&registry);
    assert_eq!(
        with(&[]),
        "error: [host]/team/app:1: image not found\nhint: check the name and the tag; private \
         images need credentials\n"
    );
    assert_eq!(requests_of_greeting(&registry), before);
}

#[test]
fn a_refused_login_is_named_where_the_registry_does_not_repeat_how_to_log_in() {
    let registry = hiding(Auth::basic("me", "hunter2"), 401);
    let image = format!("registry://{}/team/app:1", registry.url_host());
    let ran = |login: &[&str]| {
        let ran = Sandbox::new().run(&[&["--insecure", "info", &image], login].concat());
        ran.exits(1);
        ran
    };
    ran(&["--username", "me", "--password", "wrong"])
        .says("refused the credentials from --username and --password")
        .says("hint: check user and password");
    ran(&[]).says("requires authentication, but does not name a scheme").says("docker login");
}

#[test]
fn a_wrong_login_does_not_keep_from_an_open_registry() {
    let registry = Registry::start();
    let sandbox = Sandbox::new();
    let hello = format!("tar://{}", hello().display());
    let image = format!("registry://{}/team/app:1", registry.url_host());
    // The registry has no blob yet, so that each is 404 at first; it asks for no login at /v2/.
    let ran = sandbox.run(&[&["--insecure", "process", &hello, &image], &LOGIN[..]].concat());
    ran.exits(0);
    assert!(registry.requests().iter().all(|request| request.header("authorization").is_empty()));
}
