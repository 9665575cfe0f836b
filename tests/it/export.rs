//! `occystrap export`: the file system of an image as one tar, compared with a walk, GNU tar, umoci and Docker.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::layer::{file, hardlink, layer};
use crate::support::random_image::{self, Entry, RandomImage, Walked};
use crate::support::raw_tar::{self, Raw};
use crate::support::real::{self, installed};
use crate::support::real_engine;
use crate::support::registry::Registry;
use crate::support::{push::push, shape};

/// Seeds of the random images. A failure names the seed.
const SEEDS: std::ops::Range<u64> = 0..60;

/// Extracts a tar with GNU tar, which must have nothing to say about it.
fn extract(tar: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    let mut command = Command::new("tar");
    command.args(["--xattrs", "--xattrs-include=*", "-xpf"]).arg(tar).arg("-C").arg(to);
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.is_empty(), "tar: {said}");
}

/// Reads a file system from a folder, as root.
fn walk(root: &Path) -> Walked {
    let (mut found, mut inodes) = (Walked::new(), HashMap::new());
    let mut rest = vec![root.to_owned()];
    while let Some(folder) = rest.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is = std::fs::symlink_metadata(&path).unwrap();
            let kind = match is.file_type() {
                kind if kind.is_dir() => 'd',
                kind if kind.is_file() => 'f',
                kind if kind.is_symlink() => 'l',
                kind if kind.is_char_device() => 'c',
                kind if kind.is_block_device() => 'b',
                _ => 'p',
            };
            let count = inodes.len() + 1;
            let inode = *inodes.entry(is.ino()).or_insert(count);
            let rdev = is.rdev();
            let has_device = matches!(kind, 'c' | 'b');
            let seen = Entry {
                kind,
                mode: is.mode() & 0o7777,
                owner: (is.uid(), is.gid()),
                mtime: is.mtime(),
                content: if kind == 'f' { std::fs::read(&path).unwrap() } else { Vec::new() },
                link: match kind {
                    'l' => std::fs::read_link(&path).unwrap().to_str().unwrap().to_owned(),
                    _ => String::new(),
                },
                device: match has_device {
                    true => (rustix::fs::major(rdev), rustix::fs::minor(rdev)),
                    false => (0, 0),
                },
                xattrs: attributes(&path),
                inode,
            };
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if kind == 'd' {
                rest.push(path);
            }
            found.insert(name, seen);
        }
    }
    found
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4_096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or_default();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let read = |name: &[u8]| {
        let name = std::ffi::OsStr::from_bytes(name);
        let mut value = vec![0; 4_096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        (name.to_str().unwrap().to_owned(), value)
    };
    names.map(read).filter(|(name, _)| name.starts_with("user.")).collect()
}

/// Makes the numbers of inodes comparable: each is that of the first name.
fn normal(mut walked: Walked) -> Walked {
    let mut numbers = HashMap::new();
    for (index, entry) in walked.values_mut().enumerate() {
        entry.inode = *numbers.entry(entry.inode).or_insert(index);
    }
    walked
}

#[track_caller]
fn assert_same(found: &Walked, expected: &Walked, what: &str) {
    for path in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(path), expected.get(path), "{what}: '{path}'");
    }
}

fn able(test: &str, programs: &[&str]) -> bool {
    if !installed(test, programs) {
        return false;
    }
    if rustix::process::geteuid().is_root() {
        return true;
    }
    real::skip(test, "only root may make devices and change owners");
    false
}

#[test]
fn all_names_of_a_file_have_the_metadata_of_the_last_one() {
    let members = [file("a", b"1").mode(0o644), hardlink("b", "a").mode(0o600).mtime(5)];
    let image = TestImage::with_layers("team/app:1", vec![layer(&members)]);
    let sandbox = Sandbox::new();
    shape::oci(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    sandbox.run(&["export", "tar://a.tar", "-o", "rootfs.tar"]).exits(0);
    let tar = std::fs::read(sandbox.path("rootfs.tar")).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let found: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let header = entry.unwrap().header().clone();
            (header.mode().unwrap(), header.mtime().unwrap())
        })
        .collect();
    assert_eq!(found, [(0o600, 5), (0o600, 5)]);
}

#[test]
fn gnu_tar_extracts_what_a_walk_finds() {
    if !able("gnu_tar_extracts_what_a_walk_finds", &["tar"]) {
        return;
    }
    for seed in SEEDS {
        let RandomImage { image, walked, .. } = random_image::image(seed);
        let sandbox = Sandbox::new();
        shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("image.tar"));
        let ran = sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]);
        ran.exits(0);
        extract(&sandbox.path("rootfs.tar"), &sandbox.path("rootfs"));
        let found = normal(walk(&sandbox.path("rootfs")));
        assert_same(&found, &normal(walked), &format!("seed {seed}"));
    }
}

#[test]
fn umoci_unpacks_the_same() {
    if !able("umoci_unpacks_the_same", &["tar", "umoci"]) {
        return;
    }
    for seed in SEEDS.step_by(3) {
        let RandomImage { image, .. } = random_image::image(seed);
        let sandbox = Sandbox::new();
        shape::oci(&[&image], Pack::Gzip).write(&sandbox.path("image.tar"));
        sandbox.process("tar://image.tar", "oci-layout://layout:1", &[]).verified();
        sandbox.run(&["export", "oci-layout://layout:1", "-o", "rootfs.tar"]).exits(0);
        extract(&sandbox.path("rootfs.tar"), &sandbox.path("rootfs"));
        let unpacked = Command::new("umoci")
            .args(["unpack", "--image"])
            .arg(format!("{}:1", sandbox.path("layout").display()))
            .arg(sandbox.path("bundle"))
            .output()
            .unwrap();
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        let found = normal(walk(&sandbox.path("rootfs")));
        let expected = normal(walk(&sandbox.path("bundle/rootfs")));
        assert_same(&found, &expected, &format!("seed {seed}"));
    }
}

#[test]
fn docker_exports_the_same() {
    let test = "docker_exports_the_same";
    if !able(test, &["tar", "docker"]) {
        return;
    }
    let Some(engine) = real_engine::dockerd(test) else { return };
    let socket = format!("unix://{}", engine.socket().display());
    let docker = |arguments: &[&str]| {
        let ran = Command::new("docker")
            .args(["-H", &socket])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    for seed in SEEDS.step_by(6) {
        let RandomImage { image, walked, .. } = random_image::image(seed);
        let sandbox = Sandbox::new();
        let archive = sandbox.path("image.tar");
        shape::legacy(&[&image], Pack::Plain).write(&archive);
        docker(&["load", "-qi", archive.to_str().unwrap()]);
        let container = docker(&["create", "--net=none", &image.name, "/none"]);
        let to = sandbox.path("docker.tar");
        docker(&["export", "-o", to.to_str().unwrap(), &container]);
        sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]).exits(0);
        docker(&["rm", &container]);
        docker(&["rmi", &image.name]);
        extract(&to, &sandbox.path("docker"));
        extract(&sandbox.path("rootfs.tar"), &sandbox.path("rootfs"));
        // Docker adds files of its own, and exports no attributes but those of capabilities.
        let comparable = |root: &str| {
            let mut walked = walk(&sandbox.path(root));
            walked.retain(|path, _| path == "data" || path.starts_with("data/"));
            for entry in walked.values_mut() {
                entry.xattrs.clear();
                // Docker does not restore the time of a directory of a lower layer to which it adds a file.
                entry.mtime = if entry.kind == 'd' { 0 } else { entry.mtime };
            }
            normal(walked)
        };
        let found = comparable("rootfs");
        assert_eq!(found.len(), walked.len());
        assert_same(&found, &comparable("docker"), &format!("seed {seed}"));
    }
}

/// The bytes depend on the file system, not on the layers, the order or the compression.
#[test]
fn one_file_system_is_one_tar() {
    let sandbox = Sandbox::new();
    let digest = |image: &TestImage, pack: Pack| {
        shape::oci(&[image], pack).write(&sandbox.path("image.tar"));
        let ran = sandbox.run(&["export", "-O", "json", "tar://image.tar", "-o", "rootfs.tar"]);
        let document = ran.exits(0).json();
        let bytes = std::fs::read(sandbox.path("rootfs.tar")).unwrap();
        let image = &document["images"][0];
        let own = occystrap_base::oci::Digest::of(&bytes).to_string();
        assert_eq!((&image["digest"], &image["size"]), (&own.as_str().into(), &bytes.len().into()));
        own
    };
    let (etc, passwd) = (Raw::dir("./etc"), Raw::file("./etc/passwd", b"root"));
    let (motd, shadow) = (Raw::file("etc/motd", b"hi"), Raw::file("/etc/shadow", b"x"));
    let one = [etc.clone(), passwd.clone(), motd.clone(), shadow.clone()];
    let one = TestImage::with_layers("a:1", vec![raw_tar::tar(&one)]);
    let several = [
        vec![etc.clone(), Raw::file("etc/motd", b"old"), Raw::file("etc/gone", b"x")],
        vec![shadow, motd, Raw::file("etc/.wh.gone", b"")],
        vec![passwd, etc],
    ];
    let layers = several.iter().map(|members| raw_tar::tar(members)).collect();
    let several = TestImage::with_layers("b:1", layers);
    let expected = digest(&one, Pack::Plain);
    for (image, pack) in [(&one, Pack::Gzip), (&several, Pack::Zstd), (&several, Pack::Plain)] {
        assert_eq!(digest(image, pack), expected);
    }
}

#[test]
fn standard_output_is_the_tar_and_nothing_else() {
    let (image, registry, sandbox) =
        (TestImage::new("team/app:1"), Registry::start(), Sandbox::new());
    let source = push(&registry, &image, Pack::Gzip);
    let ran = sandbox.run(&["export", &source, "-o", "rootfs.tar"]);
    insta::assert_snapshot!(sandbox.redact(&ran.exits(0).stdout));
    let mut command = sandbox.command(&["export", &source, "-o", "-"]);
    let output = command.output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == std::fs::read(sandbox.path("rootfs.tar")).unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("to standard output: "), "{said}");
    sandbox.run(&["export", &source, "-o", "-", "-O", "json"]).exits(2).says("-O json");
    sandbox.assert_clean();
}

/// After a layer with a link, engines that apply layers on each other write through it.
#[test]
fn names_lead_through_the_links_of_lower_layers() {
    let layers = vec![
        raw_tar::tar(&[
            Raw::dir("usr"),
            Raw::dir("usr/lib"),
            Raw::file("usr/lib/old", b"old"),
            Raw::link(b'2', "lib", "usr/lib"),
        ]),
        raw_tar::tar(&[
            Raw::file("lib/new", b"new"),
            Raw::file("lib/.wh.old", b""),
            Raw::link(b'1', "lib/again", "lib/new"),
        ]),
    ];
    let image = TestImage::with_layers("app:1", layers);
    let sandbox = Sandbox::new();
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("image.tar"));
    sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]).exits(0);
    let listed = Command::new("tar").arg("-tf").arg(sandbox.path("rootfs.tar")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed, "lib\nusr/\nusr/lib/\nusr/lib/again\nusr/lib/new\n");
}

#[test]
fn images_that_engines_refuse_are_not_exported() {
    let sandbox = Sandbox::new();
    for (members, why) in [
        (vec![Raw::file("../x", b"")], "'../x' leads out of the image"),
        (vec![Raw::link(b'1', "a", "b")], "'a' is a hard link to a file that is not there"),
        (vec![Raw::link(b'1', "a", "../b")], "leads out of the image, to '../b'"),
        (vec![Raw::file("a", b""), Raw::file("a/b", b"")], "'a' is not a directory, but 'a/b'"),
        (vec![Raw::new(b'Z', "a", b"")], "'a' has the type 'Z'"),
        (vec![Raw::file("a/.wh.", b"")], "names nothing that it may delete"),
        (
            vec![Raw::file("x", b"").pax("path", "n".repeat(256))],
            "has a name of 256 bytes; Linux allows 255",
        ),
        (
            vec![Raw::file("x", b"").pax("path", "d/".repeat(2_100) + "x")],
            "has a path of 4201 bytes; Linux allows 4095",
        ),
    ] {
        let image = TestImage::with_layers("app:1", vec![raw_tar::tar(&members)]);
        shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("image.tar"));
        sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]).exits(1).says(why);
        assert!(!sandbox.path("rootfs.tar").exists());
    }
    let images = [TestImage::new("a:1"), TestImage::new("b:1")];
    shape::legacy(&[&images[0], &images[1]], Pack::Plain).write(&sandbox.path("image.tar"));
    let ran = sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]);
    ran.exits(1).says("?image=a:1");
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    let ran = sandbox.run(&["export", "tar://image.tar?image=a:1", "-o", "folder"]);
    ran.exits(2).says("folder/rootfs.tar");
    sandbox.assert_clean();
}

#[test]
fn bytes_that_are_not_the_images_are_not_exported() {
    let image = TestImage::new("app:1");
    let mut archive = shape::legacy(&[&image], Pack::Plain);
    let name = archive.0.iter().find(|(_, content)| content.len() > 600_000).unwrap().0.clone();
    let mut layer = archive.get(&name).to_vec();
    layer[1_000] ^= 1;
    archive.set(&name, layer);
    let sandbox = Sandbox::new();
    archive.write(&sandbox.path("image.tar"));
    let mut old = vec![0; 1024];
    old[257..262].copy_from_slice(b"ustar");
    std::fs::write(sandbox.path("rootfs.tar"), &old).unwrap();
    sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]).exits(1).says("diff-id");
    assert_eq!(std::fs::read(sandbox.path("rootfs.tar")).unwrap(), old);
}

#[test]
fn neither_the_source_nor_another_kind_of_file_is_replaced() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Plain).write(&sandbox.path("image.tar"));
    std::fs::write(sandbox.path("notes.txt"), "notes").unwrap();
    let image = std::fs::read(sandbox.path("image.tar")).unwrap();
    for (file, why) in
        [("image.tar", "the image is read from it"), ("notes.txt", "it is no tar archive")]
    {
        sandbox.run(&["export", "tar://image.tar", "-o", file]).exits(1).says(why);
    }
    assert_eq!(std::fs::read(sandbox.path("image.tar")).unwrap(), image);
    assert_eq!(std::fs::read(sandbox.path("notes.txt")).unwrap(), b"notes");
    sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]).exits(0);
    sandbox.run(&["export", "tar://image.tar", "-o", "rootfs.tar"]).exits(0);
}

/// The file that a process writes has no name before it is complete.
#[test]
fn a_killed_export_leaves_no_file() {
    let sandbox = Sandbox::new();
    let layers = (0..3).map(|seed| tar(&[("noise", &noise(seed, 30_000_000))])).collect();
    let image = TestImage::with_layers("app:1", layers);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("image.tar"));
    let out = sandbox.path("out");
    std::fs::create_dir(&out).unwrap();
    let mut command = sandbox.command(&["export", "tar://image.tar", "-o", "out/rootfs.tar"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    // It has opened the file.
    let files = format!("/proc/{}/fd", child.id());
    let is_open = || {
        let Ok(files) = std::fs::read_dir(&files) else { return false };
        files.flatten().any(|file| {
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            target.starts_with(&out) && file.metadata().is_ok()
        })
    };
    while !is_open() {
        assert!(child.try_wait().unwrap().is_none(), "the export ended before it was killed");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
}
