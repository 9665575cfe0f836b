//! The distribution specification 1.1 through `occystrap proxy`: blobs. The workflows are those of its conformance suite.

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::image::noise;
use crate::support::proxy::{Answer, ProxyProcess};
use crate::support::registry::Registry;

/// A proxy in front of a registry. The names there have a prefix that no client must see.
fn start() -> (Sandbox, Registry, ProxyProcess) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &format!("{}/team", registry.url_host()), &[]);
    (sandbox, registry, proxy)
}

/// Sends a body in chunks of HTTP, without its length.
#[track_caller]
fn streamed(proxy: &ProxyProcess, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    for piece in body.chunks(1_000) {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    proxy.raw(&bytes, false)
}

/// Sends a chunk that says where it belongs.
#[track_caller]
fn patch(proxy: &ProxyProcess, path: &str, start: usize, bytes: &[u8]) -> Answer {
    let range = format!("Content-Range: {start}-{}", start + bytes.len() - 1);
    proxy.request("PATCH", path, &[&range], bytes)
}

/// Checks the answer to a finished upload, and that clients get the blob.
#[track_caller]
fn arrived(proxy: &ProxyProcess, answer: &Answer, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("location"), format!("/v2/app/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    let got = proxy.get(answer.header("location"));
    assert_eq!(got.status, 200);
    assert!(got.body == bytes, "other bytes");
    assert_eq!(got.header("content-length"), bytes.len().to_string());
    assert_eq!(got.header("docker-content-digest"), digest.to_string());
    let head = proxy.request("HEAD", answer.header("location"), &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), bytes.len().to_string());
}

/// Checks the answer to an upload that goes on.
#[track_caller]
fn goes_on(answer: &Answer, status: u16, path: &str, range: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!((answer.header("location"), answer.header("range")), (path, range));
    assert!(path.ends_with(answer.header("docker-upload-uuid")));
}

#[test]
fn the_version_of_the_api_is_there() {
    let (_sandbox, _registry, proxy) = start();
    for path in ["/v2/", "/v2"] {
        let answer = proxy.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        let head = proxy.request("HEAD", path, &[], b"");
        assert_eq!((head.status, head.header("content-length")), (200, "2"));
    }
    proxy.request("POST", "/v2/", &[], b"").refused(405, "UNSUPPORTED");
    proxy.get("/v2/_catalog").refused(405, "UNSUPPORTED");
    for path in ["/", "/v1/", "/v2/app", "/v2/app/other/list", "/v3/app/tags/list"] {
        proxy.get(path).refused(404, "UNSUPPORTED");
    }
}

#[test]
fn every_form_of_an_upload_leads_to_the_blob() {
    let (_sandbox, registry, proxy) = start();
    let put = |path: &str, bytes: &[u8]| format!("{path}?digest={}", Digest::of(bytes));
    let (begin, uploads) = (|| proxy.begin_upload("app"), "/v2/app/blobs/uploads/");
    // POST, PUT.
    let bytes = noise(1, 10_000);
    arrived(&proxy, &proxy.request("PUT", &put(&begin(), &bytes), &[], &bytes), &bytes);
    // POST alone.
    let bytes = noise(2, 10_000);
    arrived(&proxy, &proxy.request("POST", &put(uploads, &bytes), &[], &bytes), &bytes);
    // One chunk, and a PUT without a body.
    let (bytes, path) = (noise(3, 10_000), begin());
    goes_on(&patch(&proxy, &path, 0, &bytes), 202, &path, "0-9999");
    arrived(&proxy, &proxy.request("PUT", &put(&path, &bytes), &[], b""), &bytes);
    // One chunk that does not say where it belongs.
    let (bytes, path) = (noise(4, 10_000), begin());
    goes_on(&proxy.request("PATCH", &path, &[], &bytes), 202, &path, "0-9999");
    arrived(&proxy, &proxy.request("PUT", &put(&path, &bytes), &[], b""), &bytes);
    // Three chunks, with the status of the upload between them.
    let (bytes, path) = (noise(5, 10_000), begin());
    goes_on(&proxy.get(&path), 204, &path, "0-0");
    goes_on(&patch(&proxy, &path, 0, &bytes[..4_000]), 202, &path, "0-3999");
    goes_on(&proxy.get(&path), 204, &path, "0-3999");
    goes_on(&patch(&proxy, &path, 4_000, &bytes[4_000..4_001]), 202, &path, "0-4000");
    goes_on(&patch(&proxy, &path, 4_001, &bytes[4_001..]), 202, &path, "0-9999");
    arrived(&proxy, &proxy.request("PUT", &put(&path, &bytes), &[], b""), &bytes);
    proxy.get(&path).refused(404, "BLOB_UPLOAD_UNKNOWN");
    // The last chunk is in the PUT.
    let (bytes, path) = (noise(6, 10_000), begin());
    patch(&proxy, &path, 0, &bytes[..6_000]);
    let range = ["Content-Range: 6000-9999"];
    arrived(&proxy, &proxy.request("PUT", &put(&path, &bytes), &range, &bytes[6_000..]), &bytes);
    // Without a length.
    let (bytes, path) = (noise(7, 10_000), begin());
    goes_on(&streamed(&proxy, "PATCH", &path, &bytes), 202, &path, "0-9999");
    arrived(&proxy, &proxy.request("PUT", &put(&path, &bytes), &[], b""), &bytes);
    let bytes = noise(8, 10_000);
    arrived(&proxy, &streamed(&proxy, "PUT", &put(&begin(), &bytes), &bytes), &bytes);
    let bytes = noise(9, 10_000);
    arrived(&proxy, &streamed(&proxy, "POST", &put(uploads, &bytes), &bytes), &bytes);
    // No bytes at all.
    let path = begin();
    arrived(&proxy, &proxy.request("PUT", &put(&path, b""), &[], b""), b"");
    // Nothing of all this goes to the registry before a manifest needs it.
    assert_eq!(registry.requests_of("POST", "/blobs/uploads/").len(), 0);
    proxy.stop().exits(0);
}

#[test]
fn a_chunk_out_of_order_is_refused_and_the_upload_goes_on() {
    let (_sandbox, _registry, proxy) = start();
    let (bytes, path) = (noise(1, 9_000), proxy.begin_upload("app"));
    let put = format!("{path}?digest={}", Digest::of(&bytes));
    let out_of_order = |answer: &Answer, range: &str| {
        answer.refused(416, "BLOB_UPLOAD_INVALID");
        assert_eq!((answer.header("location"), answer.header("range")), (path.as_str(), range));
    };
    out_of_order(&patch(&proxy, &path, 3_000, &bytes[3_000..6_000]), "0-0");
    assert_eq!(patch(&proxy, &path, 0, &bytes[..3_000]).status, 202);
    // Too far, again, and half of it again.
    out_of_order(&patch(&proxy, &path, 6_000, &bytes[6_000..]), "0-2999");
    out_of_order(&patch(&proxy, &path, 0, &bytes[..3_000]), "0-2999");
    out_of_order(&patch(&proxy, &path, 2_000, &bytes[2_000..4_000]), "0-2999");
    let last = ["Content-Range: 6000-8999"];
    out_of_order(&proxy.request("PUT", &put, &last, &bytes[6_000..]), "0-2999");
    for wrong in ["x", "3000", "5999-3000", "-3000", "3000-"] {
        let range = format!("Content-Range: {wrong}");
        let answer = proxy.request("PATCH", &path, &[&range], &bytes[3_000..6_000]);
        answer.refused(400, "BLOB_UPLOAD_INVALID");
    }
    let range = ["Content-Range: 3000-3999"];
    proxy.request("PATCH", &path, &range, &bytes[3_000..6_000]).refused(400, "SIZE_INVALID");
    assert_eq!(patch(&proxy, &path, 3_000, &bytes[3_000..6_000]).status, 202);
    arrived(&proxy, &proxy.request("PUT", &put, &last, &bytes[6_000..]), &bytes);
}

#[test]
fn an_upload_goes_on_after_its_connection_broke() {
    let (_sandbox, _registry, proxy) = start();
    let (bytes, path) = (noise(1, 300_000), proxy.begin_upload("app"));
    for end in [100_000, 200_000] {
        let start = end - 100_000;
        let stream = proxy.begin_patch(&path, 300_000, &bytes[start..end]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(stream);
        let range = format!("0-{}", end - 1);
        ProxyProcess::until("the upload is free again", || {
            let answer = proxy.get(&path);
            assert_ne!(answer.status, 404, "{}", answer.text());
            answer.status == 204 && answer.header("range") == range
        });
    }
    assert_eq!(patch(&proxy, &path, 200_000, &bytes[200_000..]).status, 202);
    let put = format!("{path}?digest={}", Digest::of(&bytes));
    arrived(&proxy, &proxy.request("PUT", &put, &[], b""), &bytes);
}

#[test]
fn a_cancelled_upload_is_gone() {
    let (_sandbox, _registry, proxy) = start();
    let path = proxy.begin_upload("app");
    assert_eq!(patch(&proxy, &path, 0, b"bytes").status, 202);
    let answer = proxy.request("DELETE", &path, &[], b"");
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    proxy.request("DELETE", &path, &[], b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
    proxy.get(&path).refused(404, "BLOB_UPLOAD_UNKNOWN");
    patch(&proxy, &path, 5, b"more").refused(404, "BLOB_UPLOAD_UNKNOWN");
    let put = format!("{path}?digest={}", Digest::of(b"bytes"));
    proxy.request("PUT", &put, &[], b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_blob_is_mounted_from_where_clients_sent_it() {
    let (_sandbox, registry, proxy) = start();
    let digest = proxy.put_blob("lib/base", b"layer");
    let mount = |digest: &dyn ToString, from: &str| {
        let path = format!("/v2/app/blobs/uploads/?mount={}{from}", digest.to_string());
        proxy.request("POST", &path, &[], b"")
    };
    let head = || proxy.request("HEAD", &format!("/v2/app/blobs/{digest}"), &[], b"").status;
    // Without the name of a repository, and from one that does not have it: an upload begins. The answers do not differ.
    for from in ["", "&from=", "&from=other", "&from=lib", "&from=app"] {
        let answer = mount(&digest, from);
        if from == "&from=" {
            answer.refused(400, "NAME_INVALID");
            continue;
        }
        assert_eq!(answer.status, 202, "{from}");
        let path = answer.header("location");
        assert!(path.starts_with("/v2/app/blobs/uploads/"), "{path}");
        goes_on(&proxy.get(path), 204, path, "0-0");
        assert_eq!(head(), 404);
    }
    assert_eq!(mount(&Digest::of(b"no such blob"), "&from=lib/base").status, 202);
    mount(&"sha256:12", "&from=lib/base").refused(400, "DIGEST_INVALID");
    mount(&digest, "&from=../lib/base").refused(400, "NAME_INVALID");
    let answer = mount(&digest, "&from=lib/base");
    arrived(&proxy, &answer, b"layer");
    assert_eq!(registry.requests_of("POST", "/blobs/uploads/").len(), 0);
}

#[test]
fn parts_of_a_blob_can_be_pulled() {
    let (_sandbox, registry, proxy) = start();
    // One that a client sent, and one that the registry has.
    let bytes = noise(1, 700_000);
    let sent = format!("/v2/app/blobs/{}", proxy.put_blob("app", &bytes));
    let kept = [&bytes[..699_999], b"x"].concat();
    let kept_path = format!("/v2/app/blobs/{}", registry.put_blob(&kept));
    for (path, bytes) in [(&sent, &bytes), (&kept_path, &kept)] {
        for (range, start, end) in [
            ("0-99", 0, 100),
            ("1000-", 1_000, 700_000),
            ("-500", 699_500, 700_000),
            ("300000-599999", 300_000, 600_000),
            ("699999-", 699_999, 700_000),
            ("0-9999999", 0, 700_000),
        ] {
            let answer = proxy.request("GET", path, &[&format!("Range: bytes={range}")], b"");
            assert_eq!(answer.status, 206, "{range}");
            assert!(answer.is_whole && answer.body == bytes[start..end], "{range}");
            let said = format!("bytes {start}-{}/700000", end - 1);
            assert_eq!(answer.header("content-range"), said);
        }
        for range in ["700000-", "800000-900000", "-0"] {
            let answer = proxy.request("GET", path, &[&format!("Range: bytes={range}")], b"");
            answer.refused(416, "SIZE_INVALID");
            assert_eq!(answer.header("content-range"), "bytes */700000");
        }
        // What is no range is ignored, and so is every range of a HEAD (RFC 9110, 14.2).
        for range in ["bytes=9-1", "items=0-1", "bytes=0-1,5-6"] {
            let answer = proxy.request("GET", path, &[&format!("Range: {range}")], b"");
            assert!(answer.status == 200 && answer.body == *bytes, "{range}");
        }
        let head = proxy.request("HEAD", path, &["Range: bytes=0-99"], b"");
        assert_eq!((head.status, head.header("content-length")), (200, "700000"));
    }
}

#[test]
fn a_wrong_digest_is_refused_wherever_it_is() {
    let (_sandbox, _registry, proxy) = start();
    let other = Digest::of(b"other bytes");
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let invalid = ["sha256:12", "sha256:", "sha256", "md5:00", "", &sha512];
    // Of a blob that is not there.
    for method in ["GET", "HEAD"] {
        let answer = proxy.request(method, &format!("/v2/app/blobs/{other}"), &[], b"");
        assert_eq!(answer.status, 404, "{method}");
        assert_eq!(answer.body.is_empty(), method == "HEAD");
    }
    proxy.get(&format!("/v2/app/blobs/{other}")).refused(404, "BLOB_UNKNOWN");
    for digest in invalid {
        proxy.get(&format!("/v2/app/blobs/{digest}")).refused(400, "DIGEST_INVALID");
        proxy.get(&format!("/v2/app/referrers/{digest}")).refused(400, "DIGEST_INVALID");
        let post = format!("/v2/app/blobs/uploads/?digest={digest}");
        proxy.request("POST", &post, &[], b"bytes").refused(400, "DIGEST_INVALID");
        let path = proxy.begin_upload("app");
        let put = format!("{path}?digest={digest}");
        proxy.request("PUT", &put, &[], b"bytes").refused(400, "DIGEST_INVALID");
        proxy.request("PUT", &path, &[], b"bytes").refused(400, "DIGEST_INVALID");
        // The upload has not ended.
        let put = format!("{path}?digest={}", Digest::of(b"bytes"));
        assert_eq!(proxy.request("PUT", &put, &[], b"bytes").status, 201);
    }
    // Of other bytes: nothing stays.
    let post = format!("/v2/app/blobs/uploads/?digest={other}");
    proxy.request("POST", &post, &[], b"bytes!").refused(400, "DIGEST_INVALID");
    let path = proxy.begin_upload("app");
    assert_eq!(patch(&proxy, &path, 0, b"bytes!").status, 202);
    let put = format!("{path}?digest={other}");
    proxy.request("PUT", &put, &[], b"").refused(400, "DIGEST_INVALID");
    for digest in [other, Digest::of(b"bytes!")] {
        proxy.get(&format!("/v2/app/blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
    }
}
