//! Limits of the user's own shell (`ulimit`): an error names the limit and does not blame the plugin.

use std::process::Command;

use crate::support::bombs;
use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::hostile::component;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::mirrored::{FILE, Mirrored};
use crate::support::registry::Registry;
use crate::support::shape;

/// The binary with a limit, and a cache of its own, in which nothing is compiled.
fn limited(sandbox: &Sandbox, limit: &str, arguments: &[&str]) -> Ran {
    let plain = sandbox.command(arguments);
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\""));
    command.arg(plain.get_program()).args(plain.get_args());
    command.env_clear().current_dir(sandbox.path(""));
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("XDG_CACHE_HOME", sandbox.path("cache"));
    Ran::of(command)
}

#[test]
fn a_limit_that_ends_the_compiler_is_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("plugin.wasm");
    let path = file.display().to_string();
    let small = std::fs::read(component()).unwrap();
    let slow = bombs::with_module(&bombs::functions(60_000, 30));
    let started = "that this process was started with (ulimit";
    for (limit, bytes, said, option) in [
        ("-f 4", &small, "within the limit of 4.1 kB on the size of a file", "-f"),
        ("-t 1", &slow, "within the limit of 1 s on processor time", "-t"),
        ("-t 2", &slow, "within the limit of 2 s on processor time", "-t"),
        ("-v 260000", &slow, "within the limit of 266.2 MB on address space", "-v"),
        ("-d 60000", &slow, "within the limit of 61.4 MB on data", "-d"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let ran = limited(&sandbox, limit, &["plugin", "show", &path]);
        ran.exits(1)
            .says(&format!("cannot be compiled {said} {started} {option})"))
            .says(&format!("hint: 'ulimit {option}' shows the limit"));
        assert!(!ran.stderr.contains("takes more than"), "{limit}: {}", ran.stderr);
    }
}

#[test]
fn plugins_run_in_a_limited_address_space() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let from = sandbox.uri("tar", "in.tar");
    let plugin = component().display().to_string();
    for limit in ["-v 4000000", "-v 1000000"] {
        limited(&sandbox, limit, &["plugin", "show", &plugin]).exits(0);
        limited(&sandbox, limit, &["process", &from, &sandbox.uri("dir", "out")]).verified();
        let to = sandbox.uri("hostile", "others");
        limited(&sandbox, limit, &["process", &from, &to, "--plugin", &plugin]).verified();
    }
}

#[test]
fn a_memory_that_the_limit_does_not_leave_is_no_fault_of_the_plugin() {
    let sandbox = Sandbox::new();
    // It is compiled, and its memories have no room.
    let path = sandbox.path("plugin.wasm");
    std::fs::write(&path, bombs::with_instances(&bombs::memory(10), 8)).unwrap();
    let path = path.display().to_string();
    limited(&sandbox, "-c 0", &["plugin", "show", &path]).exits(0);
    let ran = limited(&sandbox, "-v 900000", &["plugin", "show", &path]);
    ran.exits(1)
        .says("the system does not give its memory: Cannot allocate memory")
        .says("within the limit of 921.6 MB on address space that this process was started with");
    assert!(!ran.stderr.contains("was stopped"), "{}", ran.stderr);
}

#[test]
fn a_file_beyond_the_limit_is_an_error_and_not_a_signal() {
    let sandbox = Sandbox::new();
    // Compressed it is as large.
    let mut number = 1_u64;
    let mut random = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 56) as u8
    };
    let large: Vec<u8> = (0..300_000).map(|_| random()).collect();
    let image = TestImage::with_layers("app:1", vec![tar(&[("large", &large)])]);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    std::fs::create_dir(sandbox.path("work")).unwrap();
    for scheme in ["dir", "tar", "oci-layout"] {
        let to = sandbox.uri(scheme, "work/out");
        let arguments = ["process", &sandbox.uri("tar", "in.tar"), &to];
        limited(&sandbox, "-f 200", &arguments).exits(1).says("file too large");
        assert_eq!(sandbox.tree("work"), Tree::new(), "{scheme}");
        // Not even the plugin has room.
        limited(&sandbox, "-f 1", &arguments)
            .exits(1)
            .says("File too large")
            .says("within the limit of 1.0 kB on the size of a file");
        assert_eq!(sandbox.tree("work"), Tree::new(), "{scheme}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_mirror_whose_ledger_finds_no_room_ends_with_an_error() {
    // So much that the ledger can be created, and not much more: the threads that move images fail, all of them.
    for limit in ["-f 160", "-f 200", "-f 260"] {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let to = format!("{}/mirror/{{name}}", destination.url_host());
        Mirrored::at(&source, 2, 20).write_file(&sandbox, &to, &[]);
        let ran = limited(&sandbox, limit, &["mirror", "run", FILE, "--insecure"]);
        ran.exits(1).says(&format!("{FILE}.ledger"));
        // With room it goes on.
        sandbox.run(&["mirror", "run", FILE, "--insecure"]).exits(0).says("40/40 images");
    }
}
