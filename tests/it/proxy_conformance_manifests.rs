//! The distribution specification 1.1 through `occystrap proxy`: manifests. The workflows are those of its conformance
//! suite.

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::multi::Multi;
use crate::support::proxy::ProxyProcess;
use crate::support::pushed::{Pushed, subject};
use crate::support::registry::Registry;
use crate::support::shape::{docker_manifest, oci_manifest};

/// Largest manifest (distribution specification, "Pushing Manifests").
const LARGEST: usize = 4 * 1024 * 1024;

/// A proxy in front of a registry. The names there have a prefix that no client must see.
fn start(more: &[&str]) -> (Sandbox, Registry, ProxyProcess) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &format!("{}/team", registry.url_host()), more);
    (sandbox, registry, proxy)
}

#[test]
fn every_kind_of_manifest_lands_byte_for_byte() {
    let (_sandbox, registry, proxy) = start(&[]);
    let docker = TestImage::tiny("docker");
    let docker = Pushed {
        blobs: vec![Pack::Gzip.pack(&docker.layers[0]), docker.config.clone()],
        manifests: vec![(DOCKER_MANIFEST, docker_manifest(&docker).into_bytes())],
    };
    let Multi { blobs, manifests } = Multi::build();
    let nothing = Digest::of(b"no such manifest");
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let cases = [
        ("an image", Pushed::image(Pack::Gzip)),
        ("an image with zstd", Pushed::image(Pack::Zstd)),
        ("an image of Docker", docker),
        ("an index with an index and an attestation", Pushed { blobs, manifests }),
        (
            "an index of an index",
            Pushed::index(vec![Pushed::index(vec![Pushed::image(Pack::Gzip)])]),
        ),
        ("an artifact", Pushed::artifact("application/vnd.example+type", &[b"one", b"two"])),
        ("an artifact without layers", Pushed::artifact("application/vnd.example+type", &[])),
        (
            "an artifact whose layer is an empty document",
            Pushed::artifact("application/vnd.example+type", &[b"{}"]),
        ),
        (
            "an index of artifacts",
            Pushed::index(vec![Pushed::artifact("a/b", &[b"1"]), Pushed::artifact("a/c", &[b"2"])])
                .edited(|index| index["artifactType"] = "application/vnd.example+index".into()),
        ),
        (
            "an image with an absent subject",
            Pushed::image(Pack::Gzip).edited(|image| image["subject"] = subject(nothing)),
        ),
        (
            "an artifact with an absent subject",
            Pushed::artifact("a/b", &[b"3"])
                .edited(|artifact| artifact["subject"] = subject(nothing)),
        ),
        (
            "an index with an absent subject",
            Pushed::index(vec![Pushed::image(Pack::Gzip)])
                .edited(|index| index["subject"] = subject(nothing)),
        ),
        (
            "content in the manifest itself",
            Pushed::artifact("a/b", &[b"data"])
                .edited(|artifact| artifact["layers"][0]["data"] = "ZGF0YQ==".into()),
        ),
        (
            "fields that no specification has",
            Pushed::image(Pack::Gzip).edited(|image| {
                image["org.example.extra"] = json!({ "a": [1, 2.50, null] });
                image["layers"][0]["org.example.extra"] = "kept".into();
                image["annotations"] = json!({ "org.example.note": "\u{1f600}" });
            }),
        ),
        ("an index of nothing", Pushed::index(Vec::new())),
    ];
    for (number, (what, pushed)) in cases.into_iter().enumerate() {
        let (name, tag) = (format!("kinds/no{number}"), "v1");
        let (media_type, bytes) = pushed.last();
        let digest = pushed.digest().to_string();
        pushed.send(&proxy, &name, &digest);
        assert!(registry.manifest(&format!("team/{name}"), tag).is_none(), "{what}");
        pushed.send(&proxy, &name, tag);
        for target in [tag, &digest] {
            let landed = registry.manifest(&format!("team/{name}"), target).unwrap();
            assert_eq!((landed.0.as_str(), &landed.1[..]), (*media_type, &bytes[..]), "{what}");
            let path = format!("/v2/{name}/manifests/{target}");
            let (got, head) = (proxy.get(&path), proxy.request("HEAD", &path, &[], b""));
            assert!(got.status == 200 && got.body == *bytes, "{what}");
            assert_eq!((head.status, head.body.len()), (200, 0), "{what}");
            for answer in [got, head] {
                assert_eq!(answer.header("content-type"), *media_type, "{what}");
                assert_eq!(answer.header("docker-content-digest"), digest, "{what}");
                assert_eq!(answer.header("content-length"), bytes.len().to_string(), "{what}");
            }
        }
    }
    // A layer that registries need not have: its bytes are where its URLs say.
    let plain = TestImage::tiny("foreign");
    let image = Pushed {
        blobs: vec![plain.config.clone()],
        manifests: vec![(OCI_MANIFEST, oci_manifest(&plain, Pack::Gzip).into_bytes())],
    };
    let image = image.edited(|image| {
        image["layers"][0]["mediaType"] = foreign.into();
        image["layers"][0]["urls"] = json!(["https://example.invalid/layer"]);
    });
    image.send(&proxy, "kinds/foreign", "v1");
    assert_eq!(registry.manifest("team/kinds/foreign", "v1").unwrap().1, image.last().1);
    proxy.stop().exits(0);
}

#[test]
fn the_media_type_of_a_manifest_is_the_one_in_it() {
    let (_sandbox, registry, proxy) = start(&[]);
    let pushed = Pushed::image(Pack::Gzip);
    pushed.send_parts(&proxy, "app");
    for (number, said) in ["text/plain", OCI_INDEX, DOCKER_MANIFEST].into_iter().enumerate() {
        let tag = format!("v{number}");
        assert_eq!(proxy.put_manifest("app", &tag, said, &pushed.last().1).status, 201, "{said}");
        assert_eq!(registry.manifest("team/app", &tag).unwrap().0, OCI_MANIFEST);
        let answer = proxy.get(&format!("/v2/app/manifests/{tag}"));
        assert_eq!(answer.header("content-type"), OCI_MANIFEST);
    }
}

#[test]
fn an_image_with_plain_layers_is_found_as_it_was_pushed() {
    let (_sandbox, registry, proxy) = start(&[]);
    let pushed = Pushed::image(Pack::Plain);
    let (media_type, bytes) = pushed.last();
    pushed.send_parts(&proxy, "app");
    let answer = proxy.put_manifest("app", "v1", media_type, bytes);
    assert_eq!(answer.status, 201, "{}", answer.text());
    // Without filters, layers stay plain: the client finds the digest that it pushed at the registry.
    assert_eq!(registry.manifest("team/app", "v1").unwrap().1, *bytes);
    assert_eq!(answer.header("occystrap-downstream-digest"), "");
    for target in ["v1".to_owned(), pushed.digest().to_string()] {
        assert!(proxy.get(&format!("/v2/app/manifests/{target}")).body == *bytes, "{target}");
    }
    let layer = proxy.get(&format!("/v2/app/blobs/{}", Digest::of(&pushed.blobs[0])));
    assert!(layer.body == pushed.blobs[0]);
}

#[test]
fn manifests_have_up_to_four_mebibytes() {
    let (_sandbox, registry, proxy) = start(&[]);
    let sized = |size: usize| {
        let with = |note: usize| {
            Pushed::image(Pack::Gzip).edited(|image| {
                image["annotations"] = json!({ "org.example.note": "x".repeat(note) });
            })
        };
        let pushed = with(size - with(0).last().1.len());
        assert_eq!(pushed.last().1.len(), size);
        pushed
    };
    let pushed = sized(LARGEST);
    pushed.send(&proxy, "app", "large");
    assert!(registry.manifest("team/app", "large").unwrap().1 == pushed.last().1);
    let pushed = sized(LARGEST + 1);
    let answer = proxy.put_manifest("app", "larger", OCI_MANIFEST, &pushed.last().1);
    answer.refused(413, "MANIFEST_INVALID");
    assert!(registry.manifest("team/app", "larger").is_none());
}

#[test]
fn what_is_no_manifest_is_refused() {
    let (_sandbox, registry, proxy) = start(&[]);
    let pushed = Pushed::image(Pack::Gzip);
    pushed.send_parts(&proxy, "app");
    let (_, good) = pushed.last();
    let text = String::from_utf8(good.clone()).unwrap();
    let edited = |edit: fn(&mut Value)| Pushed::image(Pack::Gzip).edited(edit).last().1.clone();
    let twice = text.replacen("\"schemaVersion\"", "\"layers\":[],\"schemaVersion\"", 1);
    let schema_1 = json!({ "schemaVersion": 1, "name": "app", "tag": "v1", "fsLayers": [],
        "history": [], "signatures": [] });
    let invalid: [(&str, Vec<u8>); 14] = [
        ("nothing", Vec::new()),
        ("no JSON", b"not JSON".to_vec()),
        ("not all of it", good[..good.len() - 1].to_vec()),
        ("more than one document", [&good[..], b"{}"].concat()),
        ("no object", b"[]".to_vec()),
        ("a text", b"\"manifest\"".to_vec()),
        ("null", b"null".to_vec()),
        ("no UTF-8", b"{\"schemaVersion\":2,\"x\":\"\xff\"}".to_vec()),
        ("schema 1", schema_1.to_string().into_bytes()),
        ("layers twice", twice.into_bytes()),
        ("no config", edited(|image| _ = image.as_object_mut().unwrap().remove("config"))),
        ("a config that is no descriptor", edited(|image| image["config"] = 1.into())),
        ("a digest that is none", edited(|image| image["layers"][0]["digest"] = "sha256:1".into())),
        ("a negative size", edited(|image| image["layers"][0]["size"] = (-1).into())),
    ];
    for (what, bytes) in &invalid {
        let answer = proxy.put_manifest("app", "v1", OCI_MANIFEST, bytes);
        assert!(answer.status == 400 && answer.code() == "MANIFEST_INVALID", "{what}: {answer:?}");
        answer.refused(400, "MANIFEST_INVALID");
        // By the right digest it is refused as well.
        let digest = Digest::of(bytes).to_string();
        proxy.put_manifest("app", &digest, OCI_MANIFEST, bytes).refused(400, "MANIFEST_INVALID");
    }
    // Under the digest of other bytes, and what is neither a digest nor a tag.
    let other = Digest::of(b"other").to_string();
    proxy.put_manifest("app", &other, OCI_MANIFEST, good).refused(400, "DIGEST_INVALID");
    proxy.put_manifest("app", "sha256:12", OCI_MANIFEST, good).refused(400, "DIGEST_INVALID");
    proxy.put_manifest("app", "v%20", OCI_MANIFEST, good);
    for tag in [".v1", "-v1", &"v".repeat(129)] {
        proxy.put_manifest("app", tag, OCI_MANIFEST, good).refused(400, "MANIFEST_INVALID");
        proxy.get(&format!("/v2/app/manifests/{tag}")).refused(400, "MANIFEST_INVALID");
    }
    let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    proxy.put_manifest("app", "v1", old, good).refused(400, "MANIFEST_INVALID");
    // An index of a manifest that is not there.
    let (_, index) = Pushed::index(vec![Pushed::image(Pack::Zstd)]).last().clone();
    proxy.put_manifest("app", "v1", OCI_INDEX, &index).refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(registry.requests_of("PUT", "/manifests/").len(), 0);
    for target in ["v1", &other] {
        proxy.get(&format!("/v2/app/manifests/{target}")).refused(404, "MANIFEST_UNKNOWN");
        let head = proxy.request("HEAD", &format!("/v2/app/manifests/{target}"), &[], b"");
        assert_eq!((head.status, head.body.len()), (404, 0));
    }
}
