//! Who may use `occystrap proxy`: logins, TLS, and addresses that other hosts reach.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use occystrap_base::oci::Digest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::support::cli::Sandbox;
use crate::support::proxy::ProxyProcess;
use crate::support::registry::Registry;
use crate::support::registry_tls::Identity;

/// A line of `htpasswd -nbB -C 4 ada 'correct horse'`.
const LOGIN: &str = "ada:$2y$04$ze6tUoGxbMZnOzse9hpxdu4W2/n7bozvRGzPVn5iVB8X0VKfsy0ZC\n";

fn basic(login: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(login))
}

/// A proxy with the login of [`LOGIN`].
fn start(more: &[&str]) -> (Sandbox, Registry, ProxyProcess) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let file = sandbox.path("logins");
    std::fs::write(&file, format!("# users\n\n{LOGIN}")).unwrap();
    let options = [&["--htpasswd", file.to_str().unwrap()], more].concat();
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &options);
    (sandbox, registry, proxy)
}

#[test]
fn only_clients_with_a_right_login_get_an_answer() {
    let (_sandbox, registry, proxy) = start(&[]);
    let digest = Digest::of(b"bytes");
    let requests = [
        ("GET", "/v2/".to_owned()),
        ("GET", "/v2/_catalog".to_owned()),
        ("GET", "/v2/app/tags/list".to_owned()),
        ("GET", format!("/v2/app/blobs/{digest}")),
        ("GET", "/v2/app/manifests/v1".to_owned()),
        ("POST", "/v2/app/blobs/uploads/".to_owned()),
        ("PUT", "/v2/app/manifests/v1".to_owned()),
        ("GET", "/no/such/path".to_owned()),
    ];
    for header in [
        "Accept: */*".to_owned(),
        basic("ada:wrong"),
        basic("ada:"),
        basic("ada"),
        basic("eve:correct horse"),
        basic(":correct horse"),
        basic("Ada:correct horse"),
        basic("ada:correct horse "),
        "Authorization: Basic !".to_owned(),
        "Authorization: Basic".to_owned(),
        "Authorization: Bearer YWRhOmNvcnJlY3QgaG9yc2U=".to_owned(),
        format!("X-{}", basic("ada:correct horse")),
    ] {
        for (method, path) in &requests {
            let answer = proxy.request(method, path, &[&header], b"");
            answer.refused(401, "UNAUTHORIZED");
            assert_eq!(answer.header("www-authenticate"), "Basic realm=\"occystrap\"");
        }
    }
    let head = proxy.request("HEAD", "/v2/", &[], b"");
    assert_eq!((head.status, head.body.len()), (401, 0));
    assert!(registry.requests().is_empty());
    let login = basic("ada:correct horse");
    for scheme in ["Basic", "basic", "BASIC"] {
        let header = login.replace("Basic", scheme);
        for _ in 0..2 {
            assert_eq!(proxy.request("GET", "/v2/", &[&header], b"").status, 200, "{header}");
        }
    }
    // The registry does not get the login of the client.
    let answer = proxy.request("GET", "/v2/app/tags/list", &[&login], b"");
    answer.refused(404, "NAME_UNKNOWN");
    assert!(!registry.requests().is_empty());
    assert!(registry.requests().iter().all(|one| one.header("authorization").is_empty()));
    // One that was right is not enough for another name or another password.
    for login in ["ada:correct", "eve:correct horse"] {
        proxy.request("GET", "/v2/", &[&basic(login)], b"").refused(401, "UNAUTHORIZED");
    }
    let ran = proxy.stop();
    ran.exits(0);
    assert!(!ran.stderr.contains("correct horse"), "{}", ran.stderr);
}

#[test]
fn clients_connect_with_tls() {
    let (sandbox, registry, identity) = (Sandbox::new(), Registry::start(), Identity::new());
    let (cert, key) = (sandbox.path("cert.pem"), sandbox.path("key.pem"));
    std::fs::write(&cert, &identity.certificate).unwrap();
    std::fs::write(&key, identity.key()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let options = ["--tls-cert", cert, "--tls-key", key];
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &options);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let asked = |request: &str| {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, proxy.connect());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let digest = Digest::of(b"bytes");
    let post =
        format!("POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nConnection: close\r\n");
    let answer = asked(&format!("{post}Content-Length: 5\r\n\r\nbytes"));
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.contains(&format!("location: /v2/app/blobs/{digest}")), "{answer}");
    let answer =
        asked(&format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nConnection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nbytes"), "{answer}");
    // Without TLS there is no answer, and the next client gets its own.
    let plain = proxy.get("/v2/");
    assert_eq!(plain.status, 0, "{plain:?}");
    assert!(asked("GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 200 "));
    proxy.stop().exits(0);
    // A certificate and the key of another one.
    std::fs::write(sandbox.path("other.pem"), Identity::new().key()).unwrap();
    let other = sandbox.path("other.pem");
    let run = |more: &[&str]| {
        let fixed = ["proxy", "--listen", "127.0.0.1:0", "--downstream", "localhost:1"];
        sandbox.run(&[&fixed[..], more].concat())
    };
    run(&["--tls-cert", cert, "--tls-key", other.to_str().unwrap()])
        .exits(2)
        .says("cannot be used for TLS");
    run(&["--tls-cert", key, "--tls-key", key]).exits(2).says("has no certificate");
    run(&["--tls-cert", cert, "--tls-key", cert]).exits(2).says("cannot read");
    run(&["--tls-cert", "none", "--tls-key", key]).exits(2).says("cannot read 'none'");
    run(&["--tls-cert", cert]).exits(2).says("--tls-key");
    run(&["--tls-key", key]).exits(2).says("--tls-cert");
}

#[test]
fn other_hosts_need_tls_and_a_login() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("logins");
    std::fs::write(&file, LOGIN).unwrap();
    let file = file.to_str().unwrap();
    let run = |listen: &str, more: &[&str]| {
        let fixed = ["proxy", "--listen", listen, "--downstream", "localhost:1"];
        sandbox.run(&[&fixed[..], more].concat())
    };
    for listen in ["0.0.0.0:0", "[::]:0", "10.1.2.3:0", "[::ffff:10.1.2.3]:0"] {
        run(listen, &[]).exits(2).says("without TLS").says("--allow-plain");
        run(listen, &["--htpasswd", file]).exits(2).says("without TLS");
        run(listen, &["--allow-anyone"]).exits(2).says("without TLS");
        run(listen, &["--allow-plain"]).exits(2).says("could push").says("--allow-anyone");
    }
    // With both, it listens.
    for more in [["--allow-plain", "--allow-anyone", "-q"], ["--allow-plain", "--htpasswd", file]] {
        let fixed = ["proxy", "--listen", "0.0.0.0:0", "--downstream", "localhost:1"];
        let mut command = sandbox.command(&[&fixed[..], &more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit_once("http://0.0.0.0:").map(|(_, port)| port.to_owned());
        let connected = TcpStream::connect(format!("127.0.0.1:{}", port.unwrap_or_default()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(connected.is_ok(), "{more:?}: {line}");
    }
    // Logins that are none.
    for (text, said) in [("", "has no login"), ("ada:secret\n", "not hashed with bcrypt")] {
        std::fs::write(file, text).unwrap();
        let ran = run("127.0.0.1:0", &["--htpasswd", file]);
        ran.exits(2).says(said);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    run("127.0.0.1:0", &["--htpasswd", "none"]).exits(1).says("cannot read the logins in");
}
