//! Where the file of `--layer-cache` may be: it does not replace any other file.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

const FILTER: [&str; 2] = ["-f", "normalize-timestamps:ts=7"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox
}

#[test]
fn it_replaces_nothing_that_is_no_layer_cache() {
    let sandbox = sandbox();
    let other = [("mine.json", "{\"mine\":1}"), ("text", "{"), ("old.json", "[]")];
    for (name, text) in other {
        std::fs::write(sandbox.path(name), text).unwrap();
    }
    sandbox.process("tar://in.tar", "dir://d?unique_names=true", &[]).verified();
    sandbox.process("tar://in.tar", "oci-layout://o:1", &["--receipt", "r.json"]).verified();
    std::os::unix::fs::symlink("in.tar", sandbox.path("link")).unwrap();
    let mut transcript = String::new();
    for (to, cache, more) in [
        ("dir://x", "in.tar", &[][..]),
        ("dir://x", "link", &[]),
        ("dir://x", "mine.json", &[]),
        ("dir://x", "text", &[]),
        ("dir://x", "r.json", &[]),
        ("dir://x", "new/", &[]),
        ("dir://x", "new.json", &["--receipt", "./new.json"]),
        ("dir://d?unique_names=true", "d/catalog.json", &[]),
        ("oci-layout://o:2", "o/index.json", &[]),
        ("tar://new.tar", "new.tar", &[]),
        ("tar://new.tar", "./d/../new.tar", &[]),
    ] {
        let before = sandbox.tree("");
        let said = sandbox.process(
            "tar://in.tar",
            to,
            &[&FILTER, more, &["--layer-cache", cache]].concat(),
        );
        said.exits(2);
        assert_eq!(sandbox.tree(""), before, "{cache}");
        transcript += &format!("## {cache}\n{}", sandbox.redact(&said.stderr));
    }
    insta::assert_snapshot!(transcript);

    // A file that is put in its place meanwhile stays as well.
    for (to, cache) in [("dir://y", "y/catalog.json"), ("oci-layout://z", "z/index.json")] {
        std::fs::create_dir(sandbox.path(cache).parent().unwrap()).unwrap();
        let more = [&FILTER[..], &["--layer-cache", cache]].concat();
        let said = sandbox.process("tar://in.tar", to, &more);
        said.verified().says("cannot be written to").says("the file there is not a layer cache");
        sandbox.run(&["verify", to]).verified();
    }
}

#[test]
fn it_is_kept_as_a_file_of_the_user_s() {
    let sandbox = sandbox();
    let run = |cache: &str| {
        let more = [&FILTER[..], &["--layer-cache", cache, "-v"]].concat();
        let said = sandbox.process("tar://in.tar", "dir://d", &more);
        assert!(!said.verified().stderr.contains("warning"), "{}", said.stderr);
        said.stderr.matches("the destination has it already, as").count()
    };
    let mode = |name: &str| sandbox.path(name).metadata().unwrap().permissions().mode() & 0o777;
    // An empty file may have been made to keep the name, and a link leads to where it is kept.
    std::fs::write(sandbox.path("cache"), "").unwrap();
    std::fs::set_permissions(sandbox.path("cache"), PermissionsExt::from_mode(0o664)).unwrap();
    std::os::unix::fs::symlink("cache", sandbox.path("link")).unwrap();
    assert_eq!((run("link"), run("cache"), run("link")), (0, 3, 3));
    assert!(sandbox.path("link").is_symlink());
    assert_eq!(mode("cache"), 0o664);
    // A new one has the permissions of any new file.
    std::fs::write(sandbox.path("other"), "").unwrap();
    run("new");
    assert_eq!(mode("new"), mode("other"));
}

#[test]
fn a_locked_cache_folder_is_waited_for_until_an_interruption() {
    let sandbox = sandbox();
    std::fs::create_dir(sandbox.path("locked")).unwrap();
    let folder = std::fs::File::open(sandbox.path("locked")).unwrap();
    folder.lock().unwrap();
    let more = ["tar://in.tar", "dir://d", "--layer-cache", "locked/cache"];
    let mut command = sandbox.command(&[&["process"], &FILTER[..], &more].concat());
    let pipe = std::process::Stdio::piped;
    let child = command.stdout(pipe()).stderr(pipe()).spawn().unwrap();
    let (started, id) = (Instant::now(), child.id());
    std::thread::sleep(Duration::from_millis(2_500));
    let id = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let said = crate::support::cli::Ran::ended(child.wait_with_output().unwrap());
    assert!(started.elapsed() < Duration::from_secs(8), "{}", said.stderr);
    said.says("waiting for another occystrap, which has locked 'locked'");
    assert!(!sandbox.path("locked/cache").exists());
    drop(folder);
    sandbox.run(&["verify", "dir://d"]).verified();
}
