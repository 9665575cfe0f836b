//! The distribution specification 1.1 through `occystrap proxy`: tags, referrers, deletion, and what no answer tells. The
//! workflows are those of its conformance suite.

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::OCI_INDEX;
use serde_json::json;

use crate::support::cli::Sandbox;
use crate::support::image::Pack;
use crate::support::proxy::{Answer, ProxyProcess};
use crate::support::pushed::{Pushed, subject};
use crate::support::registry::Registry;
use crate::support::registry_referrers::list_under_tag;

/// A proxy in front of a registry. The names there have a prefix that no client must see.
fn start(more: &[&str]) -> (Sandbox, Registry, ProxyProcess) {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let proxy = ProxyProcess::start(&sandbox, &format!("{}/team", registry.url_host()), more);
    (sandbox, registry, proxy)
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
            list_under_tag(&registry, "team/app", of, &listed);
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
    let absent = Digest::of(b"no repository has this");
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
