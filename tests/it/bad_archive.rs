//! Malformed archives. Each error is one line that says what is wrong and where, and the destination is unchanged.

use serde_json::json;

use crate::support::bystander::Bystander;
use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, gzip, noise, tar, zstd};
use crate::support::shape::{self, Archive, header};

/// The usual archive with something changed.
fn changed(change: impl FnOnce(&mut Archive, &TestImage)) -> Vec<u8> {
    let image = TestImage::new("app:1");
    let mut archive = shape::legacy(&[&image], Pack::Gzip);
    change(&mut archive, &image);
    archive.bytes()
}

/// The usual archive with its second layer stored so.
fn with_layer(stored: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    changed(|archive, image| {
        let name = archive.0[3].0.clone();
        assert!(name.ends_with("/layer.tar"));
        archive.set(&name, stored(&image.layers[1]));
    })
}

#[test]
fn archives_without_a_valid_list_or_its_files_are_refused() {
    let mut old = Bystander::new();
    old.refuses("no manifest.json", &changed(|archive, _| archive.remove("manifest.json")));
    old.refuses("an empty file", b"");
    old.refuses("not a tar", &noise(1, 5_000));
    old.refuses("a tar of something else", &tar(&[("README", b"hello")]));
    for manifest in
        ["null", "[]", "{}", "[null]", "[{}]", "[{\"Config\":7}]", "", "[{", "\u{feff}[]"]
    {
        let what = format!("manifest.json is '{manifest}'");
        old.refuses(&what, &changed(|archive, _| archive.set("manifest.json", manifest)));
    }
    old.refuses(
        "the config is not there",
        &changed(|archive, image| archive.remove(&image.config_path())),
    );
    old.refuses("a layer is not there", &changed(|archive, _| drop(archive.0.remove(3))));
    old.refuses(
        "a layer too few is listed",
        &changed(|archive, _| {
            archive
                .edit("manifest.json", |list| drop(list[0]["Layers"].as_array_mut().unwrap().pop()))
        }),
    );
    old.refuses(
        "a layer too many is listed",
        &changed(|archive, _| {
            archive.edit("manifest.json", |list| {
                let again = list[0]["Layers"][0].clone();
                list[0]["Layers"].as_array_mut().unwrap().push(again);
            });
        }),
    );
    old.refuses(
        "two layers are listed in the wrong order",
        &changed(|archive, _| {
            archive
                .edit("manifest.json", |list| list[0]["Layers"].as_array_mut().unwrap().swap(0, 2))
        }),
    );
    old.refuses(
        "a tag that is no name",
        &changed(|archive, _| {
            archive
                .edit("manifest.json", |list| list[0]["RepoTags"] = json!(["../../etc:\u{1b}[2J"]))
        }),
    );
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn names_that_lead_out() {
    let mut old = Bystander::new();
    for name in ["../../etc/passwd", "/etc/passwd", "a/../../etc/passwd", "", ".."] {
        for place in ["Config", "Layers"] {
            let archive = changed(|archive, _| {
                archive.push(name, "root:x:0:0");
                archive.edit("manifest.json", |list| match place {
                    "Config" => list[0]["Config"] = name.into(),
                    _ => list[0]["Layers"][0] = name.into(),
                });
            });
            old.refuses(&format!("{place} names '{name}'"), &archive);
        }
    }
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn a_member_whose_name_leads_out_is_written_nowhere() {
    // Such a member is only a name in the index: what is not listed is not looked at. One with `..`
    // is refused (`names_that_lead_out`).
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("app:1");
    let mut archive = shape::legacy(&[&image], Pack::Gzip);
    archive.push("/tmp/escaped-occystrap", "x");
    std::fs::create_dir(sandbox.path("in")).unwrap();
    archive.write(&sandbox.path("in/in.tar"));
    sandbox
        .process(&sandbox.uri("tar", "in/in.tar"), &sandbox.uri("dir", "in/out"), &[])
        .verified();
    crate::support::landed::assert_in_directory(&sandbox.path("in/out"), &image);
    let tree = sandbox.tree("");
    assert!(!tree.keys().any(|name| name.contains("escaped")), "{tree:?}");
    assert!(!std::path::Path::new("/tmp/escaped-occystrap").exists());
}

#[test]
fn sizes_and_headers_that_lie() {
    let mut old = Bystander::new();
    old.refuses(
        "a repeated entry",
        &changed(|archive, image| archive.push(image.config_path(), "{}")),
    );
    old.refuses(
        "a repeated manifest",
        &changed(|archive, _| archive.push("./manifest.json", "[]")),
    );
    let huge = |name: &str| {
        let usual = changed(|_, _| ());
        [header(name, 1 << 60).as_bytes().as_slice(), &usual].concat()
    };
    old.refuses("a member of 2^60 bytes", &huge("big"));
    old.refuses("a manifest of 2^60 bytes", &huge("manifest.json"));
    let mut negative = header("manifest.json", 0);
    negative.as_gnu_mut().unwrap().size = [0xff; 12];
    negative.set_cksum();
    old.refuses("a size of minus one", &[negative.as_bytes().as_slice(), &[0; 1024]].concat());
    let mut damaged = changed(|_, _| ());
    damaged[1024] ^= 1;
    old.refuses("a damaged header", &damaged);
    old.refuses(
        "a manifest over 4 MiB",
        &changed(|archive, _| archive.set("manifest.json", format!("[{}]", " ".repeat(4 << 20)))),
    );
    old.refuses(
        "a config over 8 MiB",
        &changed(|archive, image| archive.set(&image.config_path(), vec![b' '; (8 << 20) + 1])),
    );
    let mut longest = header("././@LongLink", 1 << 20);
    longest.set_entry_type(tar::EntryType::GNULongName);
    longest.set_cksum();
    old.refuses(
        "a name of 1 MiB",
        &[longest.as_bytes().as_slice(), &[b'a'; 1 << 20], &[0; 1024]].concat(),
    );
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn layers_that_are_cut_damaged_or_wrong() {
    let mut old = Bystander::new();
    let cut = |mut bytes: Vec<u8>, by: usize| {
        bytes.truncate(bytes.len() - by);
        bytes
    };
    old.refuses("gzip cut in its trailer", &with_layer(|plain| cut(gzip(plain), 4)));
    old.refuses("gzip cut in its data", &with_layer(|plain| cut(gzip(plain), 100_000)));
    old.refuses("gzip cut between members", &with_layer(|plain| gzip(&plain[..300_000])));
    old.refuses(
        "gzip with a wrong checksum",
        &with_layer(|plain| {
            let mut bytes = gzip(plain);
            let at = bytes.len() - 6;
            bytes[at] ^= 1;
            bytes
        }),
    );
    old.refuses(
        "gzip and then garbage",
        &with_layer(|plain| [gzip(plain), b"garbage".to_vec()].concat()),
    );
    old.refuses("gzip and then zeros", &with_layer(|plain| [gzip(plain), vec![0; 512]].concat()));
    old.refuses(
        "gzip and then another member",
        &with_layer(|plain| [gzip(plain), gzip(b"more")].concat()),
    );
    old.refuses("zstd cut", &with_layer(|plain| cut(zstd(plain), 100_000)));
    old.refuses("zstd cut between frames", &with_layer(|plain| zstd(&plain[..300_000])));
    old.refuses(
        "zstd and then garbage",
        &with_layer(|plain| [zstd(plain), b"garbage".to_vec()].concat()),
    );
    old.refuses("nothing but a gzip header", &with_layer(|plain| gzip(plain)[..10].to_vec()));
    old.refuses("another layer", &with_layer(|_| gzip(&tar(&[("usr/lib/evil", b"1")]))));
    old.refuses(
        "a layer with one bit flipped",
        &with_layer(|plain| {
            let mut bytes = plain.to_vec();
            bytes[123_456] ^= 0x10;
            gzip(&bytes)
        }),
    );
    old.refuses("an empty layer", &with_layer(|_| Vec::new()));
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn configs_that_are_changed_or_none() {
    let mut old = Bystander::new();
    old.refuses(
        "a config with one byte changed",
        &changed(|archive, image| {
            let text = String::from_utf8(image.config.clone()).unwrap().replace("linux", "minix");
            archive.set(&image.config_path(), text);
        }),
    );
    // Under a name that promises nothing.
    for config in ["", "null", "[]", "{}", "{\"os\":\"linux\",\"architecture\":\"amd64\"}"] {
        let archive = changed(|archive, _| {
            archive.push("config.json", config);
            archive.edit("manifest.json", |list| list[0]["Config"] = "config.json".into());
        });
        old.refuses(&format!("the config is '{config}'"), &archive);
    }
    let many = vec![format!("sha256:{}", "0".repeat(64)); 1_001];
    let many = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": many } });
    old.refuses(
        "1,001 layers",
        &changed(|archive, _| {
            archive.push("config.json", many.to_string());
            archive.edit("manifest.json", |list| list[0]["Config"] = "config.json".into());
        }),
    );
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn oci_layouts_that_do_not_hold_what_they_name() {
    let image = TestImage::new("app:1");
    let whole = shape::oci(&[&image], Pack::Gzip);
    let manifest = shape::oci_manifest(&image, Pack::Gzip);
    let manifest =
        format!("blobs/sha256/{}", occystrap_base::oci::Digest::of(manifest.as_bytes()).hex());
    let changed = |change: &dyn Fn(&mut Archive)| {
        let mut archive = whole.clone();
        change(&mut archive);
        archive.bytes()
    };
    let mut old = Bystander::new();
    for index in ["null", "{}", "[]", r#"{"schemaVersion":2,"manifests":[]}"#] {
        let what = format!("index.json is '{index}'");
        old.refuses(&what, &changed(&|archive| archive.set("index.json", index)));
    }
    old.refuses("the manifest is not there", &changed(&|archive| archive.remove(&manifest)));
    old.refuses(
        "the manifest was changed",
        &changed(&|archive| archive.edit(&manifest, |value| value["layers"] = json!([]))),
    );
    old.refuses(
        "a digest that is none",
        &changed(&|archive| {
            archive.edit("index.json", |index| {
                index["manifests"][0]["digest"] = "sha256:../../../etc/passwd".into()
            })
        }),
    );
    old.refuses(
        "a layer is not there",
        &changed(&|archive| archive.remove(&archive.0[1].0.clone())),
    );
    old.refuses("a layer was cut", &changed(&|archive| archive.0[1].1.truncate(1_000)));
    old.refuses("a layer was changed", &changed(&|archive| archive.0[1].1[200_000] ^= 1));
    // Its plain content is right, so that only the compressed layer's own digest tells.
    old.refuses(
        "a layer was compressed again",
        &changed(&|archive| {
            let size = archive.0[1].1.len();
            let mut other = gzip(&image.layers[1]);
            other[9] ^= 1; // the field for the operating system
            assert_eq!(other.len(), size);
            archive.0[1].1 = other;
        }),
    );
    insta::assert_snapshot!(old.transcript);
}
