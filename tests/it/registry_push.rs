//! Blobs and manifests on their way to a registry, and what can fail there.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use occystrap_base::error::Kind;
use occystrap_base::files::Section;
use occystrap_base::oci::Digest;
use occystrap_net::registry::{Body, PushOptions};

use crate::support::image::noise;
use crate::support::pusher::{LAYER, Pusher, WHOLE, file, holds, methods, push, push_body};
use crate::support::registry::{ALWAYS, Auth, Fault, Location, Registry};
use crate::support::user::{User, descriptor, run, seen};

#[test]
fn a_blob_goes_in_one_request() {
    let registry = Registry::start();
    let pusher = Pusher::new(User::new());
    let big = noise(1, 3_000_000);
    let whole = Bytes::copy_from_slice(&big);
    for (bytes, body) in [
        (LAYER, file(LAYER)),
        (b"", file(b"")),
        (b"{}", Body::Bytes(Bytes::from_static(b"{}"))),
        (&big, file(&big)),
        (&big, Body::Bytes(whole)),
    ] {
        push_body(&pusher, &registry, &descriptor(bytes), body, WHOLE).unwrap();
        holds(&registry, bytes);
        registry.remove_blob("a/b", Digest::of(bytes));
    }
    assert_eq!(methods(&registry), "POST PUT POST PUT POST PUT POST PUT POST PUT");
    let put = &registry.requests_of("PUT", "/uploads/")[0];
    assert_eq!(put.header("content-length"), LAYER.len().to_string());
    assert_eq!(put.header("transfer-encoding"), "");
    assert_eq!(put.header("content-type"), "application/octet-stream");
    assert_eq!(registry.requests_of("POST", "")[0].header("content-length"), "0");
    assert_eq!(pusher.user.counters.retries(), 0);
}

#[test]
fn a_blob_goes_in_parts() {
    let bytes = noise(2, 1_000_000);
    for (size, least, expected) in [
        (300_000, None, vec![300_000, 300_000, 300_000, 100_000]),
        (500_000, None, vec![500_000, 500_000]),
        (1, Some(600_000), vec![600_000, 400_000]),
        (300_000, Some(2_000_000), vec![]),
        (1_000_000, None, vec![]),
        (0, None, vec![]),
    ] {
        let registry = Registry::start();
        if let Some(least) = least {
            registry.set_least_chunk(least);
        }
        let pusher = Pusher::new(User::new());
        let options = PushOptions { chunk_size: Some(size) };
        push(&pusher, &registry, &bytes, options).unwrap();
        holds(&registry, &bytes);
        let parts = registry.requests_of("PATCH", "/uploads/");
        let sizes: Vec<_> = parts.iter().map(|one| one.body.len()).collect();
        assert_eq!(sizes, expected, "{size}");
        let put = &registry.requests_of("PUT", "/uploads/")[0];
        assert_eq!(put.body.len(), bytes.len() - sizes.iter().sum::<usize>());
        assert_eq!(put.header("content-length"), put.body.len().to_string());
    }
}

#[test]
fn uploads_go_where_the_registry_says() {
    let bytes = noise(3, 200_000);
    let parts = PushOptions { chunk_size: Some(150_000) };
    for style in [Location::Relative, Location::Absolute, Location::Query] {
        let registry = Registry::start();
        registry.set_locations(style.clone());
        registry.require(Auth::basic("me", "hunter2"));
        let pusher = Pusher::new(User::new().named("me", "hunter2"));
        for options in [WHOLE, parts] {
            push(&pusher, &registry, &bytes, options).unwrap_or_else(|e| panic!("{style:?}: {e}"));
            holds(&registry, &bytes);
            registry.remove_blob("a/b", Digest::of(&bytes));
        }
        let put = &registry.requests_of("PUT", "")[0].path;
        let mark = if let Location::Query = style { "&digest=sha256" } else { "?digest=sha256" };
        assert!(put.contains(mark), "{put}");
    }
}

#[test]
fn another_host_gets_the_bytes_and_no_credentials() {
    let bytes = noise(4, 200_000);
    for options in [WHOLE, PushOptions { chunk_size: Some(150_000) }] {
        let storage = Registry::start();
        // This makes a session of the same name exist there.
        run(reqwest_post(&storage, "/v2/a/b/blobs/uploads/"));
        let registry = Registry::start();
        registry.require(Auth::basic("me", "hunter2"));
        registry.set_locations(Location::Elsewhere(storage.base()));
        storage.set_locations(Location::Elsewhere(storage.base()));
        let pusher = Pusher::new(User::new().named("me", "hunter2"));
        push(&pusher, &registry, &bytes, options).unwrap();
        holds(&storage, &bytes);
        for request in storage.requests() {
            assert_eq!(request.header("authorization"), "", "{request:?}");
        }
        let put = &storage.requests_of("PUT", "")[0].path;
        assert!(put.contains("?signature=s3cret&digest=sha256"), "{put}");

        // And is not asked to log us in.
        storage.require(Auth::basic("me", "hunter2"));
        let error = push(&pusher, &registry, LAYER, options).unwrap_err();
        assert_eq!(error.kind(), Kind::Auth);
        assert!(!seen(&error).contains("s3cret"), "{}", seen(&error));
        assert!(storage.requests().iter().all(|one| one.header("authorization").is_empty()));
        // Nor to delete anything.
        assert_eq!(storage.requests_of("DELETE", "").len(), 0);
    }
}

async fn reqwest_post(registry: &Registry, path: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(registry.url_host()).await.unwrap();
    let text = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.read_u8().await.unwrap();
}

#[test]
fn uploads_do_not_leave_tls() {
    let registry = Registry::start_tls();
    registry.set_locations(Location::Elsewhere("http://127.0.0.1:1".into()));
    let mut user = User::new();
    user.settings.insecure = false;
    user.settings.ca_bundle = Some(user.file("ca.pem", registry.certificate()));
    let error = push(&Pusher::new(user), &registry, LAYER, WHOLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("from HTTPS to plain HTTP at 127.0.0.1:1"), "{error}");
    assert!(!seen(&error).contains("s3cret"), "{}", seen(&error));
}

#[test]
fn a_download_goes_straight_through() {
    let bytes = noise(9, 5_000_000);
    for chunk_size in [None, Some(2_000_000)] {
        let source = Registry::start();
        source.put_blob(&bytes);
        source.fault("GET", "/blobs/", Fault::CutAfter(1_500_000), 1);
        let registry = Registry::start();
        let pusher = Pusher::new(User::new());
        let body = Body::Download(pusher.from(&source, "x/y"));
        push_body(&pusher, &registry, &descriptor(&bytes), body, PushOptions { chunk_size })
            .unwrap();
        holds(&registry, &bytes);
        assert_eq!(source.requests().len(), 2, "resumed where it was cut");
        assert_eq!(registry.requests_of("POST", "").len(), 1);
    }
}

#[test]
fn a_download_that_is_wrong_aborts_the_upload() {
    let right = noise(10, 3_000_000);
    let mut wrong = right.clone();
    wrong[0] ^= 1;
    for bytes in [&right[..], LAYER] {
        let wrong = if bytes.len() == right.len() { &wrong[..] } else { b"A layer of some bytes" };
        for chunk_size in [None, Some(1_000_000)] {
            let source = Registry::start();
            source.set_blob("x/y", Digest::of(bytes), wrong);
            let registry = Registry::start();
            let pusher = Pusher::new(User::new());
            let body = Body::Download(pusher.from(&source, "x/y"));
            let options = PushOptions { chunk_size };
            let error =
                push_body(&pusher, &registry, &descriptor(bytes), body, options).unwrap_err();
            assert_eq!(error.kind(), Kind::Source, "{error}");
            let place = format!("{}/x/y@{}: wrong bytes", source.url_host(), Digest::of(bytes));
            assert!(error.to_string().starts_with(&place), "{error}");
            assert!(registry.requests_of("PUT", "").iter().all(|one| one.body.len() < bytes.len()));
            assert_eq!(registry.pushed("a/b"), []);
            assert_eq!(registry.open_uploads(), 0, "the upload is cancelled");
            assert_eq!(pusher.user.counters.retries(), 0);
        }
    }
}

#[test]
fn a_source_that_is_gone_is_the_error() {
    let source = Registry::start();
    let registry = Registry::start();
    let pusher = Pusher::new(User::new());
    let body = Body::Download(pusher.from(&source, "x/y"));
    let error = push_body(&pusher, &registry, &descriptor(LAYER), body, WHOLE).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().starts_with(&format!("{}/x/y@", source.url_host())), "{error}");

    // A file that shrank.
    let file = tempfile::tempfile().unwrap();
    file.set_len(10).unwrap();
    let what = descriptor(LAYER);
    let section = Section::new(file.into(), 0, what.size);
    let error = push_body(&pusher, &registry, &what, Body::File(section), WHOLE).unwrap_err();
    assert!(error.to_string().contains("the file ends before its 21 bytes"), "{error}");
    let body = Body::Bytes(Bytes::from_static(b"short"));
    let error = push_body(&pusher, &registry, &what, body, WHOLE).unwrap_err();
    assert!(error.to_string().contains("expected 21 bytes, found 5"), "{error}");
    assert_eq!(registry.pushed("a/b"), []);
}

#[test]
fn a_cancelled_run_does_not_go_on_sending() {
    let bytes = noise(14, 30_000_000);
    let registry = Registry::start();
    registry.fault("PUT", "/uploads/", Fault::Deaf, ALWAYS);
    let pusher = Pusher::new(User::new());
    let cancel = pusher.user.cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancel.cancel();
    });
    let error = push(&pusher, &registry, &bytes, WHOLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
}

#[test]
fn progress_is_told_and_begins_anew_with_each_try() {
    let bytes = noise(15, 1_000_000);
    let registry = Registry::start();
    registry.fault("PUT", "/uploads/", Fault::status(500), 1);
    let pusher = Pusher::new(User::new());
    let told = Mutex::new(Vec::new());
    let repository = pusher.to(&registry, "a/b");
    let hear = |sent| told.lock().unwrap().push(sent);
    run(repository.push_blob(&descriptor(&bytes), &file(&bytes), &WHOLE, hear)).unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!(told.iter().filter(|sent| **sent == 1_000_000).count(), 2, "{told:?}");
    assert_eq!(told.last(), Some(&1_000_000));
    assert_eq!(told.windows(2).filter(|two| two[1] < two[0]).count(), 1, "{told:?}");
}

#[test]
fn the_pace_binds_uploads() {
    let registry = Registry::start();
    let mut user = User::new();
    user.settings.rate_limit = Some(20.0);
    let pusher = Pusher::new(user);
    let start = Instant::now();
    push(&pusher, &registry, LAYER, PushOptions { chunk_size: Some(5) }).unwrap();
    // POST, five parts and PUT: six waits of 50 ms.
    assert_eq!(registry.requests().len(), 7);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}
