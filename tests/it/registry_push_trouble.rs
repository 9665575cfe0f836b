//! Uploads that fail: which requests are retried, which are not, and what the error says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use occystrap_base::error::Kind;
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_MANIFEST;
use occystrap_net::registry::{Body, PushOptions};

use crate::registry_auth::Trace;
use crate::registry_push_manifest::manifest_of;
use crate::support::image::noise;
use crate::support::pusher::{LAYER, Pusher, WHOLE, file, holds, push, push_body};
use crate::support::registry::{ALWAYS, Auth, Fault, Location, Registry};
use crate::support::user::{User, descriptor, run, seen};

#[test]
fn passing_failures_begin_the_upload_anew() {
    let bytes = noise(5, 8_000_000);
    for (method, fault, limits) in [
        ("POST", Fault::status(503), 0),
        ("PUT", Fault::status(500), 0),
        ("PUT", Fault::too_many("0"), 1),
        ("PUT", Fault::status(404), 0),
        ("PATCH", Fault::status(500), 0),
        ("PATCH", Fault::status(416), 0),
    ] {
        for times in [1, 3] {
            let registry = Registry::start();
            registry.fault(method, "/uploads/", fault.clone(), times);
            let pusher = Pusher::new(User::new());
            let chunk_size = (method == "PATCH").then_some(3_000_000);
            push(&pusher, &registry, &bytes, PushOptions { chunk_size })
                .unwrap_or_else(|error| panic!("{method} {fault:?}: {error}"));
            holds(&registry, &bytes);
            assert_eq!(pusher.user.counters.retries(), times as u64, "{method} {fault:?}");
            assert_eq!(pusher.user.counters.rate_limits(), limits * times as u64);
        }
        let registry = Registry::start();
        registry.fault(method, "/uploads/", fault.clone(), ALWAYS);
        let pusher = Pusher::new(User::new());
        let chunk_size = (method == "PATCH").then_some(3_000_000);
        let error = push(&pusher, &registry, &bytes, PushOptions { chunk_size }).unwrap_err();
        let place = format!("{}/a/b@{}: ", registry.url_host(), Digest::of(&bytes));
        assert!(error.to_string().starts_with(&place), "{error}");
        assert_eq!(pusher.user.counters.retries(), 3);
        assert_eq!(registry.requests_of(method, "/uploads/").len(), 4, "{fault:?}");
    }
}

#[test]
fn a_connection_that_breaks_in_mid_body_is_tried_again() {
    let bytes = noise(16, 8_000_000);
    for (method, cut) in [("PUT", 1_000_000), ("PUT", 0), ("PATCH", 1_000_000)] {
        let registry = Registry::start();
        registry.fault(method, "/uploads/", Fault::CutRequest(cut), 1);
        let pusher = Pusher::new(User::new());
        let chunk_size = (method == "PATCH").then_some(3_000_000);
        push(&pusher, &registry, &bytes, PushOptions { chunk_size }).unwrap();
        holds(&registry, &bytes);
        assert_eq!(pusher.user.counters.retries(), 1, "{method} {cut}");
        assert_eq!(registry.requests_of("POST", "").len(), 2, "{method} {cut}");
    }
}

#[test]
fn an_answer_before_the_body_is_no_success() {
    let bytes = noise(18, 8_000_000);
    let registry = Registry::start();
    registry.fault("PUT", "/uploads/", Fault::Early(201, Vec::new()), 1);
    let pusher = Pusher::new(User::new());
    push(&pusher, &registry, &bytes, WHOLE).unwrap();
    holds(&registry, &bytes);
    assert_eq!(pusher.user.counters.retries(), 1);
}

#[test]
fn retry_after_is_honoured() {
    let registry = Registry::start();
    registry.fault("PUT", "/uploads/", Fault::too_many("1"), 1);
    let pusher = Pusher::new(User::new());
    let start = Instant::now();
    push(&pusher, &registry, LAYER, WHOLE).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_token_that_ends_in_mid_upload_is_replaced_and_the_body_sent_again() {
    let bytes = noise(6, 8_000_000);
    for (chunk_size, method) in
        [(None, "PUT"), (Some(3_000_000), "PATCH"), (Some(3_000_000), "PUT")]
    {
        for download in [false, true] {
            let source = Registry::start();
            source.put_blob(&bytes);
            let registry = Registry::start();
            registry.require(Auth::bearer("me", "hunter2"));
            // The second part, where there are several: the source has moved on by then.
            let path = if method == "PATCH" { "/upload" } else { "digest=" };
            if method == "PATCH" {
                registry.fault(method, path, Fault::SlowRead(usize::MAX, Duration::ZERO), 1);
            }
            registry.fault(method, path, Fault::Expire, 1);
            let pusher = Pusher::new(User::new().named("me", "hunter2"));
            let body = match download {
                true => Body::Download(pusher.from(&source, "x/y")),
                false => file(&bytes),
            };
            let options = PushOptions { chunk_size };
            push_body(&pusher, &registry, &descriptor(&bytes), body, options)
                .unwrap_or_else(|error| panic!("{method} {chunk_size:?}: {error}"));
            holds(&registry, &bytes);
            assert_eq!(registry.tokens_given(), 2);
            // The upload itself goes on: the first POST was the one without a token. Only where
            // the answer got lost, because the connection was closed at the wrong moment, another
            // one begins; its first POST has the old token.
            let posts = registry.requests_of("POST", "/uploads/").len();
            let found = (pusher.user.counters.retries(), posts);
            assert!([(0, 2), (1, 4)].contains(&found), "{found:?}");
        }
    }
}

#[test]
fn a_token_that_is_never_good_is_an_error() {
    let bytes = noise(7, 2_000_000);
    let registry = Registry::start();
    registry.require(Auth::bearer("me", "hunter2"));
    registry.fault("PUT", "/uploads/", Fault::Expire, ALWAYS);
    let pusher = Pusher::new(User::new().named("me", "hunter2"));
    let error = push(&pusher, &registry, &bytes, WHOLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Auth);
    assert!(seen(&error).contains("may push to"), "{}", seen(&error));
    assert!(!seen(&error).contains("hunter2") && !seen(&error).contains("t0ken"), "{error:?}");
    let puts = registry.requests_of("PUT", "/uploads/").len();
    assert!(puts == 2 + pusher.user.counters.retries() as usize && puts <= 4, "{puts}");
}

pub fn tokens_asked(registry: &Registry) -> Vec<String> {
    registry.requests_of("GET", "/token").into_iter().map(|one| one.path).collect()
}

#[test]
fn a_push_asks_for_both_scopes_and_a_pull_for_one() {
    let registry = Registry::start();
    registry.put_blob(LAYER);
    registry.require(Auth::bearer("me", "hunter2"));
    let pusher = Pusher::new(User::new().named("me", "hunter2"));
    // The challenge of a HEAD names pull alone.
    assert_eq!(run(pusher.to(&registry, "a/b").stat_blob(Digest::of(b"x"))).unwrap(), None);
    push(&pusher, &registry, LAYER, WHOLE).unwrap();
    let asked = tokens_asked(&registry);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("scope=repository%3Aa%2Fb%3Apull%2Cpush&"), "{asked:?}");

    run(pusher.from(&registry, "a/b").stat_blob(Digest::of(LAYER))).unwrap();
    let asked = tokens_asked(&registry);
    assert!(asked[1].contains("scope=repository%3Aa%2Fb%3Apull&"), "{asked:?}");
}

#[test]
fn too_large_names_the_option() {
    let bytes = noise(11, 8_000_000);
    for fault in [Fault::status(413), Fault::Early(413, Vec::new())] {
        let registry = Registry::start();
        registry.fault("PUT", "/uploads/", fault, ALWAYS);
        let pusher = Pusher::new(User::new());
        let error = push(&pusher, &registry, &bytes, WHOLE).unwrap_err();
        assert_eq!(error.kind(), Kind::Destination);
        assert!(error.to_string().contains("413"), "{error}");
        assert!(error.hint_text().unwrap().contains("?chunk_size="), "{}", seen(&error));
        // Once more where the answer got lost, because the connection was closed at once.
        assert!(pusher.user.counters.retries() <= 1);
        assert_eq!(registry.open_uploads(), 0);
    }
    // Some only hang up.
    let registry = Registry::start();
    registry.fault("PUT", "/uploads/", Fault::CutRequest(1), ALWAYS);
    let error = push(&Pusher::new(User::new()), &registry, &bytes, WHOLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.hint_text().unwrap().contains("?chunk_size="), "{}", seen(&error));
}

#[test]
fn refusals_are_in_the_registrys_own_words() {
    let registry = Registry::start();
    registry.fault("PUT", "/uploads/", Fault::status(400), 1);
    let pusher = Pusher::new(User::new());
    let error = push(&pusher, &registry, LAYER, WHOLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Destination);
    let end = "refused the blob (400 Bad Request): FAULT: no";
    assert!(error.to_string().ends_with(end), "{error}");
    registry.fault("POST", "/uploads/", Fault::status(403), 1);
    let error = push(&pusher, &registry, LAYER, WHOLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Auth);
    assert!(error.to_string().ends_with("FAULT: no"), "{error}");
    registry.fault("POST", "/uploads/", Fault::status(404), 1);
    let error = push(&pusher, &registry, LAYER, WHOLE).unwrap_err();
    assert!(error.to_string().contains("refused an upload (404 Not Found)"), "{error}");
    registry.say_digest(Digest::of(b"another"));
    let error = push(&pusher, &registry, LAYER, WHOLE).unwrap_err();
    assert!(error.to_string().contains("stored something else: expected sha256:"), "{error}");
}

#[test]
fn slow_is_not_silent() {
    let bytes = noise(12, 16_000_000);
    let registry = Registry::start();
    registry.fault("PUT", "/uploads/", Fault::SlowRead(500_000, Duration::from_millis(100)), 1);
    let mut user = User::new();
    user.settings.idle_timeout = Duration::from_secs(1);
    let pusher = Pusher::new(user);
    let start = Instant::now();
    push(&pusher, &registry, &bytes, WHOLE).unwrap();
    holds(&registry, &bytes);
    // Well beyond the silence that is allowed.
    assert!(start.elapsed() > Duration::from_millis(1_500), "{:?}", start.elapsed());
    assert_eq!(pusher.user.counters.retries(), 0);
}

#[test]
fn silence_ends_a_try() {
    // More than fits the buffers of the connection, and less: one waits to send, one to hear.
    for bytes in [noise(13, 30_000_000), LAYER.to_vec()] {
        let registry = Registry::start();
        registry.fault("PUT", "/uploads/", Fault::Deaf, 1);
        let mut user = User::new();
        user.settings.idle_timeout = Duration::from_millis(300);
        let pusher = Pusher::new(user);
        push(&pusher, &registry, &bytes, WHOLE).unwrap();
        holds(&registry, &bytes);
        assert_eq!(pusher.user.counters.retries(), 1);
    }
}

#[test]
fn no_secret_is_traced_while_pushing() {
    let trace = Trace::default();
    let writer = trace.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let storage = Registry::start();
    let bytes = noise(17, 3_000_000);
    let mut text = String::new();
    tracing::subscriber::with_default(subscriber, || {
        for auth in [Auth::basic("me", "hunter2"), Auth::bearer("me", "hunter2")] {
            let registry = Registry::start();
            registry.require(auth);
            registry.fault("PUT", "/uploads/", Fault::status(500), 1);
            registry.set_locations(Location::Query);
            let pusher = Pusher::new(User::new().named("me", "hunter2"));
            let repository = pusher.to(&registry, "a/b");
            let (what, body) = (descriptor(&bytes), file(&bytes));
            run(repository.push_blob(&what, &body, &WHOLE, |_| ())).unwrap();
            registry.set_locations(Location::Elsewhere(storage.base()));
            let error = run(repository.push_blob(&what, &body, &WHOLE, |_| ())).unwrap_err();
            text += &seen(&error);
            registry.revoke_tokens();
            let config = Body::Bytes(Bytes::from_static(b"{}"));
            registry.set_locations(Location::Relative);
            run(repository.push_blob(&descriptor(b"{}"), &config, &WHOLE, |_| ())).unwrap();
            let manifest = manifest_of(b"{}", &bytes);
            run(repository.push_manifest("v1", OCI_MANIFEST, manifest)).unwrap();
            run(repository.mount_blob(Digest::of(b"?"), 1, "x/y")).unwrap();
        }
    });
    text += std::str::from_utf8(&trace.0.lock().unwrap()).unwrap();
    assert!(text.contains("answered") && text.contains("500"), "{text}");
    for secret in ["hunter2", "bWU6aHVudGVyMg", "t0ken", "s3cret", "_state", "signature", "Bearer "]
    {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}
