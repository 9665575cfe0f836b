//! An image on a web server: written, verified, and damaged in every way that a server can.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile::named;
use crate::support::image::{Pack, TestImage, gzip};
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape;
use crate::support::web::{Fault, Web};

/// A server with an image and its receipt.
struct Arena {
    sandbox: Sandbox,
    web: Web,
    plugin: String,
}

impl Arena {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
        Self { sandbox, web: Web::start(), plugin: named("hostile-web").display().to_string() }
    }

    fn written() -> Self {
        let arena = Self::new();
        arena.write("honest", &["--receipt", "r.json", "--verify=full"]).verified();
        arena
    }

    fn write(&self, behaviour: &str, more: &[&str]) -> Ran {
        let to = format!("hostile-web://{}/app?behaviour={behaviour}", self.web.host());
        let from = self.sandbox.uri("tar", "in.tar");
        let origin = self.web.origin();
        let given = ["--plugin", &self.plugin, "--allow-net", &origin];
        let few = ["--retries", "0"];
        let given = [&given[..], if more.contains(&"--retries") { &[] } else { &few }].concat();
        self.sandbox.process(&from, &to, &[&given, more].concat())
    }

    fn verify(&self, more: &[&str]) -> Ran {
        let origin = self.web.origin();
        let given = [
            "verify",
            "r.json",
            "--plugin",
            &self.plugin,
            "--allow-net",
            &origin,
            "--retries",
            "0",
        ];
        self.sandbox.run(&[&given, more].concat())
    }

    /// Returns the verdicts of both levels and of `--untrusted`.
    #[track_caller]
    fn judged(&self, what: &str, fast: i32, full: i32) {
        for (more, code) in [(&["--fast"][..], fast), (&[], full), (&["--untrusted"], full)] {
            let said = self.verify(more);
            assert_eq!(said.code, code, "{what} {more:?}: {}{}", said.stdout, said.stderr);
            let word = ["1/1 verified", "1 FAILED", "", "1 UNCONFIRMED"][code as usize];
            said.says(word);
        }
    }
}

#[test]
fn an_image_lands_and_is_found_again() {
    let arena = Arena::written();
    let files = arena.web.files();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert!(names.contains(&"/app/config") && names.contains(&"/app/list"), "{names:?}");
    // The file that makes the others visible was written last.
    let puts: Vec<String> = (arena.web.requests().into_iter())
        .filter(|request| request.method == "PUT")
        .map(|request| request.path)
        .collect();
    assert_eq!(puts.last().map(String::as_str), Some("/app/list"));
    arena.judged("sound", 0, 0);
    std::fs::remove_file(arena.sandbox.path("r.json")).unwrap();
    arena.write("sink", &["--receipt", "r.json"]).verified();
    arena.judged("through sinks", 0, 0);
    arena.sandbox.assert_clean();
}

#[test]
fn a_sink_frames_what_is_put() {
    let arena = Arena::new();
    arena.write("framed", &[]).exits(1).says("framed was written");
    let framed = &arena.web.files()["/app/framed"];
    assert!(framed.starts_with(b"head") && framed.ends_with(&[0; 8]) && framed.len() > 100);
}

#[test]
fn damage_at_a_web_server_is_found() {
    let arena = Arena::written();
    let files = arena.web.files();
    for (path, content) in &files {
        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 1;
        arena.web.put(path, &flipped);
        arena.judged(&format!("{path} flipped"), 0, 1);
        arena.web.put(path, &content[..content.len() - 1]);
        arena.judged(&format!("{path} cut"), 1, 1);
        arena.web.put(path, &[content.as_slice(), b"x"].concat());
        arena.judged(&format!("{path} grown"), 1, 1);
        arena.web.remove(path);
        arena.judged(&format!("{path} missing"), 1, 1);
        arena.web.put(path, content);
        // A file that a server keeps only in its cache does not count as a file.
        arena.web.fault(path, Fault::OnlyHead);
        arena.judged(&format!("{path} remembered"), 1, 1);
        arena.web.mend();
    }
    arena.judged("mended", 0, 0);
}

#[test]
fn unreadable_files_are_not_confirmed() {
    let arena = Arena::written();
    let closed = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nshort".to_vec();
    for path in arena.web.files().keys() {
        for (status, headers) in [
            ("401 Unauthorized", "WWW-Authenticate: Basic\r\n"),
            ("403 Forbidden", ""),
            ("500 Internal Server Error", ""),
            ("302 Found", "Location: /app/other\r\n"),
            ("418 Teapot", ""),
        ] {
            arena.web.answers(path, status, headers);
            arena.judged(&format!("{path} {status}"), 3, 3);
        }
    }
    arena.web.mend();
    arena.web.fault("/app/config", Fault::Raw(b"nonsense\r\n\r\n".to_vec()));
    arena.judged("nonsense", 3, 3);
    arena.web.fault("/app/config", Fault::Raw(closed));
    // It says another size, and that is wrong, whatever comes then.
    arena.judged("another size", 1, 1);
    // The user did not name it: no request is sent.
    let before = arena.web.connections();
    let said = arena.sandbox.run(&["verify", "r.json", "--plugin", &arena.plugin]);
    said.exits(3).says("not a place that you allowed").says("--allow-net");
    arena.sandbox.run(&["verify", "r.json", "--plugin", &arena.plugin, "--untrusted"]).exits(3);
    assert_eq!(arena.web.connections(), before);
}

#[test]
fn a_server_that_is_gone_is_not_confirmed() {
    let mut arena = Arena::written();
    let gone = arena.web.origin();
    arena.web = Web::start();
    let plugin = arena.plugin.clone();
    let given = ["verify", "r.json", "--plugin", &plugin, "--allow-net", &gone, "--retries", "0"];
    // Another process may use the port by now; it has none of these files.
    let said = arena.sandbox.run(&given);
    said.exits(3).says("5 of 5 objects unchecked").says("1 UNCONFIRMED");
}

#[test]
fn a_plugin_that_is_blind_does_not_decide() {
    let arena = Arena::new();
    arena.write("verify-blind", &["--receipt", "r.json"]).verified();
    let content = arena.web.files()["/app/layer-0"].clone();
    arena.web.put("/app/layer-0", &content[1..]);
    let repair = format!(" --allow-net={} tar://", arena.web.origin());
    arena
        .verify(&[])
        .exits(1)
        .says("has another size")
        .says("found nothing wrong where the host did")
        .says(&repair);
    arena.web.put("/app/layer-0", &content);
    arena.verify(&[]).exits(0);
}

#[test]
fn a_write_that_fails_shows_nothing() {
    let arena = Arena::written();
    let list = arena.web.files()["/app/list"].clone();
    arena.web.put("/app/list", b"the old one");
    for (behaviour, rule) in [
        ("receipt-invented", "names 'invented', which the host never saw"),
        ("receipt-outside", "names '../config', which the host never saw"),
        ("receipt-query", "names 'config?x', which the host never saw"),
        ("receipt-digest", "with another size or digest than was written"),
        ("receipt-without-layer", "leaves out layer 1 of"),
        ("replace-by-post", "names 'layer-0', which the host never saw"),
        ("replace", "with another size or digest than was written"),
        ("no-wait", "which the host never saw"),
        ("replace-by-query", "names 'layer-0', which the host never saw"),
        ("put-while-put", "it put twice to one place at once"),
        ("post-while-put", "it put twice to one place at once"),
        ("file-while-put", "it put twice to one place at once"),
        ("last-while-put", "it put twice to one place at once"),
        ("put-after-last", "it put twice to one place at once"),
        ("put-after-dropped", "it put twice to one place at once"),
    ] {
        arena.write(behaviour, &[]).exits(1).says(rule);
        assert_eq!(arena.web.files()["/app/list"], b"the old one", "{behaviour}");
    }
    for (status, says) in [
        ("507 Insufficient Storage", "507"),
        ("409 Conflict", "does its parent folder exist?"),
        ("401 Unauthorized", "a login for it is looked for"),
        ("307 Temporary Redirect", "307"),
    ] {
        arena.web.answers("/app/layer-0", status, "Location: /elsewhere\r\n");
        arena.write("honest", &[]).exits(1).says(says);
        assert_eq!(arena.web.files()["/app/list"], b"the old one", "{status}");
        assert!(!arena.web.files().contains_key("/elsewhere"));
    }
    arena.web.mend();
    arena.write("honest", &[]).verified();
    assert_eq!(arena.web.files()["/app/list"], list);
    arena.sandbox.assert_clean();
}

/// A blob on its way from a registry is not kept on the way; one that must be changed is.
#[test]
fn an_image_from_a_registry_keeps_its_bytes() {
    let arena = Arena::new();
    let (registry, image) = (Registry::start(), TestImage::new("team/app:1"));
    let source = push(&registry, &image, Pack::Gzip);
    let to = format!("hostile-web://{}/app", arena.web.host());
    let origin = arena.web.origin();
    let given = ["--plugin", &arena.plugin, "--allow-net", &origin, "--verify=full"];
    arena.sandbox.process(&source, &to, &given).verified();
    for (index, layer) in image.layers.iter().enumerate() {
        assert_eq!(arena.web.files()[&format!("/app/layer-{index}")], gzip(layer));
    }
    arena.sandbox.assert_clean();
}

/// A request that a server fails the first time is retried, except for POST.
#[test]
fn passing_failures_are_retried() {
    let arena = Arena::new();
    arena.web.fault_once("/app/layer-0", "503 Service Unavailable");
    arena.web.fault_once("/app/list", "502 Bad Gateway");
    arena.write("honest", &["--retries", "2"]).verified();
    let puts = |path: &str| {
        let requests = arena.web.requests();
        requests.iter().filter(|one| one.path == path && one.method == "PUT").count()
    };
    assert_eq!((puts("/app/layer-0"), puts("/app/layer-1"), puts("/app/list")), (2, 1, 2));
    let url = format!("{}/app/service", arena.web.origin());
    arena.web.fault_once("/app/service", "503 Service Unavailable");
    arena.write(&format!("post={url}"), &["--retries", "2"]).exits(1).says("503");
    let asked = arena.web.requests().into_iter().filter(|one| one.path == "/app/service");
    assert_eq!(asked.count(), 1);
}

#[test]
fn a_signal_while_a_server_hangs() {
    let arena = Arena::written();
    let list = arena.web.files()["/app/list"].clone();
    arena.web.put("/app/list", b"the old one");
    for (path, asked) in [("/app/layer-1", "process"), ("/app/config", "verify")] {
        arena.web.fault(path, Fault::Silence);
        let (origin, from) = (arena.web.origin(), arena.sandbox.uri("tar", "in.tar"));
        let to = format!("hostile-web://{}/app", arena.web.host());
        let words = match asked {
            "process" => vec!["process", &from, &to],
            _ => vec!["verify", "r.json"],
        };
        let given = ["--plugin", &arena.plugin, "--allow-net", &origin];
        let before = arena.web.requests().len();
        let mut command = arena.sandbox.command(&[&words[..], &given].concat());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while !arena.web.requests()[before..].iter().any(|request| request.path == path) {
            assert!(started.elapsed() < Duration::from_secs(10), "{path} was not asked for");
            std::thread::sleep(Duration::from_millis(5));
        }
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        let started = Instant::now();
        let said = Ran::ended(child.wait_with_output().unwrap());
        assert!(started.elapsed() < Duration::from_secs(5), "{asked}: {:?}", started.elapsed());
        said.exits(130);
        assert_eq!(arena.web.files()["/app/list"], b"the old one");
        arena.web.mend();
    }
    arena.web.put("/app/list", &list);
    arena.verify(&[]).exits(0);
}

#[test]
fn destinations_that_are_none() {
    let arena = Arena::new();
    let from = arena.sandbox.uri("tar", "in.tar");
    for (rest, says) in [
        ("", "is not whole"),
        ("127.0.0.1:1/../x", "has '.' or '..' in its path"),
        ("127.0.0.1:1/a%3Fb", "has a character in its path"),
        ("a b/x", "is not on a web server"),
    ] {
        let to = format!("hostile-web://{rest}");
        arena.sandbox.process(&from, &to, &["--plugin", &arena.plugin]).exits(2).says(says);
    }
    for name in ["", "ftp://x", "user@host", "a/b?c"] {
        arena.write("honest", &["--allow-net", name]).exits(2).says("expected HOST[:PORT]");
    }
    assert_eq!(arena.web.connections(), 0);
}
