//! Filtered images in other tools: GNU tar lists and extracts their layers, skopeo copies them, and the config's diff-ids are
//! those of the layers.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::python::layer_files;
use crate::support::raw_tar::MTIME;
use crate::support::real::{installed, skopeo};
use crate::support::rich;

/// `chains` of `-f` through which the rich image goes; each is a folder's name as well.
const CHAINS: [&[&str]; 4] = [
    &["normalize-timestamps:ts=86400"],
    &["exclude:pattern=usr/bin/tool"],
    &["exclude:pattern={etc,names}", "normalize-timestamps:ts=0", "exclude:pattern=*.pyc"],
    &["canonical"],
];

fn filtered(sandbox: &Sandbox, scheme: &str, chain: &[&str], to: &str) {
    rich::docker_save(&rich::image("test/rich:1")).write(&sandbox.path("source.tar"));
    let options: Vec<&str> = chain.iter().flat_map(|filter| ["-f", filter]).collect();
    let options = [&options[..], &["--verify=full"]].concat();
    sandbox
        .process(&sandbox.uri("tar", "source.tar"), &sandbox.uri(scheme, to), &options)
        .verified();
}

/// GNU tar to a good end. All that it may say is that it does not know a PAX keyword: libarchive's
/// creation time, and that names are bytes.
#[track_caller]
fn gnu_tar(arguments: &[&str]) -> String {
    let mut command = Command::new("tar");
    let output =
        command.args(arguments).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let harmless = "tar: Ignoring unknown extended header keyword ";
    let fine = output.status.success() && said.lines().all(|line| line.starts_with(harmless));
    assert!(fine, "tar {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn gnu_tar_lists_filtered_layers() {
    if !installed("gnu_tar_lists_filtered_layers", &["tar"]) {
        return;
    }
    let sandbox = Sandbox::new();
    for (index, chain) in CHAINS.iter().enumerate() {
        let folder = format!("chain-{index}");
        filtered(&sandbox, "dir", chain, &folder);
        for layer in layer_files(&sandbox.path(&folder)) {
            let listed = gnu_tar(&["-tvf", layer.to_str().unwrap(), "--full-time"]);
            assert!(listed.lines().count() > 1, "{listed}");
            match index {
                0 => assert!(
                    listed.lines().all(|line| line.contains("1970-01-02 00:00:00 ")),
                    "{listed}"
                ),
                1 => assert!(!listed.contains(" usr/bin/tool\n"), "{listed}"),
                3 => assert!(listed.contains(" etc/\n") && !listed.contains("user/"), "{listed}"),
                _ => assert!(!listed.contains(" etc/") && !listed.contains(".pyc"), "{listed}"),
            }
        }
    }
}

#[test]
fn gnu_tar_extracts_what_a_filter_left() {
    if !installed("gnu_tar_extracts_what_a_filter_left", &["tar"]) {
        return;
    }
    extracts(&["exclude:pattern=usr/bin/tool"]);
    extracts(&["exclude:pattern=usr/bin/tool", "canonical"]);
}

/// Extracts the rich layer as a chain of filters leaves it, and looks at what is there.
fn extracts(chain: &[&str]) {
    let sandbox = Sandbox::new();
    filtered(&sandbox, "dir", chain, "out");
    let root = sandbox.path("root");
    std::fs::create_dir(&root).unwrap();
    let layer = &layer_files(&sandbox.path("out"))[0];
    let (layer, into) = (layer.to_str().unwrap(), root.to_str().unwrap());
    // Without root, no devices and no files of other owners can be created.
    let is_root = rustix::process::geteuid().is_root();
    let mut arguments = vec!["-xpf", layer, "-C", into, "--numeric-owner"];
    let user_attributes = takes_attributes(&root);
    if user_attributes {
        arguments.extend(["--xattrs", "--xattrs-include=user.*"]);
    }
    if !is_root {
        arguments.extend(["--no-same-owner", "--exclude=dev/*"]);
    }
    gnu_tar(&arguments);

    let of = |name: &str| root.join(name).symlink_metadata().unwrap();
    let content = |name: &str| std::fs::read(root.join(name)).unwrap();
    // The hard link to the excluded file is a file now, with the same content.
    assert!(!root.join("usr/bin/tool").exists());
    assert_eq!(content("usr/bin/again"), crate::support::image::noise(3, 70_000));
    assert_eq!(of("usr/bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(of("tmp").mode() & 0o7777, 0o1777);
    assert_eq!(of("etc/plain").mtime(), MTIME as i64);
    assert_eq!(of("usr/times").mtime_nsec(), 500_000_000);
    assert_eq!(
        std::fs::read_link(root.join("etc/relative")).unwrap(),
        Path::new("../usr/bin/tool")
    );
    assert_eq!(content("twice"), b"second, which counts");
    assert_eq!(content("names/new\nline"), b"line");
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"names/latin-\xe9");
    assert_eq!(std::fs::read(root.join(name)).unwrap(), b"latin");
    let long = "n".repeat(90);
    for (file, text) in [("prefix", "file"), ("gnu", ""), ("pax", "")] {
        let path = match text {
            "file" => format!("prefix/{long}/file"),
            _ => format!("{file}/{long}/{long}/file"),
        };
        assert_eq!(content(&path), file.as_bytes());
    }
    let mut sparse = vec![0; 200_000];
    sparse[..512].fill(7);
    sparse[65_536..66_236].fill(7);
    assert!(content("sparse/gnu") == sparse);
    let mut sparse = vec![0; 1 << 20];
    sparse[4096..5120].fill(9);
    assert!(content("sparse/pax") == sparse);
    if is_root {
        assert!(of("dev/null").file_type().is_char_device() && of("dev/null").rdev() == 0x103);
        assert!(of("dev/sda1").file_type().is_block_device());
        assert!(of("dev/pipe").file_type().is_fifo());
        assert_eq!((of("etc/owned").uid(), of("usr/huge-ids").uid()), (1000, 3_000_000_000));
    }
    if user_attributes {
        let mut value = [0; 16];
        let ping = root.join("usr/bin/ping");
        let length = rustix::fs::getxattr(&ping, c"user.note", &mut value).unwrap();
        assert_eq!(&value[..length], "äöü".as_bytes());
        assert_eq!(rustix::fs::getxattr(&ping, c"user.empty", &mut value), Ok(0));
    }
}

/// Returns whether extended attributes of users can be set in a folder.
fn takes_attributes(folder: &Path) -> bool {
    rustix::fs::setxattr(folder, c"user.probe", b"1", rustix::fs::XattrFlags::empty()).is_ok()
}

#[test]
fn skopeo_copies_filtered_images() {
    if !installed("skopeo_copies_filtered_images", &["skopeo", "tar"]) {
        return;
    }
    let sandbox = Sandbox::new();
    for (index, chain) in CHAINS.iter().enumerate() {
        for (scheme, prefix) in [("tar", "docker-archive"), ("oci-layout", "oci")] {
            let (from, to) = (format!("{scheme}-{index}"), format!("copy-{scheme}-{index}"));
            filtered(&sandbox, scheme, chain, &from);
            let path = sandbox.path(&from);
            let tag = if scheme == "tar" { "" } else { ":1" };
            let from = format!("{prefix}:{}{tag}", path.display());
            skopeo(&["copy", "--quiet", &from, &format!("dir:{}", sandbox.path(&to).display())]);
            assert_diff_ids(&sandbox.path(&to));
        }
    }
}

/// Checks in skopeo's directory that each decompressed layer has the diff-id of the config.
#[track_caller]
fn assert_diff_ids(folder: &Path) {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = read(digest.strip_prefix("sha256:").unwrap());
        assert_eq!(Digest::of(&bytes).to_string(), digest);
        bytes
    };
    let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let found: Vec<String> = layers
        .iter()
        .map(|layer| {
            let stored = blob(layer);
            let mut plain = Vec::new();
            let gzipped = stored.starts_with(&[0x1f, 0x8b]);
            match gzipped {
                true => std::io::Read::read_to_end(
                    &mut flate2::read::MultiGzDecoder::new(&stored[..]),
                    &mut plain,
                )
                .map(drop)
                .unwrap(),
                false => plain = stored,
            }
            Digest::of(&plain).to_string()
        })
        .collect();
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!(found));
    assert_eq!(found.len(), 2);
}
