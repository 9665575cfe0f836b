//! The distribution specification 1.1 through `occystrap proxy`: manifests, tags, referrers, deletion. The workflows are
//! those of its conformance suite.

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::multi::{Multi, described};
use crate::support::proxy::{Answer, ProxyProcess};
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

/// What a client pushes: blobs, then manifests; the last one is the one that it means.
#[derive(Default)]
struct Pushed {
    blobs: Vec<Vec<u8>>,
    manifests: Vec<(&'static str, Vec<u8>)>,
}

impl Pushed {
    /// A manifest of an image.
    fn image(pack: Pack) -> Self {
        let image = TestImage::tiny(&format!("{pack:?}"));
        let layers = image.layers.iter().map(|layer| pack.pack(layer));
        Self {
            blobs: layers.chain([image.config.clone()]).collect(),
            manifests: vec![(OCI_MANIFEST, oci_manifest(&image, pack).into_bytes())],
        }
    }

    /// A manifest of an artifact with these layers.
    fn artifact(kind: &str, layers: &[&[u8]]) -> Self {
        let empty = "application/vnd.oci.empty.v1+json";
        let listed = layers.iter().map(|layer| described("text/plain", layer));
        let document = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "artifactType": kind, "config": described(empty, b"{}"),
            "layers": Value::from_iter(listed) });
        let blobs = [&[b"{}".as_slice()], layers].concat();
        Self {
            blobs: blobs.iter().map(|blob| blob.to_vec()).collect(),
            manifests: vec![(OCI_MANIFEST, document.to_string().into_bytes())],
        }
    }

    /// An index of what others push.
    fn index(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        let mut listed = Vec::new();
        for part in parts {
            let (media_type, bytes) = part.manifests.last().unwrap();
            listed.push(described(media_type, bytes));
            all.blobs.extend(part.blobs);
            all.manifests.extend(part.manifests);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed });
        all.manifests.push((OCI_INDEX, index.to_string().into_bytes()));
        all
    }

    /// Changes the last manifest. Its bytes are spaced as no serializer does.
    fn edited(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        let (_, bytes) = self.manifests.last_mut().unwrap();
        let mut document = serde_json::from_slice(bytes).unwrap();
        edit(&mut document);
        *bytes = format!(" {}\n\n", document.to_string().replace("\":", "\"  : ")).into_bytes();
        self
    }

    /// The manifest that the client means.
    fn last(&self) -> &(&'static str, Vec<u8>) {
        self.manifests.last().unwrap()
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.last().1)
    }

    /// Sends everything but the last manifest.
    #[track_caller]
    fn send_parts(&self, proxy: &ProxyProcess, name: &str) {
        self.blobs.iter().for_each(|blob| _ = proxy.put_blob(name, blob));
        let (_, parts) = self.manifests.split_last().unwrap();
        for (media_type, bytes) in parts {
            let target = Digest::of(bytes).to_string();
            let answer = proxy.put_manifest(name, &target, media_type, bytes);
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }

    /// Sends everything, and the last manifest under `target`.
    #[track_caller]
    fn send(&self, proxy: &ProxyProcess, name: &str, target: &str) -> Answer {
        self.send_parts(proxy, name);
        let (media_type, bytes) = self.last();
        let answer = proxy.put_manifest(name, target, media_type, bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let digest = Digest::of(bytes);
        assert_eq!(answer.header("location"), format!("/v2/{name}/manifests/{digest}"));
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(answer.header("occystrap-downstream-digest"), "");
        answer
    }
}

fn subject(digest: Digest) -> Value {
    json!({ "mediaType": OCI_MANIFEST, "digest": digest.to_string(), "size": 1 })
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
        eprintln!("{what}");
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
    // A registry gets layers compressed, as from every other command.
    let (_, landed) = registry.manifest("team/app", "v1").unwrap();
    assert_ne!(landed, *bytes);
    assert_eq!(answer.header("occystrap-downstream-digest"), Digest::of(&landed).to_string());
    for target in ["v1".to_owned(), pushed.digest().to_string()] {
        assert!(proxy.get(&format!("/v2/app/manifests/{target}")).body == *bytes, "{target}");
    }
    let layer = proxy.get(&format!("/v2/app/blobs/{}", Digest::of(&pushed.blobs[0])));
    assert!(layer.body == pushed.blobs[0]);
}

#[test]
fn the_subject_of_a_manifest_is_told_where_the_registry_lists_it() {
    let (_sandbox, registry, proxy) = start(&[]);
    let image = Pushed::image(Pack::Gzip);
    let digest = image.digest();
    let refers = |about: Digest| {
        [
            Pushed::artifact("a/b", &[b"sbom"]).edited(|one| one["subject"] = subject(about)),
            Pushed::index(vec![Pushed::image(Pack::Gzip)])
                .edited(|one| one["subject"] = subject(about)),
        ]
    };
    // A registry without the list: no header says that it has one.
    for (number, one) in refers(digest).into_iter().enumerate() {
        let answer = one.send(&proxy, "app", &one.digest().to_string());
        assert_eq!(answer.header("oci-subject"), "", "{number}");
    }
    drop(proxy);
    let sandbox = Sandbox::new();
    registry.list_referrers(10);
    let proxy = ProxyProcess::start(&sandbox, &format!("{}/team", registry.url_host()), &[]);
    // Whether the subject is there or not.
    for about in [digest, Digest::of(b"absent")] {
        for one in refers(about) {
            let answer = one.send(&proxy, "app", &one.digest().to_string());
            assert_eq!(answer.header("oci-subject"), about.to_string());
        }
    }
    assert_eq!(image.send(&proxy, "app", "v1").header("oci-subject"), "");
}

#[test]
fn referrers_are_listed_and_filtered() {
    for has_list in [true, false] {
        let (_sandbox, registry, proxy) = start(&[]);
        if has_list {
            registry.list_referrers(1);
        }
        let image = Pushed::image(Pack::Gzip);
        image.send(&proxy, "app", "v1");
        let path = format!("/v2/app/referrers/{}", image.digest());
        // Nothing refers to it, nor to anything in a repository that does not exist.
        for path in [path.clone(), path.replace("app", "none")] {
            let answer = proxy.get(&path);
            assert_eq!((answer.status, answer.header("content-type")), (200, OCI_INDEX));
            let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
            assert_eq!(answer.json(), index);
        }
        let kinds = ["application/spdx+json", "application/vnd.example+sig", "a/b"];
        let mut digests = Vec::new();
        for kind in kinds {
            let one = Pushed::artifact(kind, &[kind.as_bytes()])
                .edited(|one| one["subject"] = subject(image.digest()));
            one.send(&proxy, "app", &one.digest().to_string());
            digests.push(one.digest().to_string());
        }
        if !has_list {
            // What refers to an image is in an index under a tag, which its clients write.
            let listed: Vec<Digest> = digests.iter().map(|one| one.parse().unwrap()).collect();
            let of = image.digest();
            crate::support::registry_referrers::list_under_tag(&registry, "team/app", of, &listed);
        }
        let listed = |answer: &Answer| -> Vec<String> {
            let index = answer.json();
            let entries = index["manifests"].as_array().unwrap();
            entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
        };
        let answer = proxy.get(&path);
        assert_eq!(answer.header("oci-filters-applied"), "");
        let (mut found, mut expected) = (listed(&answer), digests.clone());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        for (kind, digest) in kinds.iter().zip(&digests) {
            let kind = kind.replace('+', "%2B").replace('/', "%2F");
            let answer = proxy.get(&format!("{path}?artifactType={kind}"));
            assert_eq!(answer.header("oci-filters-applied"), "artifactType");
            assert_eq!(listed(&answer), [digest.as_str()]);
        }
        let answer = proxy.get(&format!("{path}?artifactType=none/such"));
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        assert!(listed(&answer).is_empty());
        proxy.get("/v2/app/referrers/v1").refused(400, "DIGEST_INVALID");
    }
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

#[test]
fn tags_are_listed_in_order_and_in_pages() {
    let (_sandbox, registry, proxy) = start(&[]);
    registry.set_tag_page(2);
    proxy.get("/v2/app/tags/list").refused(404, "NAME_UNKNOWN");
    let pushed = Pushed::image(Pack::Gzip);
    pushed.send(&proxy, "app", &pushed.digest().to_string());
    let tags = |query: &str| {
        let answer = proxy.get(&format!("/v2/app/tags/list{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/json");
        let document = answer.json();
        assert_eq!(document["name"], "app");
        let tags: Vec<String> = serde_json::from_value(document["tags"].clone()).unwrap();
        (tags.join(" "), answer.header("link").to_owned())
    };
    assert_eq!(tags("").0, "");
    for tag in ["v2", "v10", "latest", "V1", "_x"] {
        pushed.send(&proxy, "app", tag);
    }
    let link =
        |n: usize, last: &str| format!("</v2/app/tags/list?n={n}&last={last}>; rel=\"next\"");
    let all = "V1 _x latest v10 v2";
    for (query, found, next) in [
        ("", all, String::new()),
        ("?n=5", all, String::new()),
        ("?n=9999999", all, String::new()),
        ("?n=2", "V1 _x", link(2, "_x")),
        ("?n=2&last=_x", "latest v10", link(2, "v10")),
        ("?n=2&last=v10", "v2", String::new()),
        ("?last=latest", "v10 v2", String::new()),
        // One that does not exist.
        ("?last=m&n=1", "v10", link(1, "v10")),
        ("?last=v2", "", String::new()),
        ("?n=0", "", String::new()),
    ] {
        assert_eq!(tags(query), (found.to_owned(), next), "{query}");
    }
    for n in ["-1", "x", "99999999999999999999999", ""] {
        assert_eq!(proxy.get(&format!("/v2/app/tags/list?n={n}")).status, 400, "{n}");
    }
}

#[test]
fn clients_delete_only_where_the_user_allows_it() {
    let (_sandbox, registry, proxy) = start(&[]);
    registry.allow_deletes(true);
    let pushed = Pushed::image(Pack::Gzip);
    pushed.send(&proxy, "app", "v1");
    let (digest, blob) = (pushed.digest(), Digest::of(&pushed.blobs[0]));
    let paths = ["manifests/v1".to_owned(), format!("manifests/{digest}"), format!("blobs/{blob}")];
    let delete = |proxy: &ProxyProcess, path: &str| {
        proxy.request("DELETE", &format!("/v2/app/{path}"), &[], b"")
    };
    for path in &paths {
        delete(&proxy, path).refused(405, "UNSUPPORTED");
        assert_eq!(proxy.get(&format!("/v2/app/{path}")).status, 200);
    }
    for path in ["tags/list", &format!("referrers/{digest}"), "blobs/uploads/"] {
        delete(&proxy, path).refused(405, "UNSUPPORTED");
    }
    assert_eq!(registry.requests_of("DELETE", "").len(), 0);
    drop(proxy);
    let (_sandbox, registry, proxy) = start(&["--allow-delete"]);
    pushed.send(&proxy, "app", "v1");
    // The registry does not.
    delete(&proxy, "manifests/v1").refused(405, "UNSUPPORTED");
    registry.allow_deletes(true);
    for path in &paths {
        assert_eq!(delete(&proxy, path).status, 202, "{path}");
        assert_eq!(proxy.get(&format!("/v2/app/{path}")).status, 404);
        assert_eq!(delete(&proxy, path).status, 404, "{path}");
    }
    assert!(registry.manifest("team/app", &digest.to_string()).is_none());
    assert!(registry.blob("team/app", blob).is_none());
    assert!(registry.blob("team/app", Digest::of(&pushed.blobs[1])).is_some());
    // The blob is not believed to be there still.
    let (media_type, bytes) = pushed.last();
    let answer = proxy.put_manifest("app", "v2", media_type, bytes);
    answer.refused(400, "MANIFEST_BLOB_UNKNOWN");
    pushed.send(&proxy, "app", "v2");
}

#[test]
fn no_answer_tells_of_other_repositories_or_of_the_registry() {
    let (_sandbox, registry, proxy) = start(&[]);
    let secret = Pushed::image(Pack::Gzip);
    secret.send(&proxy, "secret/app", "v1");
    let blob = Digest::of(&secret.blobs[0]);
    let absent = Digest::of(b"nobody has this");
    let upload = proxy.begin_upload("secret/app");
    let upload = upload.rsplit_once('/').unwrap().1;
    // What another repository has, and what none has: the answers are the same but for the digest.
    let pairs = [
        ("GET", format!("/v2/app/blobs/{blob}"), format!("/v2/app/blobs/{absent}")),
        (
            "POST",
            format!("/v2/app/blobs/uploads/?mount={blob}"),
            format!("/v2/app/blobs/uploads/?mount={absent}"),
        ),
        (
            "GET",
            format!("/v2/app/manifests/{}", secret.digest()),
            format!("/v2/app/manifests/{absent}"),
        ),
        (
            "GET",
            format!("/v2/app/referrers/{}", secret.digest()),
            format!("/v2/app/referrers/{absent}"),
        ),
        (
            "GET",
            format!("/v2/app/blobs/uploads/{upload}"),
            "/v2/app/blobs/uploads/00000000000000000000000000000000".to_owned(),
        ),
        ("GET", "/v2/secret/tags/list".to_owned(), "/v2/other/tags/list".to_owned()),
    ];
    for (method, one, other) in &pairs {
        let asked = |path: &str| {
            let answer = proxy.request(method, path, &[], b"");
            let hidden = [&blob.to_string(), &absent.to_string(), &secret.digest().to_string()];
            let text = hidden.iter().fold(answer.text(), |text, hidden| text.replace(*hidden, "D"));
            for word in ["secret/app", "team", &registry.url_host()] {
                assert!(!format!("{:?}", answer.headers).contains(word), "{answer:?}");
                assert!(!text.contains(word), "{text}");
            }
            (answer.status, text.replace("'secret'", "'other'"))
        };
        assert_eq!(asked(one), asked(other), "{one}");
    }
    let (media_type, bytes) = secret.last();
    let answer = proxy.put_manifest("app", "v1", media_type, bytes);
    answer.refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert!(!answer.text().contains("team"), "{}", answer.text());
}
