//! Unusual archives, and what is reported of them. Each row was tried with Docker 20.10, Podman 4.3 and skopeo 1.9
//! (docs/compatibility.md): an archive that one of them accepts is copied, unless its readers differ on it.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::raw_tar::Raw;
use crate::support::shape::{self, Archive};

const END: [u8; 1024] = [0; 1024];

/// What comes of an archive: the exit codes of `process`, `verify` and `check`, and words that one of
/// them says.
type Row = (&'static str, Vec<u8>, [i32; 3], &'static str);

const FINE: [i32; 3] = [0, 0, 0];
const REFUSED: [i32; 3] = [1, 1, 1];

#[track_caller]
fn judge(rows: Vec<Row>) {
    let sandbox = Sandbox::new();
    let mut wrong = Vec::new();
    for (what, bytes, codes, words) in rows {
        std::fs::write(sandbox.path("in.tar"), bytes).unwrap();
        let _ = std::fs::remove_dir_all(sandbox.path("out"));
        let said = [
            sandbox.process("tar://in.tar", "dir://out", &[]),
            sandbox.run(&["verify", "tar://in.tar"]),
            sandbox.run(&["check", "tar://in.tar"]),
        ];
        let found = [0, 1, 2].map(|at: usize| said[at].code);
        let text = said.map(|said| said.stdout + &said.stderr).concat();
        if found != codes || !text.contains(words) {
            wrong.push(format!("{what}: {found:?} instead of {codes:?}, or not '{words}'\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn image() -> TestImage {
    TestImage::tiny("app:1")
}

fn plain() -> Archive {
    shape::podman(&[&image()], Pack::Plain)
}

fn members(archive: &Archive) -> Vec<Raw> {
    archive.0.iter().map(|(name, content)| Raw::file(name, content)).collect()
}

fn bytes(members: &[Raw]) -> Vec<u8> {
    [members.iter().flat_map(Raw::bytes).collect(), END.to_vec()].concat()
}

#[test]
fn a_member_that_is_there_twice_with_the_same_bytes_is_one() {
    let archive = plain();
    let (layer, content) = archive.0[0].clone();
    let config = image().config_path();
    let and = |more: &[Raw]| bytes(&[&members(&archive)[..], more].concat());
    let link = |target: &str| Raw::link(b'2', "x/layer.tar", target);
    let list = archive.get("manifest.json");
    judge(vec![
        ("the list", and(&[Raw::file("manifest.json", list)]), FINE, ""),
        ("the list in another spelling", and(&[Raw::file("./manifest.json", list)]), FINE, ""),
        ("a config", and(&[Raw::file(&config, archive.get(&config))]), FINE, ""),
        ("a layer", and(&[Raw::file(&layer, &content)]), FINE, ""),
        (
            "a layer three times",
            and(&[Raw::file(&layer, &content), Raw::file(&layer, &content)]),
            FINE,
            "",
        ),
        ("a symbolic link", and(&[link("../a"), link("../a")]), FINE, ""),
        ("an empty file", and(&[Raw::file("e", b""), Raw::file("e", b"")]), FINE, ""),
        (
            "a file and a hard link to the same bytes",
            and(&[Raw::file("y", &content), Raw::link(b'1', &layer, "y")]),
            FINE,
            "",
        ),
        (
            "a layer with other bytes",
            and(&[Raw::file(&layer, &content[..512])]),
            REFUSED,
            "two members are named",
        ),
        (
            "a layer with one other byte",
            and(&[Raw::file(&layer, &[&content[..1], &b"x"[..], &content[2..]].concat())]),
            REFUSED,
            "two members are named",
        ),
        ("another link", and(&[link("../a"), link("../b")]), REFUSED, "two members are named"),
        // Docker removes the file before it makes the link.
        (
            "a link to itself",
            and(&[Raw::link(b'1', &layer, &layer)]),
            REFUSED,
            "two members are named",
        ),
        (
            "a file that no image has, with other bytes",
            and(&[Raw::file("VERSION", b"1"), Raw::file("VERSION", b"2")]),
            REFUSED,
            "two members are named",
        ),
    ]);
}

#[test]
fn names_in_a_list_mean_what_all_readers_clean_them_to() {
    let named = |config: &str, layer: &str| {
        let mut archive = plain();
        let own = image().config_path();
        let config = config.replace("CONFIG", &own);
        let layer = layer.replace("LAYER", &archive.0[0].0);
        archive.edit("manifest.json", |list| {
            list[0]["Config"] = Value::from(config);
            list[0]["Layers"][0] = Value::from(layer);
        });
        archive.bytes()
    };
    judge(vec![
        ("a slash at the end", named("CONFIG", "LAYER/"), FINE, ""),
        ("double slashes and dots", named("./CONFIG", ".//LAYER"), FINE, ""),
        ("a folder and back", named("x/../CONFIG", "x/y/../../LAYER"), FINE, ""),
        ("no layer name", named("CONFIG", ""), REFUSED, "lists a layer without a name"),
        ("no config name", named("", "LAYER"), REFUSED, "lists a config without a name"),
        ("a dot", named("CONFIG", "."), REFUSED, "lists the layer '.', which is not there"),
        ("a name that leads out", named("CONFIG", "x/../../LAYER"), REFUSED, "leads out of it"),
        // Podman and skopeo do not find it.
        ("an absolute name", named("CONFIG", "/LAYER"), REFUSED, "leads out of it"),
    ]);
}

#[test]
fn a_global_header_that_changes_no_member_is_no_damage() {
    let members = members(&plain());
    let global = |key: &str, value: &str| {
        let record = Raw::file("x", b"").pax(key, value).bytes();
        // The member itself, behind the records, is left out.
        let mut header = record[..record.len() - 512].to_vec();
        header[156] = b'g';
        let sum: u32 = (0..512)
            .map(|at| if (148..156).contains(&at) { 32 } else { u32::from(header[at]) })
            .sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    };
    let first = |key: &str, value: &str| [global(key, value), bytes(&members)].concat();
    let middle = |key: &str, value: &str| {
        [members[0].bytes(), global(key, value), bytes(&members[1..])].concat()
    };
    let reason = "a global header speaks of it";
    judge(vec![
        ("git's comment", first("comment", "0123456789abcdef"), FINE, ""),
        ("a comment in between", middle("comment", "0123456789abcdef"), FINE, ""),
        ("a long comment", first("comment", &"x".repeat(500_000)), FINE, ""),
        ("a time", first("mtime", "1.5"), FINE, ""),
        ("a time that is none", first("mtime", "abc"), FINE, ""),
        ("an owner", first("uname", "root"), FINE, ""),
        ("a record of another tool", first("SCHILY.xattr.user.x", "y"), FINE, ""),
        ("a target for links, and no link", first("linkpath", "x"), FINE, ""),
        ("nothing", first("path", ""), FINE, ""),
        // GNU tar and Python find other members than engines do.
        ("a name", first("path", "x"), REFUSED, reason),
        ("a size", first("size", "5"), REFUSED, reason),
        ("a size that is none", first("size", "abc"), REFUSED, reason),
        ("a sparse file", first("GNU.sparse.major", "1"), REFUSED, reason),
        (
            "more than any engine reads",
            first("comment", &"x".repeat(1_100_000)),
            REFUSED,
            "at most 1048576",
        ),
    ]);
}

/// An archive with two lists, as Docker 25 writes it.
fn two_lists(edit: impl FnOnce(&mut Archive)) -> Vec<u8> {
    let mut archive = shape::docker25(&[&image()], Pack::Gzip);
    edit(&mut archive);
    archive.bytes()
}

fn blob(content: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(content).hex())
}

#[test]
fn an_archive_whose_second_list_leads_nowhere_is_not_verified() {
    let manifest = shape::oci_manifest(&image(), Pack::Gzip);
    let ghost = format!("sha256:{}", "0".repeat(64));
    let listed = |archive: &mut Archive, edit: &dyn Fn(&mut Vec<Value>)| {
        archive.edit("index.json", |index| edit(index["manifests"].as_array_mut().unwrap()));
    };
    let add_ghost = |entries: &mut Vec<Value>| {
        let mut entry = entries[0].clone();
        entry["digest"] = json!(ghost);
        entry["platform"] = json!({ "os": "linux", "architecture": "arm64" });
        entries.push(entry);
    };
    let nowhere = "is not there";
    judge(vec![
        ("two lists", two_lists(|_| {}), FINE, ""),
        ("no second list", two_lists(|archive| archive.remove("index.json")), FINE, ""),
        // An engine that does not have every platform lists them all the same.
        ("another platform that is not there", two_lists(|a| listed(a, &add_ghost)), FINE, ""),
        (
            "a manifest that is not there",
            two_lists(|archive| archive.remove(&blob(manifest.as_bytes()))),
            [0, 1, 1],
            nowhere,
        ),
        (
            "an entry of a manifest that is not there",
            two_lists(|a| listed(a, &|entries| entries[0]["digest"] = json!(ghost))),
            [0, 1, 1],
            nowhere,
        ),
        ("nothing", two_lists(|a| listed(a, &Vec::clear)), [0, 3, 1], "lists no image"),
    ]);
}

#[test]
fn blobs_that_an_archive_lacks_are_missing() {
    let image = image();
    let manifest = shape::oci_manifest(&image, Pack::Gzip);
    let layer = Pack::Gzip.pack(&image.layers[0]);
    for content in [&image.config[..], &layer, manifest.as_bytes()] {
        let mut archive = shape::oci(&[&image], Pack::Gzip);
        archive.remove(&blob(content));
        let sandbox = Sandbox::new();
        archive.write(&sandbox.path("in.tar"));
        for (name, content) in &archive.0 {
            let path = sandbox.path("in").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        for uri in ["tar://in.tar", "oci-layout://in"] {
            let said = sandbox.run(&["verify", uri]);
            said.exits(1).says("missing: is not there");
            assert!(!said.stderr.contains("bytes, found"), "{}", said.stderr);
        }
    }
}
