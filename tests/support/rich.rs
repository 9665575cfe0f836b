//! A layer with everything that a layer can contain, for tests of its way through occystrap.

use super::image::{TestImage, noise};
use super::raw_tar::{Raw, tar};
use super::shape::Archive;

/// A file capability (cap_net_raw, effective) as the kernel stores it, with bytes that are no text.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0x80, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Returns the members that all readers read alike, Python's included.
pub fn members() -> Vec<Raw> {
    let long = "n".repeat(90);
    vec![
        Raw::dir("etc"),
        Raw::file("etc/plain", b"plain\n"),
        Raw::file("etc/owned", b"").owner(1000, 1001).field(265, b"user").field(297, b"group"),
        Raw::file("etc/secret", b"secret").mode(0o600),
        Raw::link(b'2', "etc/relative", "../usr/bin/tool"),
        Raw::link(b'2', "etc/absolute", "/usr/bin/tool"),
        Raw::dir("usr/bin"),
        Raw::file("usr/bin/tool", &noise(3, 70_000)).mode(0o755),
        Raw::link(b'1', "usr/bin/again", "usr/bin/tool"),
        Raw::file("usr/bin/su", b"setuid").mode(0o4755),
        Raw::file("usr/bin/wall", b"setgid").mode(0o2755).owner(0, 5),
        Raw::dir("tmp").mode(0o1777),
        Raw::file("usr/bin/ping", b"ping")
            .mode(0o755)
            .pax("SCHILY.xattr.security.capability", CAPABILITY)
            .pax("SCHILY.xattr.user.note", "äöü")
            .pax("SCHILY.xattr.user.empty", b""),
        Raw::file("usr/acl", b"acl").pax("SCHILY.acl.access", b"user::rw-,user:7:r--,mask::r--"),
        Raw::file("usr/times", b"times")
            .pax("mtime", b"1700000000.5")
            .pax("atime", b"1700000001.25")
            .pax("ctime", b"1700000002.75")
            .pax("LIBARCHIVE.creationtime", b"1600000000"),
        Raw::file("usr/huge-ids", b"ids").pax("uid", b"3000000000").pax("gid", b"3000001"),
        Raw::new(b'3', "dev/null", b"").device(1, 3).mode(0o666),
        Raw::new(b'4', "dev/sda1", b"").device(259, 1_048_575),
        Raw::new(b'6', "dev/pipe", b""),
        // In USTAR's two fields, in PAX, and in GNU's way.
        Raw::file("file", b"prefix").field(345, format!("prefix/{long}").as_bytes()),
        Raw::file("cut", b"pax").pax("path", format!("pax/{long}/{long}/file")),
        Raw::gnu_long(&format!("gnu/{long}/{long}/file"), b"gnu"),
        Raw::link(b'2', "long-link", "cut").pax("linkpath", format!("{long}/{long}/target")),
        Raw::file(b"names/latin-\xe9", b"latin"),
        Raw::file("names/utf-é", b"utf"),
        Raw::file("names/new\nline", b"line"),
        Raw::file("names/blank [x]", b"blank"),
        Raw::gnu_sparse(
            "sparse/gnu",
            &[(0, 512), (65_536, 700), (200_000, 0)],
            200_000,
            &[7; 1212],
        ),
        Raw::pax_sparse("sparse/pax", &[(4096, 1024), (1 << 20, 0)], 1 << 20, &[9; 1024]),
        // Another layer's files, deleted; and a directory's, all.
        Raw::file("var/.wh.cache", b""),
        Raw::file("var/lib/.wh..wh..opq", b""),
        Raw::file("twice", b"first"),
        Raw::file("twice", b"second, which counts"),
        // The forms of before POSIX, and of FORTRAN.
        Raw::new(0, "kinds/old", b"old").field(257, &[0; 255]),
        Raw::new(b'7', "kinds/contiguous", b"contiguous"),
        Raw::file("kinds/commented", b"comment").pax("comment", b"by whoever wrote it"),
    ]
}

/// [`members`] as a layer, and a second layer that changes some of it.
pub fn image(name: &str) -> TestImage {
    let above = tar(&[
        Raw::dir("etc"),
        Raw::file("etc/plain", b"another\n"),
        Raw::file("usr/bin/.wh.tool", b""),
        Raw::file("usr/lib/module.py", b"import this"),
        Raw::file("usr/lib/__pycache__/module.pyc", &noise(5, 3_000)),
    ]);
    TestImage::with_layers(name, vec![tar(&members()), above])
}

/// `docker save` with folders named by diff-id, as this program and its predecessor write it: what
/// the predecessor calls a layer is the folder's name.
pub fn docker_save(image: &TestImage) -> Archive {
    let mut archive = Archive::default();
    archive.push(image.config_path(), image.config.clone());
    for (index, layer) in image.layers.iter().enumerate() {
        let name = image.layer_path(index);
        // Layers may be the same.
        if image.layers[..index].iter().all(|other| other != layer) {
            archive.push(name, layer.clone());
        }
    }
    let layers: Vec<String> =
        (0..image.layers.len()).map(|index| image.layer_path(index)).collect();
    let manifest = serde_json::json!([
        { "Config": image.config_path(), "RepoTags": [image.name], "Layers": layers }
    ]);
    archive.push("manifest.json", manifest.to_string());
    archive
}
