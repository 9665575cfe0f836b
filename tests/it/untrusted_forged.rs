//! `verify --untrusted`: receipts from which something was removed, or that were invented. Everything that they still name
//! exists.

use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::receipts::{Change, edit, keep, sandbox, verdict, write};
use crate::support::registry::Registry;

/// A file or folder of the sandbox that is changed beside the receipt.
type Damage = fn(&Sandbox);

fn rewrite(sandbox: &Sandbox, path: &str, change: impl FnOnce(String) -> String) {
    let path = sandbox.path(path);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, change(text)).unwrap();
}

#[test]
fn without_the_way_to_it_an_image_is_not_verified() {
    let no_list: Change = |document| keep(document, |role| role != "manifest" && role != "catalog");
    let no_catalog: Change = |document| keep(document, |role| role != "catalog");
    let no_manifest: Change = |document| keep(document, |role| role != "manifest");
    // No other expectation covers the bytes between the members.
    let no_frame: Change = |document| {
        keep(document, |role| role != "image");
        document["journal"] = Value::Array(Vec::new());
    };
    let cases: [(&str, &str, Change, Damage); 8] = [
        ("dir", "the manifest", no_list, |sandbox| {
            std::fs::remove_file(sandbox.path("srv/x/manifest.json")).unwrap();
            std::fs::remove_file(sandbox.path("srv/x/catalog.json")).unwrap();
        }),
        ("dir", "of catalog.json", no_catalog, |_| {}),
        ("dir", "of catalog.json", |document| document["image"]["tag"] = "other".into(), |_| {}),
        ("oci-layout", "the manifest", no_list, |sandbox| {
            std::fs::remove_file(sandbox.path("srv/x/oci-layout")).unwrap();
            std::fs::write(sandbox.path("srv/x/index.json"), "{}").unwrap();
        }),
        ("oci-layout", "the entry '1' of index.json", no_catalog, |_| {}),
        (
            "oci-layout",
            "under its digest",
            |document| {
                let layer = document["expectations"].as_array_mut().unwrap();
                let layer = layer.iter_mut().find(|one| one["role"]["layer"] == 0).unwrap();
                layer["place"]["file"]["path"] = "elsewhere".into();
            },
            |sandbox| {
                let folder = sandbox.path("srv/x");
                for blob in std::fs::read_dir(folder.join("blobs/sha256")).unwrap() {
                    std::fs::copy(blob.unwrap().path(), folder.join("elsewhere")).unwrap();
                }
            },
        ),
        ("tar", "manifest.json", no_manifest, |_| {}),
        ("tar", "the archive as a whole", no_frame, |_| {}),
    ];
    for (scheme, why, change, damage) in cases {
        let sandbox = sandbox();
        let receipt = write(&sandbox, scheme, "x", "");
        assert_eq!(verdict(&sandbox, &receipt, &[]).0, "verified");
        edit(&receipt, change);
        damage(&sandbox);
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "unconfirmed", "{scheme}, {why}: {line}");
        assert!(line.contains(why), "{scheme}, {why}: {line}");
    }
}

#[test]
fn a_manifest_that_leads_elsewhere_is_seen_though_the_receipt_has_its_digest() {
    type Garble = fn(String) -> String;
    let garbled: [(&str, Garble); 4] = [
        ("cannot be followed", |text| text.replace("\"Config\"", "\"Cxnfig\"")),
        ("other files", |text| text.replacen("/layer.tar", "/layer.tax", 1)),
        ("lists 2 images", |text| format!("[{0},{0}]", text.trim().trim_matches(['[', ']']))),
        ("in two ways", |text| text.replace("\"Config\"", "\"config\":\"x\",\"Config\"")),
    ];
    for (why, change) in garbled {
        let sandbox = sandbox();
        let receipt = write(&sandbox, "dir", "x", "");
        rewrite(&sandbox, "srv/x/manifest.json", change);
        edit(&receipt, |document| promise(document, &sandbox, "srv/x/manifest.json"));
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "failed", "{why}: {line}");
        assert!(line.contains(why), "{why}: {line}");
    }
}

/// A forged receipt: the manifest and its journal are what stands there now.
fn promise(document: &mut Value, sandbox: &Sandbox, path: &str) {
    let bytes = std::fs::read(sandbox.path(path)).unwrap();
    let digest = occystrap_base::oci::Digest::of(&bytes).to_string();
    let all = document["expectations"].as_array_mut().unwrap();
    let one = all.iter_mut().find(|one| one["role"] == "manifest").unwrap();
    (one["size"], one["digest"]) = (bytes.len().into(), digest.clone().into());
    document["journal"] = Value::Array(Vec::new());
}

#[test]
fn an_archive_whose_list_was_garbled_is_seen() {
    let sandbox = sandbox();
    let receipt = write(&sandbox, "tar", "x.tar", "");
    // In the archive, at the place of the list.
    let path = sandbox.path("srv/x.tar");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).rposition(|part| part == b"\"Config\"").unwrap();
    bytes[at + 2] = b'x';
    std::fs::write(&path, &bytes).unwrap();
    // With nothing but the members promised, which are all there.
    edit(&receipt, |document| {
        keep(document, |role| role != "manifest" && role != "image");
        document["journal"] = Value::Array(Vec::new());
    });
    assert_eq!(verdict(&sandbox, &receipt, &[]).0, "unconfirmed");
    // With a journal of ours and the whole of it promised as it is now.
    std::fs::remove_file(&path).unwrap();
    let receipt = write(&sandbox, "tar", "x.tar", "");
    std::fs::write(&path, &bytes).unwrap();
    edit(&receipt, |document| {
        let all = document["expectations"].as_array_mut().unwrap();
        let one = all.iter_mut().find(|one| one["role"] == "manifest").unwrap();
        let offset = usize::try_from(one["place"]["part"]["offset"].as_u64().unwrap()).unwrap();
        let size = usize::try_from(one["size"].as_u64().unwrap()).unwrap();
        let digest = occystrap_base::oci::Digest::of(&bytes[offset..offset + size]).to_string();
        one["digest"] = digest.clone().into();
        for extent in document["journal"][0]["extents"].as_array_mut().unwrap() {
            if extent["offset"] == offset {
                extent["digest"] = digest.clone().into();
            }
        }
    });
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "failed", "{line}");
    assert!(line.contains("cannot be followed"), "{line}");
    // Under another name than the receipt has.
    std::fs::remove_file(&path).unwrap();
    let receipt = write(&sandbox, "tar", "x.tar", "");
    edit(&receipt, |document| document["image"]["name"] = "prod/payments".into());
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "failed", "{line}");
    assert!(line.contains("does not name 'prod/payments:1'"), "{line}");
}

#[test]
fn a_tag_at_a_registry_must_lead_to_the_image() {
    let sandbox = sandbox();
    let registry = Registry::start();
    let host = registry.url_host();
    let receipt = sandbox.path("receipt").display().to_string();
    let to = format!("registry://{host}/team/app:1");
    let from = sandbox.uri("tar", "in.tar");
    sandbox.process(&from, &to, &["--insecure", "--receipt", &receipt]).exits(0);
    let good = std::fs::read(&receipt).unwrap();
    let granted = ["--insecure", "--allow-registry", host.as_str()];
    assert_eq!(verdict(&sandbox, &receipt, &granted).0, "verified");
    let other = format!("registry://{host}/team/app:other");
    // The tag is not there, and the manifest is not asked for.
    edit(&receipt, |document| {
        keep(document, |role| role != "manifest");
        document["destination"] = other.clone().into();
    });
    let (status, line) = verdict(&sandbox, &receipt, &granted);
    assert_eq!(status, "unconfirmed", "{line}");
    assert!(line.contains("the manifest under 'other'"), "{line}");
    // Another one of its manifests is.
    std::fs::write(&receipt, &good).unwrap();
    edit(&receipt, |document| document["destination"] = other.into());
    assert_eq!(verdict(&sandbox, &receipt, &granted).0, "unconfirmed");
    // The tag leads to another image, whose manifest the receipt promises.
    std::fs::write(&receipt, &good).unwrap();
    let manifest = json!({ "schemaVersion": 2, "config": {}, "layers": [] }).to_string();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("team/app", "1", media_type, &manifest);
    edit(&receipt, |document| {
        let all = document["expectations"].as_array_mut().unwrap();
        let one = all.iter_mut().find(|one| one["role"] == "manifest").unwrap();
        one["size"] = manifest.len().into();
        one["digest"] = occystrap_base::oci::Digest::of(manifest.as_bytes()).to_string().into();
    });
    let (status, line) = verdict(&sandbox, &receipt, &granted);
    assert_eq!(status, "failed", "{line}");
}

#[test]
fn a_receipt_is_of_the_plugin_that_answers_to_its_scheme() {
    let sandbox = sandbox();
    let receipt = write(&sandbox, "dir", "x", "");
    edit(&receipt, |document| document["plugin"]["name"] = "inventory".into());
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "unconfirmed");
    assert!(line.contains("made by plugin 'inventory', 'dir://' is that of 'dir'"), "{line}");
    let said = sandbox.run(&["verify", &receipt]);
    said.exits(0).says("warning: the receipt was made by plugin 'inventory'");
    // A plugin of another version, as after an update.
    let receipt = write(&sandbox, "dir", "x", "");
    edit(&receipt, |document| {
        document["plugin"]["sha256"] = format!("sha256:{}", "0".repeat(64)).into();
    });
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "verified");
    assert!(line.contains("\"note\":\"the receipt was made by plugin 'dir'"), "{line}");
}

#[test]
fn a_receipt_that_was_cut_is_not_verified_by_its_owner_either() {
    for scheme in ["dir", "oci-layout", "hostile"] {
        let sandbox = sandbox();
        let receipt = write(&sandbox, scheme, "x", "");
        let plugin = crate::support::hostile::component().display().to_string();
        let verify = |more: &[&str]| {
            sandbox.run(&[&["verify", &receipt, "--plugin", &plugin], more].concat())
        };
        verify(&[]).verified();
        verify(&["--fast"]).verified();
        edit(&receipt, |document| keep(document, |role| role == "config"));
        for more in [&[][..], &["--fast"]] {
            let said = verify(more);
            said.exits(3).says("the receipt does not say enough").says("1 UNCONFIRMED");
        }
    }
}
