//! Destinations that are not empty: what is refused, what is replaced, and what the warnings say of an image that is
//! replaced.

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::image::{Pack, TestImage};
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, file) in [("app:1", "one.tar"), ("app:2", "two.tar"), ("other:1", "other.tar")] {
        shape::legacy(&[&TestImage::tiny(name)], Pack::Gzip).write(&sandbox.path(file));
    }
    sandbox
}

fn put(sandbox: &Sandbox, name: &str, content: &str) {
    let path = sandbox.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn everything(sandbox: &Sandbox) -> Tree {
    sandbox.tree("work")
}

/// The warnings about the first image, from the document.
fn warnings(said: &Ran) -> Vec<String> {
    let document = said.json();
    let lines = document["images"][0]["warnings"].as_array().unwrap();
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[test]
fn other_files_are_not_replaced_without_consent() {
    let (sandbox, registry) = (sandbox(), Registry::start());
    let source = push(&registry, &TestImage::new("app:1"), Pack::Gzip);
    put(&sandbox, "work/notes.txt", "my notes");
    put(&sandbox, "work/home/Documents/letter.txt", "dear");
    put(&sandbox, "work/home/photo.jpg", "x");
    put(&sandbox, "work/extension/manifest.json", "{\"name\":\"x\"}");
    put(&sandbox, "work/site/index.json", "{\"pages\":[]}");
    sandbox.process("tar://one.tar", "dir://work/images", &[]).verified();
    sandbox.process("tar://one.tar", "oci-layout://work/layout", &[]).verified();
    std::os::unix::fs::symlink("notes.txt", sandbox.path("work/link")).unwrap();
    let before = everything(&sandbox);
    let mut transcript = String::new();
    for to in [
        "tar://work/notes.txt",
        "tar://work/link",
        "dir://work/home",
        "dir://work/extension",
        "oci-layout://work/site:1",
        "oci-layout://work/images",
        "dir://work/layout",
        "dir://work",
    ] {
        let requests = registry.requests().len();
        let said = sandbox.process(&source, to, &[]);
        said.exits(1);
        assert_eq!(registry.requests().len(), requests, "{to}: something was asked for");
        transcript += &format!("$ {to}\n{}\n", sandbox.redact(&said.stderr));
        let said = sandbox.process(&source, to, &["-O", "json"]).exits(1).json();
        let hint = said["images"][0]["error"]["hint"].as_str().unwrap();
        // The output adds to its index, also with `--force`, and cannot where it is of another form.
        let help = if to.contains("site") { "move 'index.json' away" } else { "--force" };
        assert!(hint.contains(help), "{hint}");
    }
    assert_eq!(everything(&sandbox), before);
    insta::assert_snapshot!(transcript);

    for (to, words) in [("tar://work/notes.txt", "--force"), ("dir://work/home", "--force")] {
        sandbox.process(&source, to, &[words]).verified();
    }
    let mut command = sandbox.command(&["process", &source, "oci-layout://work/images"]);
    command.env("OCCYSTRAP_FORCE", "true");
    Ran::of(command).verified();
    assert!(sandbox.path("work/home/photo.jpg").is_file());
    // From now on they are of the format.
    for to in
        ["tar://work/notes.txt", "dir://work/home", "oci-layout://work/images", "dir://work/images"]
    {
        sandbox.process(&source, to, &[]).verified();
    }
}

#[test]
fn the_root_directory_and_a_tilde_are_refused_whatever_is_said() {
    let sandbox = sandbox();
    std::os::unix::fs::symlink("/", sandbox.path("root")).unwrap();
    let mut transcript = String::new();
    for arguments in [
        ["process", "tar://one.tar", "dir:///"],
        ["process", "tar://one.tar", "dir://root"],
        ["process", "tar://one.tar", "oci-layout:///tmp/.."],
        ["process", "tar://one.tar", "dir://~/images"],
        ["process", "tar://one.tar", "tar://~/app.tar"],
        ["process", "tar://~/one.tar", "dir://out"],
        ["verify", "dir://~/images", "-q"],
        ["info", "oci-layout://~/images:1", "-q"],
    ] {
        let mut words = arguments.to_vec();
        if arguments[0] == "process" {
            words.push("--force");
        }
        let said = sandbox.run(&words);
        said.exits(2);
        let error = sandbox.redact(&said.stderr);
        let error: Vec<&str> = error.lines().filter(|line| !line.starts_with("Summary")).collect();
        transcript += &format!("$ {}\n{}\n\n", arguments.join(" "), error.join("\n"));
    }
    insta::assert_snapshot!(transcript);
    assert!(!sandbox.path("~").exists() && !std::path::Path::new("/catalog.json").exists());
}

#[test]
fn places_for_images_are_written_without_a_question() {
    let sandbox = sandbox();
    put(&sandbox, "empty.tar", "");
    put(&sandbox, "mounted/lost+found/x", "");
    put(&sandbox, "repository/.git/config", "");
    put(&sandbox, "repository/README.md", "images");
    std::fs::create_dir(sandbox.path("void")).unwrap();
    std::os::unix::fs::symlink("void", sandbox.path("linked")).unwrap();
    for to in [
        "tar://empty.tar",
        "tar://new.tar",
        "dir://mounted",
        "dir://repository",
        "dir://void",
        "dir://linked",
        "dir://new/one",
        "oci-layout://new/two",
    ] {
        for _ in 0..2 {
            let said = sandbox.process("tar://one.tar", to, &[]);
            said.verified();
            assert_eq!(said.stderr.lines().count(), 1, "{to}: {}", said.stderr);
        }
    }
    // Whatever the user keeps beside the images, and what a run left that was killed.
    put(&sandbox, "void/NOTES", "mine");
    sandbox.process("tar://other.tar", "dir://void?unique_names=true", &[]).verified();
    for lost in ["catalog.json", "manifest.json"] {
        std::fs::remove_file(sandbox.path("new/one").join(lost)).unwrap();
    }
    sandbox.process("tar://one.tar", "dir://new/one", &[]).verified();
    // An archive that was cut, or that is compressed as a whole.
    let whole = std::fs::read(sandbox.path("one.tar")).unwrap();
    std::fs::write(sandbox.path("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(sandbox.path("whole.tar.zst"), zstd::encode_all(&whole[..], 1).unwrap())
        .unwrap();
    for to in ["tar://cut.tar", "tar://whole.tar.zst"] {
        let said = sandbox.process("tar://two.tar", to, &[]);
        said.verified().says("takes the place of an archive whose images were not read");
    }
}

#[test]
fn an_image_that_is_replaced_is_told_and_the_same_one_is_not() {
    let sandbox = sandbox();
    // An image with the name of that in `one.tar`, and other content.
    let image = TestImage::new("app:1");
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("changed.tar"));
    let mut transcript = String::new();
    for to in
        ["dir://dir", "dir://unique?unique_names=true", "oci-layout://layout", "tar://out.tar"]
    {
        for from in ["one", "one", "two", "changed", "changed"] {
            let source = format!("tar://{from}.tar");
            let said = sandbox.process(&source, to, &["-O", "json"]);
            said.exits(0);
            let warned = warnings(&said);
            let text = sandbox.redact(&said.stderr);
            for line in &warned {
                assert!(said.stderr.contains(line), "{text}");
            }
            transcript += &format!("$ {from} to {to}\n{}\n", sandbox.redact(&warned.join("\n")));
        }
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_directory_in_which_100_000_names_are_lost_is_told_in_a_few_lines() {
    let sandbox = sandbox();
    sandbox.process("tar://one.tar", "dir://out", &[]).verified();
    // 0.4.17 lets any number of images name one file.
    let tags: serde_json::Map<String, serde_json::Value> =
        (0..100_000).map(|n| (n.to_string(), "manifest.json".into())).collect();
    let catalog = serde_json::json!({ "old": tags }).to_string();
    std::fs::write(sandbox.path("out/catalog.json"), catalog).unwrap();
    let said = sandbox.process("tar://two.tar", "dir://out", &["-O", "json"]);
    said.exits(0);
    let warned = warnings(&said);
    assert_eq!(warned.len(), 21);
    assert!(warned[20].contains("takes the place of 99980 more images"), "{}", warned[20]);
}

#[test]
fn a_file_that_appears_while_an_image_is_moved_is_not_replaced() {
    let (sandbox, registry) = (sandbox(), Registry::start());
    let image = TestImage::new("app:1");
    let source = push(&registry, &image, Pack::Gzip);
    // The config is asked for before the layers, so that the run is past its first look.
    let layer = occystrap_base::oci::Digest::of(&Pack::Gzip.pack(&image.layers[1]));
    let slow = crate::support::registry::Fault::Delay(std::time::Duration::from_secs(2));
    registry.fault("GET", &format!("/blobs/{layer}"), slow, 1);
    let mut command = sandbox.command(&["process", &source, "tar://out.tar"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    while registry.requests_of("GET", &format!("/blobs/{layer}")).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    put(&sandbox, "out.tar", "something else");
    let said = Ran::ended(child.wait_with_output().unwrap());
    said.exits(1).says("is not an image archive");
    assert_eq!(std::fs::read_to_string(sandbox.path("out.tar")).unwrap(), "something else");
}

#[test]
fn the_file_behind_a_link_is_written_and_the_link_stays() {
    let sandbox = sandbox();
    std::fs::create_dir(sandbox.path("there")).unwrap();
    std::fs::copy(sandbox.path("one.tar"), sandbox.path("there/old.tar")).unwrap();
    for (link, file) in [("link.tar", "there/old.tar"), ("dangling.tar", "there/new.tar")] {
        std::os::unix::fs::symlink(file, sandbox.path(link)).unwrap();
        sandbox.process("tar://other.tar", &format!("tar://{link}"), &[]).verified();
        assert!(sandbox.path(link).symlink_metadata().unwrap().is_symlink(), "{link}");
        let said = sandbox.run(&["info", &format!("tar://{file}")]);
        said.exits(0);
        assert!(said.stdout.contains("other:1"), "{}", said.stdout);
    }
    for stream in ["/dev/stdout", "/proc/self/fd/1"] {
        let said = sandbox.process("tar://one.tar", &format!("tar://{stream}"), &["--force"]);
        said.exits(2).says("standard input and output are not supported");
    }
}

#[test]
fn an_image_is_not_added_to_an_index_that_no_reader_takes() {
    let sandbox = sandbox();
    for content in [
        r#"{"schemaVersion":2,"manifests":[5]}"#,
        r#"{"schemaVersion":2,"manifests":[{"digest":5}]}"#,
    ] {
        let _ = std::fs::remove_dir_all(sandbox.path("work/list"));
        put(&sandbox, "work/list/index.json", content);
        let before = sandbox.tree("work/list");
        // Its readers reject the index as it is.
        sandbox.run(&["verify", &sandbox.uri("oci-layout", "work/list")]).exits(1);
        let said = sandbox.process("tar://one.tar", "oci-layout://work/list", &["--force"]);
        said.exits(1).says("its 'index.json' is of another form: ");
        said.says("hint: move 'index.json' away, or name another directory");
        assert_eq!(sandbox.tree("work/list"), before, "{content}");
    }
}
