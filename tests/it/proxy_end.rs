//! The end of `occystrap proxy`, in whatever way it comes, and what it takes until then.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;
use rustix::process::Signal;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::proxy::{Answer, ProxyProcess};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape::oci_manifest;

fn start(more: &[&str]) -> (Sandbox, Registry, ProxyProcess) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), more);
    (sandbox, registry, proxy)
}

/// Sends the blobs of an image, and returns its manifest.
#[track_caller]
fn send_blobs(proxy: &ProxyProcess, image: &TestImage) -> Vec<u8> {
    proxy.put_blob("app", &image.config);
    image.layers.iter().for_each(|layer| _ = proxy.put_blob("app", &Pack::Gzip.pack(layer)));
    oci_manifest(image, Pack::Gzip).into_bytes()
}

/// Sends a manifest, and does not wait for the answer.
#[track_caller]
fn begin_manifest(proxy: &ProxyProcess, tag: &str, manifest: &[u8]) -> TcpStream {
    let mut stream = proxy.connect();
    let head = format!(
        "PUT /v2/app/manifests/{tag} HTTP/1.1\r\nHost: x\r\nContent-Type: {OCI_MANIFEST}\r\nContent-Length: {}\r\n\r\n",
        manifest.len()
    );
    stream.write_all(&[head.as_bytes(), manifest].concat()).unwrap();
    stream
}

#[track_caller]
fn until_asked(registry: &Registry, method: &str, path: &str) {
    ProxyProcess::until("the registry is asked", || !registry.requests_of(method, path).is_empty());
}

#[test]
fn what_has_begun_is_finished_after_sigterm() {
    let (sandbox, registry, proxy) = start(&[]);
    let manifest = send_blobs(&proxy, &TestImage::tiny("a"));
    // An upload that is in work, one that waits, and a connection that waits.
    let (bytes, path) = (noise(1, 200_000), proxy.begin_upload("app"));
    let mut upload = proxy.begin_patch(&path, 200_000, &bytes[..100_000]);
    let mut idle = proxy.connect();
    registry.fault("PUT", "/manifests/", Fault::Delay(Duration::from_millis(700)), 1);
    let mut push = begin_manifest(&proxy, "v1", &manifest);
    until_asked(&registry, "PUT", "/manifests/");
    proxy.signal(Signal::TERM);
    ProxyProcess::until("no more clients are accepted", || {
        TcpStream::connect(proxy.host()).is_err()
    });
    assert_eq!(Answer::read(&mut idle, false).status, 0);
    upload.write_all(&bytes[100_000..]).unwrap();
    let answer = Answer::read(&mut upload, false);
    assert_eq!((answer.status, answer.header("range")), (202, "0-199999"));
    let answer = Answer::read(&mut push, false);
    assert_eq!(answer.status, 201, "{}", answer.text());
    proxy.wait().exits(0).says("Stopping").says("1/1 verified");
    assert_eq!(registry.manifest("app", "v1").unwrap().1, manifest);
    sandbox.assert_clean();
}

#[test]
fn a_second_signal_and_the_end_of_the_grace_time_give_up() {
    for grace in ["300s", "1s"] {
        let (sandbox, registry, proxy) = start(&["--grace", grace]);
        let manifest = send_blobs(&proxy, &TestImage::tiny("a"));
        registry.fault("PUT", "/manifests/", Fault::Deaf, ALWAYS);
        let mut push = begin_manifest(&proxy, "v1", &manifest);
        until_asked(&registry, "PUT", "/manifests/");
        proxy.signal(Signal::TERM);
        if grace == "300s" {
            ProxyProcess::until("no more clients are accepted", || {
                TcpStream::connect(proxy.host()).is_err()
            });
            proxy.signal(Signal::TERM);
        }
        let ran = proxy.wait();
        assert_ne!(ran.code, 0, "{ran:?}");
        assert_ne!(Answer::read(&mut push, false).status, 201);
        assert!(registry.manifest("app", "v1").is_none());
        assert_eq!(registry.open_uploads(), 0);
        sandbox.assert_clean();
    }
}

#[test]
fn a_client_that_leaves_does_not_end_its_push() {
    let (sandbox, registry, proxy) = start(&[]);
    let manifest = send_blobs(&proxy, &TestImage::tiny("a"));
    registry.fault("PUT", "/manifests/", Fault::Delay(Duration::from_millis(300)), 1);
    drop(begin_manifest(&proxy, "v1", &manifest));
    ProxyProcess::until("the image is there", || registry.manifest("app", "v1").is_some());
    proxy.stop().exits(0).says("1/1 verified");
    sandbox.assert_clean();
}

#[test]
fn a_proxy_that_is_killed_leaves_nothing_behind() {
    let image = TestImage::with_layers("a", vec![tar(&[("noise", &noise(1, 3_000_000))])]);
    // While a client sends a blob, while the registry gets one, and while it gets the manifest.
    for (moment, method, path) in
        [("upload", "", ""), ("blob", "PUT", "/blobs/uploads/"), ("manifest", "PUT", "/manifests/")]
    {
        let (sandbox, registry, proxy) = start(&["-f", "normalize-timestamps"]);
        let manifest = send_blobs(&proxy, &image);
        let mut upload = proxy.connect();
        let head = "POST /v2/app/blobs/uploads/?digest=";
        let digest = Digest::of(b"never");
        let head = format!("{head}{digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n");
        upload.write_all(&[head.as_bytes(), &noise(2, 3_000_000)].concat()).unwrap();
        let mut push = None;
        if !method.is_empty() {
            registry.fault(method, path, Fault::Deaf, ALWAYS);
            push = Some(begin_manifest(&proxy, "v1", &manifest));
            until_asked(&registry, method, path);
        }
        proxy.signal(Signal::KILL);
        proxy.wait().exits(137);
        if let Some(mut push) = push {
            assert_eq!(Answer::read(&mut push, false).status, 0, "{moment}");
        }
        assert!(registry.manifest("app", "v1").is_none(), "{moment}");
        sandbox.assert_clean();
        // Another proxy begins anew, and the same push succeeds.
        registry.mend();
        let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &[]);
        let manifest = send_blobs(&proxy, &image);
        assert_eq!(proxy.put_manifest("app", "v1", OCI_MANIFEST, &manifest).status, 201);
        proxy.stop().exits(0);
        sandbox.assert_clean();
    }
}

#[test]
fn large_uploads_at_the_same_time_take_no_memory() {
    const SIZE: usize = 200 << 20;
    let (sandbox, registry, proxy) = start(&[]);
    let piece = vec![0; 1 << 20];
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (proxy, piece) = (&proxy, &piece);
            scope.spawn(move || {
                let path = proxy.begin_upload(&format!("app{client}"));
                let mut stream = proxy.connect();
                let head = format!(
                    "PATCH {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).unwrap();
                (0..SIZE / piece.len()).for_each(|_| stream.write_all(piece).unwrap());
                let answer = Answer::read(&mut stream, false);
                assert_eq!(answer.status, 202, "{}", answer.text());
                assert_eq!(answer.header("range"), format!("0-{}", SIZE - 1));
            });
        }
    });
    let peak = proxy.peak_memory();
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
    assert!(registry.requests().is_empty());
    proxy.stop().exits(0);
    sandbox.assert_clean();
}
