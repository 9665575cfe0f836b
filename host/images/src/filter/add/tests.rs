//! Adding files to images written by hand.

use super::super::tests::made::{self, ImageOf, link, of};
use super::super::tests::no_source;
use super::*;

fn add(text: &str, image: &ImageOf) -> Result<Image> {
    let results = made::results();
    let inputs = FilterInputs { environment: &|_| None, results: &results, source: &no_source };
    let filter = Add::new(&Spec::parse(text, &|_| None)?, &inputs)?;
    image.reshaped(&filter)
}

#[test]
fn the_layer_repeats_the_folders_of_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("app.conf");
    std::fs::write(&local, b"port=80\n").unwrap();
    let etc = Member {
        mode: 0o700,
        uid: 7,
        mtime: Time::seconds(9),
        ..Member::new(MemberKind::Directory, "./etc")
    };
    let image = ImageOf::new(vec![
        vec![(etc, vec![]), of("usr/lib/", ""), link(MemberKind::Symlink, "lib", "usr/lib")],
        vec![of("x", "1")],
    ]);
    let file = local.display();
    let made = add(&format!("add:file={file},path=/etc/app.conf,file={file},path=/lib/app/,mode=0600,owner=5:6,ts=86400"), &image).unwrap();
    let layers = made::layers(&made);
    assert_eq!(layers.len(), 3);
    let listed: Vec<String> = layers[2]
        .iter()
        .map(|(member, content)| {
            let Member { mode, uid, gid, mtime, .. } = member;
            let name = String::from_utf8_lossy(&member.path);
            format!("{name} {mode:o} {uid}:{gid} {} {}", mtime.seconds, content.len())
        })
        .collect();
    assert_eq!(
        listed,
        [
            "etc 700 7:0 9 0",
            "etc/app.conf 600 5:6 86400 8",
            "usr 755 5:6 86400 0",
            "usr/lib 0 0:0 0 0",
            "usr/lib/app 755 5:6 86400 0",
            "usr/lib/app/app.conf 600 5:6 86400 8",
        ]
    );
    let config: serde_json::Value = serde_json::from_slice(&made.config).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    let step = &config["history"][2];
    assert_eq!(step["created_by"], "occystrap add /etc/app.conf /lib/app/app.conf");
    assert_eq!(step["created"], "1970-01-02T00:00:00Z");
}

#[test]
fn a_folder_is_added_with_all_that_is_in_it_and_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("b")).unwrap();
    std::fs::write(at("b/tool"), b"#!").unwrap();
    std::fs::write(at("a"), b"text").unwrap();
    std::os::unix::fs::symlink("b/tool", at("c")).unwrap();
    let exec = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(at("b/tool"), exec).unwrap();
    let text = format!("add:file={},path=/opt/app", folder.path().display());
    let image = ImageOf::new(vec![vec![of("x", "1")]]);
    let first = add(&text, &image).unwrap();
    let listed: Vec<String> = made::layers(&first)[1]
        .iter()
        .map(|(member, _)| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("{} {:o} {}", text(&member.path), member.mode, text(&member.link))
        })
        .collect();
    assert_eq!(
        listed,
        [
            "opt 755 ",
            "opt/app 755 ",
            "opt/app/a 644 ",
            "opt/app/b 755 ",
            "opt/app/b/tool 755 ",
            "opt/app/c 777 b/tool"
        ]
    );
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(99);
    std::fs::File::open(at("a")).unwrap().set_modified(later).unwrap();
    assert_eq!(add(&text, &image).unwrap().id, first.id);
}

#[test]
fn additions_that_would_break_the_image_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("f");
    std::fs::write(&local, b"1").unwrap();
    let file = local.display();
    let image = ImageOf::new(vec![
        vec![
            of("etc/", ""),
            of("etc/passwd", "x"),
            of("old/", ""),
            link(MemberKind::Symlink, "l", "l"),
        ],
        vec![of(".wh.old", "")],
    ]);
    for (text, message) in [
        ("path=/etc", "would replace the folder 'etc' of the image"),
        ("path=/etc/passwd/x", "'etc/passwd/x' lies below 'etc/passwd', a file of the image"),
        ("path=/l/x", "leads through too many links"),
        ("path=/a/../b", "must not contain '..'"),
        ("path=/", ""),
        ("mode=8", "found 1 of 'file' and 0 of 'path'"),
        ("path=/x,mode=9", "mode=9: expected permission bits in octal"),
        ("path=/x,owner=root", "owner=root: expected numbers"),
        ("path=/x,ts=now", "ts=now: expected whole seconds since 1970"),
    ] {
        match add(&format!("add:file={file},{text}"), &image) {
            Err(error) => assert!(
                error.to_string().contains(message) && !message.is_empty(),
                "{text}: {error}"
            ),
            Ok(_) => assert!(message.is_empty(), "{text}"),
        }
    }
    assert!(add(&format!("add:file={file},path=/old"), &image).is_ok());
    assert!(add("add:file=/nowhere/f,path=/x", &image).is_err());
}

#[test]
fn a_file_of_the_image_does_not_become_a_folder_also_where_a_link_leads_to_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), b"1").unwrap();
    let empty = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("f"), folder.path());
    let image = ImageOf::new(vec![vec![
        of("usr/", ""),
        of("usr/file", "x"),
        link(MemberKind::Symlink, "l", "usr/file"),
        link(MemberKind::Symlink, "m", "l"),
    ]]);
    let folder_of = "a file of the image, and would become a folder";
    for (local, path, why) in [
        (dir, "/l", folder_of),
        (dir, "/m", folder_of),
        (empty.path(), "/l", folder_of),
        (empty.path(), "/usr/file", folder_of),
        (&file, "/l/y", "'l/y' lies below 'usr/file', a file of the image"),
        (dir, "/m/y", "lies below 'usr/file', a file of the image"),
    ] {
        let text = format!("add:file={},path={path}", local.display());
        let error = add(&text, &image).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(why), "{text}: {error}");
    }
    // A link that is named as a file is replaced.
    assert!(add(&format!("add:file={},path=/l", file.display()), &image).is_ok());
}

#[test]
fn paths_that_engines_cannot_unpack_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let local = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, b"x").unwrap();
        path.display().to_string()
    };
    let (file, whiteout) = (local("f"), local(".wh.keep"));
    let image = ImageOf::new(vec![vec![of("etc/keep", "1")]]);
    for (text, why) in [
        (format!("add:file={whiteout},path=/etc/"), "would delete a file of the image"),
        (format!("add:file={file},path=/.wh.etc"), "would delete a file of the image"),
        (format!("add:file={file},path=/x,file={file},path=/x/y"), "lies below 'x'"),
        (format!("add:file={file},path=/{}", "n".repeat(256)), "at most 255, found 256"),
        ("add:file=/proc/self/status,path=/s".to_owned(), "expected 0, found more"),
    ] {
        let error = add(&text, &image).err().unwrap().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}
