//! Machine code in the user's cache: it is kept for plugins that the user has added, and for no other.

use std::process::Command;

use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile::{component, describing};
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command: Command = sandbox.command(arguments);
    command.env("XDG_CACHE_HOME", sandbox.path("cache"));
    Ran::of(command)
}

/// Files with machine code of plugins that are not built in.
fn kept(sandbox: &Sandbox) -> usize {
    let folder = sandbox.path("cache/occystrap/components/added/code");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn code_is_kept_of_plugins_that_were_added_and_of_no_other() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("hostile", "out"));
    let file = component().display().to_string();
    let broken = sandbox.path("broken.wasm");
    // Compiled, and refused for what it says of itself.
    std::fs::write(&broken, describing("bad-scheme")).unwrap();
    let broken = broken.display().to_string();
    for (code, arguments) in [
        (0, &["plugin", "show", &file][..]),
        (1, &["plugin", "show", &broken]),
        (1, &["plugin", "add", "--yes", &broken]),
        // There is no terminal to ask at.
        (2, &["plugin", "add", &file]),
        (0, &["process", &from, &to, "--plugin", &file]),
        (0, &["plugin", "list", "--plugin", &file]),
    ] {
        let ran = run(&sandbox, arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert_eq!(kept(&sandbox), 0, "{arguments:?}");
    }
    run(&sandbox, &["plugin", "add", "--yes", &file]).exits(0);
    assert_eq!(kept(&sandbox), 1);
    // Code that was removed from the cache is compiled again with the next use of the plugin.
    std::fs::remove_dir_all(sandbox.path("cache")).unwrap();
    run(&sandbox, &["process", &from, &to]).verified();
    assert_eq!(kept(&sandbox), 1);
    let debug = run(&sandbox, &["plugin", "show", "hostile"]);
    debug.exits(0);
    assert_eq!(kept(&sandbox), 1);
}
