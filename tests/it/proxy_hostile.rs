//! Hostile clients of `occystrap proxy`: bodies and names that lie, manifests that are traps.

use std::io::Write as _;
use std::net::{Shutdown, TcpListener};

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::multi::described;
use crate::support::proxy::{Answer, ProxyProcess};
use crate::support::registry::Registry;
use crate::support::shape::oci_manifest;

fn start(more: &[&str]) -> (Sandbox, Registry, ProxyProcess) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &registry.url_host(), more);
    (sandbox, registry, proxy)
}

/// Sends the start of a request, then pieces of a body until the proxy answers or `pieces` end.
#[track_caller]
fn sent_until_answered(
    proxy: &ProxyProcess,
    head: &str,
    pieces: impl Iterator<Item = Vec<u8>>,
) -> Answer {
    let mut stream = proxy.connect();
    let mut reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || Answer::read(&mut reading, false));
    stream.write_all(head.as_bytes()).unwrap();
    for piece in pieces {
        if reader.is_finished() || stream.write_all(&piece).is_err() {
            break;
        }
    }
    // The end of the connection shows a proxy that waits for more that there is none.
    let _ = stream.shutdown(Shutdown::Write);
    reader.join().unwrap()
}

/// Chunks of HTTP, without end.
fn endless() -> impl Iterator<Item = Vec<u8>> {
    let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
    std::iter::repeat_n(chunk, 4_000)
}

const CHUNKED: &str = "HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_body_without_end_fails_and_leaves_the_room_to_others() {
    let (sandbox, _registry, proxy) = start(&["--spool-size", "8M"]);
    let digest = Digest::of(b"never");
    let post = |bytes: &[u8]| {
        let path = format!("/v2/other/blobs/uploads/?digest={}", Digest::of(bytes));
        proxy.request("POST", &path, &[], bytes)
    };
    let (patched, put) = (proxy.begin_upload("app"), proxy.begin_upload("app"));
    for (seed, head) in [
        (1, format!("PATCH {patched} {CHUNKED}")),
        (2, format!("PUT {put}?digest={digest} {CHUNKED}")),
        (3, format!("POST /v2/app/blobs/uploads/?digest={digest} {CHUNKED}")),
    ] {
        let answer = sent_until_answered(&proxy, &head, endless());
        answer.refused(503, "UNAVAILABLE");
        assert_ne!(answer.header("retry-after"), "", "{head}");
        // The others have their room at once.
        let answer = post(&noise(seed, 1_000_000));
        assert_eq!(answer.status, 201, "after {head}: {}", answer.text());
    }
    for path in [&patched, &put] {
        proxy.get(path).refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    // What is too large now is refused, and what fits is not.
    post(&noise(4, 6_000_000)).refused(503, "UNAVAILABLE");
    assert_eq!(post(&noise(5, 4_000_000)).status, 201);
    assert!(sandbox.tree("tmp").is_empty());
}

#[test]
fn a_length_that_lies_is_found_out() {
    let (_sandbox, registry, proxy) = start(&[]);
    let cut = |head: &str, body: &[u8]| {
        let mut stream = proxy.connect();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        Answer::read(&mut stream, false)
    };
    // More than there is.
    let path = proxy.begin_upload("app");
    let answer = cut(&format!("PATCH {path} HTTP/1.1\r\nContent-Length: 10\r\n\r\n"), b"12345");
    assert!(matches!(answer.status, 0 | 400), "{}", answer.text());
    assert_eq!(proxy.get(&path).header("range"), "0-4");
    let digest = Digest::of(b"12345");
    let put = format!("PUT {path}?digest={digest} HTTP/1.1\r\nContent-Length: 9\r\n\r\n");
    assert!(matches!(cut(&put, b"").status, 0 | 400));
    let post = format!("POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\n");
    let short = cut(&format!("{post}Content-Length: 9\r\n\r\n"), b"12345");
    assert!(matches!(short.status, 0 | 400), "{}", short.text());
    let short = cut(&format!("{post}Transfer-Encoding: chunked\r\n\r\n"), b"5\r\n12345\r\n");
    assert!(matches!(short.status, 0 | 400), "{}", short.text());
    assert_eq!(proxy.get(&format!("/v2/app/blobs/{digest}")).status, 404);
    let (manifest, _) = parts();
    let half = &manifest[..manifest.len() / 2];
    let head =
        format!("PUT /v2/app/manifests/v1 HTTP/1.1\r\nContent-Length: {}\r\n\r\n", manifest.len());
    assert!(matches!(cut(&head, half).status, 0 | 400));
    assert!(registry.requests_of("PUT", "").is_empty());
    // Numbers that are none, or two of them.
    for wrong in ["-1", "+5", "0x5", "5,6", "5\r\nContent-Length: 6", "18446744073709551616"] {
        let answer = cut(&format!("{post}Content-Length: {wrong}\r\n\r\n"), b"12345");
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

#[test]
fn no_request_is_hidden_in_the_body_of_another() {
    let (_sandbox, _registry, proxy) = start(&[]);
    let hidden = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let inside = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let length = format!("Content-Length: {}", hidden.len() + 5);
    for headers in [
        format!("{length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\n{length}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n{length}"),
        format!("Transfer-Encoding: identity, chunked\r\n{length}"),
        format!("Transfer-Encoding: chunked, identity\r\n{length}"),
        format!("Transfer-Encoding: xchunked\r\n{length}"),
        format!("Transfer-Encoding : chunked\r\n{length}"),
        format!("Transfer-Encoding:\x0bchunked\r\n{length}"),
        format!("Transfer-Encoding: \"chunked\"\r\n{length}"),
        format!("X: y\r\n Transfer-Encoding: chunked\r\n{length}"),
        format!("X: y\rTransfer-Encoding: chunked\r\n{length}"),
        format!("Content-Length: 0\r\n{length}"),
    ] {
        // One that reads the length, and one that reads chunks: neither sees a second request in it.
        for body in [format!("0\r\n\r\n{hidden}"), inside.clone()] {
            let path = proxy.begin_upload("app");
            let mut stream = proxy.connect();
            let request = format!("PATCH {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let mut answers = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stream, &mut answers);
            let answers = String::from_utf8_lossy(&answers).into_owned();
            assert!(!answers.contains("HTTP/1.1 200"), "{headers}: {answers}");
        }
    }
}

#[test]
fn one_request_at_a_time_has_an_upload() {
    let (_sandbox, _registry, proxy) = start(&[]);
    let (bytes, path) = (noise(1, 100_000), proxy.begin_upload("app"));
    let put = format!("{path}?digest={}", Digest::of(&bytes));
    let mut first = proxy.begin_patch(&path, bytes.len(), &bytes[..50_000]);
    for (method, path) in [("PATCH", &path), ("PUT", &put), ("DELETE", &path), ("PATCH", &path)] {
        let answer = proxy.request(method, path, &[], b"of another request");
        answer.refused(416, "BLOB_UPLOAD_INVALID");
    }
    first.write_all(&bytes[50_000..]).unwrap();
    assert_eq!(Answer::read(&mut first, false).status, 202);
    assert_eq!(proxy.request("PUT", &put, &[], b"").status, 201);
}

#[test]
fn an_upload_belongs_to_its_repository() {
    let (_sandbox, _registry, proxy) = start(&[]);
    let path = proxy.begin_upload("secret/app");
    let id = path.rsplit_once('/').unwrap().1;
    assert_eq!(id.len(), 32);
    assert_ne!(proxy.begin_upload("secret/app"), path);
    for name in ["app", "secret", "secret/app/app", "other/app"] {
        let other = format!("/v2/{name}/blobs/uploads/{id}");
        let put = format!("{other}?digest={}", Digest::of(b"bytes"));
        for (method, path) in
            [("GET", &other), ("PATCH", &other), ("PUT", &put), ("DELETE", &other)]
        {
            proxy.request(method, path, &[], b"bytes").refused(404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
    assert_eq!(proxy.get(&path).header("range"), "0-0");
    assert_eq!(proxy.get(&path).status, 204);
}

#[test]
fn no_spelling_of_a_name_leads_elsewhere() {
    let (sandbox, registry, proxy) = start(&[]);
    let (manifest, digest) = (parts().0, Digest::of(b"bytes"));
    for name in [
        "..",
        "../app",
        "app/..",
        "app/../other",
        "app/./other",
        "%2e%2e/app",
        "app/%2E%2E",
        "app//other",
        "/app",
        "app/",
        "app%2fother",
        "app%2Fother",
        "app%00",
        "app%0d%0aX:y",
        "app%",
        "app%2",
        "app%zz",
        "APP",
        "a_pp__-x",
        "-app",
        "app-",
        "app.",
        "a..b",
        "a b",
        "a+b",
        "a:b",
        "a@b",
        "\u{e4}pp",
        "a\\b",
        "a;b",
        "_catalog",
        "app%25",
        "%61%2f%62",
        "app/blobs/uploads/..",
    ] {
        for (method, path, body) in [
            ("PUT", format!("/v2/{name}/manifests/v1"), manifest.as_slice()),
            ("GET", format!("/v2/{name}/manifests/v1"), b""),
            ("POST", format!("/v2/{name}/blobs/uploads/?digest={digest}"), b"bytes"),
            ("POST", format!("/v2/{name}/blobs/uploads/"), b""),
            ("GET", format!("/v2/{name}/blobs/{digest}"), b""),
            ("GET", format!("/v2/{name}/tags/list"), b""),
        ] {
            let answer = proxy.request(method, &path, &[], body);
            assert!(matches!(answer.status, 400 | 404), "{method} {path}: {answer:?}");
            // What HTTP itself forbids has no body.
            if !answer.body.is_empty() {
                let code = answer.code();
                assert!(["NAME_INVALID", "UNSUPPORTED"].contains(&code.as_str()), "{path}: {code}");
            }
        }
    }
    for path in
        ["/v2/app\0/tags/list", "/v2/app/tags/list\0", "/v2/a\rb/tags/list", "/v2/\x7f/tags/list"]
    {
        assert_eq!(proxy.request("GET", path, &[], b"").status, 400, "{path:?}");
    }
    for reference in ["..", "../v1", "%2e%2e", "v1%2f..", "v%001", "v1%0a", "sha256:..", "v1@x"] {
        let answer = proxy.get(&format!("/v2/app/manifests/{reference}"));
        assert!(matches!(answer.status, 400 | 404), "{reference}: {answer:?}");
    }
    for from in ["..", "../secret", "/secret", "a//b", "%2e%2e/a", "a%00", "A", "a%252f"] {
        let path = format!("/v2/app/blobs/uploads/?mount={digest}&from={from}");
        proxy.request("POST", &path, &[], b"").refused(400, "NAME_INVALID");
    }
    // Names that are written in another way are the same names.
    assert_eq!(proxy.put_blob("%61pp", b"bytes"), digest);
    assert_eq!(proxy.get(&format!("/v2/app/blobs/{digest}")).body, b"bytes");
    assert!(registry.requests().is_empty(), "{:?}", registry.requests());
    assert!(sandbox.tree("tmp").is_empty());
}

/// A manifest and the blobs that it names.
fn parts() -> (Vec<u8>, Vec<Vec<u8>>) {
    let image = TestImage::tiny("a");
    let blobs = vec![image.config.clone(), Pack::Gzip.pack(&image.layers[0])];
    (oci_manifest(&image, Pack::Gzip).into_bytes(), blobs)
}

#[test]
fn manifests_that_are_traps_are_refused_at_once() {
    let (_sandbox, registry, proxy) = start(&[]);
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let (manifest, blobs) = parts();
    blobs.iter().for_each(|blob| _ = proxy.put_blob("app", blob));
    let image: Value = serde_json::from_slice(&manifest).unwrap();
    let text = String::from_utf8(manifest.clone()).unwrap();
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut image = image.clone();
        edit(&mut image);
        image.to_string()
    };
    let doubled =
        |name: &str, value: &str| text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    let other = described(OCI_MANIFEST, b"other");
    let layer = &image["layers"][0];
    let exabytes = 1_u64 << 60;
    let deep = |open: &str, close: &str| {
        let nested = [open.repeat(100_000), close.repeat(100_000)].concat();
        text.replacen('{', &format!("{{\"x\":{nested},"), 1)
    };
    let traps = [
        ("two lists of layers", doubled("layers", "[]")),
        ("two configs", doubled("config", &other.to_string())),
        ("two media types", doubled("mediaType", "\"a/b\"")),
        ("two versions", doubled("schemaVersion", "1")),
        ("layers in another case", doubled("Layers", "[]")),
        ("layers with an escape", doubled("l\\u0061yers", "[]")),
        (
            "two digests",
            text.replacen(
                "\"digest\":",
                &format!("\"digest\":\"{}\",\"digest\":", Digest::of(b"x")),
                1,
            ),
        ),
        ("a manifest and an index", edited(&|image| image["manifests"] = json!([other]))),
        ("two schemas", edited(&|image| image["fsLayers"] = json!([]))),
        ("10,000 layers", edited(&|image| image["layers"] = json!(vec![layer; 10_000]))),
        ("a layer of exabytes", edited(&|image| image["layers"][0]["size"] = exabytes.into())),
        ("a config of exabytes", edited(&|image| image["config"]["size"] = exabytes.into())),
        ("a size beyond 63 bits", edited(&|image| image["layers"][0]["size"] = u64::MAX.into())),
        ("a size that is no integer", text.replacen("\"size\":", "\"size\":1e30,\"y\":", 1)),
        ("lists in lists", deep("[", "]")),
        ("objects in objects", deep("{\"a\":", "").replacen("\"a\":,", "\"a\":1,", 1)),
    ];
    for (what, text) in &traps {
        let answer = proxy.put_manifest("app", "v1", OCI_MANIFEST, text.as_bytes());
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_eq!(answer.code(), "MANIFEST_INVALID", "{what}: {}", answer.text());
        assert!(answer.body.len() < 2_000, "{what}");
    }
    assert!(registry.requests_of("PUT", "").is_empty());
    // Nothing is fetched from a URL in a manifest; what is in the document itself is not believed.
    let url = format!("http://{}/latest/meta-data", trap.local_addr().unwrap());
    let foreign = edited(&|image| {
        image["layers"][0]["mediaType"] =
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
        image["layers"][0]["digest"] = Digest::of(b"not here").to_string().into();
        image["layers"][0]["urls"] = json!([url]);
    });
    let answer = proxy.put_manifest("app", "foreign", OCI_MANIFEST, foreign.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(trap.accept().is_err(), "a URL of the manifest was asked");
    let data = edited(&|image| {
        image["layers"][0]["digest"] = Digest::of(b"data").to_string().into();
        image["layers"][0]["size"] = 4.into();
        image["layers"][0]["data"] = "ZGF0YQ==".into();
    });
    proxy
        .put_manifest("app", "data", OCI_MANIFEST, data.as_bytes())
        .refused(400, "MANIFEST_BLOB_UNKNOWN");
    proxy.stop();
}

#[test]
fn indexes_that_are_traps_are_refused_at_once() {
    let (_sandbox, registry, proxy) = start(&[]);
    let (manifest, blobs) = parts();
    blobs.iter().for_each(|blob| _ = proxy.put_blob("app", blob));
    let digest = Digest::of(&manifest).to_string();
    assert_eq!(proxy.put_manifest("app", &digest, OCI_MANIFEST, &manifest).status, 201);
    let index = |manifests: Value| {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
        index.to_string().into_bytes()
    };
    let entry = described(OCI_MANIFEST, &manifest);
    let edited = |name: &str, value: Value| {
        let mut entry = entry.clone();
        entry[name] = value;
        index(json!([entry]))
    };
    for (what, bytes) in [
        ("another size", edited("size", 1.into())),
        ("exabytes", edited("size", (1_u64 << 60).into())),
        ("another media type", edited("mediaType", OCI_INDEX.into())),
        ("no digest", edited("digest", Value::Null)),
        ("no list", index(json!({}))),
    ] {
        let answer = proxy.put_manifest("app", "v1", OCI_INDEX, &bytes);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        answer.refused(400, "MANIFEST_INVALID");
    }
    // Manifests that exist nowhere: the first of them is enough.
    let before = registry.requests().len();
    let absent = (0..5_000).map(|n: u32| described(OCI_MANIFEST, &n.to_be_bytes()));
    let bytes = index(absent.collect());
    proxy.put_manifest("app", "v1", OCI_INDEX, &bytes).refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert!(registry.requests().len() - before < 5);
    // Indexes in indexes.
    let mut inner = index(json!([entry]));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let digest = Digest::of(&inner).to_string();
        statuses.push(proxy.put_manifest("app", &digest, OCI_INDEX, &inner).status);
        inner = index(json!([described(OCI_INDEX, &inner)]));
    }
    assert_eq!((statuses[0], statuses[5]), (201, 400), "{statuses:?}");
    assert!(registry.manifest("app", "v1").is_none());
}

#[test]
fn a_layer_that_unpacks_to_far_more_than_its_size_takes_no_memory() {
    let (sandbox, registry, proxy) = start(&["-f", "exclude:pattern=etc/motd"]);
    let push = |name: &str, zeros: usize| {
        let layer = tar(&[("etc/motd", b"hello"), ("zeros", &vec![0; zeros])]);
        let image = TestImage::with_layers(name, vec![layer]);
        let stored = Pack::Zstd.pack(&image.layers[0]);
        assert!(stored.len() < 20_000, "{}", stored.len());
        proxy.put_blob("app", &stored);
        proxy.put_blob("app", &image.config);
        let manifest = oci_manifest(&image, Pack::Zstd);
        let answer = proxy.put_manifest("app", name, OCI_MANIFEST, manifest.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert!(registry.manifest("app", name).is_some());
        proxy.peak_memory()
    };
    let (before, after) = (push("small", 1_000_000), push("bomb", 50_000_000));
    assert!(after < before + (25 << 20), "{} MiB, {} MiB", before >> 20, after >> 20);
    proxy.stop().exits(0);
    assert!(sandbox.tree("tmp").is_empty());
}

#[test]
fn no_header_says_where_an_upload_is() {
    let (_sandbox, registry, proxy) = start(&[]);
    let lies = [
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-For: 10.0.0.1",
        "Forwarded: host=evil.example;proto=https",
        "X-Original-URL: /v2/evil/blobs/uploads/",
        "X-HTTP-Method-Override: DELETE",
    ];
    let answer = proxy.request("POST", "/v2/app/blobs/uploads/", &lies, b"");
    assert!(answer.header("location").starts_with("/v2/app/blobs/uploads/"), "{answer:?}");
    assert!(!format!("{answer:?}").contains("evil"), "{answer:?}");
    for head in [
        "POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: evil.example\r\n",
        "POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nHost: evil.example\r\n",
        "POST http://evil.example/v2/app/blobs/uploads/ HTTP/1.1\r\nHost: evil.example\r\n",
        "POST /v2/app/blobs/uploads/ HTTP/1.0\r\n",
    ] {
        let answer = proxy.raw(format!("{head}Connection: close\r\n\r\n").as_bytes(), false);
        assert_eq!(answer.status, 202, "{head}");
        assert!(answer.header("location").starts_with("/v2/app/blobs/uploads/"), "{answer:?}");
    }
    for head in ["CONNECT evil.example:443 HTTP/1.1", "OPTIONS * HTTP/1.1", "GET evil HTTP/1.1"] {
        let answer =
            proxy.raw(format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(), false);
        assert!((400..500).contains(&answer.status), "{head}: {answer:?}");
    }
    assert!(registry.requests().is_empty());
}
