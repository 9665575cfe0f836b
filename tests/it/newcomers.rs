//! Mistakes of first commands: hints that can be typed, the same form for all documents, pipes that close.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::process::Stdio;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::registry::{Auth, Registry};
use crate::support::shape;

#[test]
fn missing_files_and_folders_have_a_hint() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("a/b:1")], Pack::Plain).write(&sandbox.path("in.tar"));
    let long = sandbox.uri("dir", "nowhere/images");
    for (line, code, hint) in [
        ("verify --receipt nosuch/r.json", 2, "type: occystrap verify FILE"),
        ("verify nosuch/r.json", 1, "'occystrap process --receipt FILE' wrote"),
        ("verify dir://nothere", 1, "an absolute path has three slashes: dir:///PATH"),
        (&format!("verify {long}"), 1, "nowhere' shows what is there"),
        ("plugin add nosuch.wasm", 1, "'occystrap plugin new NAME'"),
        ("plugin show ./nosuch.wasm", 1, "'occystrap plugin list'"),
        ("process tar://in.tar dir://out --receipt a/b/r.json", 1, "first: mkdir -p a/b"),
    ] {
        let ran = sandbox.run(&line.split(' ').collect::<Vec<_>>());
        ran.exits(code).says(hint);
    }
    assert_eq!(sandbox.tree("out").len(), 0, "nothing was moved without a place for its receipt");
}

#[test]
fn a_record_without_plugins_says_how_to_add_one() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(&["plugin", "list"]).exits(0).stderr, "");
    let folder = sandbox.path("home/.local/share/occystrap/plugins");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
    std::fs::write(folder.join("plugins.toml"), "version = 1\n").unwrap();
    sandbox.run(&["plugin", "list"]).exits(0).says("occystrap plugin add FILE.wasm");
    assert_eq!(sandbox.run(&["-q", "plugin", "list"]).exits(0).stderr, "");
}

#[test]
fn a_receipt_that_is_not_there_has_one_form_alone_and_among_others() {
    let sandbox = Sandbox::new();
    for format in ["text", "json"] {
        let one = sandbox.run(&["-O", format, "verify", "nosuch.json"]);
        let two = sandbox.run(&["-O", format, "verify", "nosuch.json", "other.json"]);
        one.exits(1);
        two.exits(1);
        if format == "text" {
            one.says("Summary: 1/1 images").says("1 FAILED");
            two.says("Summary: 2/2 images").says("2 FAILED");
            continue;
        }
        let (one, two) = (one.json(), two.json());
        assert_eq!(one["images"][0], two["images"][0]);
        assert_eq!(one["images"][0]["status"], "failed");
        assert_eq!(
            (&one["summary"]["verify_failed"], &one["summary"]["failed"]),
            (&1.into(), &0.into())
        );
    }
}

#[test]
fn plain_http_to_a_server_of_https_has_a_hint() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    // The answer of a server that is written in Go. The thread ends with the test binary.
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let said = "Client sent an HTTP request to an HTTPS server.\n";
            let _ = write!(client, "HTTP/1.0 400 Bad Request\r\n\r\n{said}");
        }
    });
    let from = format!("registry://{host}/team/app:1");
    let hint = "it may expect HTTPS: do not use --insecure";
    sandbox.run(&["--insecure", "info", &from]).exits(1).says("answered 400").says(hint);
}

#[test]
fn a_file_with_logins_that_cannot_be_read_is_named_in_one_sentence() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    registry.require(Auth::basic("me", "hunter2"));
    std::fs::create_dir_all(sandbox.path("home/.docker")).unwrap();
    std::fs::write(sandbox.path("home/.docker/config.json"), "[").unwrap();
    let from = format!("registry://{}/team/app:1", registry.url_host());
    let ran = sandbox.run(&["--insecure", "info", &from]);
    let expected =
        "credentials in '~/.docker/config.json': the file is not JSON; continuing without it";
    ran.exits(1).says(&format!("warning: {expected}\n"));
    let ran = sandbox.run(&["--insecure", "--authfile", "/dev/null", "info", &from]);
    ran.exits(2).says("the file '/dev/null' of --authfile is not a regular file");
}

/// Runs a command whose output nothing reads. Returns its exit code, and what it said on standard error.
fn into_a_closed_pipe(sandbox: &Sandbox, line: &str) -> (Option<i32>, String) {
    let mut command = sandbox.command(&line.split(' ').collect::<Vec<_>>());
    // Closed before the command starts: a pipe takes a short output at once.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_command_whose_output_is_read_no_further_ends_quietly() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("a/b:1")], Pack::Plain).write(&sandbox.path("in.tar"));
    for line in [
        "plugin show dir",
        "-O json plugin show dir",
        "plugin list",
        "info tar://in.tar",
        "-O json info tar://in.tar",
        "-O json check tar://in.tar",
        "-O json verify tar://in.tar",
        "-O json process tar://in.tar dir://out",
        "completions bash",
        "man",
    ] {
        let (code, said) = into_a_closed_pipe(&sandbox, line);
        assert_eq!(code, Some(141), "{line}: {said}");
        let words = ["error", "panicked", "broken pipe"];
        assert!(!words.iter().any(|word| said.contains(word)), "{line}: {said}");
    }
    assert!(sandbox.path("out/catalog.json").exists(), "what was to be done is done");
}

#[test]
fn a_command_whose_messages_are_read_no_further_ends_quietly() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("a/b:1")], Pack::Plain).write(&sandbox.path("in.tar"));
    for line in ["process tar://in.tar dir://out", "verify dir://out"] {
        let mut command = sandbox.command(&line.split(' ').collect::<Vec<_>>());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(141), "{line}");
    }
    assert!(sandbox.path("out/catalog.json").exists(), "what was to be done is done");
}
