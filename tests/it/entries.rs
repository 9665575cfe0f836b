//! The interface `entries`: what a plugin sees of a layer's tar, in each form in which it takes the layer, and what a hostile
//! layer or plugin achieves with it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::cli::Sandbox;
use crate::support::hostile::{self, Arena};
use crate::support::image::{Pack, TestImage, noise};
use crate::support::shape;

/// A layer with a member of every kind.
fn motley() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |kind: tar::EntryType, path: &[u8], content: &[u8], link: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == tar::EntryType::Directory { 0o1777 } else { 0o4755 });
        header.set_uid(1000);
        header.set_gid(100);
        header.set_mtime(1_700_000_000);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        header.set_cksum();
        tar.append(&header, content).unwrap();
    };
    use tar::EntryType as Kind;
    put(Kind::Directory, b"./etc/", b"", "");
    put(Kind::Regular, b"./etc/motd", b"hello\n", "");
    put(Kind::Regular, b"/etc/absolute", b"", "");
    put(Kind::Regular, b"../../escape", b"up", "");
    put(Kind::Symlink, b"etc/link", b"", "../../outside");
    put(Kind::Link, b"etc/hard", b"", "etc/motd");
    put(Kind::Regular, b"usr/.wh.lib", b"", "");
    put(Kind::Regular, b"var/.wh..wh..opq", b"", "");
    put(Kind::Char, b"dev/null", b"", "");
    put(Kind::Block, b"dev/sda", b"", "");
    put(Kind::Fifo, b"run/pipe", b"", "");
    put(Kind::Regular, b"caf\xe9", b"latin", "");
    put(Kind::Regular, "b\u{e4}r".as_bytes(), b"utf-8", "");
    tar.into_inner().unwrap()
}

fn list(image: &TestImage, pack: Pack, behaviour: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    shape::docker25(&[image], pack).write(&sandbox.path("in.tar"));
    let plugin = hostile::component().display().to_string();
    let to = sandbox.uri("hostile", &format!("out?behaviour={behaviour}"));
    let from = sandbox.uri("tar", "in.tar");
    sandbox.process(&from, &to, &["--plugin", &plugin, "--verify=full"]).verified();
    let listing = std::fs::read_to_string(sandbox.path("out/entries-0")).unwrap();
    (sandbox, listing)
}

#[test]
fn a_member_of_every_kind() {
    let image = TestImage::with_layers("app:1", vec![motley()]);
    let (sandbox, listing) = list(&image, Pack::Plain, "entries");
    insta::assert_snapshot!(listing);
    // Looking into it does not change what is written.
    assert!(std::fs::read(sandbox.path("out/layer-0")).unwrap() == image.layers[0]);
    sandbox.assert_clean();
}

#[test]
fn every_form_shows_the_same() {
    let image = TestImage::with_layers("app:1", vec![motley()]);
    let expected = list(&image, Pack::Plain, "entries").1;
    for pack in Pack::ALL {
        for behaviour in ["entries", "entries-stored", "entries-gzip", "entries-zstd"] {
            assert_eq!(list(&image, pack, behaviour).1, expected, "{pack:?} {behaviour}");
        }
    }
}

#[test]
fn more_members_than_a_page_has() {
    let files: Vec<(String, Vec<u8>)> =
        (0..1_000).map(|n| (format!("{n:0>200}"), noise(n, 10))).collect();
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let layer = crate::support::image::tar(&files);
    let image = TestImage::with_layers("app:1", vec![layer]);
    let (_, listing) = list(&image, Pack::Gzip, "entries");
    assert_eq!(listing.lines().count(), 1_000);
    for ((name, content), line) in files.iter().zip(listing.lines()) {
        assert!(line.contains(name), "{line}");
        assert!(line.contains(&occystrap_base::oci::Digest::of(content).to_string()), "{line}");
    }
}

/// A sparse file of GNU's first form: a header that says how large it is, and no content.
fn holes(size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("holes").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.sparse[0].set_offset(size);
    gnu.sparse[0].set_length(0);
    gnu.set_real_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.write_all(&[0; 1024]).unwrap();
    bytes
}

#[test]
fn holes_are_hashed_as_zeros_and_only_so_many() {
    let zeros = occystrap_base::oci::Digest::of(&vec![0; 1 << 20]).to_string();
    let image = TestImage::with_layers("app:1", vec![holes(1 << 20)]);
    let listing = list(&image, Pack::Plain, "entries").1;
    assert!(listing.contains(&zeros), "{listing}");
    // A header of half a kilobyte that claims four exabytes.
    let image = TestImage::with_layers("app:1", vec![holes(1 << 62)]);
    let asked = Instant::now();
    let listing = list(&image, Pack::Plain, "entries").1;
    assert_eq!(listing, "EntryKind::File \"holes\" 4611686018427387904 644 0:0 0 -\n");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[test]
fn a_layer_that_is_no_sound_tar() {
    let mut torn = motley();
    torn[600] ^= 0xff;
    let image = TestImage::with_layers("app:1", vec![torn]);
    let sandbox = Sandbox::new();
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let plugin = hostile::component().display().to_string();
    let from = sandbox.uri("tar", "in.tar");
    let to = sandbox.uri("hostile", "out?behaviour=entries");
    let said = sandbox.process(&from, &to, &["--plugin", &plugin]);
    said.exits(1);
    insta::assert_snapshot!(sandbox.redact(&said.stderr));
    assert!(!sandbox.path("out").exists());
    // A plugin that does not read the members copies the layer unchanged.
    let to = sandbox.uri("hostile", "out");
    sandbox.process(&from, &to, &["--plugin", &plugin, "--verify=full"]).verified();
}

#[test]
fn walks_through_other_blobs_and_late_walks_are_refused() {
    let mut arena = Arena::new();
    arena.stopped("entries-config", "'unsupported'");
    arena.stopped("entries-late", "read after it was spliced");
    arena.stopped("entries-many", "it opened more than 4 walks at once");
    insta::assert_snapshot!(arena.transcript);
    arena.run("entries-again", &[]).verified();
}
