//! Pushes through `occystrap proxy`: what lands, what the client gets as its answer, and when.

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::multi::Multi;
use crate::support::proxy::{Answer, ProxyProcess};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape::oci_manifest;

/// Sends the blobs and the manifest of an image, and returns the digest of its manifest.
#[track_caller]
fn push(proxy: &ProxyProcess, name: &str, tag: &str, manifest: &[u8], blobs: &[&[u8]]) -> Digest {
    for blob in blobs {
        proxy.put_blob(name, blob);
    }
    let answer = proxy.put_manifest(name, tag, OCI_MANIFEST, manifest);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let digest = Digest::of(manifest);
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(answer.header("location"), format!("/v2/{name}/manifests/{digest}"));
    digest
}

/// The blobs and the manifest of an image with gzip layers.
fn packed(image: &TestImage) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut blobs: Vec<Vec<u8>> = image.layers.iter().map(|layer| Pack::Gzip.pack(layer)).collect();
    blobs.push(image.config.clone());
    (blobs, oci_manifest(image, Pack::Gzip).into_bytes())
}

fn slices(blobs: &[Vec<u8>]) -> Vec<&[u8]> {
    blobs.iter().map(Vec::as_slice).collect()
}

#[test]
fn an_image_lands_byte_for_byte_before_its_client_is_told() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &format!("{}/team", registry.url_host()), &[]);
    let (blobs, manifest) = packed(&TestImage::new("a"));
    let digest = push(&proxy, "app/base", "v1", &manifest, &slices(&blobs));
    let (_, landed) = registry.manifest("team/app/base", "v1").unwrap();
    assert_eq!(landed, manifest);
    for blob in &blobs {
        assert_eq!(registry.blob("team/app/base", Digest::of(blob)).unwrap(), *blob);
    }
    // What was pushed can be pulled, by tag, by digest, and each blob.
    for target in ["v1".to_owned(), digest.to_string()] {
        let answer = proxy.get(&format!("/v2/app/base/manifests/{target}"));
        assert_eq!((answer.status, &answer.body), (200, &manifest));
        assert_eq!(answer.header("content-type"), OCI_MANIFEST);
    }
    for blob in &blobs {
        let answer = proxy.get(&format!("/v2/app/base/blobs/{}", Digest::of(blob)));
        assert_eq!((answer.status, &answer.body), (200, blob));
    }
    let ran = proxy.stop();
    ran.exits(0).says("app/base:v1: 3 layers").says("1/1 verified");
}

#[test]
fn filters_change_the_image_and_the_client_still_finds_what_it_pushed() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let filter = ["-f", "exclude:pattern=etc/motd"];
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &filter);
    let (blobs, manifest) = packed(&TestImage::new("a"));
    for blob in &blobs {
        proxy.put_blob("app", blob);
    }
    let answer = proxy.put_manifest("app", "v1", OCI_MANIFEST, &manifest);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let pushed = Digest::of(&manifest);
    assert_eq!(answer.header("docker-content-digest"), pushed.to_string());
    let (_, landed) = registry.manifest("app", "v1").unwrap();
    assert_eq!(answer.header("occystrap-downstream-digest"), Digest::of(&landed).to_string());
    assert_ne!(landed, manifest);
    for target in ["v1".to_owned(), pushed.to_string()] {
        assert_eq!(proxy.get(&format!("/v2/app/manifests/{target}")).body, manifest, "{target}");
    }
    assert_eq!(proxy.get(&format!("/v2/app/manifests/{}", Digest::of(&landed))).body, landed);
    // Another image under the tag, without the proxy: its tag is that of the registry again.
    let (_, other) = packed(&TestImage::new("b"));
    registry.put_manifest("app", "v1", OCI_MANIFEST, &other);
    assert_eq!(proxy.get("/v2/app/manifests/v1").body, other);
}

#[test]
fn a_shared_layer_is_filtered_and_sent_once() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy =
        ProxyProcess::start(&sandbox, &registry.url_host(), &["-f", "normalize-timestamps"]);
    let base = tar(&[("base", &noise(3, 100_000))]);
    for name in ["one", "two", "three"] {
        let own = tar(&[("own", name.as_bytes())]);
        let image = TestImage::with_layers(name, vec![base.clone(), own]);
        let (blobs, manifest) = packed(&image);
        push(&proxy, "app", name, &manifest, &slices(&blobs));
    }
    let sent = registry.requests_of("POST", "/blobs/uploads/").len();
    // The base, three layers of their own, three configs.
    assert_eq!(sent, 7, "{:?}", registry.requests_of("POST", "/blobs/uploads/"));
    proxy.stop().exits(0).says("3/3 verified");
}

#[test]
fn a_layer_that_another_repository_has_is_mounted_and_not_filtered_again() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let options = ["-f", "normalize-timestamps", "--debug"];
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &options);
    let base = tar(&[("base", &noise(3, 100_000))]);
    for name in ["one", "two"] {
        let own = tar(&[("own", name.as_bytes())]);
        let image = TestImage::with_layers(name, vec![base.clone(), own]);
        let (blobs, manifest) = packed(&image);
        push(&proxy, name, "v1", &manifest, &slices(&blobs));
    }
    assert_eq!(registry.requests_of("POST", "from=one").len(), 1);
    let ran = proxy.stop();
    ran.exits(0).says("2/2 verified");
    let found = ran.stderr.matches("the destination has it already").count();
    assert_eq!(found, 1, "{}", ran.stderr);
}

#[test]
fn an_index_lands_with_everything_that_it_lists() {
    for filter in [None, Some("normalize-timestamps")] {
        let (sandbox, registry, multi) = (Sandbox::new(), Registry::start(), Multi::build());
        let filters: Vec<&str> = filter.iter().flat_map(|filter| ["-f", filter]).collect();
        let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &filters);
        for blob in &multi.blobs {
            proxy.put_blob("multi", blob);
        }
        let (last, listed) = multi.manifests.split_last().unwrap();
        // The index first: what it lists is not there.
        let answer = proxy.put_manifest("multi", "1", OCI_INDEX, &last.1);
        assert_eq!((answer.status, answer.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
        for (media_type, bytes) in listed {
            let digest = Digest::of(bytes).to_string();
            let answer = proxy.put_manifest("multi", &digest, media_type, bytes);
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        let answer = proxy.put_manifest("multi", "1", OCI_INDEX, &last.1);
        assert_eq!(answer.status, 201, "{}", answer.text());
        match filter {
            None => multi.assert_at(&registry, "multi", "1"),
            Some(_) => {
                let (_, landed) = registry.manifest("multi", "1").unwrap();
                assert_ne!(landed, last.1);
                let landed: serde_json::Value = serde_json::from_slice(&landed).unwrap();
                for entry in landed["manifests"].as_array().unwrap() {
                    let digest = entry["digest"].as_str().unwrap();
                    assert!(registry.manifest("multi", digest).is_some(), "{digest}");
                }
            }
        }
        assert_eq!(proxy.get("/v2/multi/manifests/1").body, last.1);
        proxy.stop().exits(0);
    }
}

#[test]
fn a_manifest_needs_its_blobs() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &[]);
    let (blobs, manifest) = packed(&TestImage::new("a"));
    proxy.put_blob("app", blobs.last().unwrap());
    // A blob of another repository does not count.
    for blob in &blobs {
        proxy.put_blob("other", blob);
    }
    let answer = proxy.put_manifest("app", "v1", OCI_MANIFEST, &manifest);
    assert_eq!((answer.status, answer.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    assert!(registry.manifest("app", "v1").is_none());
    // One that the registry has already need not be sent.
    blobs.iter().for_each(|blob| _ = registry.put_blob(blob));
    assert_eq!(proxy.put_manifest("app", "v1", OCI_MANIFEST, &manifest).status, 201);
}

#[test]
fn a_layer_that_is_not_what_the_config_says_does_not_land() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy =
        ProxyProcess::start(&sandbox, &registry.url_host(), &["-f", "normalize-timestamps"]);
    let (mut image, other) = (TestImage::tiny("a"), TestImage::tiny("b"));
    image.layers = other.layers;
    let (blobs, manifest) = packed(&image);
    blobs.iter().for_each(|blob| _ = proxy.put_blob("app", blob));
    let answer = proxy.put_manifest("app", "v1", OCI_MANIFEST, &manifest);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "MANIFEST_INVALID"),
        "{}",
        answer.text()
    );
    assert!(registry.manifest("app", "v1").is_none());
    proxy.stop().exits(1);
}

#[test]
fn what_fails_downstream_is_no_success() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(
        &sandbox,
        &format!("{}/team", registry.url_host()),
        &["--retries", "0"],
    );
    let (blobs, manifest) = packed(&TestImage::tiny("a"));
    blobs.iter().for_each(|blob| _ = proxy.put_blob("app", blob));
    registry.fault("PUT", "/manifests/", Fault::status(500), ALWAYS);
    let answer = proxy.put_manifest("app", "v1", OCI_MANIFEST, &manifest);
    assert_eq!((answer.status, answer.code().as_str()), (502, "UNKNOWN"), "{}", answer.text());
    // The client knows the proxy alone.
    assert!(!answer.text().contains(&registry.url_host()), "{}", answer.text());
    assert!(registry.manifest("team/app", "v1").is_none());
    registry.mend();
    // The blobs are there still: the client sends the manifest alone.
    assert_eq!(proxy.put_manifest("app", "v1", OCI_MANIFEST, &manifest).status, 201);
    proxy.stop().exits(1).says("Summary: 1/2 images");
}

#[test]
fn a_layer_whose_filtered_form_is_there_need_not_be_sent_again() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let cache = sandbox.path("cache").display().to_string();
    let options = ["--layer-cache", &cache, "-f", "normalize-timestamps"];
    let (blobs, manifest) = packed(&TestImage::new("a"));
    let (config, layers) = blobs.split_last().unwrap();
    let first = ProxyProcess::start(&sandbox, &registry.url_host(), &options);
    push(&first, "app", "v1", &manifest, &slices(&blobs));
    first.stop().exits(0);
    // Another process: it has none of the blobs.
    let second = ProxyProcess::start(&sandbox, &registry.url_host(), &options);
    for layer in layers {
        let path = format!("/v2/app/blobs/{}", Digest::of(layer));
        let answer = second.request("HEAD", &path, &[], b"");
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (200, &*layer.len().to_string())
        );
        // In another repository, the registry does not have it.
        let other = format!("/v2/other/blobs/{}", Digest::of(layer));
        assert_eq!(second.request("HEAD", &other, &[], b"").status, 404);
    }
    let sent = registry.requests_of("POST", "/blobs/uploads/").len();
    push(&second, "app", "v2", &manifest, &[config]);
    assert_eq!(
        registry.requests_of("POST", "/blobs/uploads/").len(),
        sent,
        "nothing is sent again"
    );
    let (landed, again) = (registry.manifest("app", "v1"), registry.manifest("app", "v2"));
    assert_eq!(landed.unwrap().1, again.unwrap().1);
    second.stop().exits(0).says("1/1 verified");
}

#[test]
fn the_numbers_of_a_run_can_be_read() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let metrics = port.to_string();
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &["--metrics", &metrics]);
    let page = |path: &str| {
        let mut stream = std::net::TcpStream::connect(&metrics).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        Answer::read(&mut stream, false)
    };
    assert_eq!((page("/healthz").status, page("/healthz").text().as_str()), (200, "ok\n"));
    assert_eq!(page("/").status, 404);
    let (blobs, manifest) = packed(&TestImage::new("a"));
    push(&proxy, "app", "v1", &manifest, &slices(&blobs));
    proxy.get("/v2/app/manifests/absent");
    let bytes: usize = blobs.iter().map(Vec::len).sum();
    let text = page("/metrics").text();
    for line in [
        "occystrap_proxy_images_total{verdict=\"verified\"} 1".to_owned(),
        "occystrap_proxy_images_total{verdict=\"failed\"} 0".to_owned(),
        "occystrap_proxy_requests_total{class=\"push-manifest\",status=\"201\"} 1".to_owned(),
        "occystrap_proxy_requests_total{class=\"pull-manifest\",status=\"404\"} 1".to_owned(),
        format!("occystrap_proxy_received_bytes_total {bytes}"),
        format!("occystrap_proxy_sent_bytes_total {bytes}"),
        format!("occystrap_proxy_spool_bytes {bytes}"),
        "occystrap_proxy_images_waiting 0".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    let seconds = text
        .lines()
        .find_map(|line| line.strip_prefix("occystrap_proxy_verification_seconds_total "));
    assert!(seconds.unwrap().parse::<f64>().unwrap() > 0.0);
    if crate::support::real::installed("the_numbers_of_a_run_can_be_read", &["promtool"]) {
        let mut check = std::process::Command::new("promtool");
        let mut child =
            check.args(["check", "metrics"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn events_and_receipts_tell_what_landed() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let folder = sandbox.path("receipts");
    std::fs::create_dir(&folder).unwrap();
    let options = ["-O", "jsonl", "--receipts", folder.to_str().unwrap()];
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &options);
    let (blobs, manifest) = packed(&TestImage::new("a"));
    push(&proxy, "app/base", "v1", &manifest, &slices(&blobs));
    let ran = proxy.stop();
    ran.exits(0);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(named, ["image", "stopping", "stopped"]);
    assert_eq!((&events[0]["status"], &events[0]["tag"]), (&"verified".into(), &"v1".into()));
    let receipt = folder.join("app/base:v1.json");
    let verified = sandbox.run(&["--insecure", "verify", receipt.to_str().unwrap()]);
    verified.exits(0).says("1/1 verified");
    // A blob is lost: nothing moves the image again, so no command is named.
    registry.remove_blob("app/base", Digest::of(&blobs[0]));
    let failed = sandbox.run(&["--insecure", "verify", receipt.to_str().unwrap()]);
    failed.exits(1);
    assert!(!failed.stderr.contains("occystrap process"), "{}", failed.stderr);
}

#[test]
fn a_plain_layer_stays_plain() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), &["--verify", "full"]);
    let image = TestImage::new("a");
    let manifest = oci_manifest(&image, Pack::Plain).into_bytes();
    let mut blobs = slices(&image.layers);
    blobs.push(&image.config);
    push(&proxy, "app", "v1", &manifest, &blobs);
    assert_eq!(registry.manifest("app", "v1").unwrap().1, manifest);
    proxy.stop().exits(0).says("1/1 verified");
}
