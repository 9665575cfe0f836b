//! Plugins, layers and other processes with less obvious attacks: misleading links and names, races, handles of other
//! sessions, nested calls, bombs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use occystrap_base::limits::Allowance;
use occystrap_output::plugin::{Plugin, PluginEngine};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::cli::Sandbox;
use crate::support::hostile::{Arena, component};
use crate::support::image::{Pack, TestImage, tar};
use crate::support::measured::peak;
use crate::support::shape;

#[test]
fn a_hard_link_is_replaced_and_not_written_through() {
    for (name, content) in [("hard", "evil".to_owned()), ("layer-2", String::new())] {
        let arena = Arena::new();
        let secret = arena.sandbox.path("secret");
        let link = arena.sandbox.path("out").join(name);
        std::fs::hard_link(&secret, &link).unwrap();
        arena.run("create=hard", &["--verify=full"]).verified();
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "not for plugins", "{name}");
        let written = std::fs::read(&link).unwrap();
        match content.is_empty() {
            true => assert!(written == TestImage::new("app:1").layers[2]),
            false => assert_eq!(written, content.as_bytes()),
        }
    }
}

#[test]
fn names_that_look_like_others_are_names() {
    for name in [
        "CONFIG",
        "Layer-0",
        "..\\secret",
        "%252e%252e",
        "...",
        "\u{2025}",
        "\u{ff0e}\u{ff0e}",
        "\u{2024}\u{2024}\u{2215}secret",
        "confi\u{261}",
        "co\u{301}nfig",
        "c\u{f3}nfig",
        "conf\u{200b}ig",
        "\u{202e}gifnoc",
    ] {
        let arena = Arena::new();
        let beside = || std::fs::read_dir(arena.sandbox.path("")).unwrap().count();
        let before = beside();
        let said = arena.run(&format!("create={name}"), &["--verify=full"]);
        said.verified();
        let spelled = name.replace("%25", "%");
        let written = arena.sandbox.path("out").join(&spelled);
        assert_eq!(std::fs::read_to_string(written).unwrap(), "evil", "{name}");
        // The files that it looks like, and what is outside.
        let image = TestImage::new("app:1");
        assert_eq!(std::fs::read(arena.sandbox.path("out/config")).unwrap(), image.config);
        assert!(std::fs::read(arena.sandbox.path("out/layer-0")).unwrap() == image.layers[0]);
        let secret = std::fs::read_to_string(arena.sandbox.path("secret")).unwrap();
        assert_eq!(secret, "not for plugins", "{name}");
        assert_eq!(beside(), before, "{name}");
        assert!(!said.stderr.contains(['\u{202e}', '\u{200b}']), "{}", said.stderr);
    }
}

/// Lets a folder and a link that leads out take each other's place, as fast as the system does it.
fn swapping(out: &Path, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let (one, other) = (out.join("sub"), out.join("lure"));
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        if let Err(cause) = caught {
            std::panic::resume_unwind(cause);
        }
    });
}

#[test]
fn a_folder_that_another_process_swaps_for_a_link_does_not_lead_out() {
    let arena = Arena::new();
    let (out, outside) = (arena.sandbox.path("out"), arena.sandbox.path("outside"));
    for folder in [&outside, &out.join("sub")] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(outside.join("mine"), "outside").unwrap();
    std::fs::write(out.join("sub/mine"), "inside").unwrap();
    symlink(&outside, out.join("lure")).unwrap();
    let (mut written, mut read) = (0, 0);
    swapping(&out, || {
        // The race exists: code that follows paths alone would leave the folder.
        let asked = Instant::now();
        while !outside.join("naive").exists() {
            let _ = std::fs::write(out.join("sub/naive"), "x");
            assert!(asked.elapsed() < Duration::from_secs(20), "nobody was led out");
        }
        for _ in 0..20 {
            written += usize::from(arena.run("create=sub/new", &["--no-verify"]).code == 0);
            let said = arena.run("read=sub/mine", &["--no-verify"]);
            if said.code == 0 {
                read += 1;
                let stolen = std::fs::read_to_string(out.join("stolen")).unwrap();
                assert_eq!(stolen, "inside", "{read}");
            }
        }
    });
    let mut names: Vec<_> =
        std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["mine", "naive"]);
    assert!(written > 0 && read > 0, "{written} written, {read} read: nothing was tried");
}

#[test]
fn a_call_within_a_call_ends_the_session() {
    let mut arena = Arena::new();
    arena.stopped("reenter", "cannot leave component instance");
    assert!(!arena.transcript.contains("out of the middle"), "{}", arena.transcript);
}

/// A written image whose plugin behaves so when it verifies.
fn written(behaviour: &str) -> (Arena, String) {
    let arena = Arena::new();
    let receipt = arena.sandbox.path("receipt").display().to_string();
    arena.run(behaviour, &["--no-verify", "--receipt", &receipt]).exits(0);
    (arena, receipt)
}

#[test]
fn handles_of_the_session_that_wrote_mean_nothing_to_the_one_that_verifies() {
    let (arena, receipt) = written("verify-guess");
    let plugin = component().display().to_string();
    let said = arena.sandbox.run(&["verify", &receipt, "--plugin", &plugin]);
    said.exits(1).says("a handle that it does not hold").says("1 FAILED");
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_given_up() {
    let limit = Duration::from_millis(1);
    let engine =
        PluginEngine::with(Allowance { compile_time: limit, ..Allowance::default() }).unwrap();
    // A component that no cache has: with a custom section (WebAssembly specification, 5.5.3) of our own.
    let mut bytes = std::fs::read(component()).unwrap();
    let unique = format!("{:?}{}", Instant::now(), std::process::id());
    let section = [&[1, b'x'], unique.as_bytes()].concat();
    bytes.extend([0, u8::try_from(section.len()).unwrap()]);
    bytes.extend(section);
    let error = Plugin::load(&engine, "slow", &bytes).err().unwrap();
    let rule = "plugin 'slow': took longer than 1ms to compile, and was given up";
    assert_eq!(error.to_string(), rule);
    let patient = PluginEngine::new().unwrap();
    assert!(Plugin::load(&patient, "slow", &bytes).is_ok());
}

#[test]
fn a_layer_that_unpacks_to_a_hundred_times_its_size_takes_no_memory() {
    const SIZE: usize = 512 << 20;
    let sandbox = Sandbox::new();
    {
        let layer = tar(&[("zeros", &vec![0; SIZE])]);
        let image = TestImage::with_layers("app:1", vec![layer]);
        shape::docker25(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    }
    assert!(std::fs::metadata(sandbox.path("in.tar")).unwrap().len() < SIZE as u64 / 100);
    let plugin = component().display().to_string();
    let from = sandbox.uri("tar", "in.tar");
    let to = sandbox.uri("hostile", "out?behaviour=entries-stored");
    let arguments = ["process", &from, &to, "--plugin", &plugin, "--verify=full"];
    let (peak, well) = peak(&mut sandbox.command(&arguments));
    assert!(well && peak > 0);
    assert!(peak < 256 << 10, "{peak} KiB");
}
