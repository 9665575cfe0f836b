//! Secrets are not passed on: not with `--debug`, not in a receipt, not in an error.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::push::{push, to};
use crate::support::registry::{ALWAYS, Auth, Fault, Location, Registry, Users};

const USER: &str = "operator";
/// A secret with characters that URIs and forms escape.
const PASSWORD: &str = "hunter2/p@ss w+rd%&=";
const IDENTITY: &str = "identity/hunter2+=";

/// `hunter2` is in all passwords, `s3cret` in all signatures.
const WORDS: [&str; 2] = ["hunter2", "s3cret"];

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Returns a text as the user part of a URI spells it.
fn in_uri(text: &str) -> String {
    encoded(text).replace('+', "%20")
}

/// Returns every text that no output may contain: the secrets in their usual spellings, and the credentials that the
/// servers received.
fn secrets(servers: &[&Registry]) -> Vec<String> {
    let mut all: Vec<String> = WORDS.iter().map(|word| (*word).to_owned()).collect();
    for secret in [PASSWORD, IDENTITY] {
        let pair = format!("{USER}:{secret}");
        all.extend([secret.to_owned(), encoded(secret), in_uri(secret)]);
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE] {
            all.extend([engine.encode(secret), engine.encode(&pair)]);
        }
    }
    for request in servers.iter().flat_map(|server| server.requests()) {
        let sent = request.header("authorization").split_once(' ').map(|(_, proof)| proof);
        all.extend(sent.map(str::to_owned));
    }
    all.sort();
    all.dedup();
    assert!(all.iter().all(|one| one.len() > 4), "{all:?}");
    all
}

#[track_caller]
fn keeps(what: &str, ran: &Ran, files: &[&Path], servers: &[&Registry]) {
    let mut places = vec![("stdout", ran.stdout.clone()), ("stderr", ran.stderr.clone())];
    for file in files {
        places.push(("a file", std::fs::read_to_string(file).unwrap()));
    }
    for secret in secrets(servers) {
        for (place, text) in &places {
            assert!(!text.contains(&secret), "{what}: '{secret}' is in {place}: {text}");
        }
    }
}

fn authfile(sandbox: &Sandbox, registry: &Registry, entry: &str) -> String {
    let path = sandbox.path("auth.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.url_host())).unwrap();
    path.display().to_string()
}

/// Ways to log in: the URI, the options, and the challenge of the registry.
fn ways() -> Vec<(&'static str, String, String, Vec<&'static str>, Auth)> {
    let (basic, bearer) = (Auth::basic(USER, PASSWORD), Auth::bearer(USER, PASSWORD));
    let user = format!("{USER}:{}@", in_uri(PASSWORD));
    let query = format!("&username={USER}&password={}", in_uri(PASSWORD));
    let options = vec!["--username", USER, "--password", PASSWORD];
    vec![
        ("Basic, in the URI", user.clone(), String::new(), vec![], basic.clone()),
        ("Basic, in the query", String::new(), query.clone(), vec![], basic.clone()),
        ("Basic, as options", String::new(), String::new(), options.clone(), basic),
        ("tokens, in the URI", user, String::new(), vec![], bearer.clone()),
        ("tokens, in the query", String::new(), query, vec![], bearer.clone()),
        ("tokens, as options", String::new(), String::new(), options, bearer),
    ]
}

#[test]
fn pulling_pushing_and_verifying() {
    let image = TestImage::new("team/app:1");
    for (what, user, query, options, auth) in ways() {
        let (from, registry, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        push(&from, &image, Pack::Gzip);
        from.require(auth.clone());
        registry.require(auth.clone());
        registry.set_locations(Location::Query);
        // One more token meanwhile, and failed requests.
        if let Auth::Bearer(_) = auth {
            registry.fault("PUT", "/uploads/", Fault::Expire, 1);
        }
        registry.fault("POST", "/uploads/", Fault::status(500), 1);
        let uri = |registry: &Registry, name: &str| {
            format!("registry://{user}{}/{name}?insecure=true{query}", registry.url_host())
        };
        let (source, destination) = (uri(&from, "team/app:1"), uri(&registry, "a/b:1"));
        let receipt = sandbox.path("receipt");
        let receipt_name = receipt.display().to_string();
        let more =
            ["--debug", "--verify=full", "-O", "json", "--receipt", &receipt_name, "-j", "1"];
        let said = sandbox.process(&source, &destination, &[&more[..], &options].concat());
        said.exits(0);
        assert!(said.stderr.contains("debug: answered"), "{what}: {}", said.stderr);
        // Values that are not secret are shown.
        let put = format!(
            "method=PUT host=\"{}\" path=\"/v2/a/b/manifests/1\" status=201",
            registry.url_host()
        );
        assert!(said.stderr.contains(&put), "{what}: {}", said.stderr);
        let asked = |line: &str| line.contains("answered") && line.contains('?');
        assert!(!said.stderr.lines().any(asked), "{what}: {}", said.stderr);
        assert_eq!(said.json()["images"][0]["status"], "verified", "{what}");
        let servers = [&from, &registry];
        keeps(what, &said, &[&receipt], &servers);

        let verify = |subject: &str, more: &[&str]| {
            sandbox
                .run(&[&["verify", subject, "--debug", "-O", "json"], &options[..], more].concat())
        };
        let said = verify(&destination, &[]);
        said.exits(0);
        keeps(what, &said, &[], &servers);
        // Damage names the command that mends it, in which no password may stand.
        registry.remove_blob("a/b", Digest::of(&Pack::Gzip.pack(&image.layers[1])));
        let said = verify(&destination, &["--fast"]);
        said.exits(1);
        keeps(what, &said, &[], &servers);
        let said = verify(&receipt_name, &["--fast"]);
        assert!(said.code == 1 || said.code == 3, "{what}: {said:?}");
        keeps(what, &said, &[&receipt], &servers);

        // The server refuses all logins from now on.
        for server in servers {
            server.require(Auth::basic("other", "other-hunter2"));
        }
        for said in [
            sandbox.process(&source, &destination, &[&more[..], &options].concat()),
            verify(&destination, &[]),
        ] {
            assert_ne!(said.code, 0, "{what}");
            keeps(what, &said, &[], &servers);
        }
    }
}

#[test]
fn logins_in_files() {
    let image = TestImage::new("team/app:1");
    let password = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let identity = format!(r#"{{"identitytoken":"{IDENTITY}"}}"#);
    for (what, entry, auth) in [
        ("a password in a file", &password, Auth::bearer(USER, PASSWORD)),
        ("an identity token", &identity, Auth::Bearer(Users::IdentityToken(IDENTITY.into()))),
        ("a wrong identity token", &identity, Auth::Bearer(Users::IdentityToken("other".into()))),
    ] {
        let (registry, sandbox, from) = (Registry::start(), Sandbox::new(), Registry::start());
        let source = push(&from, &image, Pack::Gzip);
        registry.require(auth);
        let file = authfile(&sandbox, &registry, entry);
        let options = ["--debug", "-O", "json", "--authfile", &file];
        let said = sandbox.process(&source, &to(&registry, "a/b:1"), &options);
        said.exits(i32::from(what.contains("wrong")));
        keeps(what, &said, &[], &[&registry]);
        // The token itself goes to the token service alone.
        let posted = registry.requests_of("POST", "/token");
        assert_eq!(posted.is_empty(), entry == &password, "{what}");
    }
}

#[test]
fn places_that_are_signed() {
    let image = TestImage::new("team/app:1");
    let layer = Pack::Gzip.pack(&image.layers[1]);
    let path = format!("/blobs/{}", Digest::of(&layer));
    for (what, spoil) in [
        ("all is well", None),
        ("the signature is refused", Some(Fault::status(403))),
        ("it is out of order", Some(Fault::status(500))),
        ("it lost the file", Some(Fault::status(404))),
        ("it leads nowhere", Some(Fault::Redirect("http://127.0.0.1:1/x?sig=s3cret".into()))),
        ("it leads to nonsense", Some(Fault::Redirect("ftp://u:hunter2@h/x?sig=s3cret".into()))),
        ("it breaks off", Some(Fault::CutAfter(10))),
    ] {
        let (from, storage, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let source = push(&from, &image, Pack::Gzip);
        storage.put_file("/l4yer", &layer);
        let signed = format!("{}/l4yer?X-Amz-Signature=s3cret", storage.base());
        from.fault("GET", &path, Fault::Redirect(signed), ALWAYS);
        if let Some(fault) = &spoil {
            storage.fault("GET", "/l4yer", fault.clone(), ALWAYS);
        }
        let registry = Registry::start();
        let options = ["--debug", "-O", "json", "--retries", "1"];
        for destination in [to(&registry, "a/b:1"), sandbox.uri("dir", "out")] {
            let said = sandbox.process(&source, &destination, &options);
            said.exits(i32::from(spoil.is_some()));
            keeps(what, &said, &[], &[&from, &storage]);
        }
    }
    // The location of uploads.
    for (what, spoil) in [
        ("all is well", None),
        ("the signature is refused", Some(Fault::status(403))),
        ("it is out of order", Some(Fault::status(500))),
        ("it is too large", Some(Fault::status(413))),
        ("it redirects", Some(Fault::Redirect("http://127.0.0.1:1/x?sig=s3cret".into()))),
        ("it breaks off", Some(Fault::CutRequest(10))),
    ] {
        let (from, registry, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let source = push(&from, &image, Pack::Gzip);
        registry.require(Auth::basic(USER, PASSWORD));
        // The same server by another name, so that it knows the upload.
        let port = registry.url_host().rsplit_once(':').unwrap().1.to_owned();
        registry.set_locations(Location::Elsewhere(format!("http://localhost:{port}")));
        let open = registry.url_host();
        if let Some(fault) = &spoil {
            registry.fault("PUT", "signature=s3cret", fault.clone(), ALWAYS);
        }
        let options = ["--username", USER, "--password", PASSWORD, "--debug", "-O", "json"];
        let said = sandbox.process(
            &source,
            &format!("registry://{open}/a/b:1?insecure=true"),
            &[&options[..], &["--retries", "1"]].concat(),
        );
        // Our password is not sent there, so that the server refuses access.
        assert_eq!(said.code, 1, "{what}: {}", said.stderr);
        keeps(what, &said, &[], &[&registry]);
    }
}

#[test]
fn a_mistyped_uri_shows_no_password() {
    let sandbox = Sandbox::new();
    let password = in_uri(PASSWORD);
    for uri in [
        format!("registry://{USER}:{password}@host:port/a/b:1"),
        format!("registry://{USER}:{password}@/a/b:1"),
        format!("registry://{USER}:{password}@host/A/B:1"),
        format!("registry://{USER}:{password}@host/a/b:1?wrong=1"),
        format!("registry://host/a/b:1?wrong=1&username={USER}&password={password}"),
        format!("registry://{USER}:{password}@host/a/b:1@sha256:00"),
        format!("registri://{USER}:{password}@host/a/b:1"),
        format!("docker://{USER}:{password}@host/a/b:1"),
        format!("dir://{USER}:{password}@host/a/b:1?x=1"),
        format!("registry://{USER}:{PASSWORD}@host/a/b:1"),
        format!("{USER}:{password}@host/a/b:1"),
    ] {
        for said in [
            sandbox.process(&uri, "dir://out", &["--debug"]),
            sandbox.process("tar://nowhere.tar", &uri, &["--debug"]),
            sandbox.run(&["verify", &uri, "--debug"]),
        ] {
            assert_ne!(said.code, 0, "{uri}");
            keeps(&uri, &said, &[], &[]);
        }
    }
}

#[test]
fn a_wrong_password_is_named_with_its_origin() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    push(&registry, &TestImage::new("team/app:1"), Pack::Gzip);
    let (auth, host) = (Auth::basic(USER, PASSWORD), registry.url_host());
    registry.require(auth);
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/hello.tar");
    let archive = format!("tar://{fixture}");
    let plain = format!("registry://{host}/team/app:1?insecure=true");
    let login = format!("registry://me:hunter2@{host}/team/app:1?insecure=true");
    let config = sandbox.path("auth.json");
    let helper = sandbox.path("docker-credential-test");
    std::fs::write(
        &helper,
        "#!/bin/sh\ncat >&2\necho '{\"Username\":\"me\",\"Secret\":\"hunter2\"}'\n",
    )
    .unwrap();
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path =
        format!("{}:{}", sandbox.path("").display(), std::env::var("PATH").unwrap_or_default());
    let run = |uri: &str, pushes: bool, options: &[&str], environment: &[(&str, &str)]| {
        let out = sandbox.uri("dir", "out");
        let ends = if pushes { [archive.as_str(), uri] } else { [uri, out.as_str()] };
        let mut command = sandbox.command(&[&["process"], &ends[..], options].concat());
        command.env("PATH", &path).envs(environment.iter().copied());
        let ran = Ran::of(command);
        ran.exits(1);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        ran
    };
    let file = config.display().to_string();
    let entry =
        format!(r#"{{"auths":{{"{host}":{{"auth":"{}"}}}}}}"#, STANDARD.encode("me:hunter2"));
    let helped = format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#);
    let names = ["OCCYSTRAP_USERNAME", "OCCYSTRAP_PASSWORD"];
    let both = [(names[0], "me"), (names[1], "hunter2")];
    for pushes in [false, true] {
        let refused = |origin: &str| {
            format!("{host} refused the credentials from {origin}\nhint: check user and password")
        };
        run(&login, pushes, &[], &[]).says(&refused("the URI"));
        run(&plain, pushes, &["--username", "me", "--password", "hunter2"], &[])
            .says(&refused("--username and --password"));
        run(&plain, pushes, &[], &both).says(&refused(&names.join(" and ")));
        run(&plain, pushes, &["--username", "me"], &both[1..])
            .says(&refused("--username and OCCYSTRAP_PASSWORD"));
        std::fs::write(&config, &entry).unwrap();
        run(&plain, pushes, &["--authfile", &file], &[]).says(&refused(&format!("'{file}'")));
        std::fs::write(&config, &helped).unwrap();
        let origin = format!("docker-credential-test (configured in '{file}')");
        run(&plain, pushes, &["--authfile", &file], &[]).says(&refused(&origin));
    }
    let uid = rustix::process::getuid().as_raw();
    // Without any: what is asked for is the repository, and no blob of it.
    run(&plain, true, &[], &[]).says(&format!(
        "error: {host}/team/app: {host} accepts no push without credentials: no credentials are \
         configured (searched: /run/containers/{uid}/auth.json, ~/.config/containers/auth.json, \
         ~/.docker/config.json, ~/.dockercfg)\nhint: use --username and --password, or `docker login {host}`\n"
    ));
    run(&plain, false, &[], &[])
        .says(&format!("{host} requires credentials"))
        .says("may also not exist");
}
