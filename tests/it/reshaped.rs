//! Filters that work on whole images, in the hands of other tools: umoci unpacks the same files before and after `squash`,
//! skopeo copies the image, Docker and Podman take it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise};
use crate::support::raw_tar::{Raw, tar};
use crate::support::real::{installed, skopeo};
use crate::support::real_engine;
use crate::support::rich::CAPABILITY;
use crate::support::shape::legacy;

/// An image of four layers, whose later ones delete, empty and replace what the earlier ones have.
fn layers() -> Vec<Vec<u8>> {
    vec![
        tar(&[
            Raw::dir("etc").mode(0o700),
            Raw::file("etc/plain", b"plain\n").owner(1000, 1001),
            Raw::dir("usr"),
            Raw::dir("usr/bin"),
            Raw::link(b'2', "bin", "usr/bin"),
            Raw::file("usr/bin/tool", &noise(3, 70_000)).mode(0o4755),
            // All names have the metadata of the file, as builders write them: umoci ignores those of links.
            Raw::link(b'1', "usr/bin/again", "usr/bin/tool").mode(0o4755),
            Raw::link(b'1', "usr/bin/third", "usr/bin/tool").mode(0o4755),
            Raw::dir("old"),
            Raw::file("old/large", &noise(4, 90_000)),
            Raw::dir("var"),
            Raw::dir("var/cache"),
            Raw::file("var/cache/a", b"a"),
            Raw::file("replaced", b"a file"),
            Raw::dir("dev"),
            Raw::new(b'3', "dev/null", b"").device(1, 3).mode(0o666),
            Raw::new(b'6', "dev/pipe", b""),
        ]),
        tar(&[
            Raw::dir("etc").mode(0o750),
            Raw::file("etc/.wh.plain", b""),
            Raw::file(".wh.old", b""),
            Raw::dir("usr"),
            Raw::dir("usr/bin"),
            // Its content stays under the names of the links.
            Raw::file("usr/bin/.wh.tool", b""),
            Raw::file("usr/bin/ping", b"ping")
                .mode(0o755)
                .pax("SCHILY.xattr.security.capability", CAPABILITY),
        ]),
        tar(&[
            Raw::dir("old"),
            Raw::file("old/new", b"new"),
            Raw::dir("var"),
            Raw::dir("var/cache").mode(0o1777),
            Raw::file("var/cache/.wh..wh..opq", b""),
            Raw::file("var/cache/b", b"b"),
            Raw::file(".wh.replaced", b""),
            Raw::dir("names"),
            Raw::file("names/new\nline", b"line"),
        ]),
        tar(&[
            Raw::dir("replaced"),
            Raw::file("replaced/inside", b"inside"),
            Raw::dir("etc").mode(0o755),
            Raw::file("etc/plain", b"again"),
            Raw::link(b'1', "etc/link", "etc/plain"),
        ]),
    ]
}

/// [`layers`], and one with a sparse file. Docker does not export one, filtered or not.
fn with_sparse() -> Vec<Vec<u8>> {
    let sparse = Raw::pax_sparse("sparse", &[(4096, 1024), (1 << 20, 0)], 1 << 20, &[9; 1024]);
    let mut layers = layers();
    layers.insert(1, tar(&[sparse]));
    layers
}

fn source(sandbox: &Sandbox, name: &str, layers: Vec<Vec<u8>>) -> String {
    let image = TestImage::with_layers(name, layers);
    legacy(&[&image], Pack::Gzip).write(&sandbox.path("source.tar"));
    sandbox.uri("tar", "source.tar")
}

/// What is at a path: everything that a container can see of it.
type Tree = BTreeMap<Vec<u8>, String>;

/// The tree that umoci unpacks from a layout.
fn unpacked(sandbox: &Sandbox, layout: &str) -> Tree {
    let (image, bundle) = (
        format!("{}:1", sandbox.path(layout).display()),
        sandbox.path(&format!("{layout}.bundle")),
    );
    let mut command = Command::new("umoci");
    command.args(["unpack", "--image", &image]);
    if !rustix::process::geteuid().is_root() {
        command.arg("--rootless");
    }
    let output = command.arg(&bundle).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (root, mut tree, mut inodes) = (bundle.join("rootfs"), Tree::new(), BTreeMap::new());
    walk(&root, &root, &mut tree, &mut inodes);
    tree
}

fn walk(root: &Path, at: &Path, tree: &mut Tree, inodes: &mut BTreeMap<u64, Vec<u8>>) {
    let mut names: Vec<_> = at.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let found = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let first = inodes.entry(found.ino()).or_insert_with(|| name.clone()).clone();
        let content = match found.is_file() {
            true => Digest::of(&std::fs::read(&path).unwrap()).to_string(),
            false => format!("{:?}", path.read_link().ok()),
        };
        let capability = xattr(&path);
        let said = format!(
            "{:o} {}:{} {} {} {} {content} same as {} {capability:?}",
            found.mode(),
            found.uid(),
            found.gid(),
            if found.is_dir() { 0 } else { found.size() },
            found.rdev(),
            found.mtime(),
            String::from_utf8_lossy(&first),
        );
        tree.insert(name, said);
        if found.is_dir() {
            walk(root, &path, tree, inodes);
        }
    }
}

fn xattr(path: &Path) -> Option<Vec<u8>> {
    let mut value = [0_u8; 64];
    let size = rustix::fs::lgetxattr(path, "security.capability", &mut value[..]).ok()?;
    Some(value[..size].to_vec())
}

/// The config and the number of layers of the image in a layout.
fn config(sandbox: &Sandbox, layout: &str) -> (Value, usize) {
    let inspected =
        skopeo(&["inspect", "--raw", &format!("oci:{}:1", sandbox.path(layout).display())]);
    let manifest: Value = serde_json::from_slice(&inspected).unwrap();
    let config = skopeo(&[
        "inspect",
        "--config",
        "--raw",
        &format!("oci:{}:1", sandbox.path(layout).display()),
    ]);
    (serde_json::from_slice(&config).unwrap(), manifest["layers"].as_array().unwrap().len())
}

#[test]
fn umoci_unpacks_the_same_files_before_and_after_squash() {
    if !installed("umoci_unpacks_the_same_files_before_and_after_squash", &["umoci", "skopeo"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let source = source(&sandbox, "reshaped/squash:1", with_sparse());
    sandbox.process(&source, &sandbox.uri("oci-layout", "before"), &["--verify=full"]).verified();
    let before = unpacked(&sandbox, "before");
    assert!(before.len() > 20 && !before.contains_key(&b"usr/bin/tool"[..]), "{before:?}");
    for first in 1..=5 {
        let layout = format!("from-{first}");
        let filter = format!("squash:from-layer={first}");
        let to = sandbox.uri("oci-layout", &layout);
        sandbox.process(&source, &to, &["--verify=full", "-f", &filter]).verified();
        sandbox.run(&["check", &to]).exits(0);
        assert_eq!(unpacked(&sandbox, &layout), before, "{filter}");
        let (config, count) = config(&sandbox, &layout);
        assert_eq!((count, config["rootfs"]["diff_ids"].as_array().unwrap().len()), (first, first));
        let copy = format!("docker-archive:{}", sandbox.path(&format!("{layout}.tar")).display());
        skopeo(&["copy", &format!("oci:{}:1", sandbox.path(&layout).display()), &copy]);
    }
    // The waste is gone.
    let wasted = |layout: &str| {
        let said =
            sandbox.run(&["info", "--tree", "-O", "json", &sandbox.uri("oci-layout", layout)]);
        said.exits(0).json()["images"][0]["wasted"].as_u64().unwrap()
    };
    assert!(wasted("before") > 90_000 && wasted("from-1") == 0);
    // Twice gives the same image.
    let again = sandbox.uri("oci-layout", "again");
    sandbox.process(&source, &again, &["-f", "squash"]).verified();
    assert_eq!(sandbox.tree("again"), sandbox.tree("from-1"));
}

#[test]
fn engines_take_reshaped_images() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("app.conf"), b"port=80\n").unwrap();
    let add = format!("add:file={},path=/bin/app.conf", sandbox.path("app.conf").display());
    let chains: [&[&str]; 4] = [
        &["-f", "squash"],
        &["-f", "squash:from-layer=2"],
        &["-f", &add],
        &[
            "-f",
            "set-config:env=A=b,label=l=1,user=1000,entrypoint=/bin/app",
            "-f",
            "squash",
            "-f",
            &add,
        ],
    ];
    for engine in real_engine::all("engines_take_reshaped_images") {
        let source = source(&sandbox, "reshaped/engine:1", layers());
        for (index, chain) in chains.iter().enumerate() {
            let to = engine.uri(&format!("reshaped/engine{index}:1"));
            sandbox.process(&source, &to, &[chain, &["--verify=full"][..]].concat()).verified();
            sandbox.run(&["verify", "--full", &to]).verified();
        }
        let out = sandbox.uri("dir", &format!("from-{}", engine.name));
        sandbox.process(&engine.uri("reshaped/engine3:1"), &out, &[]).verified();
        let said = sandbox.run(&["info", "-O", "json", &out]);
        let said = &said.exits(0).json()["images"][0];
        assert_eq!(said["layers"].as_array().unwrap().len(), 2);
        let config = &said["config"];
        assert_eq!((&config["user"], &config["labels"]["l"]), (&"1000".into(), &"1".into()));
        assert_eq!(config["entrypoint"], serde_json::json!(["/bin/app"]));
    }
}

#[test]
fn an_added_file_is_where_the_links_of_the_image_lead() {
    if !installed("an_added_file_is_where_the_links_of_the_image_lead", &["umoci"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let source = source(&sandbox, "reshaped/add:1", with_sparse());
    std::fs::create_dir_all(sandbox.path("tree/bin")).unwrap();
    std::fs::write(sandbox.path("tree/bin/new"), b"#!/bin/sh\n").unwrap();
    let add =
        format!("add:file={},path=/,mode=0755,owner=7:8,ts=86400", sandbox.path("tree").display());
    sandbox.process(&source, &sandbox.uri("oci-layout", "before"), &[]).verified();
    sandbox.process(&source, &sandbox.uri("oci-layout", "after"), &["-f", &add]).verified();
    let (before, mut after) = (unpacked(&sandbox, "before"), unpacked(&sandbox, "after"));
    // The link `bin` stays a link, and its folder keeps its metadata.
    let added = after.remove(&b"usr/bin/new"[..]).unwrap();
    assert!(added.starts_with("100755 ") && added.contains(" 86400 "), "{added}");
    assert_eq!(after, before);
    sandbox.run(&["check", &sandbox.uri("oci-layout", "after")]).exits(0);
    let wrong = format!("add:file={},path=/usr/bin", sandbox.path("tree/bin/new").display());
    let ran = sandbox.process(&source, &sandbox.uri("oci-layout", "no"), &["-f", &wrong]);
    ran.exits(2).says("would replace the folder 'usr/bin' of the image").says("path=/usr/bin/");
    assert!(!sandbox.path("no/index.json").exists());
}

#[test]
fn the_config_changes_and_the_layers_are_not_read() {
    use crate::support::push::{push, to};
    use crate::support::registry::Registry;
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let image = TestImage::with_layers("reshaped/config:1", layers());
    let source = push(&registry, &image, Pack::Zstd);
    let receipt = sandbox.path("receipt").display().to_string();
    let options = ["-f", "set-config:label=v=2,remove-label=who", "--receipt", &receipt];
    sandbox.process(&source, &to(&registry, "copy/config:2"), &options).verified();
    sandbox.run(&["verify", "--fast", &receipt]).verified();
    let (_, manifest) = registry.manifest("copy/config", "2").unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let digest: Digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    let config: Value =
        serde_json::from_slice(&registry.blob("copy/config", digest).unwrap()).unwrap();
    assert_eq!(config["config"]["Labels"], serde_json::json!({ "v": "2" }));
    let stored = image.layers.iter().map(|layer| Digest::of(&Pack::Zstd.pack(layer)).to_string());
    let listed = manifest["layers"].as_array().unwrap().iter();
    assert!(listed.map(|layer| layer["digest"].as_str().unwrap().to_owned()).eq(stored));
}
