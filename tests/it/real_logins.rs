//! Generated files with logins, and generated values of `NO_PROXY`, read by occystrap and by skopeo: occystrap accepts what
//! skopeo accepts. The seeds are numbers; a message names that of the case.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use occystrap_net::http::Proxies;

use crate::support::cli::Sandbox;
use crate::support::real::{hello, installed};
use crate::support::registry::{Auth, Registry};

/// Generated files with logins.
const FILES: u64 = 120;

/// Generated values of `NO_PROXY`. Each costs a run of skopeo, of 40 ms.
const LISTS: u64 = 100;

/// The files that both read, below the home.
const PLACES: [&str; 3] = [".config/containers/auth.json", ".docker/config.json", ".dockercfg"];

/// Returns one of several values.
fn any<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.usize(..of.len())]
}

/// An entry: mostly the right login, in one of its spellings.
fn entry(rng: &mut Rng) -> String {
    let pair = any(rng, &["me:pw", "me:pw", "me:pw", "other:pw", "me", ":", "me:pw\0\0"]);
    let mut auth = STANDARD.encode(pair);
    if rng.u8(..4) == 0 {
        auth.insert_str(rng.usize(..=auth.len()), any(rng, &["\\n", "\\r\\n", "\\n\\n"]));
    }
    let name = any(rng, &["auth", "auth", "auth", "Auth", "AUTH"]);
    let mut fields = vec![format!(r#""{name}":"{auth}""#)];
    for more in [
        r#""username":"","password":"""#,
        r#""username":"old","password":"older""#,
        r#""identitytoken":"""#,
        r#""email":"x@y.example""#,
        r#""serveraddress":null"#,
    ] {
        if rng.u8(..5) == 0 {
            fields.push(more.to_owned());
        }
    }
    rng.shuffle(&mut fields);
    match rng.u8(..10) {
        0 => "{}".to_owned(),
        _ => format!("{{{}}}", fields.join(",")),
    }
}

/// A file: entries for the registry under one or more keys, among those of others.
fn file(rng: &mut Rng, host: &str, place: &str) -> String {
    let mut entries = Vec::new();
    for key in [
        "HOST",
        "https://HOST",
        "http://HOST/v1/",
        "https://HOST/v2/",
        "HOST/team",
        "HOST/team/app",
        "HOST/tea",
        "HOST/other",
        "other.example",
        "https://index.docker.io/v1/",
        "HOST.example",
    ] {
        if rng.u8(..4) == 0 {
            entries.push(format!(r#""{}":{}"#, key.replace("HOST", host), entry(rng)));
        }
    }
    rng.shuffle(&mut entries);
    let entries = format!("{{{}}}", entries.join(","));
    match place {
        ".dockercfg" => entries,
        _ => {
            let more =
                any(rng, &["", "", r#","credHelpers":{}"#, r#","credsStore":"""#, r#","x":[1]"#]);
            format!(r#"{{"auths":{entries}{more}}}"#)
        }
    }
}

fn write(home: &Path, name: &str, content: &str) {
    let path = home.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Runs skopeo in a home of its own, and returns whether it ended well.
fn skopeo(home: &Path, variables: &[(&str, &str)], image: &str) -> bool {
    let mut command = Command::new("skopeo");
    command
        .args(["--command-timeout", "5s", "inspect", "--raw", "--tls-verify=false", image])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .envs(variables.iter().copied());
    command.output().unwrap().status.success()
}

#[test]
fn logins_that_skopeo_finds_are_found() {
    let name = "real_logins::logins_that_skopeo_finds_are_found";
    if !installed(name, &["skopeo"]) {
        return;
    }
    let registry = Registry::start();
    let host = registry.url_host();
    let plain = Sandbox::new();
    let source = format!("tar://{}", hello().display());
    let image = format!("registry://{host}/team/app:1");
    plain.run(&["--insecure", "process", &source, &image]).exits(0);
    registry.require(Auth::basic("me", "pw"));
    let (mut missed, mut both) = (String::new(), 0);
    for seed in 0..FILES {
        let mut rng = Rng::with_seed(seed);
        let sandbox = Sandbox::new();
        let home = sandbox.path("home");
        let mut files = String::new();
        for place in PLACES {
            if rng.bool() {
                let content = file(&mut rng, &host, place);
                write(&home, place, &content);
                let _ = write!(files, "\n  ~/{place}: {content}");
            }
        }
        let theirs = skopeo(&home, &[], &format!("docker://{host}/team/app:1"));
        let ours = sandbox.run(&["--insecure", "info", &image]);
        both += usize::from(theirs && ours.code == 0);
        if theirs && ours.code != 0 {
            let _ = write!(missed, "\nseed {seed}: {}{files}", ours.stderr.trim());
        }
    }
    assert!(missed.is_empty(), "skopeo finds a login where occystrap does not:{missed}");
    assert!(both as u64 > FILES / 4, "{both} of {FILES} files have a login: too few to compare");
}

/// A proxy that counts its requests and answers none of them.
fn counting() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    // Ends with the test binary.
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = client.read(&mut [0; 4096]);
            let _ = client
                .write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (url, count)
}

#[test]
fn requests_go_through_a_proxy_where_those_of_skopeo_do() {
    let name = "real_logins::requests_go_through_a_proxy_where_those_of_skopeo_do";
    if !installed(name, &["skopeo"]) {
        return;
    }
    let (proxy, count) = counting();
    let home = tempfile::tempdir().unwrap();
    let (mut wrong, mut direct) = (String::new(), 0);
    for seed in 0..LISTS {
        let mut rng = Rng::with_seed(seed);
        // Addresses and names that are reserved for examples (RFC 5737, RFC 2606).
        let host = any(
            &mut rng,
            &["r.example", "a.r.example", "A.r.Example", "notr.example", "192.0.2.1", "192.0.2.77"],
        );
        let port = any(&mut rng, &["", ":5000", ":80", ":443"]);
        let list: Vec<_> = (0..=rng.usize(..3))
            .map(|_| {
                let name = any(
                    &mut rng,
                    &[
                        "r.example",
                        ".r.example",
                        "*.r.example",
                        "example",
                        ".example",
                        "R.EXAMPLE",
                        "r.ex*",
                        "192.0.2.1",
                        "192.0.2.0/26",
                        "192.0.2.1/32",
                        "192.0.2.",
                        ".2.1",
                        "192.0.2.0/33",
                        "::1",
                        "[::1]",
                        "",
                        " ",
                        "[",
                        "r.example.",
                        "b\u{fc}cher.example",
                    ],
                );
                let end = any(&mut rng, &["", "", "", ":5000", ":80", ":443", ":", ":x", " "]);
                format!("{}{name}{end}", any(&mut rng, &["", "", " "]))
            })
            .collect();
        let list = match rng.u8(..20) {
            0 => format!("{},*", list.join(",")),
            _ => list.join(","),
        };
        let variables =
            [("HTTP_PROXY", proxy.as_str()), ("HTTPS_PROXY", &proxy), ("NO_PROXY", &list)];
        let before = count.load(Ordering::SeqCst);
        skopeo(home.path(), &variables, &format!("docker://{host}{port}/a/b:1"));
        let theirs = count.load(Ordering::SeqCst) > before;
        let proxies = Proxies::new(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        // skopeo tries HTTPS first, and then plain HTTP.
        let ours = ["https", "http"].iter().any(|scheme| {
            proxies.of(&format!("{scheme}://{host}{port}/").parse().unwrap()).is_some()
        });
        direct += usize::from(!theirs);
        if ours != theirs {
            let _ = write!(
                wrong,
                "\nseed {seed}: NO_PROXY='{list}' {host}{port}: skopeo {theirs}, occystrap {ours}"
            );
        }
    }
    assert!(wrong.is_empty(), "whether a proxy is used:{wrong}");
    assert!(
        direct as u64 > LISTS / 10,
        "{direct} of {LISTS} lists name the host: too few to compare"
    );
}
