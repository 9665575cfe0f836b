//! Debian's docker-registry behind a password.

use crate::support::cli::{Ran, Sandbox};
use crate::support::real::{PASSWORD, RealRegistry, USER, hello, skopeo};

/// The password, also as HTTP's Basic scheme sends it, stands nowhere.
#[track_caller]
fn keeps_the_secret(ran: &Ran) {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, &encoded] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{ran:?}");
    }
}

fn locked(test: &str) -> Option<RealRegistry> {
    let registry = RealRegistry::with_password(test)?;
    registry.push(&hello(), "hello:1.0", &[&format!("--dest-creds={USER}:{PASSWORD}")]);
    Some(registry)
}

#[test]
fn user_and_password_from_the_command_line() {
    let Some(registry) = locked("user_and_password_from_the_command_line") else { return };
    let sandbox = Sandbox::new();
    let options =
        ["--insecure", "--debug", "--verify=full", "--username", USER, "--password", PASSWORD];
    let ran = sandbox.process(&registry.uri("hello:1.0"), &sandbox.uri("dir", "out"), &options);
    ran.verified();
    keeps_the_secret(&ran);
}

#[test]
fn user_and_password_in_the_uri() {
    let Some(registry) = locked("user_and_password_in_the_uri") else { return };
    let sandbox = Sandbox::new();
    let source = format!("registry://{USER}:{PASSWORD}@{}/hello:1.0", registry.host());
    let receipt = sandbox.path("receipt.json");
    let options = ["--insecure", "--debug", "--receipt", receipt.to_str().unwrap()];
    let ran = sandbox.process(&source, &sandbox.uri("tar", "out.tar"), &options);
    ran.verified();
    keeps_the_secret(&ran);
    assert!(!std::fs::read_to_string(receipt).unwrap().contains(PASSWORD));
}

#[test]
fn a_login_that_skopeo_made() {
    let Some(registry) = locked("a_login_that_skopeo_made") else { return };
    let sandbox = Sandbox::new();
    let authfile = sandbox.path("auth.json");
    let authfile = authfile.to_str().unwrap();
    let user = ["-u", USER, "-p", PASSWORD];
    let login = ["login", "--tls-verify=false", "--authfile", authfile];
    skopeo(&[&login[..], &user, &[registry.host()]].concat());
    let options = ["--insecure", "--debug", "--verify=full", "--authfile", authfile];
    let ran = sandbox.process(&registry.uri("hello:1.0"), &sandbox.uri("dir", "out"), &options);
    ran.verified();
    keeps_the_secret(&ran);

    // The same file where Docker has it.
    let home = sandbox.path("home/.docker");
    std::fs::create_dir(&home).unwrap();
    std::fs::copy(authfile, home.join("config.json")).unwrap();
    let options = ["--insecure", "--verify=full"];
    sandbox.process(&registry.uri("hello:1.0"), &sandbox.uri("dir", "again"), &options).verified();
}

#[test]
fn no_password_and_a_wrong_one() {
    let Some(registry) = locked("no_password_and_a_wrong_one") else { return };
    let sandbox = Sandbox::new();
    let (source, destination) = (registry.uri("hello:1.0"), sandbox.uri("dir", "out"));
    let ran = sandbox.process(&source, &destination, &["--insecure", "--debug"]);
    ran.exits(1).says("hint: ");

    let wrong = "wrong-horse-battery-staple";
    let options = ["--insecure", "--debug", "--username", USER, "--password", wrong];
    let ran = sandbox.process(&source, &destination, &options);
    ran.exits(1).says("hint: ");
    assert!(!ran.stderr.contains(wrong) && !ran.stdout.contains(wrong), "{ran:?}");
    assert!(!sandbox.path("out").exists());
    sandbox.assert_clean();
}
