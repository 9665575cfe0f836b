//! Blobs: complete, cut, resumed, and wrong.

use occystrap_base::error::{Error, Kind};

use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::user::{User, descriptor, pull, run};

fn layer(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 7 + n / 251) as u8).collect()
}

#[track_caller]
fn fails(registry: &Registry, bytes: &[u8], expected: &str, found: &str) -> Error {
    let error = User::new().pull(registry, bytes).map(drop).expect_err(found);
    let text = error.to_string();
    let place = format!("{}/a/b@{}", registry.url_host(), descriptor(bytes).digest);
    assert!(text.starts_with(&place), "{text}");
    assert!(text.contains(&format!("expected {expected}, found {found}")), "{text}");
    error
}

#[test]
fn blobs_of_any_size_arrive() {
    let registry = Registry::start();
    for size in [0, 1, 70_000, 5_000_000] {
        let bytes = layer(size);
        registry.put_blob(&bytes);
        assert_eq!(User::new().pull(&registry, &bytes).unwrap(), bytes);
    }
}

#[test]
fn a_cut_download_asks_for_what_is_missing() {
    let registry = Registry::start();
    let bytes = layer(1_000_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::CutAfter(300_000), 1);
    registry.fault("GET", "/blobs/", Fault::CutAfter(100_000), 1);
    let user = User::new();
    assert_eq!(user.pull(&registry, &bytes).unwrap(), bytes);
    let ranges: Vec<_> =
        registry.requests().iter().map(|request| request.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=300000-", "bytes=400000-"]);
    assert_eq!(user.counters.retries(), 2);
}

#[test]
fn a_server_without_ranges_sends_all_again_and_we_take_the_rest() {
    let registry = Registry::start();
    let bytes = layer(1_000_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::CutAfter(300_000), 1);
    registry.fault("GET", "/blobs/", Fault::IgnoreRange, 1);
    assert_eq!(User::new().pull(&registry, &bytes).unwrap(), bytes);
    assert_eq!(registry.requests().len(), 2);
}

#[test]
fn a_download_that_is_always_cut_ends() {
    let registry = Registry::start();
    let bytes = layer(1_000_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::CutAfter(100), ALWAYS);
    let error = User::new().pull(&registry, &bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("the connection to 127.0.0.1"), "{error}");
    assert_eq!(registry.requests().len(), 4);
}

#[test]
fn progress_earns_new_retries() {
    let registry = Registry::start();
    let bytes = layer(12_000_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::CutAfter(1_500_000), ALWAYS);
    let mut user = User::new();
    user.settings.retries = 1;
    assert_eq!(user.pull(&registry, &bytes).unwrap(), bytes);
    assert_eq!(user.counters.retries(), 7);
}

#[test]
fn a_failed_resume_shares_the_retries() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::CutAfter(10), 1);
    registry.fault("GET", "/blobs/", Fault::status(503), 2);
    registry.fault("GET", "/blobs/", Fault::CutAfter(10), ALWAYS);
    User::new().pull(&registry, &bytes).unwrap_err();
    assert_eq!(registry.requests().len(), 4);
}

#[test]
fn wrong_bytes_are_told_and_the_error_stays() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    let mut wrong = bytes.clone();
    wrong[500] ^= 1;
    registry.fault("GET", "/blobs/", Fault::Body(wrong.clone()), ALWAYS);
    let (right, found) = (descriptor(&bytes).digest, descriptor(&wrong).digest);
    let error = fails(&registry, &bytes, &right.to_string(), &found.to_string());
    assert_eq!(error.kind(), Kind::Source);
    assert_eq!(registry.requests().len(), 1);

    let user = User::new();
    let repository = user.open(&registry.url_host());
    run(async {
        let what = descriptor(&bytes);
        let mut download = repository.blob(&what);
        while let Ok(Some(_)) = download.next().await {}
        assert!(download.next().await.is_err(), "an error must not turn into an end");
    });
}

#[test]
fn a_wrong_content_length_is_told_before_the_body() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    for length in [0, 999, 1_001, u64::MAX / 2] {
        registry.fault("GET", "/blobs/", Fault::Length(length), 1);
        let error = fails(&registry, &bytes, "1000 bytes", &length.to_string());
        assert_eq!(error.kind(), Kind::Source);
        assert!(error.hint_text().unwrap().contains("Content-Length"));
    }
    assert_eq!(registry.requests().len(), 4);
}

#[test]
fn a_body_without_length_may_be_neither_short_nor_long() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::Chunked(bytes.clone()), 1);
    assert_eq!(User::new().pull(&registry, &bytes).unwrap(), bytes);

    registry.fault("GET", "/blobs/", Fault::Chunked([&bytes[..], b"x"].concat()), 1);
    let error = fails(&registry, &bytes, "1000 bytes", "at least 1001");
    assert_eq!(error.kind(), Kind::Source);

    // A proxy may end a body well whose source was cut: the rest is asked for.
    let before = registry.requests().len();
    registry.fault("GET", "/blobs/", Fault::Chunked(bytes[..400].to_vec()), 1);
    assert_eq!(User::new().pull(&registry, &bytes).unwrap(), bytes);
    assert_eq!(registry.requests()[before + 1].header("range"), "bytes=400-");
}

#[test]
fn a_blob_that_is_short_at_the_registry_is_an_error() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::Chunked(bytes[..400].to_vec()), 1);
    registry.fault("GET", "/blobs/", Fault::status(416), 1);
    let error = fails(&registry, &bytes, "1000 bytes", "400");
    assert_eq!(error.kind(), Kind::Source);
    registry.fault("GET", "/blobs/", Fault::Chunked(Vec::new()), ALWAYS);
    let error = fails(&registry, &bytes, "1000 bytes", "0");
    assert_eq!(error.kind(), Kind::Source);
}

#[test]
fn another_range_than_the_one_asked_for_is_refused() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    for said in
        ["bytes 399-999/1000", "bytes 400-999/1001", "bytes 0-999/1000", "chunks", "bytes 400"]
    {
        registry.fault("GET", "/blobs/", Fault::CutAfter(400), 1);
        registry.fault("GET", "/blobs/", Fault::Header("content-range", said.into()), 1);
        fails(&registry, &bytes, "bytes 400-999/1000", said);
    }
    for said in ["bytes 400-999/*", "bytes 400-999/1000"] {
        registry.fault("GET", "/blobs/", Fault::CutAfter(400), 1);
        registry.fault("GET", "/blobs/", Fault::Header("content-range", said.into()), 1);
        assert_eq!(User::new().pull(&registry, &bytes).unwrap(), bytes, "{said}");
    }
}

#[test]
fn a_resume_goes_on_in_the_wrong_bytes_and_the_digest_tells() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::CutAfter(400), 1);
    registry.fault("GET", "/blobs/", Fault::Body(vec![0; 600]), 1);
    let error = User::new().pull(&registry, &bytes).unwrap_err();
    assert!(error.to_string().contains("wrong bytes"), "{error}");
}

#[test]
fn a_blob_that_is_not_there_says_so() {
    let registry = Registry::start();
    let error = User::new().pull(&registry, b"never pushed").unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().ends_with(": blob not found"), "{error}");
}

#[test]
fn a_web_page_is_not_a_blob() {
    let registry = Registry::start();
    let bytes = layer(1_000);
    registry.put_blob(&bytes);
    registry.fault("GET", "/blobs/", Fault::Html, ALWAYS);
    assert_eq!(User::new().pull(&registry, &bytes).unwrap_err().kind(), Kind::Source);
}

#[test]
fn a_small_blob_is_taken_whole_and_wrong_bytes_are_asked_for_once_more() {
    let registry = Registry::start();
    let config = layer(1_000);
    registry.put_blob(&config);
    let user = User::new();
    let repository = user.open(&registry.url_host());
    let what = descriptor(&config);
    run(async {
        assert_eq!(repository.blob_bytes(&what, 1_000).await.unwrap(), config);
        let error = repository.blob_bytes(&what, 999).await.unwrap_err();
        assert!(error.to_string().contains("more than the limit of 999"), "{error}");

        registry.fault("GET", "/blobs/", Fault::Body(vec![0; 1_000]), 1);
        assert_eq!(repository.blob_bytes(&what, 1_000).await.unwrap(), config);
        let before = registry.requests().len();
        registry.fault("GET", "/blobs/", Fault::Body(vec![0; 1_000]), ALWAYS);
        repository.blob_bytes(&what, 1_000).await.unwrap_err();
        assert_eq!(registry.requests().len() - before, 2);
    });
}

#[test]
fn parallel_downloads_share_a_repository() {
    let registry = Registry::start();
    let layers: Vec<_> = (1..9).map(|n| layer(n * 100_000)).collect();
    for bytes in &layers {
        registry.put_blob(bytes);
    }
    registry.fault("GET", "/blobs/", Fault::CutAfter(50_000), 4);
    let user = User::new();
    let repository = user.open(&registry.url_host());
    run(async {
        let pulls =
            layers.iter().map(|bytes| async { pull(&repository, &descriptor(bytes)).await });
        for (outcome, bytes) in futures_util::future::join_all(pulls).await.into_iter().zip(&layers)
        {
            assert_eq!(outcome.unwrap(), *bytes);
        }
    });
    assert_eq!(user.counters.retries(), 4);
}
