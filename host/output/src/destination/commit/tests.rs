//! Commits that fail, and commits whose process was killed: `prepare` without what follows it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;

use cap_std::ambient_authority;

use super::expected::{Expected, HashedFile};
use super::record::{self, CommitRecord};
use super::recover::NEW_DIRECTORY;
use super::*;
use crate::destination::staging::Staging;
use occystrap_base::cancel::Cancel;
use occystrap_base::oci::Digest;

/// Every file by its path: inode and content.
type Tree = BTreeMap<String, (u64, Vec<u8>)>;

fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                folders.push(path.clone());
                tree.insert(format!("{name}/"), (0, Vec::new()));
            } else if metadata.is_symlink() {
                tree.insert(name, (metadata.ino(), b"a link".to_vec()));
            } else {
                tree.insert(name, (metadata.ino(), std::fs::read(&path).unwrap()));
            }
        }
    }
    tree
}

fn staging(folder: &Path) -> Result<Staging> {
    Staging::for_directory(folder, false, &Cancel::default())
}

/// Returns a destination with two files, and files that replace one of them and are new.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("replaced"), "old").unwrap();
    std::fs::write(folder.path().join("index"), "old index").unwrap();
    folder
}

const NEW: [(&str, &str); 4] =
    [("a/b/new", "1"), ("replaced", "new"), ("replaced", "newest"), ("index", "new index")];

fn files(destination: &Destination, contents: &[(&str, &str)]) -> Vec<(String, UnnamedFile)> {
    let file = |(path, content): &(&str, &str)| {
        let file = UnnamedFile::create(destination.anchor()).unwrap();
        file.file().write_all(content.as_bytes()).unwrap();
        ((*path).to_owned(), file)
    };
    contents.iter().map(file).collect()
}

fn commit(folder: &Path, contents: &[(&str, &str)], expected: &[Expected]) -> Result<()> {
    let mut staging = staging(folder)?;
    for (path, file) in files(&staging.destination().clone(), contents) {
        staging.push(path, file);
    }
    staging.commit(&Terms::new(expected, &Cancel::default()))
}

fn written(path: &str) -> Expected {
    Expected { path: path.to_owned(), hashed: None }
}

fn hashed(path: &str, content: &str) -> Expected {
    let (size, digest) = (content.len() as u64, Digest::of(content.as_bytes()));
    Expected { path: path.to_owned(), hashed: Some(HashedFile { size, digest, file: None }) }
}

/// Makes the state that a process leaves that is killed before the commit point, or after it.
fn killed(folder: &Path, contents: &[(&str, &str)], after: bool) {
    let destination = Destination::directory(folder).unwrap();
    let files = files(&destination, contents);
    let root = destination.dir().unwrap();
    let mut publication = Publication::plan(&destination, root, files, false).unwrap();
    publication.prepare(&Terms::new(&[], &Cancel::default())).unwrap();
    if after {
        publication.publish_last().unwrap();
    }
}

#[test]
fn a_commit_whose_last_check_fails_is_taken_back_to_the_inode() {
    let folder = folder();
    let before = tree(folder.path());
    let error = commit(folder.path(), &NEW, &[hashed("gone", "x")]).unwrap_err();
    assert!(error.to_string().contains("gone' is no longer the file"), "{error}");
    assert_eq!(tree(folder.path()), before);
    commit(folder.path(), &NEW, &[written("replaced"), written("a/b/new")]).unwrap();
    let after = tree(folder.path());
    let contents: Vec<&[u8]> = after.values().map(|(_, content)| content.as_slice()).collect();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["a/", "a/b/", "a/b/new", "index", "replaced"]);
    assert_eq!(contents, [&b""[..], b"", b"1", b"new index", b"newest"]);
}

#[test]
fn two_names_of_one_file_are_refused_whatever_their_order() {
    for (contents, expected) in [
        // Both are new, and the wrong one comes first, in the middle or last.
        (&[("layer", "right"), ("l/layer", "wrong"), ("index", "i")][..], written("layer")),
        (&[("l/layer", "wrong"), ("layer", "right"), ("index", "i")], written("layer")),
        (&[("layer", "right"), ("l/layer", "wrong")], written("layer")),
        // One was there, and was hashed.
        (&[("l/replaced", "wrong"), ("index", "i")], hashed("replaced", "old")),
        (&[("index", "i"), ("l/replaced", "wrong")], hashed("replaced", "old")),
        // One was there, and was written.
        (&[("replaced", "right"), ("l/replaced", "wrong"), ("x", "")], written("replaced")),
        (&[("replaced", "right"), ("l/replaced", "wrong")], written("replaced")),
        // The record itself.
        (&[("l/.occystrap-commit.json", "{}"), ("index", "i")], written("index")),
    ] {
        let folder = folder();
        symlink(".", folder.path().join("l")).unwrap();
        let before = tree(folder.path());
        let error = commit(folder.path(), contents, &[expected]).unwrap_err();
        assert!(error.to_string().contains("are one file"), "{contents:?}: {error}");
        assert_eq!(error.kind(), Kind::Plugin);
        assert_eq!(tree(folder.path()), before, "{contents:?}");
    }
}

#[test]
fn a_hard_link_of_the_last_file_is_another_file() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("a")).unwrap();
    for link in ["link", "a/index"] {
        std::fs::hard_link(path("index"), path(link)).unwrap();
        let now = std::fs::read_to_string(path("index")).unwrap();
        let next = format!("{now}, {link}");
        commit(folder.path(), &[("x", "1"), ("index", &next)], &[hashed(link, &now)]).unwrap();
        assert_eq!(std::fs::read_to_string(path("index")).unwrap(), next);
        assert_eq!(std::fs::read_to_string(path(link)).unwrap(), now);
    }
}

#[test]
fn a_commit_that_fails_keeps_what_another_program_has_changed_in_place_meanwhile() {
    // The same size, so that only the content tells.
    for (path, theirs) in [("index", "odd index"), ("replaced", "theirs")] {
        let folder = folder();
        let destination = Destination::directory(folder.path()).unwrap();
        let files = files(&destination, &NEW);
        let root = destination.dir().unwrap();
        let mut publication = Publication::plan(&destination, root, files, false).unwrap();
        publication.prepare(&Terms::new(&[], &Cancel::default())).unwrap();
        std::fs::write(folder.path().join(path), theirs).unwrap();
        let error = publication.take_back(Error::destination("no space left"), false);
        assert!(error.to_string().contains("another program has written into"), "{error}");
        assert!(error.hint_text().unwrap().contains("occystrap verify dir://"), "{error:?}");
        let now = tree(folder.path());
        assert_eq!(now[path].1, theirs.as_bytes(), "{now:?}");
        // What it may refer to is there, and so is the file that was replaced.
        assert!(now.contains_key("a/b/new") && !now.contains_key(record::NAME), "{now:?}");
        assert!(now.values().any(|(_, content)| content == b"old"), "{now:?}");
    }
}

#[test]
fn a_file_that_another_process_has_written_again_is_still_the_same() {
    let folder = folder();
    let expected = [hashed("replaced", "old")];
    commit(folder.path(), &[("x", "1"), ("index", "i")], &expected).unwrap();
    std::fs::write(folder.path().join("replaced"), "odd").unwrap();
    let before = tree(folder.path());
    commit(folder.path(), &[("y", "1"), ("index", "j")], &expected).unwrap_err();
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_killed_commit_is_undone_before_the_commit_point_and_finished_after() {
    for after in [false, true] {
        let folder = folder();
        let before = tree(folder.path());
        killed(folder.path(), &NEW, after);
        assert!(folder.path().join(record::NAME).exists());
        drop(staging(folder.path()).unwrap());
        let now = tree(folder.path());
        if after {
            let names: Vec<_> = now.keys().collect();
            assert_eq!(names, ["a/", "a/b/", "a/b/new", "index", "replaced"]);
            assert_eq!(now["replaced"].1, b"newest");
        } else {
            assert_eq!(now, before);
        }
    }
}

#[test]
fn a_change_of_another_tool_stays() {
    let folder = folder();
    killed(folder.path(), &NEW, false);
    // It may refer to what the commit has created.
    std::fs::write(folder.path().join("other"), "theirs").unwrap();
    std::fs::rename(folder.path().join("other"), folder.path().join("index")).unwrap();
    drop(staging(folder.path()).unwrap());
    assert_changed(folder.path(), b"theirs");
}

/// Checks the state after another tool has completed an image: nothing that its list may refer to has gone, and the
/// replaced file keeps its temporary name.
fn assert_changed(folder: &Path, index: &[u8]) {
    let mut now = tree(folder);
    let swap = now.keys().find(|name| name.ends_with(".swap")).unwrap().clone();
    let others = now.split_off("a/");
    assert_eq!(others.keys().collect::<Vec<_>>(), ["a/", "a/b/", "a/b/new", "index", "replaced"]);
    assert_eq!(others["replaced"].1, b"newest");
    assert_eq!(others["index"].1, index);
    // The file was changed twice. The user never had the result of the first change, so only one old file is kept.
    let old = now.values().filter(|(_, content)| content == b"old").count();
    assert_eq!(old, 1, "{swap}: {now:?}");
}

#[test]
fn a_change_in_place_stays_also_where_the_size_is_the_same() {
    let folder = folder();
    killed(folder.path(), &NEW, false);
    std::fs::write(folder.path().join("index"), "odd index").unwrap();
    drop(staging(folder.path()).unwrap());
    assert_changed(folder.path(), b"odd index");
    // A file before the last one, where the list stays as it is.
    let folder = self::folder();
    killed(folder.path(), &NEW, false);
    std::fs::write(folder.path().join("replaced"), "theirs").unwrap();
    drop(staging(folder.path()).unwrap());
    let now = tree(folder.path());
    assert_eq!(now["replaced"].1, b"theirs");
    assert!(now.contains_key("a/b/new"));
    assert!(!now.contains_key(record::NAME));
}

#[test]
fn a_copy_of_a_directory_in_which_a_process_was_killed_keeps_the_old_image() {
    for (index, after) in [("new index", false), ("new index", true), ("old index", false)] {
        let (folder, copy) = (folder(), tempfile::tempdir().unwrap());
        killed(folder.path(), &[NEW[0], NEW[1], NEW[2], ("index", index)], after);
        let from = format!("{}/.", folder.path().display());
        let copied =
            std::process::Command::new("cp").arg("-a").arg(from).arg(copy.path()).status().unwrap();
        assert!(copied.success());
        drop(staging(copy.path()).unwrap());
        let now = tree(copy.path());
        let content = |name: &str| String::from_utf8_lossy(&now[name].1).into_owned();
        let expected = if after { ("newest", "new index") } else { ("old", "old index") };
        assert_eq!((&*content("replaced"), &*content("index")), expected, "{now:?}");
        assert!(!now.keys().any(|name| name.starts_with(".occystrap-")), "{now:?}");
    }
}

#[test]
fn an_undo_that_fails_leaves_what_the_list_refers_to() {
    let folder = folder();
    killed(folder.path(), &[("a/new", "1"), ("b/list", "2"), ("index", "new index")], false);
    let mut folders = undo_folders(folder.path());
    let record = CommitRecord::read(folders.root()).unwrap().unwrap();
    // The folder of the list cannot be looked into: a link leads out of it.
    std::fs::rename(folder.path().join("b"), folder.path().join("c")).unwrap();
    symlink("/", folder.path().join("b")).unwrap();
    let (path, _) = undo::undo(&record, &mut folders, false).unwrap_err();
    assert_eq!(path, "b/list");
    assert!(folder.path().join("a/new").exists());
    assert!(folder.path().join(record::NAME).exists());
}

fn undo_folders(folder: &Path) -> folders::CommitFolders {
    folders::CommitFolders::new(staging_root(folder))
}

#[test]
fn a_file_system_that_cannot_exchange_is_undone_as_well() {
    let folder = folder();
    killed(folder.path(), &NEW, false);
    // As a link and a rename leave it: the old file under its second name, the new one in its place.
    let directory = staging_root(folder.path());
    let record = CommitRecord::read(&directory).unwrap().unwrap();
    let replaced = record.files[1].replaced.clone().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::rename(path(&replaced.swap), path(&replaced.kept)).unwrap();
    drop(staging(folder.path()).unwrap());
    let now = tree(folder.path());
    assert_eq!(now.keys().collect::<Vec<_>>(), ["index", "replaced"]);
    assert_eq!(now["replaced"].1, b"old");
    // Killed between the two: the old file has both names, or none but the second.
    for both in [true, false] {
        killed(folder.path(), &[("replaced", "new"), ("index", "i")], false);
        let record = CommitRecord::read(&directory).unwrap().unwrap();
        let replaced = record.files[0].replaced.clone().unwrap();
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            path(&replaced.swap),
            rustix::fs::CWD,
            path("replaced"),
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .unwrap();
        match both {
            true => std::fs::hard_link(path("replaced"), path(&replaced.kept)).unwrap(),
            false => std::fs::rename(path("replaced"), path(&replaced.kept)).unwrap(),
        }
        drop(staging(folder.path()).unwrap());
        assert_eq!(tree(folder.path()).keys().collect::<Vec<_>>(), ["index", "replaced"]);
        assert_eq!(std::fs::read(path("replaced")).unwrap(), b"old");
    }
}

fn staging_root(folder: &Path) -> Arc<Dir> {
    Arc::new(Dir::open_ambient_dir(folder, ambient_authority()).unwrap())
}

#[test]
fn a_record_that_another_could_have_written_removes_nothing() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("precious"), "mine").unwrap();
    let ino = |path: &Path| path.symlink_metadata().unwrap().ino();
    let precious = ino(&outside.path().join("precious"));
    let file = |path: &str, ino: u64, more: &str| {
        format!(
            r#"{{"occystrap_commit":1,"folders":[],"files":[{{"path":"{path}","new":{{"ino":{ino},"size":4}}{more}}},
            {{"path":"never","new":{{"ino":1,"size":1}}}}]}}"#
        )
    };
    let swap = r#","replaced":{"old":{"ino":1,"size":1},"swap":"index","kept":"../precious"}"#;
    for (content, refused) in [
        (file("../precious", precious, ""), true),
        (file("/etc/passwd", 1, ""), true),
        (file("out/precious", precious, ""), true),
        (file("index", 1, ""), false),
        (file("x", 1, swap), true),
        (r#"{"occystrap_commit":2,"folders":[],"files":[]}"#.to_owned(), true),
        (r#"{"occystrap_commit":1,"folders":[".."],"files":[]}"#.to_owned(), true),
        ("not JSON".to_owned(), true),
        ("[".repeat(100_000), true),
    ] {
        let folder = folder();
        symlink(outside.path(), folder.path().join("out")).unwrap();
        let before = tree(folder.path());
        let at = folder.path().join(record::NAME);
        std::fs::write(&at, &content).unwrap();
        let permissions = |mode| std::fs::set_permissions(&at, PermissionsExt::from_mode(mode));
        // Others can write into it: it may be theirs.
        permissions(0o666).unwrap();
        let error = staging(folder.path()).err().unwrap();
        assert!(error.to_string().contains("of user"), "{error}");
        assert!(error.hint_text().unwrap().contains("chmod go-w "), "{error}");
        // `chmod -R a+rX` changes nothing that counts.
        permissions(0o644).unwrap();
        let outcome = staging(folder.path()).map(drop);
        assert_eq!(outcome.is_err(), refused, "{content}: {outcome:?}");
        if refused {
            std::fs::remove_file(&at).unwrap();
        }
        assert_eq!(tree(folder.path()), before, "{content}");
        assert_eq!(std::fs::read(outside.path().join("precious")).unwrap(), b"mine");
    }
}

#[test]
fn a_record_without_content_does_not_stand_in_the_way() {
    for content in [&b""[..], &[0; 300]] {
        let folder = folder();
        let before = tree(folder.path());
        let at = folder.path().join(record::NAME);
        std::fs::write(&at, content).unwrap();
        std::fs::set_permissions(&at, PermissionsExt::from_mode(0o600)).unwrap();
        drop(staging(folder.path()).unwrap());
        assert_eq!(tree(folder.path()), before);
    }
}

#[test]
fn a_record_that_is_no_file_or_too_large_is_refused() {
    let folder = folder();
    let at = folder.path().join(record::NAME);
    let refused = |what: &str| {
        let error = staging(folder.path()).err().unwrap();
        assert!(error.to_string().contains(&format!("is {what}, and not")), "{error}");
        assert!(error.hint_text().unwrap().contains("rm -r "), "{error}");
    };
    symlink("index", &at).unwrap();
    refused("a symbolic link");
    std::fs::remove_file(&at).unwrap();
    std::fs::create_dir(&at).unwrap();
    refused("a directory");
    std::fs::remove_dir(&at).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&at).unwrap();
    refused("a socket");
    std::fs::remove_file(&at).unwrap();
    let file = std::fs::File::create(&at).unwrap();
    file.set_permissions(PermissionsExt::from_mode(0o600)).unwrap();
    file.set_len(record::LARGEST + 1).unwrap();
    let error = staging(folder.path()).err().unwrap();
    assert!(error.to_string().contains("is not what an interrupted run"), "{error}");
}

#[test]
fn a_new_directory_that_did_not_get_its_name_is_removed_by_the_next_run_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    for unfinished in ["", "y", "y/z"] {
        let root = folder.path().join(NEW_DIRECTORY).join(unfinished);
        std::fs::create_dir_all(&root).unwrap();
        if unfinished == "y/z" {
            killed(&root, &[("a/b", "1"), ("index", "i")], true);
        }
        drop(staging(&folder.path().join("another")).unwrap());
        assert!(tree(folder.path()).is_empty(), "{unfinished}");
    }
    // Killed while it wrote the record, where each file has a name.
    let root = folder.path().join(NEW_DIRECTORY).join("y");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join(".occystrap-0123456789abcdef.part"), "{").unwrap();
    drop(staging(&folder.path().join("another")).unwrap());
    assert!(tree(folder.path()).is_empty());
    // What it cannot know stays.
    let strange = folder.path().join(NEW_DIRECTORY).join("x");
    std::fs::create_dir_all(&strange).unwrap();
    std::fs::write(strange.join("mine"), "mine").unwrap();
    commit(&folder.path().join("another"), &[("index", "i")], &[]).unwrap();
    assert_eq!(std::fs::read(strange.join("mine")).unwrap(), b"mine");
    let now = tree(folder.path());
    assert_eq!(now.len(), 5, "{now:?}");
    // A record beside a missing directory is not about it.
    std::fs::write(folder.path().join(record::NAME), "another's").unwrap();
    commit(&folder.path().join("third"), &[("index", "i")], &[]).unwrap();
}

#[test]
fn a_live_process_is_waited_for_and_not_undone() {
    let folder = folder();
    let mut live = staging(folder.path()).unwrap();
    live.lock(std::time::Duration::from_secs(1), &Cancel::default()).unwrap();
    killed(folder.path(), &NEW, false);
    let there = tree(folder.path());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| drop(staging(folder.path()).unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waits.is_finished());
        assert_eq!(tree(folder.path()), there);
        drop(live);
        waits.join().unwrap();
    });
    assert_eq!(tree(folder.path()).keys().collect::<Vec<_>>(), ["index", "replaced"]);
}

#[test]
fn the_temporary_name_of_one_file_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    std::fs::write(&path, "old").unwrap();
    let temporary = folder.path().join(replace::temporary_name("image.tar"));
    std::fs::write(&temporary, "of a dead process").unwrap();
    drop(Staging::for_file(&path, false).unwrap());
    assert!(!temporary.exists());
    // A live process holds it: another name is taken.
    let held = std::fs::File::create(&temporary).unwrap();
    held.lock().unwrap();
    let mut staging = Staging::for_file(&path, false).unwrap();
    for (path, file) in files(&staging.destination().clone(), &[("image.tar", "new")]) {
        staging.push(path, file);
    }
    staging.commit(&Terms::new(&[], &Cancel::default())).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(tree(folder.path()).len(), 2);
}

#[test]
fn names_that_no_file_can_have_are_refused_when_they_are_claimed() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let mut staging = staging(folder.path()).unwrap();
    staging.claim("config.json").unwrap();
    staging.claim("a/b").unwrap();
    staging.claim("a-b/c").unwrap();
    staging.claim("config.json").unwrap();
    for (path, why) in [
        (&*"n".repeat(256), "256 bytes"),
        (&*format!("a/{}/x", "é".repeat(128)), "256 bytes"),
        ("config.json/x", "'config.json' is a file of the same image"),
        ("config.json/x/y", "'config.json' is a file of the same image"),
        ("a", "it is a folder of the same image"),
        ("folder", "is a directory"),
        ("index/x", "not a directory"),
        (".occystrap-commit.json", "temporary files"),
        ("a/.OccyStrap-x", "temporary files"),
    ] {
        let error = staging.claim(path).unwrap_err();
        assert!(error.to_string().contains(why), "{path}: {error}");
    }
    for fine in [&*"n".repeat(255), "a-b/d", "folder/x", ".occystrap"] {
        staging.claim(fine).unwrap();
    }
}

#[test]
fn a_file_that_was_published_stays_open_and_is_the_last_of_its_name() {
    let folder = folder();
    let mut staging = staging(folder.path()).unwrap();
    for (path, file) in files(&staging.destination().clone(), &NEW) {
        staging.push(path, file);
    }
    let cancel = Cancel::default();
    let terms = Terms::new(&[], &cancel);
    staging.commit(&terms).unwrap();
    let published = terms.published.into_inner().unwrap();
    let names: Vec<&str> = published.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(names, ["a/b/new", "index", "replaced"]);
    for one in &published {
        let there = std::fs::metadata(folder.path().join(&one.path)).unwrap().ino();
        assert_eq!(one.file.metadata().unwrap().ino(), there, "{}", one.path);
        // Other files do not get its inode when it is replaced.
        std::fs::remove_file(folder.path().join(&one.path)).unwrap();
        for number in 0..20 {
            let next = std::fs::File::create(folder.path().join(format!("next{number}"))).unwrap();
            assert_ne!(next.metadata().unwrap().ino(), there, "{}", one.path);
        }
    }
}
