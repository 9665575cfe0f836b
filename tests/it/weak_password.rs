//! A password that is also a word of this program, a name that the user chose, or digits of a digest: commands and documents
//! stay as they are.

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

#[test]
fn commands_and_documents_are_whole_with_a_weak_password() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("team1x/app:1");
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    std::fs::create_dir(sandbox.path("srvhunter9")).unwrap();
    std::fs::write(sandbox.path("srvhunter9/auth.json"), "{}").unwrap();
    let authfile = sandbox.path("srvhunter9/auth.json").display().to_string();
    let digits = image.diff_ids()[0].hex()[10..16].to_owned();
    for password in [
        "true",
        "false",
        "unique",
        "names",
        "unique_names",
        "missing",
        "size-mismatch",
        "mismatch",
        "size-mis",
        "size",
        "full",
        "plain",
        "gzip",
        "verified",
        "failed",
        "layer.tar",
        "process",
        "team1x",
        "srvhunter9",
        &digits,
    ] {
        let out = sandbox.uri("dir", "out?unique_names=true");
        let run = |words: &[&str]| {
            let mut command = sandbox.command(words);
            command.env("OCCYSTRAP_USERNAME", "me").env("OCCYSTRAP_PASSWORD", password);
            Ran::of(command)
        };
        let tar = sandbox.uri("tar", "in.tar");
        let options = ["process", "--authfile", &authfile, "--receipt", "r.json", &tar, &out];
        run(&options).verified();
        let layer = sandbox.path("out").join(image.layer_path(0));
        for damage in ["short", "gone"] {
            match damage {
                "short" => std::fs::write(&layer, "short").unwrap(),
                _ => std::fs::remove_file(&layer).unwrap(),
            }
            let said = run(&["verify", "r.json"]);
            said.exits(1).says("repair it with: occystrap process ").says("unique_names=true");
            said.says("srvhunter9/auth.json");
            let document = run(&["-O", "json", "verify", "r.json"]);
            assert_eq!(document.exits(1).json()["images"][0]["status"], "failed");
            let info = run(&["-O", "json", "info", &tar]);
            // A line for a person may have a mask in it; what is pasted and parsed may not.
            let command =
                said.stderr.lines().find(|line| line.starts_with("hint: repair")).unwrap();
            for text in [command, &document.stdout, &info.exits(0).stdout] {
                assert!(!text.contains("***"), "{password} {damage}: {text}");
            }
        }
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}
