//! The proxies of the environment, and what errors say of them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::support::cli::{Ran, Sandbox};
use crate::support::real::hello;
use crate::support::registry::{Registry, Request};

const LOGIN: &str = "me:hunter2-of-the-proxy@";

fn run(sandbox: &Sandbox, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = sandbox.command(&[arguments, &["--retries", "0"]].concat());
    command.envs(variables.iter().copied());
    let ran = Ran::of(command);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    ran
}

/// A proxy that gives every request the same answer.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    // Ends with the test binary.
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let _ = write!(
                client,
                "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    host
}

#[test]
fn requests_go_through_the_proxy_and_never_those_to_this_machine() {
    // A registry is as good as a proxy for plain HTTP: it reads the path alone.
    let (proxy, registry) = (Registry::start(), Registry::start());
    let sandbox = Sandbox::new();
    let value = format!("http://{LOGIN}{}", proxy.url_host());
    let variables = [("HTTP_PROXY", value.as_str()), ("HTTPS_PROXY", &value)];
    let source = format!("tar://{}", hello().display());
    let local = format!("registry://{}/team/app:1", registry.url_host());
    run(&sandbox, &["--insecure", "process", &source, &local], &variables).exits(0);
    assert!(proxy.requests().is_empty());
    let far = "registry://r.example/team/app:1";
    run(&sandbox, &["--insecure", "process", &source, far], &variables).exits(0);
    // Uploads go to where the server says, which is on this machine.
    let is_far = |request: &Request| request.header("host") == "r.example";
    let requests: Vec<_> = proxy.requests().into_iter().filter(is_far).collect();
    assert!(!requests.is_empty());
    let authorized = |login: &str| login.starts_with("Basic ");
    assert!(requests.iter().all(|request| authorized(request.header("proxy-authorization"))));

    // Around it, where the name is looked for.
    let before = proxy.requests().len();
    for no_proxy in ["r.example", ".example", "*", "r.example:80"] {
        let variables = [variables[0], ("NO_PROXY", no_proxy)];
        let ran = run(&sandbox, &["--insecure", "info", far], &variables);
        ran.exits(1);
        assert!(!ran.stderr.contains("proxy"), "{no_proxy}: {}", ran.stderr);
    }
    assert_eq!(proxy.requests().len(), before);
}

#[test]
fn errors_name_the_proxy() {
    // No server listens on the port of a listener that was closed.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let sandbox = Sandbox::new();
    for (insecure, variable, proxy, answer, hint) in [
        (
            true,
            "http_proxy",
            dead.clone(),
            "cannot connect to r.example (through the proxy http://[proxy] of http_proxy): ",
            "NO_PROXY=r.example",
        ),
        (
            false,
            "HTTPS_PROXY",
            dead.clone(),
            "cannot connect to r.example (through the proxy http://[proxy] of HTTPS_PROXY): ",
            "NO_PROXY=r.example",
        ),
        (
            true,
            "HTTP_PROXY",
            answering("503 Service Unavailable"),
            "r.example (through the proxy http://[proxy] of HTTP_PROXY) answered 503",
            "",
        ),
        (
            true,
            "HTTP_PROXY",
            answering("407 Proxy Authentication Required"),
            "r.example (through the proxy http://[proxy] of HTTP_PROXY) answered 407",
            "the proxy refuses the login that HTTP_PROXY names",
        ),
        (
            true,
            "HTTP_PROXY",
            answering("403 Forbidden"),
            "r.example (through the proxy http://[proxy] of HTTP_PROXY) forbids access",
            "",
        ),
        (
            false,
            "HTTPS_PROXY",
            answering("407 Proxy Authentication Required"),
            "cannot connect to r.example (through the proxy http://[proxy] of HTTPS_PROXY): the proxy answered 407",
            "the proxy refuses the login that HTTPS_PROXY names",
        ),
        (
            false,
            "HTTPS_PROXY",
            answering("403 Forbidden"),
            "cannot connect to r.example (through the proxy http://[proxy] of HTTPS_PROXY): the proxy refuses",
            "NO_PROXY=r.example",
        ),
    ] {
        let value = format!("http://{LOGIN}{proxy}");
        let flag: &[&str] = if insecure { &["--insecure"] } else { &[] };
        let arguments = [flag, &["info", "registry://r.example/team/app:1"]].concat();
        let ran = run(&sandbox, &arguments, &[(variable, &value)]);
        ran.exits(1);
        let said = ran.stderr.replace(&proxy, "[proxy]");
        assert!(said.contains(answer) && said.contains(hint), "{variable}: {said}");
    }
}

#[test]
fn a_proxy_that_wants_a_login_is_named_with_what_to_type() {
    let sandbox = Sandbox::new();
    let proxy = answering("407 Proxy Authentication Required");
    for (flag, variable) in [("--insecure", "HTTP_PROXY"), ("-v", "HTTPS_PROXY")] {
        let value = format!("http://{proxy}");
        let arguments = [flag, "info", "registry://r.example/team/app:1"];
        let hint = format!("the proxy wants a login: {variable}=http://USER:PASSWORD@{proxy}");
        run(&sandbox, &arguments, &[(variable, &value)]).exits(1).says(&hint);
    }
}

#[test]
fn an_engine_over_tcp_is_reached_like_a_registry() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let sandbox = Sandbox::new();
    let value = format!("http://{LOGIN}{dead}");
    for (host, is_proxied) in [("tcp://engine.example:2375", true), ("tcp://127.0.0.1:1", false)] {
        let variables = [("DOCKER_HOST", host), ("HTTP_PROXY", &value)];
        let ran = run(&sandbox, &["info", "docker:x:1"], &variables);
        ran.exits(1);
        let named = format!("(through the proxy http://{dead} of HTTP_PROXY)");
        assert_eq!(ran.stderr.contains(&named), is_proxied, "{}", ran.stderr);
    }
}
