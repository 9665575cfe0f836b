//! Helpers of the registry tests, and tests of connections, retries, redirects and the request rate.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use occystrap_base::cancel::Cancel;
use occystrap_base::error::Kind;
use occystrap_base::oci::digest::Digest;
use occystrap_net::http::Settings;
use occystrap_net::registry::{Reference, RegistryClient, Repository};

use crate::support::registry::{ALWAYS, Auth, Fault, Registry};
use crate::support::user::{User, descriptor, pull, run, seen};

const LAYER: &[u8] = b"a layer of some bytes";

fn with_layer() -> Registry {
    let registry = Registry::start();
    registry.put_blob(LAYER);
    registry
}

#[test]
fn passing_failures_are_tried_again_and_counted() {
    for status in [408, 429, 500, 502, 503, 504] {
        let registry = with_layer();
        registry.fault("GET", "/blobs/", Fault::status(status), 3);
        let user = User::new();
        assert_eq!(user.pull(&registry, LAYER).unwrap(), LAYER, "{status}");
        assert_eq!(user.counters.retries(), 3);
        assert_eq!(user.counters.rate_limits(), if status == 429 { 3 } else { 0 });
    }
}

#[test]
fn retries_end() {
    let registry = with_layer();
    registry.fault("GET", "/blobs/", Fault::status(503), ALWAYS);
    let user = User::new();
    let error = user.pull(&registry, LAYER).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("answered 503"), "{error}");
    assert!(error.to_string().contains(&format!("{}/a/b@sha256:", registry.url_host())), "{error}");
    assert_eq!(registry.requests().len(), 4);

    let mut none = User::new();
    none.settings.retries = 0;
    none.pull(&registry, LAYER).unwrap_err();
    assert_eq!(registry.requests().len(), 5);
    assert_eq!(none.counters.retries(), 0);
}

#[test]
fn lasting_failures_are_not_tried_again() {
    for status in [400, 404, 405, 410] {
        let registry = with_layer();
        registry.fault("GET", "/blobs/", Fault::status(status), ALWAYS);
        let error = User::new().pull(&registry, LAYER).unwrap_err();
        assert_eq!(error.kind() == Kind::NotFound, status == 404, "{error}");
        assert_eq!(registry.requests().len(), 1, "{status}");
    }
}

#[test]
fn waits_double() {
    let registry = with_layer();
    registry.fault("GET", "/blobs/", Fault::status(500), 3);
    let mut user = User::new();
    user.settings.backoff = Duration::from_millis(40);
    user.pull(&registry, LAYER).unwrap();
    let at: Vec<_> = registry.requests().iter().map(|request| request.at).collect();
    // With jitter, between half and the whole of 40, 80 and 160 ms.
    for (gap, least) in at.windows(2).zip([20, 40, 80]) {
        let gap = gap[1] - gap[0];
        assert!(gap >= Duration::from_millis(least), "{gap:?} < {least} ms");
    }
}

#[test]
fn retry_after_is_honoured() {
    for status in [429, 503] {
        let registry = with_layer();
        let wish = Fault::Status(status, vec![("retry-after", "1".to_owned())]);
        registry.fault("GET", "/blobs/", wish, 1);
        let user = User::new();
        user.pull(&registry, LAYER).unwrap();
        let all = registry.requests();
        assert!(all[1].at - all[0].at >= Duration::from_millis(950), "{status}");
        assert_eq!(user.counters.retries(), 1);
        assert_eq!(user.counters.rate_limits(), u64::from(status == 429));
    }
}

#[test]
fn a_host_that_wants_a_pause_gets_it_from_all_tasks() {
    let registry = with_layer();
    registry.fault("GET", "/blobs/", Fault::too_many("1"), 1);
    let user = User::new();
    let repository = user.open(&registry.url_host());
    run(async {
        let what = descriptor(LAYER);
        let first = pull(&repository, &what);
        let second = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            pull(&repository, &what).await
        };
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_ok() && second.is_ok());
    });
    let all = registry.requests();
    assert_eq!(all.len(), 3);
    assert!(all[1].at - all[0].at >= Duration::from_millis(950), "the second task did not wait");
}

#[test]
fn a_refused_connection_says_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let user = User::new();
    let repository = user.open(&free.to_string());
    let error = run(repository.manifest("v1")).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert_eq!(
        error.to_string(),
        format!("{free}/a/b:v1: cannot connect to {free}: connection refused")
    );
    assert_eq!(user.counters.retries(), 3);
}

#[test]
fn silence_is_not_waited_out() {
    let registry = with_layer();
    registry.fault("GET", "/blobs/", Fault::Delay(Duration::from_secs(20)), 1);
    registry.fault("GET", "/blobs/", Fault::HangAfter(5), 1);
    let mut user = User::new();
    user.settings.idle_timeout = Duration::from_millis(200);
    assert_eq!(user.pull(&registry, LAYER).unwrap(), LAYER);
    assert_eq!(user.counters.retries(), 2);
    assert_eq!(registry.requests()[2].header("range"), "bytes=5-");

    registry.fault("GET", "/blobs/", Fault::Delay(Duration::from_secs(20)), ALWAYS);
    user.settings.retries = 0;
    let error = user.pull(&registry, LAYER).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("sent nothing for 200ms"), "{error}");
}

#[test]
fn next_to_nothing_is_not_waited_out_either() {
    let registry = with_layer();
    registry.put_manifest("a/b", "v1", "application/vnd.oci.image.manifest.v1+json", LAYER);
    let pause = Duration::from_millis(20);
    for part in ["/blobs/", "/manifests/"] {
        registry.fault("GET", part, Fault::Trickle(pause), ALWAYS);
        let mut user = User::new();
        user.settings.idle_timeout = Duration::from_millis(100);
        user.settings.retries = 0;
        let error = match part {
            "/blobs/" => user.pull(&registry, LAYER).unwrap_err(),
            _ => run(user.open(&registry.url_host()).manifest("v1")).unwrap_err(),
        };
        assert_eq!(error.kind(), Kind::Network);
        assert!(error.to_string().contains("sent next to nothing for 100ms"), "{error}");
    }
}

#[test]
fn a_cancelled_run_ends_at_once() {
    let registry = with_layer();
    registry.fault("GET", "/hang/", Fault::Delay(Duration::from_secs(20)), 1);
    registry.fault("GET", "/blobs/", Fault::too_many("60"), 1);
    let user = User::new();
    let repository = user.open(&registry.url_host());
    let start = Instant::now();
    run(async {
        let cancel = user.cancel.clone();
        let stop = async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancel.cancel();
        };
        let what = descriptor(LAYER);
        let (outcome, ()) = tokio::join!(pull(&repository, &what), stop);
        assert_eq!(outcome.unwrap_err().kind(), Kind::Interrupted);
    });
    assert!(start.elapsed() < Duration::from_secs(10));

    // Also in the middle of a body.
    let user = User::new();
    registry.fault("GET", "/blobs/", Fault::HangAfter(5), 1);
    let repository = user.open(&registry.url_host());
    run(async {
        let what = descriptor(LAYER);
        let mut download = repository.blob(&what);
        assert_eq!(download.next().await.unwrap().unwrap().len(), 5);
        let cancel = user.cancel.clone();
        tokio::spawn(async move { cancel.cancel() });
        assert_eq!(download.next().await.unwrap_err().kind(), Kind::Interrupted);
    });
}

#[test]
fn the_rate_limit_binds_all_tasks_of_a_run() {
    let registry = with_layer();
    let mut user = User::new();
    user.settings.rate_limit = Some(20.0);
    let client = RegistryClient::new(&user.settings, user.cancel.clone()).unwrap();
    let open = |image: &str| {
        let reference = Reference::parse(&format!("{}/{image}", registry.url_host())).unwrap();
        client.repository(&reference, user.counters.clone()).unwrap()
    };
    let repositories = [open("one"), open("two")];
    let what = descriptor(LAYER);
    run(async {
        let pulls = (0..8).map(|n| pull(&repositories[n % 2], &what));
        for outcome in futures_util::future::join_all(pulls).await {
            outcome.unwrap();
        }
    });
    let at: Vec<_> = registry.requests().iter().map(|request| request.at).collect();
    // Eight requests, 50 ms apart; what was sent at its time may arrive a little late.
    assert!(*at.last().unwrap() - at[0] >= Duration::from_millis(7 * 50 - 30), "{at:?}");
    assert_eq!(user.counters.rate_limits(), 0);
}

#[test]
fn other_credentials_keep_the_pace_of_the_run() {
    let registry = with_layer();
    let mut user = User::new();
    user.settings.rate_limit = Some(1.0);
    let client = RegistryClient::new(&user.settings, user.cancel.clone()).unwrap();
    let other = client.with_settings(&user.named("me", "hunter2").settings).unwrap();
    let reference = Reference::parse(&format!("{}/a", registry.url_host())).unwrap();
    run(async {
        for client in [client, other] {
            let repository = client.repository(&reference, Arc::default()).unwrap();
            pull(&repository, &descriptor(LAYER)).await.unwrap();
        }
    });
    let all = registry.requests();
    // A second, less what the first may be late on a busy machine; without a pace some milliseconds.
    assert!(all[1].at - all[0].at >= Duration::from_millis(500));
}

#[test]
fn work_can_move_between_threads() {
    fn movable<T: Send + 'static>(work: T) -> T {
        work
    }
    let registry = with_layer();
    let user = User::new();
    let repository = user.open(&registry.url_host());
    let what = descriptor(LAYER);
    let manifests = repository.clone();
    run(async {
        let manifest = movable(async move { manifests.manifest("v1").await });
        assert_eq!(tokio::spawn(manifest).await.unwrap().unwrap_err().kind(), Kind::NotFound);
        let layer = movable(async move { pull(&repository, &what).await });
        assert_eq!(tokio::spawn(layer).await.unwrap().unwrap(), LAYER);
    });
}

#[test]
fn redirects_are_followed_without_the_credentials() {
    let (registry, storage) = (with_layer(), Registry::start());
    registry.require(Auth::basic("me", "hunter2"));
    storage.put_file("/bucket/layer", LAYER);
    let signed = format!("{}/bucket/layer?X-Signature=s1gned", storage.base());
    registry.fault("GET", "/blobs/", Fault::Redirect(signed), 2);
    let user = User::new().named("me", "hunter2");
    // The first redirect also goes to a client without a login: the fault comes before the login.
    assert_eq!(user.pull(&registry, LAYER).unwrap(), LAYER);
    let repository = user.open(&registry.url_host());
    run(async {
        repository.manifest("v1").await.unwrap_err();
        assert_eq!(pull(&repository, &descriptor(LAYER)).await.unwrap(), LAYER);
    });
    let last = registry.requests_of("GET", "/blobs/").pop().unwrap();
    assert!(last.header("authorization").starts_with("Basic "), "the registry itself gets it");
    let there = storage.requests();
    assert_eq!(there.len(), 2);
    for request in there {
        assert_eq!(request.path, "/bucket/layer?X-Signature=s1gned");
        assert!(!request.headers.contains_key("authorization"), "{request:?}");
    }
}

#[test]
fn a_redirect_back_from_elsewhere_brings_no_credentials() {
    let (registry, storage) = (with_layer(), Registry::start());
    registry.require(Auth::basic("me", "hunter2"));
    registry.put_file("/private", LAYER);
    registry.fault("GET", "/door", Fault::Redirect("/private".into()), 1);
    let back = format!("{}/door", registry.base());
    storage.fault("GET", "/bounce", Fault::Redirect(back), 1);
    let user = User::new().named("me", "hunter2");
    let repository = user.open(&registry.url_host());
    run(async {
        repository.manifest("v1").await.unwrap_err();
        registry.fault("GET", "/blobs/", Fault::Redirect(format!("{}/bounce", storage.base())), 1);
        assert_eq!(pull(&repository, &descriptor(LAYER)).await.unwrap(), LAYER);
    });
    for path in ["/door", "/private"] {
        let came_back = registry.requests_of("GET", path);
        assert_eq!(came_back.len(), 1);
        assert!(!came_back[0].headers.contains_key("authorization"), "{path}");
    }
}

#[test]
fn a_redirect_on_the_same_host_keeps_the_credentials() {
    let registry = with_layer();
    registry.require(Auth::basic("me", "hunter2"));
    let user = User::new().named("me", "hunter2");
    let repository = user.open(&registry.url_host());
    let elsewhere = format!("/v2/other/blobs/{}", Digest::of(LAYER));
    run(async {
        repository.manifest("v1").await.unwrap_err();
        registry.fault("GET", "/a/b/blobs/", Fault::Redirect(elsewhere), 1);
        assert_eq!(pull(&repository, &descriptor(LAYER)).await.unwrap(), LAYER);
    });
}

#[test]
fn a_redirect_loop_ends() {
    let registry = with_layer();
    let here = format!("/v2/a/b/blobs/{}?sig=s1gned", Digest::of(LAYER));
    registry.fault("GET", "/blobs/", Fault::Redirect(here), ALWAYS);
    let user = User::new();
    let error = user.pull(&registry, LAYER).unwrap_err();
    assert!(
        error.to_string().contains("redirected more than 9 times: a redirect loop?"),
        "{error}"
    );
    assert!(!seen(&error).contains("s1gned"));
    assert_eq!(registry.requests().len(), 10);
    assert_eq!(user.counters.retries(), 0);
}

#[test]
fn a_storage_host_that_fails_is_named_without_its_signature() {
    let (registry, storage) = (with_layer(), Registry::start());
    let signed = format!("{}/bucket/l4yer?X-Signature=s1gned", storage.base());
    registry.fault("GET", "/blobs/", Fault::Redirect(signed), ALWAYS);
    for status in [403, 404, 500] {
        storage.fault("GET", "/bucket", Fault::status(status), 4);
        let user = User::new();
        let error = user.pull(&registry, LAYER).unwrap_err();
        let text = seen(&error);
        assert!(!text.contains("s1gned") && !text.contains("l4yer"), "{text}");
        let named = status == 404 || error.to_string().contains(&storage.url_host());
        assert!(named, "{error}");
        if status != 500 {
            // Use up what is left.
            for _ in 0..3 {
                user.pull(&registry, LAYER).unwrap_err();
            }
        }
    }
    drop(storage);
    let text = seen(&User::new().pull(&registry, LAYER).unwrap_err());
    assert!(text.contains("cannot connect to") && !text.contains("s1gned"), "{text}");
}

#[test]
fn certificates_are_checked_and_a_bundle_can_add_some() {
    let registry = Registry::start_tls();
    registry.put_blob(LAYER);
    let mut user = User::new();
    user.settings.insecure = false;
    let error = user.pull(&registry, LAYER).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("certificate of 127.0.0.1"), "{error}");
    assert!(error.hint_text().unwrap().contains("--ca-bundle"));
    assert_eq!(user.counters.retries(), 0);

    user.settings.ca_bundle = Some(user.file("ca.pem", registry.certificate()));
    assert_eq!(user.pull(&registry, LAYER).unwrap(), LAYER);
}

#[test]
fn a_bundle_that_cannot_be_used_is_a_usage_error() {
    let user = User::new();
    let reference = Reference::parse("localhost:1/a").unwrap();
    for (file, expected) in [
        (user.file("empty.pem", ""), "holds no certificate"),
        (
            user.file("odd.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "",
        ),
        (user.file("x", "").with_file_name("missing.pem"), "cannot read"),
    ] {
        let settings = Settings { ca_bundle: Some(file), insecure: false, ..Settings::default() };
        let error =
            Repository::open(&reference, &settings, Arc::default(), Cancel::default()).err();
        let error = error.expect(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn plain_http_is_not_spoken_unasked_and_the_error_says_how() {
    let registry = with_layer();
    let mut user = User::new();
    user.settings.insecure = false;
    let error = user.pull(&registry, LAYER).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--insecure")), "{}", seen(&error));
    assert!(registry.requests().is_empty());
}

#[test]
fn a_server_that_hangs_up_on_tls_gets_the_same_hint() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten().take(4) {
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let mut user = User::new();
    user.settings.insecure = false;
    let error = run(user.open(&host).manifest("v1")).unwrap_err();
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--insecure")), "{}", seen(&error));
}

#[test]
fn https_is_not_dropped_by_a_redirect() {
    let (registry, storage) = (Registry::start_tls(), Registry::start());
    registry.put_blob(LAYER);
    storage.put_file("/x", LAYER);
    registry.fault(
        "GET",
        "/blobs/",
        Fault::Redirect(format!("{}/x?sig=s1gned", storage.base())),
        ALWAYS,
    );
    let mut user = User::new();
    user.settings.insecure = false;
    user.settings.ca_bundle = Some(user.file("ca.pem", registry.certificate()));
    let error = user.pull(&registry, LAYER).unwrap_err();
    assert!(error.to_string().contains("from HTTPS to plain HTTP"), "{error}");
    assert!(!seen(&error).contains("s1gned"));
    assert!(storage.requests().is_empty());
}

#[test]
fn an_answer_that_is_no_http_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten().take(4) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"\x15\x03\x01\x00\x02\x02\x16");
        }
    });
    let user = User::new();
    let error = run(user.open(&host).manifest("v1")).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains(&format!("the connection to {host} broke")), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("HTTPS")), "{}", seen(&error));
}
