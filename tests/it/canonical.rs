//! `canonical` and `normalize-timestamps`, through the binary: the same files give the same image, whatever packed them.

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, gzip};
use crate::support::layer::{Member, dir, file, hardlink, layer, symlink};
use crate::support::python::layer_files;
use crate::support::real::installed;
use crate::support::shape;

/// Canonical layers and times, and nothing left of the build.
const CANONICAL: &[&str] =
    &["--verify=full", "-f", "canonical", "-f", "normalize-timestamps:config=true"];

/// Writes an image of these layers as an OCI archive, filters it to a layout, and returns the digest of its manifest, and
/// the manifest.
fn filtered(layers: Vec<Vec<u8>>, pack: Pack, filters: &[&str]) -> (String, Value) {
    let (image, sandbox) = (TestImage::with_layers("team/app:1", layers), Sandbox::new());
    shape::oci(&[&image], pack).write(&sandbox.path("a.tar"));
    let (from, to) = (sandbox.uri("tar", "a.tar"), sandbox.uri("oci-layout", "out:1"));
    sandbox.process(&from, &to, filters).verified();
    let found = manifest(&sandbox, "out");
    sandbox.assert_clean();
    found
}

fn manifest(sandbox: &Sandbox, folder: &str) -> (String, Value) {
    let read = |path: String| {
        let bytes = std::fs::read(sandbox.path(folder).join(path)).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let index = read("index.json".into());
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = read(format!("blobs/sha256/{}", &digest[7..]));
    (digest, manifest)
}

fn lower() -> Vec<u8> {
    layer(&[dir("etc").mode(0o700), file("etc/a", b"A"), symlink("bin", "usr/bin")])
}

#[test]
fn the_same_files_in_another_order_give_the_same_image() {
    let long = format!("usr/{}", "x".repeat(60));
    let one = layer(&[
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/b", b"content"),
        hardlink("usr/bin/c", "usr/bin/b"),
        file(&long, b"1").record("SCHILY.xattr.user.a", b"\0\n="),
        file("etc/.wh.a", b""),
    ]);
    let other = layer(&[
        file("./usr/bin/c", b"content").mtime(5),
        file("etc/.wh.a", b"?").mode(0).mtime(9),
        dir("./"),
        file(format!("./{long}"), b"1")
            .record("SCHILY.xattr.user.a", b"\0\n=")
            .record("atime", b"7"),
        hardlink("/usr/bin/b", "./usr/bin/c").mtime(6),
        dir("etc").mode(0o700),
    ]);
    let (digest, manifest) = filtered(vec![lower(), one], Pack::Gzip, CANONICAL);
    let again = filtered(vec![lower(), other], Pack::Gzip, CANONICAL);
    assert_eq!(again, (digest, manifest));
}

/// Another level of gzip, another form of the headers, times that are right already.
#[test]
fn a_normalised_layer_does_not_show_what_packed_it() {
    let members = |mtime| [dir("etc").mtime(mtime), file("etc/a", &[7; 5_000]).mtime(mtime)];
    let gnu = {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in [
            ("etc/", tar::EntryType::Directory, [].as_slice()),
            ("etc/a", tar::EntryType::Regular, &[7; 5_000]),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let all = [layer(&members(0)), layer(&members(9)), gnu];
    for filters in [&["-f", "normalize-timestamps"], &["-f", "canonical"]] {
        // The canonical form keeps times.
        let same = all.iter().filter(|layer| filters[1] != "canonical" || **layer != all[1]);
        let mut made: Vec<_> = same
            .flat_map(|layer| [Pack::Gzip, Pack::JoinedMembers].map(|pack| (layer.clone(), pack)))
            .map(|(layer, pack)| filtered(vec![layer], pack, filters).1["layers"].clone())
            .collect();
        made.dedup();
        assert_eq!(made.len(), 1, "{filters:?}: {made:?}");
    }
    // Only then the layer keeps what it has.
    let kept = |pack: Pack| {
        let (_, manifest) =
            filtered(vec![all[0].clone()], pack, &["-f", "normalize-timestamps:keep=true"]);
        manifest["layers"][0]["digest"].clone()
    };
    for pack in [Pack::Gzip, Pack::JoinedMembers] {
        let bytes = pack.pack(&all[0]);
        assert_eq!(kept(pack), occystrap_base::oci::Digest::of(&bytes).to_string());
    }
    assert_ne!(gzip(&all[0]), Pack::JoinedMembers.pack(&all[0]));
}

#[test]
fn layers_of_the_base_keep_their_digests() {
    let layers =
        vec![lower(), layer(&[file("usr/bin/x", b"1")]), layer(&[file("y", b"2").mtime(3)])];
    let sandbox = Sandbox::new();
    let image = TestImage::with_layers("team/app:1", layers.clone());
    let base = TestImage::with_layers("team/base:1", layers[..2].to_vec());
    let other = TestImage::with_layers("team/other:1", vec![lower(), layer(&[file("z", b"")])]);
    for (name, image) in [("a.tar", &image), ("base.tar", &base), ("other.tar", &other)] {
        shape::oci(&[image], Pack::Gzip).write(&sandbox.path(name));
    }
    let digests = |filter: &str, to: &str| {
        let (from, to_uri) = (sandbox.uri("tar", "a.tar"), sandbox.uri("oci-layout", to));
        sandbox.process(&from, &to_uri, &["--verify=full", "-f", filter]).verified();
        let (_, manifest) = manifest(&sandbox, to);
        let layers = manifest["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before: Vec<_> = image
        .layers
        .iter()
        .map(|layer| occystrap_base::oci::Digest::of(&Pack::Gzip.pack(layer)).to_string())
        .collect();
    for (index, filter) in ["normalize-timestamps", "canonical"].into_iter().enumerate() {
        let all = digests(filter, &format!("{index}-all"));
        let from = digests(&format!("{filter}:from-layer=3"), &format!("{index}-from"));
        let base = format!("{filter}:base={}", sandbox.uri("tar", "base.tar"));
        let of_base = digests(&base, &format!("{index}-base"));
        assert_eq!(from, of_base);
        assert_eq!((&from[..2], &from[2]), (&before[..2], &all[2]), "{filter}");
        assert!(all.iter().zip(&before).all(|(all, before)| all != before), "{filter}");
    }
    let fails = |filter: &str, code: i32, says: &str| {
        let (from, to) = (sandbox.uri("tar", "a.tar"), sandbox.uri("oci-layout", "none"));
        let ran = sandbox.process(&from, &to, &["-f", filter]);
        ran.exits(code).says(says);
    };
    let other = format!("canonical:base={}", sandbox.uri("tar", "other.tar"));
    fails(&other, 1, "1 of its 2 layers are the lowest of it");
    fails("canonical:from-layer=4", 2, "has 3 layers");
    fails("canonical:from-layer=0", 2, "expected the number of a layer, 1 for the lowest");
    fails("canonical:from-layer=1,base=tar://x", 2, "contradict each other");
    fails("canonical:base=nowhere", 2, "nowhere");
}

#[test]
fn only_later_times_change_where_that_is_asked_for() {
    let members = [file("old", b"").mtime(5), file("new", b"").mtime(50)];
    let sandbox = Sandbox::new();
    let image = TestImage::with_layers("team/app:1", vec![layer(&members)]);
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    let filter = ["-f", "normalize-timestamps:ts=20,clamp=true,config=true"];
    sandbox.process(&sandbox.uri("tar", "a.tar"), &sandbox.uri("dir", "d"), &filter).verified();
    let bytes = std::fs::read(&layer_files(&sandbox.path("d"))[0]).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let times = archive.entries().unwrap().map(|entry| entry.unwrap().header().mtime().unwrap());
    assert_eq!(times.collect::<Vec<_>>(), [5, 20]);
}

#[test]
fn a_changed_layer_keeps_its_compression() {
    let layers = vec![lower()];
    let media = |pack, more: &[&str]| {
        let filters = [&["-f", "normalize-timestamps"], more].concat();
        let (_, manifest) = filtered(layers.clone(), pack, &filters);
        manifest["layers"][0]["mediaType"].as_str().unwrap().rsplit('+').next().unwrap().to_owned()
    };
    assert_eq!(media(Pack::Zstd, &[]), "zstd");
    assert_eq!(media(Pack::Gzip, &[]), "gzip");
    assert_eq!(media(Pack::Zstd, &["--compression", "gzip"]), "gzip");
    assert_eq!(media(Pack::Gzip, &["--compression", "zstd"]), "zstd");
}

/// GNU tar unpacks the same files from the canonical form as from the layer.
#[test]
fn gnu_tar_unpacks_the_same_files() {
    if !installed("gnu_tar_unpacks_the_same_files", &["tar"]) {
        return;
    }
    let members: &[Member] = &[
        dir("d").mode(0o750),
        file("d/z", b"z").mode(0o4755),
        symlink("d/s", "../a"),
        file("./d/long", &[1; 3_000]).mtime(77),
        hardlink("a", "d/z").mode(0o4755),
    ];
    let sandbox = Sandbox::new();
    let image = TestImage::with_layers("team/app:1", vec![layer(members)]);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
    let options = ["--verify=full", "-f", "canonical"];
    sandbox.process(&sandbox.uri("tar", "a.tar"), &sandbox.uri("dir", "d"), &options).verified();
    let made = std::fs::read(&layer_files(&sandbox.path("d"))[0]).unwrap();
    let unpacked = |name: &str, bytes: &[u8]| {
        let (folder, archive) = (sandbox.path(name), sandbox.path(&format!("{name}.layer")));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&archive, bytes).unwrap();
        let script = "tar -xpf \"$1\" -C \"$2\" && cd \"$2\" && find . -mindepth 1 -printf '%P %y %m %U %G %T@ %n %l\\n' | sort \
                      && find . -type f -exec sha256sum {} + | sort -k 2";
        let mut command = std::process::Command::new("sh");
        let output =
            command.args(["-c", script, "sh"]).arg(&archive).arg(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(unpacked("made", &made), unpacked("before", &image.layers[0]));
}
