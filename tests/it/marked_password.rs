//! A marked password is passed in every possible way, and servers return it in every place and spelling: no output contains
//! it, neither a line, a document, a receipt nor another file.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::hostile;
use crate::support::image::{Pack, TestImage};
use crate::support::marked::{PASSWORD, SIGNATURE, USER, echo, in_uri, keeps, modes, slips};
use crate::support::push::push;
use crate::support::registry::{ALWAYS, Auth, Fault, Registry, Users};
use crate::support::shape;
use crate::support::web::Web;

const ONE: &str = "team/app:1";

fn login() -> String {
    format!("{USER}:{}@", in_uri(PASSWORD))
}

/// A registry that holds an image and wants the login.
fn registry() -> (Registry, TestImage) {
    let (registry, image) = (Registry::start(), TestImage::new(ONE));
    push(&registry, &image, Pack::Gzip);
    registry.require(Auth::basic(USER, PASSWORD));
    (registry, image)
}

fn uri(registry: &Registry, name: &str) -> String {
    format!("registry://{}{}/{name}?insecure=true", login(), registry.url_host())
}

/// A refusal as registries send it, with all spellings in it.
fn refusal(status: u16) -> Vec<Fault> {
    let body = serde_json::json!({"errors": [
        {"code": "DENIED", "message": format!("you sent {}", echo()), "detail": echo()},
        {"code": PASSWORD, "message": "x"},
    ]});
    vec![
        Fault::Answer(status, body.to_string().into_bytes()),
        Fault::Answer(status, format!("<html>{}</html>", echo()).into_bytes()),
    ]
}

#[test]
fn a_registry_that_is_read_cannot_echo_a_password() {
    let config = |text: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{text}"}}"#).into_bytes();
    let escaped = serde_json::to_string(&echo()).unwrap();
    let digest = |text: &str| {
        let parts = r#""layers":[]"#;
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"x","size":2,"digest":{text}}},{parts}}}"#
        )
        .into_bytes()
    };
    let mut faults = vec![
        Fault::Header("docker-content-digest", format!("sha256:{}", echo())),
        Fault::Header("docker-content-digest", echo()),
        Fault::Header("content-type", echo()),
        Fault::Header("content-type", format!("text/html; x={PASSWORD}")),
        Fault::Header("retry-after", echo()),
        Fault::Header("content-range", echo()),
        Fault::Body(config(PASSWORD)),
        Fault::Body(config(escaped.trim_matches('"'))),
        Fault::Body(digest(&escaped)),
        Fault::Body(digest(&format!("\"sha256:{PASSWORD}\""))),
        Fault::Body(escaped.clone().into_bytes()),
        Fault::Status(
            401,
            vec![("www-authenticate", format!("{PASSWORD} realm=\"{}\"", in_uri(PASSWORD)))],
        ),
        Fault::Status(
            401,
            vec![("www-authenticate", format!("Bearer realm=\"Hunter2://{PASSWORD}\""))],
        ),
        Fault::Status(
            401,
            vec![(
                "www-authenticate",
                format!("Bearer realm=\"http://{}127.0.0.1:1/{SIGNATURE}?x={SIGNATURE}\"", login()),
            )],
        ),
        Fault::Redirect(format!("ftp://{}h/{SIGNATURE}", login())),
        Fault::Redirect(format!("Hunter2S3cret://{SIGNATURE}")),
        Fault::Redirect(format!("//{PASSWORD}@h")),
        Fault::Redirect(format!(
            "http://{}127.0.0.1:1/{SIGNATURE}?X-Amz-Signature={SIGNATURE}",
            login()
        )),
        Fault::Redirect(format!("/_storage_proxy/{SIGNATURE}/{}", in_uri(PASSWORD))),
    ];
    faults.extend([400, 403, 404, 500].into_iter().flat_map(refusal));
    let sandbox = Sandbox::new();
    let (registry, image) = registry();
    let config = format!("/blobs/{}", Digest::of(&image.config));
    for fault in faults {
        for path in ["/manifests/", &config] {
            registry.fault("GET", path, fault.clone(), ALWAYS);
            for mode in modes(false) {
                let said = sandbox
                    .run(&[&["info", &uri(&registry, ONE), "--retries", "0"], &mode[..]].concat());
                keeps(&format!("{path} {fault:?}"), &sandbox, &said, &[]);
            }
            registry.mend();
        }
    }
}

#[test]
fn a_registry_that_is_written_cannot_echo_a_password() {
    let (registry, _) = registry();
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let source = sandbox.uri("tar", "in.tar");
    let mut faults: Vec<(&str, &str, Fault)> = Vec::new();
    for (method, path) in [("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")] {
        faults.push((
            method,
            path,
            Fault::Header("docker-content-digest", format!("sha256:{}", echo())),
        ));
        faults.push((
            method,
            path,
            Fault::Header("location", format!("ftp://{}h/{SIGNATURE}", login())),
        ));
        for status in [400, 403, 413, 416] {
            faults.extend(refusal(status).into_iter().map(|fault| (method, path, fault)));
        }
    }
    let signed = format!("http://127.0.0.1:1/{SIGNATURE}?_state={SIGNATURE}");
    let here = format!("/v2/x/y/blobs/uploads/{SIGNATURE}?_state={SIGNATURE}");
    for location in [signed, here] {
        faults.push(("POST", "/uploads/", Fault::Header("location", location)));
    }
    for (method, path, fault) in faults {
        registry.fault(method, path, fault.clone(), ALWAYS);
        for mode in modes(false) {
            let receipt = ["--receipt", "r.json", "--layer-cache", "cache.json", "--retries", "0"];
            let said =
                sandbox.process(&source, &uri(&registry, "x/y:1"), &[&receipt, &mode[..]].concat());
            assert_ne!(said.code, 101, "{said:?}");
            keeps(&format!("{method} {path} {fault:?}"), &sandbox, &said, &[]);
        }
        registry.mend();
    }
}

#[test]
fn a_run_that_goes_well_leaves_the_password_nowhere() {
    for (index, mode) in modes(true).into_iter().enumerate() {
        let (registry, image) = registry();
        // Blobs are behind signed paths of the same host, as at Quay.
        for layer in &image.layers {
            let layer = Pack::Gzip.pack(layer);
            let signed = format!("/_storage_proxy/{SIGNATURE}/{}", Digest::of(&layer).hex());
            registry.put_file(&signed, &layer);
            let path = format!("/team/app/blobs/{}", Digest::of(&layer));
            registry.fault(
                "GET",
                &path,
                Fault::Redirect(format!("{signed}?sig={SIGNATURE}")),
                ALWAYS,
            );
        }
        let sandbox = Sandbox::new();
        // A filter that writes a file of its own makes a cache useless.
        let inspect = if index % 2 == 0 { &["-f", "inspect:file=in.jsonl"][..] } else { &[] };
        let files = ["--receipt", "r.json", "--layer-cache", "cache.json"];
        let files = [&files[..], inspect, &["-f", "normalize-timestamps:ts=7"]].concat();
        let said = sandbox.process(
            &uri(&registry, ONE),
            &format!("{}&compression=zstd", uri(&registry, "x/y:1")),
            &[files, mode.clone()].concat(),
        );
        said.exits(0);
        keeps(&format!("{mode:?}"), &sandbox, &said, &[]);
        for file in ["r.json", if index % 2 == 0 { "in.jsonl" } else { "cache.json" }] {
            assert!(sandbox.path(file).is_file(), "{file}: {:?}", sandbox.tree(""));
        }
        let debug = mode.contains(&"--debug");
        assert_eq!(said.stderr.contains("path=\"...\""), debug, "{}", said.stderr);
        assert_eq!(said.stderr.contains("path=\"/v2/x/y/manifests/1\""), debug, "{}", said.stderr);
        // The command that mends has no login, and can be typed.
        for method in ["HEAD", "GET"] {
            registry.fault(method, "/x/y/blobs/", Fault::status(404), ALWAYS);
        }
        let subject = if index % 2 == 0 { "r.json".to_owned() } else { uri(&registry, "x/y:1") };
        let options = ["--username", USER, "--password", PASSWORD, "--insecure"];
        let said = sandbox.run(&[&["verify", &subject], &options[..], &mode].concat());
        assert_ne!(said.code, 0);
        keeps(&format!("verify {mode:?}"), &sandbox, &said, &[]);
        if subject == "r.json" {
            let host = registry.url_host();
            let source = format!("registry://{host}/team/app:1");
            assert!(said.stderr.contains(&source) || said.stdout.contains(&source), "{said:?}");
        }
    }
}

#[test]
fn a_weak_password_that_is_a_name_breaks_nothing() {
    for password in ["team", "registry", "latest", "app1-data"] {
        let (registry, image) = (Registry::start(), TestImage::new(ONE));
        push(&registry, &image, Pack::Gzip);
        registry.require(Auth::basic("team", password));
        let sandbox = Sandbox::new();
        let uri = |name: &str| format!("registry://{}/{name}?insecure=true", registry.url_host());
        let login = ["--username", "team", "--password", password];
        let to = uri("team/app1-data/registry:latest");
        let said =
            sandbox.process(&uri(ONE), &to, &[&login[..], &["--receipt", "r.json"]].concat());
        said.verified();
        let verify = ["verify", "r.json", "--fast"];
        sandbox.run(&[&verify[..], &login].concat()).exits(0);
        for method in ["HEAD", "GET"] {
            registry.fault(method, "/app1-data/registry/blobs/", Fault::status(404), ALWAYS);
        }
        let said = sandbox.run(&[&verify[..], &login].concat());
        said.exits(1).says("repair it with: occystrap process ").says(&format!("'{to}'"));
    }
}

/// Ways to log in: what stands in the URI, options, the environment, and the files there are.
struct Door {
    what: &'static str,
    user: String,
    options: Vec<&'static str>,
    environment: Vec<(&'static str, String)>,
    file: Option<(&'static str, String)>,
    auth: Auth,
}

fn doors(host: &str) -> Vec<Door> {
    let door = |what| Door {
        what,
        user: String::new(),
        options: Vec::new(),
        environment: Vec::new(),
        file: None,
        auth: Auth::basic(USER, PASSWORD),
    };
    let entry = |entry: String| Some(("auth.json", format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)));
    let pair = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let variables =
        [("OCCYSTRAP_USERNAME", USER.to_owned()), ("OCCYSTRAP_PASSWORD", PASSWORD.to_owned())];
    let file = vec!["--authfile", "auth.json"];
    vec![
        Door { user: login(), ..door("URI") },
        Door { user: login(), auth: Auth::bearer(USER, PASSWORD), ..door("URI, for a token") },
        Door { options: vec!["--username", USER, "--password", PASSWORD], ..door("options") },
        Door { environment: variables.to_vec(), ..door("environment") },
        Door {
            options: file.clone(),
            file: entry(format!(r#"{{"auth":"{pair}"}}"#)),
            ..door("auth")
        },
        Door {
            options: file.clone(),
            file: entry(format!(r#"{{"identitytoken":"{PASSWORD}"}}"#)),
            auth: Auth::Bearer(Users::IdentityToken(PASSWORD.to_owned())),
            ..door("identity token")
        },
        Door {
            options: file,
            file: Some(("auth.json", format!(r#"{{"credHelpers":{{"{host}":"marked"}}}}"#))),
            ..door("credential helper")
        },
    ]
}

#[test]
fn whatever_way_it_comes_in() {
    let registry = Registry::start();
    for door in doors(&registry.url_host()) {
        let sandbox = Sandbox::new();
        shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
        if let Some((name, text)) = &door.file {
            std::fs::write(sandbox.path(name), text).unwrap();
        }
        let helper = sandbox.path("docker-credential-marked");
        let secret =
            serde_json::json!({"Username": USER, "Secret": PASSWORD, "ServerURL": PASSWORD});
        std::fs::write(
            &helper,
            format!("#!/bin/sh\ncat >/dev/null\necho '{PASSWORD}' >&2\necho '{secret}'\n"),
        )
        .unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        registry.require(door.auth.clone());
        for fault in refusal(400) {
            registry.fault("PUT", "/manifests/", fault, 1);
            let to = format!("registry://{}{}/x/y:1?insecure=true", door.user, registry.url_host());
            let mode = modes(false).concat();
            let mut command = sandbox.command(
                &[
                    &["process", &sandbox.uri("tar", "in.tar"), &to, "--retries", "0"],
                    &door.options[..],
                    &mode,
                ]
                .concat(),
            );
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", sandbox.path("").display()));
            command.envs(door.environment.iter().cloned());
            let said = Ran::of(command);
            assert!(format!("{said:?}").contains("refused the manifest (400"), "{said:?}");
            let inputs = ["auth.json", "docker-credential-marked"];
            keeps(door.what, &sandbox, &said, &inputs);
        }
        registry.mend();
    }
}

#[test]
fn a_token_service_cannot_echo_a_password() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.require(Auth::bearer(USER, PASSWORD));
    let token =
        |text: &str| serde_json::json!({"token": text, "refresh_token": SIGNATURE}).to_string();
    let bodies = [token(&echo()), token(&format!("{PASSWORD}\n")), echo(), token(SIGNATURE)];
    let mut faults: Vec<Fault> =
        bodies.into_iter().map(|body| Fault::Body(body.into_bytes())).collect();
    faults.extend([400, 401, 500].into_iter().flat_map(refusal));
    faults.push(Fault::Redirect(format!("http://{}127.0.0.1:1/{SIGNATURE}", login())));
    for fault in faults {
        registry.fault("GET", "/token", fault.clone(), ALWAYS);
        // A token that is refused comes back in the refusal.
        let body = serde_json::json!({"errors": [{"code": "X", "message": SIGNATURE}]}).to_string();
        registry.fault("POST", "/uploads/", Fault::Answer(400, body.into_bytes()), ALWAYS);
        for mode in modes(false) {
            let said = sandbox
                .run(&[&["info", &uri(&registry, ONE), "--retries", "0"], &mode[..]].concat());
            assert_ne!(said.code, 0);
            keeps(&format!("{fault:?}"), &sandbox, &said, &[]);
        }
        registry.mend();
    }
}

#[test]
fn a_mistyped_uri_shows_no_password() {
    let sandbox = Sandbox::new();
    for password in [PASSWORD.to_owned(), in_uri(PASSWORD), "Hunter2S3cret".to_owned()] {
        for line in slips(&password) {
            for mode in [&["-O", "json"][..], &["--debug"]] {
                let words: Vec<&str> = line.iter().map(String::as_str).collect();
                let said = sandbox.run(&[&words[..], &["--retries", "0"], mode].concat());
                assert_ne!(said.code, 0, "{line:?}");
                assert_ne!(said.code, 101, "{line:?}: {}", said.stderr);
                keeps(&format!("{line:?}"), &sandbox, &said, &[]);
                if mode.contains(&"json") && !said.stdout.is_empty() {
                    let _ = said.json();
                }
            }
        }
    }
}

#[test]
fn proxies_and_engines_of_the_environment() {
    let proxy = Registry::start();
    let sandbox = Sandbox::new();
    for fault in [refusal(407), refusal(502)].concat() {
        proxy.fault("GET", "/", fault, ALWAYS);
        for (names, value) in [
            (&["HTTP_PROXY", "http_proxy"][..], format!("http://{}{}", login(), proxy.url_host())),
            (&["ALL_PROXY"], format!("http://{}127.0.0.1:1", login())),
            (&["HTTPS_PROXY"], format!("no-such-scheme://{}h", login())),
            (&["DOCKER_HOST"], format!("tcp://{}h:1", login())),
            (&["DOCKER_HOST"], format!("ssh://{USER}:{PASSWORD}@h")),
        ] {
            for subject in ["registry://127.0.0.1:1/x?insecure=true", "docker://x:1"] {
                let mode = modes(false).concat();
                let mut command =
                    sandbox.command(&[&["info", subject, "--retries", "0"], &mode[..]].concat());
                command.envs(names.iter().map(|name| (name, &value)));
                let said = Ran::of(command);
                assert_ne!(said.code, 0);
                keeps(&format!("{names:?} {subject}"), &sandbox, &said, &[]);
            }
        }
        proxy.mend();
    }
}

#[test]
fn a_login_in_a_variable_that_is_something_else() {
    let sandbox = Sandbox::new();
    for name in
        ["PARALLEL", "IMAGE_PARALLEL", "RETRIES", "RATE_LIMIT", "COMPRESSION", "VERIFY", "FORCE"]
    {
        for value in [format!("https://{}h", login()), format!("x&password={}", in_uri(PASSWORD))] {
            let mut command = sandbox.command(&["process", "tar:///x", "dir:///y"]);
            let said = Ran::of({
                command.env(format!("OCCYSTRAP_{name}"), &value);
                command
            });
            assert_eq!(said.code, 2, "{name}: {said:?}");
            keeps(name, &sandbox, &said, &[]);
        }
    }
}

#[test]
fn engines_and_plugins_cannot_echo_a_password() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let source = sandbox.uri("tar", "in.tar");
    let options = ["--username", USER, "--password", PASSWORD, "--retries", "0"];
    let engine = Engine::start();
    engine.fails("/json", &echo());
    engine.fails("/load", &echo());
    let plugin = hostile::component().display().to_string();
    let behaviour =
        format!("hostile://{}/out?behaviour={}", sandbox.path("").display(), in_uri(PASSWORD));
    let engine_uri = engine.uri("app:1");
    let lines: Vec<Vec<&str>> = vec![
        vec!["info", &engine_uri],
        vec!["process", &source, &engine_uri],
        vec!["process", &source, &behaviour, "--plugin", &plugin],
    ];
    for line in lines {
        for mode in [&["-O", "json"][..], &["--debug"]] {
            let said = sandbox.run(&[&line[..], &options, mode].concat());
            keeps(&format!("{line:?}"), &sandbox, &said, &[]);
        }
    }
}

#[test]
fn foreign_receipts_cannot_echo_a_password() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", "out"));
    sandbox.process(&from, &to, &["--receipt", "r.json"]).exits(0);
    let text = std::fs::read_to_string(sandbox.path("r.json")).unwrap();
    std::fs::remove_file(sandbox.path("out/manifest.json")).unwrap();
    let all = serde_json::to_string(&echo()).unwrap();
    let elsewhere = |scheme: &str| format!("{scheme}://{}h/x:1", login());
    let options = ["--username", USER, "--password", PASSWORD, "--retries", "0"];
    for (what, changed, options) in [
        ("a name", text.replace("\"app\"", &all), &options[..]),
        ("a path", text.replace("\"manifest.json\"", &all), &options),
        // The login of another user, which this command line does not name.
        ("a source", text.replace(&from, &elsewhere("registry")), &[]),
        ("a destination", text.replace(&to, &elsewhere("registry")), &["--retries", "0"]),
        ("another's destination", text.replace(&to, &elsewhere("webdav")), &["--retries", "0"]),
    ] {
        assert_ne!(changed, text, "{what}");
        std::fs::write(sandbox.path("changed.json"), changed).unwrap();
        for mode in [&["-O", "json"][..], &["--debug"], &["--untrusted"]] {
            let said = sandbox.run(&[&["verify", "changed.json"], options, mode].concat());
            assert_ne!(said.code, 0, "{what}");
            keeps(what, &sandbox, &said, &["changed.json"]);
            let shows = what != "a source" || mode[0] != "--debug";
            assert!(shows || said.stderr.contains("registry://h/x:1"), "{}", said.stderr);
        }
    }
}

#[test]
fn logins_for_web_servers() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let web = Web::start();
    let plugin = hostile::named("hostile-web").display().to_string();
    let netrc = format!("machine 127.0.0.1 login {USER} password \"{PASSWORD}\"\n");
    std::fs::write(sandbox.path("netrc"), netrc).unwrap();
    for (user, status) in
        [("", "200 OK"), ("", "403 Forbidden"), (&*login(), "200 OK"), (&*login(), "507 Full")]
    {
        if status != "200 OK" {
            web.answers(
                "/app/config",
                status,
                &format!("X-Echo: {PASSWORD}\r\nLocation: /{}\r\n", in_uri(PASSWORD)),
            );
        }
        let to = format!("hostile-web://{user}{}/app", web.host());
        let given = [
            "--plugin",
            &plugin,
            "--allow-net",
            &web.origin(),
            "--netrc-file",
            "netrc",
            "--retries",
            "0",
            "--receipt",
            "r.json",
        ];
        for mode in modes(false) {
            let said =
                sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &[&given[..], &mode].concat());
            keeps(&format!("{to} {status}"), &sandbox, &said, &["netrc"]);
        }
        web.mend();
    }
    let sent = web.requests().iter().any(|request| {
        request.headers.get("authorization").is_some_and(|value| {
            *value == format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
        })
    });
    assert!(sent, "the login was never used");
}

#[test]
fn where_plugins_came_from() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let component = std::fs::read(hostile::component()).unwrap();
    let config = br#"{"architecture":"wasm","os":"wasip2"}"#;
    let (layer, config_digest) = (registry.put_blob(&component), registry.put_blob(config));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": config_digest.to_string(), "size": config.len()},
        "layers": [{"mediaType": "application/wasm", "digest": layer.to_string(), "size": component.len()}],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let digest = registry.put_manifest("me/hostile", "1", kind, manifest.to_string());
    registry.require(Auth::basic(USER, PASSWORD));
    let source =
        format!("oci://{}{}/me/hostile:1@{digest}?insecure=true", login(), registry.url_host());
    for line in [
        &["plugin", "add", "--yes", &source][..],
        &["plugin", "list"],
        &["plugin", "show", "hostile"],
    ] {
        for mode in [&["-O", "json"][..], &["--debug"]] {
            let said = sandbox.run(&[line, mode].concat());
            said.exits(0);
            keeps(&format!("{line:?}"), &sandbox, &said, &[]);
        }
    }
    assert!(sandbox.record().is_file());
}
