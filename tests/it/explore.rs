//! `occystrap explore` in a real terminal (tmux): what it shows, its keys, and the terminal afterwards.

use std::process::Command;

use occystrap::explore::screen::Screen;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise};
use crate::support::layer::{dir, file, hardlink, layer};
use crate::support::shape;
use crate::support::tmux::Tmux;

/// Set in the process that panics.
const PANIC: &str = "OCCYSTRAP_TEST_PANIC_IN_VIEW";

fn image() -> TestImage {
    let bytes = noise(7, 400_000);
    TestImage::with_layers(
        "team/app:1",
        vec![
            layer(&[
                dir("usr"),
                file("usr/lib/libc.so.6", &bytes[..300_000]),
                file("usr/lib/libm.so.6", &bytes[..100_000]),
                file("usr/bin/sh", &bytes[..90_000]),
                hardlink("usr/bin/bash", "usr/bin/sh"),
                file("etc/motd", b"hello\n"),
            ]),
            layer(&[
                file("usr/lib/libm.so.6", &bytes[..50_000]),
                file("var/cache/large.deb", &bytes[..200_000]),
                file("hostile\u{1b}[2J\u{1b}]0;pwned\u{7}\u{9b}31m\u{202e}name", b"x"),
            ]),
            layer(&[file("var/cache/.wh.large.deb", b""), file("usr/.wh.lib", b"")]),
        ],
    )
}

/// Starts `explore` on the image. After it, the script prints its exit code and whether the terminal echoes.
fn start(test: &str, size: (u16, u16)) -> Option<(Sandbox, Tmux)> {
    let sandbox = Sandbox::new();
    shape::legacy(&[&image()], Pack::Gzip).write(&sandbox.path("a.tar"));
    let program = env!("CARGO_BIN_EXE_occystrap");
    let terminal = run(test, &sandbox, size, &format!("{program} explore tar://a.tar"))?;
    Some((sandbox, terminal))
}

fn run(test: &str, sandbox: &Sandbox, size: (u16, u16), program: &str) -> Option<Tmux> {
    let script = format!(
        "echo before; {program}; echo ended with $?; stty -a | grep -ow -e '-echo' -e echo; exec cat"
    );
    Tmux::start(test, sandbox, size, &script)
}

/// Checks that the terminal is as it was before.
#[track_caller]
fn is_given_back(terminal: &Tmux, code: i32) {
    let screen = terminal.shows(&format!("ended with {code}"));
    let screen = if screen.contains("echo\n") { screen } else { terminal.shows("echo") };
    assert!(screen.starts_with("before\n") && !screen.contains("-echo"), "{screen}");
    assert_eq!(terminal.modes(), (false, true), "second screen, cursor");
}

#[test]
fn a_session_in_a_terminal_of_80_columns() {
    let Some((sandbox, terminal)) = start("explore in a terminal", (80, 24)) else { return };
    let first = terminal.shows("q end");
    assert_eq!(terminal.modes(), (true, false));
    insta::assert_snapshot!("explore_begin", first);
    // The layer that deletes: its changes.
    terminal.press(&["m"]);
    terminal.shows("Changes of layer 3");
    // The layer below, and what it changed.
    terminal.press(&["Tab", "Up"]);
    terminal.shows("Changes of layer 2");
    terminal.press(&["Tab", "Home", "Enter"]);
    let opened = terminal.shows("▾ var/");
    insta::assert_snapshot!("explore_changes", opened);
    terminal.press(&["q"]);
    is_given_back(&terminal, 0);
    drop(terminal);
    std::fs::remove_file(sandbox.path("tmux")).ok();
    sandbox.assert_clean();
}

#[test]
fn names_are_filtered_and_a_file_is_exported() {
    let Some((sandbox, terminal)) = start("explore exports", (80, 24)) else { return };
    terminal.shows("q end");
    terminal.press(&["/"]);
    terminal.write("BASH");
    let found = terminal.shows("bash");
    assert!(!found.contains("libc") && !found.contains("motd"), "{found}");
    terminal.press(&["Enter", "End"]);
    terminal.shows("a hard link to /usr/bin/sh");
    terminal.press(&["e"]);
    terminal.shows("Export to: sh");
    terminal.press(&["Enter"]);
    terminal.shows("Exported 90.0 kB to sh");
    assert!(std::fs::read(sandbox.path("sh")).unwrap() == noise(7, 400_000)[..90_000]);
    // A file that is there is kept.
    std::fs::write(sandbox.path("sh"), b"mine").unwrap();
    terminal.press(&["e", "Enter"]);
    terminal.shows("Not exported: 'sh' exists");
    assert_eq!(std::fs::read(sandbox.path("sh")).unwrap(), b"mine");
    // What the layer deletes is exported from the layer below.
    terminal.press(&["/", "C-u"]);
    terminal.write("lib/libm");
    terminal.press(&["Enter", "End"]);
    terminal.shows("layer 2, deleted by 3");
    terminal.press(&["e", "C-u"]);
    terminal.write("old");
    terminal.press(&["Enter"]);
    terminal.shows("Exported 50.0 kB to old");
    assert!(std::fs::read(sandbox.path("old")).unwrap() == noise(7, 400_000)[..50_000]);
    // A directory is no file; no name has the text.
    terminal.press(&["Home", "e"]);
    terminal.shows("Only files are exported");
    terminal.press(&["/"]);
    terminal.write("xyz");
    terminal.shows("(no name has the text)");
    terminal.press(&["Escape"]);
    terminal.shows("▸ usr/");
    terminal.press(&["q"]);
    is_given_back(&terminal, 0);
}

#[test]
fn a_hostile_name_does_not_drive_the_terminal() {
    let Some((_sandbox, terminal)) = start("a hostile name in explore", (80, 24)) else { return };
    let screen = terminal.shows("hostile");
    assert!(screen.contains("hostile?[2J?]0;pwned??31m?name"), "{screen}");
    terminal.press(&["End", "e"]);
    // The proposed name is harmless as well.
    let screen = terminal.shows("Export to: ");
    assert!(screen.contains("Export to: hostile_[2J_]0;pwned__31m_name"), "{screen}");
    terminal.press(&["C-c"]);
    is_given_back(&terminal, 130);
}

#[test]
fn small_terminals_show_one_list_and_tiny_ones_say_so() {
    let Some((_sandbox, terminal)) = start("explore in small terminals", (50, 10)) else { return };
    let files = terminal.shows("The image");
    assert!(!files.contains("wasted layer"), "{files}");
    terminal.press(&["Tab"]);
    let layers = terminal.shows("wasted layer");
    assert!(!layers.contains("The image"), "{layers}");
    terminal.press(&["?"]);
    terminal.shows("any key closes the help");
    terminal.press(&["x"]);
    terminal.resize(20, 5);
    terminal.shows("Make it 24x6");
    for size in [(1, 1), (24, 6), (200, 60), (72, 13)] {
        terminal.resize(size.0, size.1);
    }
    terminal.shows("The image");
    terminal.press(&["q"]);
    terminal.shows("ended with 0");
}

#[test]
fn a_signal_gives_the_terminal_back() {
    for signal in ["TERM", "INT"] {
        let Some((_sandbox, terminal)) = start("explore and signals", (80, 24)) else { return };
        terminal.shows("q end");
        let child = terminal.child().to_string();
        let sent = Command::new("kill").args(["-s", signal, &child]).status().unwrap();
        assert!(sent.success());
        is_given_back(&terminal, 130);
    }
}

#[test]
fn it_ends_with_its_terminal() {
    let Some((_sandbox, terminal)) = start("explore and a closed terminal", (80, 24)) else {
        return;
    };
    terminal.shows("q end");
    let process = std::path::PathBuf::from(format!("/proc/{}", terminal.child()));
    assert!(process.exists());
    drop(terminal);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while process.exists() {
        assert!(std::time::Instant::now() < end, "explore goes on without a terminal");
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    if std::env::var_os(PANIC).is_some() {
        let mut screen = Screen::take().unwrap();
        screen.draw(|_| ()).unwrap();
        panic!("in the view");
    }
    let sandbox = Sandbox::new();
    let this = std::env::current_exe().unwrap();
    let name = "explore::a_panic_gives_the_terminal_back_before_its_message";
    let program = format!("env {PANIC}=1 {} --exact {name} --nocapture", this.display());
    let Some(terminal) = run("a panic in explore", &sandbox, (100, 30), &program) else { return };
    let screen = terminal.shows("ended with 101");
    assert!(screen.contains("in the view"), "{screen}");
    is_given_back(&terminal, 101);
}

#[test]
fn without_a_terminal_there_is_an_error_and_a_way_out() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&image()], Pack::Gzip).write(&sandbox.path("a.tar"));
    let said = sandbox.run(&["explore", "tar://a.tar"]);
    said.exits(2).says("explore needs a terminal: standard input is not a terminal");
    said.says("occystrap info --tree tar://a.tar");
    sandbox.run(&["info", "--tree", "tar://a.tar"]).exits(0);
    let said = sandbox.run(&["explore", "-O", "json", "tar://a.tar"]);
    said.exits(2);
    assert_eq!(said.json()["images"], serde_json::json!([]));
}

#[test]
fn one_image_is_explored() {
    let sandbox = Sandbox::new();
    let (one, other) = (TestImage::tiny("team/app:1"), TestImage::tiny("team/other:2"));
    shape::legacy(&[&one, &other], Pack::Gzip).write(&sandbox.path("a.tar"));
    let program = env!("CARGO_BIN_EXE_occystrap");
    let several = format!("{program} explore tar://a.tar");
    let Some(terminal) = run("explore of several images", &sandbox, (100, 24), &several) else {
        return;
    };
    let screen = terminal.shows("ended with 2");
    assert!(screen.contains("'tar://a.tar' has 2 images; explore shows one"), "{screen}");
    assert!(screen.contains("team/other:2"), "{screen}");
    drop(terminal);
    let sandbox = Sandbox::new();
    shape::legacy(&[&one, &other], Pack::Gzip).write(&sandbox.path("a.tar"));
    let chosen = format!("{program} explore 'tar://a.tar?image=team/other:2'");
    let Some(terminal) = run("explore of one image", &sandbox, (80, 24), &chosen) else { return };
    terminal.shows("team/other:2  linux/amd64");
    terminal.press(&["q"]);
    is_given_back(&terminal, 0);
}

#[test]
fn the_findings_of_check_are_listed() {
    let Some((_sandbox, terminal)) = start("findings in explore", (80, 24)) else { return };
    terminal.shows("q end");
    terminal.press(&["c"]);
    let screen = terminal.shows("any other key closes the findings");
    assert!(screen.starts_with("Warnings (1)\n  tar-name\n    layer 2: "), "{screen}");
    assert!(screen.contains("Notes ("), "{screen}");
    terminal.press(&["End"]);
    terminal.press(&["q"]);
    terminal.shows("q end");
    terminal.press(&["q"]);
    is_given_back(&terminal, 0);
}

#[test]
fn unknown_sizes_of_a_damaged_layer_are_not_zero() {
    let (test, sandbox, image) = ("a damaged image in explore", Sandbox::new(), image());
    let mut archive = shape::legacy(&[&image], Pack::Gzip);
    archive.set(&shape::legacy_layer(&image, 2), b"\x1f\x8b".to_vec());
    archive.write(&sandbox.path("a.tar"));
    let program = format!("{} explore tar://a.tar", env!("CARGO_BIN_EXE_occystrap"));
    let Some(terminal) = run(test, &sandbox, (100, 24), &program) else { return };
    let screen = terminal.shows("q end");
    let title = screen.lines().find(|line| line.contains("team/app:1")).unwrap();
    assert!(title.contains(" of files, waste not known, "), "{screen}");
    assert!(screen.contains(">  3         ?         ? "), "{screen}");
    assert!(
        screen.contains("  not known of files") || screen.contains("could not be read"),
        "{screen}"
    );
    terminal.press(&["q"]);
    is_given_back(&terminal, 0);
}
