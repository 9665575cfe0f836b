//! Archives, layouts and documents in which two readers find two images. Such an image cannot be proved: a source is
//! refused, and a verification fails.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::bystander::Bystander;
use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::raw_tar::Raw;
use crate::support::receipts::verdict;
use crate::support::registry::Registry;
use crate::support::shape::{self, Archive};

const END: [u8; 1024] = [0; 1024];

fn evil() -> TestImage {
    TestImage::with_layers("app:1", vec![tar(&[("evil", b"1")])])
}

fn archive(image: &TestImage) -> Archive {
    shape::podman(&[image], Pack::Plain)
}

/// The members of an archive, without its end.
fn open(archive: &Archive) -> Vec<u8> {
    let bytes = archive.bytes();
    bytes[..bytes.len() - END.len()].to_vec()
}

/// Another image's members, each made so.
fn others(make: impl Fn(&str, &[u8]) -> Raw) -> Vec<u8> {
    archive(&evil()).0.iter().flat_map(|(name, content)| make(name, content).bytes()).collect()
}

#[test]
fn an_archive_whose_members_depend_on_who_reads_it() {
    let good = open(&archive(&TestImage::tiny("app:1")));
    let plain = others(|name, content| Raw::file(name, content));
    let large = Raw::new(b'5', "d/", b"").number(124, 11, plain.len() as u64).bytes();
    let list = archive(&evil()).get("manifest.json").to_vec();
    let size = list.len() as u64;
    let folder_link = Raw::link(b'2', "d", ".").bytes();
    let below = others(|name, content| Raw::file(format!("d/{name}"), content));
    let first = |raw: Raw| [raw.bytes(), good.clone(), END.to_vec()].concat();
    let last = |bytes: &[u8]| [&good, bytes, &END].concat();
    let global = |key: &str, value: &str| {
        let record = Raw::file("x", b"").pax(key, value).bytes();
        let mut header = record[..512].to_vec();
        header[156] = b'g';
        let sum: u32 = (0..512)
            .map(|at| if (148..156).contains(&at) { 32 } else { u32::from(header[at]) })
            .sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        [&header, &record[512..1024]].concat()
    };
    let mut old = Bystander::new();
    for (what, bytes) in [
        ("a folder that says it has content, last", last(&[&large[..], &plain].concat())),
        ("the same, first", [&large, &plain, &good[..], &END].concat()),
        (
            "names with dots",
            last(&others(|name, content| Raw::file(format!("././{name}"), content))),
        ),
        (
            "names with slashes",
            last(&others(|name, content| Raw::file(format!("/{name}"), content))),
        ),
        (
            "names that lead out",
            last(&others(|name, content| Raw::file(format!("../{name}"), content))),
        ),
        (
            "names with a NUL",
            last(&others(|name, content| Raw::gnu_long(&format!("{name}\0zz"), content))),
        ),
        (
            "PAX names with a NUL",
            last(&others(|name, content| Raw::file("x", content).pax("path", format!("{name}\0")))),
        ),
        (
            "a folder of the time before types, with content",
            last(&Raw::new(0, "d/", &plain).bytes()),
        ),
        (
            "names that are said twice",
            last(&others(|name, content| Raw::gnu_long("x", content).pax("path", name))),
        ),
        ("two long names", {
            let name = &Raw::gnu_long("manifest.json", b"").bytes()[..1024];
            [name, &first(Raw::gnu_long("x", &list))].concat()
        }),
        ("files below a link", last(&[&folder_link[..], &below].concat())),
        ("a link above files", last(&[&below[..], &folder_link].concat())),
        ("a file above files", last(&[Raw::file("d", b"").bytes(), below.clone()].concat())),
        ("a sparse file", first(Raw::pax_sparse("manifest.json", &[(0, size)], size, &list))),
        ("an old sparse file", first(Raw::gnu_sparse("manifest.json", &[(0, size)], size, &list))),
        ("an unknown type", first(Raw::new(b'Z', "manifest.json", &list))),
        ("a pipe", first(Raw::new(b'6', "pipe", b""))),
        ("a PAX size that is none", first(Raw::file("x", b"").pax("size", "0x10"))),
        ("a size behind a NUL", first(Raw::file("x", b"").field(124, b"\x000000000001"))),
        (
            "a size beyond all numbers",
            first(Raw::file("x", b"").field(124, b"\x80\x01\0\0\0\0\0\0\0\0\0\0")),
        ),
        ("a PAX record that is none", {
            let mut bytes = first(Raw::file("x", b"").pax("size", "0"));
            bytes[512] = b'x';
            bytes
        }),
        ("a global name", [&global("path", "manifest.json"), &good[..], &END].concat()),
        (
            "a name that goes on for some",
            last(&others(|name, content| Raw::file(name, content).gnu().field(345, b"."))),
        ),
    ] {
        old.refuses(what, &bytes);
        let uri = old.sandbox.uri("tar", "in.tar");
        for command in ["verify", "check"] {
            let ran = old.sandbox.run(&[command, &uri]);
            assert_eq!(ran.code, 1, "{what}: {command}: {}{}", ran.stdout, ran.stderr);
        }
    }
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn an_archive_on_which_all_readers_agree_is_accepted() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("app:1");
    let mut members: Vec<u8> = Raw::dir(".").bytes();
    for (name, content) in &archive(&image).0 {
        let name = format!("./{name}");
        members.extend(match name.ends_with(".json") {
            true => Raw::file("x", content).pax("path", &name).pax("mtime", "1.5").bytes(),
            false => Raw::gnu_long(&name, content).bytes(),
        });
    }
    members.extend(Raw::dir("empty").bytes());
    members.extend(Raw::new(0, "empty/", b"").bytes());
    members.extend(END);
    std::fs::write(sandbox.path("in.tar"), members).unwrap();
    let uri = sandbox.uri("tar", "in.tar");
    sandbox.process(&uri, &sandbox.uri("dir", "out"), &[]).verified();
    crate::support::landed::assert_in_directory(&sandbox.path("out"), &image);
    sandbox.run(&["verify", &uri]).verified();
}

#[test]
fn a_list_and_a_config_that_say_two_things() {
    let mut old = Bystander::new();
    let image = TestImage::tiny("app:1");
    let other = Digest::of(b"other").to_string();
    let mut list = archive(&image);
    let text = String::from_utf8(list.get("manifest.json").to_vec()).unwrap();
    list.set("manifest.json", text.replace("\"Config\"", "\"config\":\"x\",\"Config\""));
    old.refuses("the list has a config twice", &list.bytes());

    let text = String::from_utf8(image.config.clone()).unwrap();
    let twice = format!(
        "{},\"RootFS\":{{\"type\":\"layers\",\"diff_ids\":[\"{other}\"]}}}}",
        text.trim_end().strip_suffix('}').unwrap()
    );
    let mut config = archive(&image);
    let name = format!("{}.json", Digest::of(twice.as_bytes()).hex());
    config.push(name.as_str(), twice);
    config.edit("manifest.json", |list| list[0]["Config"] = name.into());
    old.refuses("the config has its layers twice", &config.bytes());
    let uri = old.sandbox.uri("tar", "in.tar");
    for command in ["verify", "check"] {
        old.sandbox.run(&[command, &uri]).exits(1);
    }
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn an_archive_with_two_lists() {
    let (good, evil) = (TestImage::tiny("app:1"), evil());
    let mut both = shape::docker25(&[&good], Pack::Plain);
    let other = shape::docker25(&[&evil], Pack::Plain);
    for (name, content) in &other.0 {
        if name.starts_with("blobs/") {
            both.push(name.as_str(), content.as_slice());
        }
    }
    let sandbox = Sandbox::new();
    let uri = sandbox.uri("tar", "in.tar");
    let write =
        |archive: &Archive| std::fs::write(sandbox.path("in.tar"), archive.bytes()).unwrap();
    write(&both);
    sandbox.run(&["verify", &uri]).verified();
    both.set("index.json", other.get("index.json"));
    write(&both);
    for command in [&["verify", &uri][..], &["process", &uri, "dir://out"]] {
        let ran = sandbox.run(command);
        ran.exits(1).says("the image 'app:1' can be read in two ways: manifest.json calls sha256:");
    }
    // With both under the name, the platform decides; which one that is, is known.
    let index: Value = serde_json::from_slice(other.get("index.json")).unwrap();
    let good = shape::docker25(&[&good], Pack::Plain);
    let mut all: Value = serde_json::from_slice(good.get("index.json")).unwrap();
    all["manifests"].as_array_mut().unwrap().push(index["manifests"][0].clone());
    both.set("index.json", all.to_string());
    write(&both);
    sandbox.process(&uri, "dir://out", &[]).verified();
}

/// A file that no document lists is in the archive all the same, and the receipt covers each of its bytes.
#[test]
fn an_archive_with_more_in_it_than_its_receipt_names() {
    let sandbox = crate::support::receipts::sandbox();
    let receipt = crate::support::receipts::write(&sandbox, "tar", "x.tar", "");
    let path = sandbox.path("srv/x.tar");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - END.len());
    bytes.extend(Raw::file("index.json", b"{}").bytes());
    bytes.extend(END);
    std::fs::write(&path, &bytes).unwrap();
    crate::support::receipts::edit(&receipt, |document| {
        let size = bytes.len();
        let file = &mut document["journal"][0];
        file["size"] = size.into();
        let last = file["extents"].as_array_mut().unwrap().last_mut().unwrap();
        let at = usize::try_from(last["offset"].as_u64().unwrap()).unwrap();
        last["size"] = (size - at).into();
        last["digest"] = Digest::of(&bytes[at..]).to_string().into();
        let all = document["expectations"].as_array_mut().unwrap();
        all.iter_mut().find(|one| one["role"] == "image").unwrap()["size"] = size.into();
    });
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "failed", "{line}");
    assert!(line.contains("does not list 'index.json', which is in the archive"), "{line}");
}

/// A layout `srv/l` of two images, `t` and `e`, and the receipt of the first.
fn layout() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    archive(&TestImage::tiny("app:1")).write(&sandbox.path("in.tar"));
    archive(&evil()).write(&sandbox.path("evil.tar"));
    std::fs::create_dir(sandbox.path("srv")).unwrap();
    let receipt = sandbox.path("l.json").display().to_string();
    let (to, more) = (sandbox.uri("oci-layout", "srv/l"), ["--receipt", &receipt]);
    sandbox.process(&sandbox.uri("tar", "in.tar"), &format!("{to}:t"), &more).verified();
    sandbox.process(&sandbox.uri("tar", "evil.tar"), &format!("{to}:e"), &[]).verified();
    (sandbox, receipt)
}

/// The index with two readings: made of the texts of the entries of `t` and of `e`.
type Change = fn(&str, &str) -> String;

fn index(entries: &str, more: &str) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{entries}]{more}}}"#)
}

const CHANGES: [(&str, Change); 5] = [
    ("Manifests", |good, evil| index(good, &format!(",\"Manifests\":[{evil}]"))),
    ("Digest", |good, evil| {
        let evil: Value = serde_json::from_str(evil).unwrap();
        let good = good.strip_suffix('}').unwrap();
        index(&format!("{good},\"Digest\":{},\"Size\":{}}}", evil["digest"], evil["size"]), "")
    }),
    ("digest, twice", |good, evil| {
        let evil: Value = serde_json::from_str(evil).unwrap();
        let (digest, size) = (&evil["digest"], &evil["size"]);
        index(&good.replacen('{', &format!("{{\"digest\":{digest},\"size\":{size},"), 1), "")
    }),
    ("Annotations", |good, evil| {
        index(&format!("{},{good}", evil.replace("\"annotations\"", "\"Annotations\"")), "")
    }),
    ("annotations, twice", |good, evil| {
        let evil = evil.strip_suffix('}').unwrap();
        index(&format!("{evil},\"annotations\":{{}}}},{good}"), "")
    }),
];

#[test]
fn an_index_that_lists_two_images_under_one_name() {
    let mut all = String::new();
    for (what, change) in CHANGES {
        let (sandbox, receipt) = layout();
        let path = sandbox.path("srv/l/index.json");
        let document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let text = |at: usize| document["manifests"][at].to_string();
        let evil = text(1).replace(":\"e\"", ":\"t\"");
        std::fs::write(&path, change(&text(0), &evil)).unwrap();

        let ran = sandbox.run(&["verify", &receipt]);
        ran.exits(1).says("1 FAILED").says("can be read in two ways");
        all += &format!("## {what}\n{}\n", sandbox.redact(&ran.stderr));
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "failed", "{what}: {line}");
        let uri = sandbox.uri("oci-layout", "srv/l:t");
        let to = sandbox.uri("tar", "out.tar");
        for arguments in [&["verify", &uri][..], &["check", &uri], &["process", &uri, &to]] {
            sandbox.run(arguments).exits(1);
        }
        // Nor is anything put beside it.
        let before = sandbox.tree("srv");
        let to = sandbox.uri("oci-layout", "srv/l:n");
        let ran = sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &[]);
        ran.exits(1).says("can be read in two ways");
        assert_eq!(sandbox.tree("srv").get("l/index.json"), before.get("l/index.json"), "{what}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn the_full_name_in_an_index_is_verified() {
    let (sandbox, receipt) = layout();
    sandbox.run(&["verify", &receipt]).verified();
    let path = sandbox.path("srv/l/index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replacen("docker.io/library/app:t", "docker.io/library/nginx:t", 1);
    assert_ne!(text, changed);
    std::fs::write(&path, changed).unwrap();
    let ran = sandbox.run(&["verify", &receipt]);
    ran.exits(1).says("1 FAILED").says("found docker.io/library/nginx:t");
}

#[test]
fn manifests_of_registries_and_layouts() {
    let (registry, image) = (Registry::start(), TestImage::tiny("app:1"));
    let sandbox = Sandbox::new();
    let source = crate::support::push::push(&registry, &image, Pack::Gzip);
    sandbox.process(&source, &sandbox.uri("oci-layout", "l:t"), &[]).verified();
    let index: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("l/index.json")).unwrap()).unwrap();
    let blob = |digest: &str| sandbox.path("l/blobs/sha256").join(&digest[7..]);
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let text = std::fs::read_to_string(blob(digest)).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let (layers, body) = (&manifest["layers"], text.trim_end().strip_suffix('}').unwrap());
    let twice = format!("{body},\"Layers\":{layers}}}");
    let list = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [index["manifests"][0]] });
    let list = list.to_string().replace("\"manifests\"", "\"Manifests\":[],\"manifests\"");
    for (text, media_type) in [
        (twice, "application/vnd.oci.image.manifest.v1+json"),
        (list, "application/vnd.oci.image.index.v1+json"),
    ] {
        let digest = Digest::of(text.as_bytes()).to_string();
        std::fs::write(blob(&digest), &text).unwrap();
        let entry = json!({ "mediaType": media_type, "digest": digest, "size": text.len(),
            "annotations": { "org.opencontainers.image.ref.name": "t" } });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        std::fs::write(sandbox.path("l/index.json"), index).unwrap();
        registry.put_manifest("app", "two", media_type, text.as_bytes());
        let source = crate::support::push::to(&registry, "app:two");
        for uri in [sandbox.uri("oci-layout", "l:t"), source] {
            let to = sandbox.uri("oci-layout", "copy:t");
            for arguments in [
                &["verify", &uri][..],
                &["check", &uri],
                &["check", "--all-platforms", &uri],
                &["process", &uri, &to],
                &["process", "--all-platforms", &uri, &to],
            ] {
                let ran = sandbox.run(arguments);
                ran.exits(1);
                let said = format!("{}{}", ran.stdout, ran.stderr);
                assert!(said.contains("can be read in two ways"), "{arguments:?}: {said}");
            }
        }
    }
}

#[test]
fn nothing_that_is_said_of_a_receipt_drives_the_terminal() {
    let (sandbox, receipt) = layout();
    crate::support::receipts::edit(&receipt, |document| {
        document["image"]["tag"] = "\u{1b}[2Jt\u{9b}31m".into();
        document["again"]["source"] = "tar://x\nrm -rf /".into();
        for one in document["expectations"].as_array_mut().unwrap() {
            if let Some(path) = one.pointer_mut("/place/file/path") {
                *path = format!("\u{1b}[31m{}", path.as_str().unwrap()).into();
            }
        }
    });
    let ran = sandbox.run(&["verify", &receipt]);
    ran.exits(1);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
    assert!(!ran.stderr.contains("rm -rf"), "{:?}", ran.stderr);
    let document = sandbox.run(&["verify", "-O", "json", &receipt]);
    assert!(!document.stdout.contains(['\u{1b}', '\u{9b}']), "{:?}", document.stdout);
    assert_eq!(document.json()["images"][0]["tag"], "\u{1b}[2Jt\u{9b}31m");
}
