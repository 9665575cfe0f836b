//! The limits of `occystrap proxy` on what clients send and hold.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::proxy::{Answer, ProxyProcess};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape::oci_manifest;

/// Connections of one address, and of all.
const OF_ADDRESS: usize = 192;
const CONNECTIONS: usize = 256;

/// Uploads of one address, and of all.
const UPLOADS_OF_ADDRESS: usize = 32;
const UPLOADS: usize = 64;

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn start(more: &[&str]) -> (Sandbox, Registry, ProxyProcess) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), more);
    (sandbox, registry, proxy)
}

/// Connects as a client of this address.
#[track_caller]
fn connect_from(proxy: &ProxyProcess, address: Ipv4Addr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((address, 0)))?;
        socket.connect(proxy.host().parse().unwrap()).await?.into_std()
    });
    let stream = connected.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Sends a request without a body, and reads the answer; its status is 0 where the connection ends before it.
#[track_caller]
fn asked(mut stream: TcpStream, method: &str, path: &str) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes());
    Answer::read(&mut stream, false)
}

#[test]
fn headers_have_limits() {
    let (_sandbox, registry, proxy) = start(&[]);
    let with = |count: usize, size: usize| {
        let mut head = "GET /v2/ HTTP/1.1\r\nConnection: close\r\n".to_owned();
        (0..count).for_each(|number| head += &format!("X-{number}: {}\r\n", "v".repeat(size)));
        proxy.raw(format!("{head}\r\n").as_bytes(), false)
    };
    assert_eq!(with(90, 1).status, 200);
    assert_eq!(with(1, 30_000).status, 200);
    with(1, 33_000).refused(431, "UNSUPPORTED");
    with(90, 500).refused(431, "UNSUPPORTED");
    for (count, size) in [(101, 1), (5_000, 1), (1, 200_000), (1, 5_000_000)] {
        let answer = with(count, size);
        assert!(matches!(answer.status, 0 | 431), "{count}: {answer:?}");
    }
    let long = |size: usize| {
        let head = format!("GET /v2/?{} HTTP/1.1\r\nConnection: close\r\n\r\n", "q".repeat(size));
        proxy.raw(head.as_bytes(), false)
    };
    assert_eq!(long(20_000).status, 200);
    long(33_000).refused(431, "UNSUPPORTED");
    assert!((400..500).contains(&long(100_000).status));
    // Names.
    let name = |length: usize| format!("/v2/{}/tags/list", "a".repeat(length));
    proxy.get(&name(230)).refused(404, "NAME_UNKNOWN");
    // With the name of the registry, it is too long there.
    proxy.get(&name(255)).refused(400, "NAME_INVALID");
    proxy.get(&name(256)).refused(400, "NAME_INVALID");
    let asked = registry.requests().len();
    proxy.get(&name(20_000)).refused(400, "NAME_INVALID");
    assert_eq!(registry.requests().len(), asked);
}

#[test]
fn idle_connections_of_one_host_leave_places_to_others() {
    let (_sandbox, _registry, proxy) = start(&[]);
    let mut held: Vec<_> = (0..OF_ADDRESS).map(|_| connect_from(&proxy, ONE)).collect();
    // One more is closed at once.
    let mut refused = connect_from(&proxy, ONE);
    let mut read = Vec::new();
    let _ = refused.read_to_end(&mut read);
    assert!(read.is_empty());
    assert_eq!(asked(connect_from(&proxy, OTHER), "GET", "/v2/").status, 200);
    // Another host takes the last places: the next client waits for one.
    held.extend((OF_ADDRESS..CONNECTIONS).map(|_| connect_from(&proxy, OTHER)));
    let waiting = connect_from(&proxy, THIRD);
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    (&waiting).write_all(b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    assert!((&waiting).read(&mut [0]).is_err(), "there was a place");
    held.truncate(OF_ADDRESS - 1);
    let mut waiting = waiting;
    waiting.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(Answer::read(&mut waiting, false).status, 200);
    ProxyProcess::until("the host has a place again", || {
        asked(connect_from(&proxy, ONE), "GET", "/v2/").status == 200
    });
}

#[test]
fn uploads_that_have_begun_are_counted() {
    let (_sandbox, _registry, proxy) = start(&[]);
    let begin =
        |address: Ipv4Addr| asked(connect_from(&proxy, address), "POST", "/v2/app/blobs/uploads/");
    let first = begin(ONE);
    for number in 1..UPLOADS_OF_ADDRESS {
        assert_eq!(begin(ONE).status, 202, "{number}");
    }
    let refused = begin(ONE);
    refused.refused(429, "TOOMANYREQUESTS");
    assert_ne!(refused.header("retry-after"), "");
    for number in UPLOADS_OF_ADDRESS..UPLOADS {
        assert_eq!(begin(OTHER).status, 202, "{number}");
    }
    begin(THIRD).refused(429, "TOOMANYREQUESTS");
    // One that ends makes room, in whatever way it ends.
    let path = first.header("location");
    assert_eq!(asked(connect_from(&proxy, ONE), "DELETE", path).status, 204);
    let path = begin(THIRD).header("location").to_owned();
    let put = format!("{path}?digest={}", Digest::of(b""));
    assert_eq!(asked(connect_from(&proxy, THIRD), "PUT", &put).status, 201);
    let path = begin(THIRD).header("location").to_owned();
    let put = format!("{path}?digest={}", Digest::of(b"other"));
    asked(connect_from(&proxy, THIRD), "PUT", &put).refused(400, "DIGEST_INVALID");
    let post = format!("/v2/app/blobs/uploads/?digest={}", Digest::of(b""));
    assert_eq!(asked(connect_from(&proxy, THIRD), "POST", &post).status, 201);
    assert_eq!(begin(THIRD).status, 202);
}

#[test]
fn clients_that_leave_in_the_middle_hold_no_place() {
    let (sandbox, _registry, proxy) = start(&[]);
    let digest = Digest::of(b"never");
    for _ in 0..UPLOADS_OF_ADDRESS + 8 {
        let mut stream = proxy.connect();
        let head = format!(
            "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), &[0; 10_000]].concat()).unwrap();
    }
    ProxyProcess::until("there are places", || {
        let answer = proxy.request("POST", "/v2/app/blobs/uploads/", &[], b"");
        let path = answer.header("location");
        answer.status == 202 && proxy.request("DELETE", path, &[], b"").status == 204
    });
    for _ in 0..UPLOADS_OF_ADDRESS {
        proxy.begin_upload("app");
    }
    assert!(sandbox.tree("tmp").is_empty());
}

#[test]
fn images_wait_in_a_queue_that_ends() {
    let (_sandbox, registry, proxy) = start(&["--concurrency", "1", "--grace", "0s"]);
    let image = TestImage::tiny("a");
    proxy.put_blob("app", &image.config);
    proxy.put_blob("app", &Pack::Gzip.pack(&image.layers[0]));
    let manifest = oci_manifest(&image, Pack::Gzip);
    registry.fault("PUT", "/manifests/", Fault::Deaf, ALWAYS);
    let push = |tag: usize| {
        let mut stream = proxy.connect();
        let head = format!(
            "PUT /v2/app/manifests/v{tag} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {OCI_MANIFEST}\r\nContent-Length: {}\r\n\r\n",
            manifest.len()
        );
        stream.write_all(&[head.as_bytes(), manifest.as_bytes()].concat()).unwrap();
        stream
    };
    // One is in work and 256 wait; their clients need not.
    let mut clients = Vec::new();
    for tag in 0..257 {
        clients.push(push(tag));
        if clients.len() == 100 {
            std::thread::sleep(Duration::from_millis(100));
            clients.clear();
        }
    }
    ProxyProcess::until("the queue is full", || {
        let mut stream = push(1_000);
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let answer = Answer::read(&mut stream, false);
        if answer.status == 429 {
            answer.refused(429, "TOOMANYREQUESTS");
            assert_ne!(answer.header("retry-after"), "");
        }
        answer.status == 429
    });
    // Everything else goes on.
    assert_eq!(proxy.get("/v2/").status, 200);
    proxy.put_blob("app", b"another blob");
}

#[test]
fn large_manifests_of_many_clients_take_little_memory() {
    const LARGEST: usize = 4 << 20;
    let (_sandbox, registry, proxy) = start(&[]);
    let image = TestImage::tiny("a");
    proxy.put_blob("app", &image.config);
    proxy.put_blob("app", &Pack::Gzip.pack(&image.layers[0]));
    let small = oci_manifest(&image, Pack::Gzip);
    let large = format!("{small}{}", " ".repeat(100_000));
    let put = |tag: &str, manifest: &str| {
        proxy.put_manifest("app", tag, OCI_MANIFEST, manifest.as_bytes())
    };
    assert_eq!(put("v1", &small).status, 201);
    // None of them sends its last byte.
    let body = vec![b' '; LARGEST - 1];
    let head = format!("PUT /v2/app/manifests/v2 HTTP/1.1\r\nContent-Length: {LARGEST}\r\n\r\n");
    let held: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = proxy.connect();
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            stream
        })
        .collect();
    ProxyProcess::until("there are too many", || put("v3", &large).status == 429);
    put("v3", &large).refused(429, "TOOMANYREQUESTS");
    // What most clients send finds its place.
    assert_eq!(put("v4", &small).status, 201);
    let peak = proxy.peak_memory();
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
    drop(held);
    ProxyProcess::until("there are places again", || put("v5", &large).status == 201);
    assert_eq!(registry.manifest("app", "v5").unwrap().1, large);
    // What is remembered holds no place.
    (0..20).for_each(|tag| assert_eq!(put(&format!("w{tag}"), &large).status, 201));
}
