//! Plugins and servers that break a rule of the web: no request goes to a host that the user did not name, no secret is
//! seen, and no run is delayed without end.

use std::time::{Duration, Instant};

use occystrap_net::http::Settings;
use occystrap_net::web::{Access, Allow, Logins};

use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile::named;
use crate::support::image::{Pack, TestImage};
use crate::support::shape;
use crate::support::web::{Fault, Web};

/// A server that was named, and one on the same machine that was not.
struct Arena {
    sandbox: Sandbox,
    web: Web,
    bystander: Web,
}

impl Arena {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
        Self { sandbox, web: Web::start(), bystander: Web::start() }
    }

    fn run(&self, behaviour: &str, more: &[&str]) -> Ran {
        self.run_with(behaviour, more, &[])
    }

    fn run_with(&self, behaviour: &str, more: &[&str], environment: &[(&str, &str)]) -> Ran {
        let plugin = named("hostile-web").display().to_string();
        let to = format!("hostile-web://{}/app?behaviour={behaviour}", self.web.host());
        let from = self.sandbox.uri("tar", "in.tar");
        // The address is public by the destination; plain HTTP is what is named.
        let folder = format!("{}/app", self.web.origin());
        let given = ["process", &from, &to, "--plugin", &plugin, "--allow-net", &folder];
        let given = [&given[..], &["--retries", "0"], more].concat();
        let mut command = self.sandbox.command(&given);
        command.envs(environment.iter().copied());
        Ran::of(command)
    }

    /// The plugin gave up or was stopped, the user sees the reason, and the bystander is unchanged.
    #[track_caller]
    fn stopped(&self, behaviour: &str, rule: &str) {
        let said = self.run(behaviour, &[]);
        assert_eq!(said.code, 1, "{behaviour}: {}", said.stderr);
        let error = said.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains("plugin 'hostile-web'"), "{behaviour}: {error}");
        assert!(error.contains(rule), "{behaviour}: '{rule}' is not in: {error}");
        assert!(error.len() < 400, "{behaviour}: {error}");
        assert_eq!(self.bystander.connections(), 0, "{behaviour}");
    }
}

/// Server-side request forgery: every spelling of a host that the user did not name.
#[test]
fn only_what_was_named_is_asked() {
    let arena = Arena::new();
    let (other, port) =
        (arena.bystander.host().to_owned(), arena.web.host().split_once(':').unwrap().1.to_owned());
    let bystander = &other["127.0.0.1".len()..];
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "https://metadata.google.internal/",
        "https://[::1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://10.0.0.1/",
        "https://example.com/",
        &format!("http://{other}/"),
        &format!("http://localhost{bystander}/"),
        &format!("https://127.0.0.1:{port}/app/x"),
        &format!("http://127.0.0.1:{port}/"),
        &format!("http://127.0.0.1:{port}/application"),
    ] {
        for how in ["get", "head", "hash", "put", "post", "mkcol", "put-file", "put-last"] {
            arena.stopped(&format!("{how}={url}"), "not a place that you allowed");
        }
    }
    for url in [
        &format!("http://2130706433{bystander}/"),
        &format!("http://0x7f.1{bystander}/"),
        &format!("http://127.1{bystander}/"),
        &format!("http://127.0.0.1.{bystander}/"),
        &format!("http://LOCALHOST{bystander}/"),
        &format!("http://127.0.0.1:{port}@{other}/"),
        &format!("http://127.0.0.1:{port}%23@{other}/"),
        &format!("http://127.0.0.1:{port}/app/../"),
        &format!("http://127.0.0.1:{port}/app/%252e%252e/x"),
        &format!("http://127.0.0.1:{port}/app/..%252fx"),
        &format!("http://127.0.0.1:{port}/app/..;/x"),
        &format!("http://127.0.0.1:{port}/app/%255c..%255cx"),
        &format!("http://127.0.0.1:{port}/app/x%0d%0aHost: evil"),
        "https://[::ffff:169.254.169.254]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "",
    ] {
        arena.stopped(&format!("get={url}"), "which is no URL in its normal form");
    }
    arena.stopped("long-url", "which is no URL in its normal form");
    assert!(arena.web.requests().iter().all(|request| request.path.starts_with("/app/")));
}

/// That a name which was not named so leads to no address of this machine is tried where name servers
/// can be made to lie: `web::resolver`.
#[test]
fn this_machine_is_reached_by_the_name_that_was_named() {
    let arena = Arena::new();
    let port = arena.bystander.host().split_once(':').unwrap().1.to_owned();
    let behaviour = format!("get=http://localhost:{port}/");
    let named = format!("http://localhost:{port}/");
    let said = arena.run(&behaviour, &["--allow-net", &named]);
    said.exits(0);
    assert_eq!(arena.bystander.connections(), 1, "{}", said.stderr);
}

#[test]
fn redirects_lead_nowhere() {
    let arena = Arena::new();
    let location = format!("Location: {}/secret\r\n", arena.bystander.origin());
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        arena.web.answers("/app/x", status, &location);
        for how in ["get", "head", "put", "post", "hash"] {
            arena.run(&format!("{how}={}/app/x", arena.web.origin()), &[]);
        }
    }
    assert_eq!(arena.bystander.connections(), 0);
    let said = arena.run(&format!("hash={}/app/x", arena.web.origin()), &[]);
    said.exits(1).says("which is not followed");
}

#[test]
fn no_header_is_smuggled() {
    let arena = Arena::new();
    for header in [
        "authorization:Basic x",
        "cookie:a",
        "host:evil",
        "connection:close",
        "transfer-encoding:chunked",
        "content-length:5",
        "x-http-method-override:DELETE",
        "x-forwarded-for:1",
        "range:bytes=0-",
        "proxy-authorization:x",
        "Content-Type:x",
        "destination:/etc",
    ] {
        arena.stopped(&format!("header={header}"), "which no plugin may");
    }
    for value in ["a%0d%0aHost: evil", "a%0aX: y", "%00", "a%0d"] {
        arena.stopped(
            &format!("header=content-type:{value}"),
            "line ends or other control characters",
        );
    }
    arena.stopped("headers", "too many headers");
    assert!(arena.web.requests().iter().all(|request| request.headers["host"] == arena.web.host()));
    arena.run("header=content-type:text/x", &[]).exits(0);
    let sent = arena.web.requests().into_iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(sent.headers["content-type"], "text/x");
}

#[test]
fn logins_are_for_their_host_and_for_no_plugin() {
    const PASSWORD: &str = "correct-horse-battery-staple";
    // `me:` and the password.
    const SENT: &str = "Basic bWU6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==";
    let arena = Arena::new();
    let netrc =
        format!("machine 127.0.0.1 login me password {PASSWORD}\ndefault login x password y\n");
    std::fs::write(arena.sandbox.path("netrc"), netrc).unwrap();
    let echo = format!("Set-Cookie: {PASSWORD}\r\nWWW-Authenticate: {PASSWORD}\r\nETag: seen\r\n");
    arena.web.answers("/app/echo", "200 OK", &echo);
    let behaviour = format!("get={}/app/echo", arena.web.origin());
    let said = arena.run(&behaviour, &["--netrc-file", "netrc", "--debug"]);
    said.exits(0).says("etag: seen");
    assert!(!said.stderr.contains(PASSWORD) && !said.stderr.contains(SENT), "{}", said.stderr);
    let sent = arena.web.requests();
    assert!(sent.iter().all(|request| request.headers["authorization"] == SENT), "{sent:?}");

    // Another host that was named gets what is its own: nothing.
    let port = arena.bystander.host().split_once(':').unwrap().1;
    let other = format!("http://localhost:{port}/");
    let behaviour = format!("get={other}");
    arena.run(&behaviour, &["--netrc-file", "netrc", "--allow-net", &other]).exits(0);
    let seen = arena.bystander.requests();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].headers.contains_key("authorization"), "{seen:?}");

    // $NETRC, as curl has it; a registry's login is no web server's.
    let file = arena.sandbox.path("netrc").display().to_string();
    let before = arena.web.requests().len();
    arena.run_with("honest", &[], &[("NETRC", &file)]).exits(0);
    assert!(arena.web.requests()[before..].iter().all(|one| one.headers["authorization"] == SENT));
    let before = arena.web.requests().len();
    arena.run("honest", &["--username", "me", "--password", PASSWORD]).exits(0);
    let sent = &arena.web.requests()[before..];
    assert!(sent.iter().all(|one| !one.headers.contains_key("authorization")), "{sent:?}");
    arena.run("honest", &["--netrc-file", "nowhere"]).exits(1).says("read the logins in");
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let arena = Arena::new();
    let proxy = arena.bystander.origin();
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"];
    let environment = names.map(|name| (name, proxy.as_str()));
    arena.run_with("honest", &[], &environment).exits(0);
    assert_eq!(arena.bystander.connections(), 0);
}

#[test]
fn nobody_is_kept_busy() {
    let arena = Arena::new();
    let origin = arena.web.origin();
    arena.stopped("flood", "it made more than 4000 requests");
    arena.stopped("answers", "it holds more than 16 answers");
    arena.stopped("lasts", "quota-exceeded");
    arena.stopped("send-big", "it wrote more than 1048576 bytes in one call");
    arena.stopped("last-big", "it wrote more than 4194304 bytes in one call");
    arena.stopped("range", "invalid-state");
    arena.web.fault("/app/endless", Fault::Endless);
    arena.stopped(
        &format!("read-all={origin}/app/endless"),
        "it read more than 16 MiB of one answer",
    );
    // An answer that is not kept may have any size, until it is interrupted or exceeds the limit.
    arena.run(&format!("get={origin}/app/endless"), &[]).exits(0);
}

#[test]
fn a_verifying_plugin_changes_nothing() {
    for how in ["put", "post", "mkcol", "put-file", "put-last"] {
        let arena = Arena::new();
        let behaviour = format!("verify-{how}={}/app/evil", arena.web.origin());
        let said = arena.run(&behaviour, &[]);
        said.exits(1).says("while verifying").says("plugin 'hostile-web' was stopped");
        assert!(!arena.web.files().contains_key("/app/evil"), "{how}");
    }
    let arena = Arena::new();
    let other = arena.bystander.origin();
    let said = arena.run(&format!("verify-get={other}/"), &[]);
    said.says("not a place that you allowed");
    said.says("1 UNCONFIRMED");
    assert_eq!(arena.bystander.connections(), 0);
}

/// A server that sends nothing, or no more: waited for as long as was said, and not longer.
#[test]
fn a_silent_server_is_not_waited_for() {
    let web = Web::start();
    web.fault("/silent", Fault::Silence);
    web.fault("/stalls", Fault::Stalls);
    let mut allow = Allow::default();
    allow.name(&web.origin()).unwrap();
    let idle_timeout = Duration::from_millis(200);
    let settings = Settings { idle_timeout, retries: 0, ..Settings::default() };
    let access = Access::new(allow, Logins::None, &settings);
    let client = access.client(None, Default::default(), Default::default()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started = Instant::now();
    for path in ["silent", "stalls"] {
        let url = client.check(&format!("{}/{path}", web.origin())).unwrap();
        let mut fetch = client.download(&url, None);
        let error = runtime.block_on(async {
            loop {
                match fetch.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{path} came to an end"),
                    Err(error) => return error,
                }
            }
        });
        assert!(error.to_string().contains("sent nothing for 200ms"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Needs no server: checks the texts about permissions.
#[test]
fn the_permissions_of_a_web_plugin_are_shown() {
    let sandbox = Sandbox::new();
    let said = sandbox.run(&["plugin", "show", &named("hostile-web").display().to_string()]);
    said.exits(0);
    for words in ["(http-in)", "(http-out)", "hostile-web://HOST[:PORT]/PATH", "--allow-net"] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    // The kit has a server of its own; this plugin makes no folders.
    let said = sandbox.run(&["plugin", "test", &named("hostile-web").display().to_string()]);
    assert!(
        said.stdout.contains("409 Conflict (does its parent folder exist?)"),
        "{}",
        said.stdout
    );
}
