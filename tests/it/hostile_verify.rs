//! Plugins that lie or break a rule while they verify, or when the host asks for their description.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use occystrap::pipeline;
use occystrap_base::cancel::Cancel;
use occystrap_base::limits::Allowance;
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_output::plugin::{Catalog, Plugin, PluginEngine};
use occystrap_verify::subject::Subject;

use crate::support::cli::Sandbox;
use crate::support::context::context;
use crate::support::hostile::{Arena, component, describing};
use crate::support::plugin::replaced;

/// A written image whose plugin behaves so when it verifies; and its receipt.
fn written(behaviour: &str) -> Arena {
    let arena = Arena::new();
    let receipt = arena.sandbox.path("receipt").display().to_string();
    arena.run(behaviour, &["--no-verify", "--receipt", &receipt]).exits(0);
    arena
}

fn with_cpu_time(cpu_time: Duration) -> PluginEngine {
    PluginEngine::with(Allowance { cpu_time, ..Allowance::default() }).unwrap()
}

fn verify(arena: &Arena, more: &[&str]) -> crate::support::cli::Ran {
    let receipt = arena.sandbox.path("receipt").display().to_string();
    let plugin = component().display().to_string();
    arena.sandbox.run(&[&["verify", &receipt, "--plugin", &plugin], more].concat())
}

#[test]
fn verifying_changes_nothing_and_reaches_nothing() {
    let mut transcript = String::new();
    for behaviour in
        ["verify-write", "verify-lock", "verify-outside", "verify-panic", "verify-give-up"]
    {
        let arena = written(behaviour);
        let before = arena.sandbox.tree("");
        let said = verify(&arena, &[]);
        assert_eq!(arena.sandbox.tree(""), before, "{behaviour}");
        said.exits(1).says("plugin 'hostile'").says("0/1 verified, 1 FAILED");
        writeln!(transcript, "## {behaviour}\n{}", arena.sandbox.redact(&said.stderr)).unwrap();
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn success_without_looking_does_not_cover_damage() {
    let arena = written("verify-blind");
    verify(&arena, &[]).verified();
    let layer = arena.sandbox.path("out/layer-1");
    let mut bytes = std::fs::read(&layer).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    let said = verify(&arena, &[]);
    said.exits(1).says("0/1 verified, 1 FAILED");
    insta::assert_snapshot!(arena.sandbox.redact(&said.stderr));
    // If size and existence are right, a fast verification agrees with the plugin.
    verify(&arena, &["--fast"]).verified();
}

#[test]
fn an_accusation_counts_and_is_printed_safely() {
    let arena = written("verify-accuse");
    let said = verify(&arena, &[]);
    said.exits(1).says("plugin 'hostile' reports");
    assert!(!said.stderr.contains('\u{1b}'), "{}", said.stderr);
    insta::assert_snapshot!(arena.sandbox.redact(&said.stderr));
    let arena = written("verify-accuse-many");
    let said = verify(&arena, &["-q"]);
    said.exits(1).says("plugin 'hostile'");
    assert!(said.stderr.len() < 10_000_000, "{}", said.stderr.len());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Returns the output for a receipt with a plugin of this catalog, which is FAILED.
fn verified_by(catalog: &Catalog, arena: &Arena, context: &Context) -> String {
    let receipt = arena.sandbox.path("receipt").display().to_string();
    let subject =
        Subject::parse(&receipt, catalog, |_| unreachable!(), &Cancel::default()).unwrap();
    let run = pipeline::verify_subjects(&[Ok(subject)], Level::Fast, 1, context);
    assert_eq!(run.exit_code(false), 1);
    let mut said = Vec::new();
    run.write_text(&mut said, false).unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn reading_without_end_ends() {
    // Its own work between two calls is what counts, and there is some.
    let engine = with_cpu_time(Duration::from_millis(100));
    let catalog = Catalog::new(engine, &[component()]).unwrap();
    let runtime = runtime();
    for behaviour in ["verify-read", "verify-digest"] {
        let started = Instant::now();
        let arena = written(behaviour);
        let before = arena.sandbox.tree("");
        let said = verified_by(&catalog, &arena, &context(&runtime));
        let rule = "plugin 'hostile' was stopped: it computed for more than 100ms";
        assert!(said.contains(rule), "{behaviour}: {said}");
        assert_eq!(arena.sandbox.tree(""), before, "{behaviour}");
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
}

#[test]
fn a_receipt_without_end_is_not_read_to_the_end() {
    let sandbox = Sandbox::new();
    let receipt = sandbox.path("receipt");
    // The size of a device means nothing, and a file may grow while it is read.
    let file = std::fs::File::create(&receipt).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    sandbox.run(&["verify", "/dev/zero"]).exits(1).says("not a regular file");
    sandbox.run(&["verify", "receipt"]).exits(1).says("more than any receipt has");
}

#[test]
fn loops_end_when_their_time_is_up() {
    // The real limit is some seconds; the rule is the same with a shorter one.
    let limit = Duration::from_millis(300);
    let engine = with_cpu_time(limit);
    let rule = "plugin 'hostile' was stopped: it computed for more than 300ms";

    let started = Instant::now();
    let error = Plugin::load(&engine, "hostile", &describing("loop")).err().unwrap();
    assert_eq!(error.to_string(), rule);

    let catalog = Catalog::new(engine, &[component()]).unwrap();
    let runtime = runtime();
    let context = context(&runtime);
    let arena = written("verify-loop");
    assert!(verified_by(&catalog, &arena, &context).contains(rule));

    let arena = Arena::new();
    let uri = occystrap_net::uri::Uri::parse(&arena.sandbox.uri("tar", "in.tar")).unwrap();
    let source =
        occystrap_images::source::Source::parse(&uri, &Default::default(), |_| unreachable!())
            .unwrap();
    let to = arena.sandbox.uri("hostile", "out?behaviour=loop");
    let target = occystrap_output::write::target::Target::parse(
        &occystrap_net::uri::Uri::parse(&to).unwrap(),
        &catalog,
        |_| unreachable!(),
        &Cancel::default(),
    )
    .unwrap();
    let request = pipeline::Request {
        filters: occystrap_images::filter::Filters::default(),
        layer_cache: None,
        source,
        target,
        level: None,
        proves_before_tag: false,
        is_untagged: false,
        platforms: None,
        referrers: None,
        receipts: occystrap::pipeline::ReceiptStore::None,
        image_parallel: 1,
        all_platforms: false,
        repeat_options: Vec::new(),
    };
    let run = pipeline::process(&request, &context);
    let mut said = Vec::new();
    run.write_text(&mut said, false).unwrap();
    assert!(String::from_utf8(said).unwrap().contains(rule));
    arena.untouched("loop");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn descriptions_that_are_none() {
    let sandbox = Sandbox::new();
    let mut transcript = String::new();
    for behaviour in [
        "panic",
        "grow",
        "name",
        "no-name",
        "no-scheme",
        "bad-scheme",
        "dir-scheme",
        "many-schemes",
        "many-options",
        "long",
        "host-call",
    ] {
        std::fs::write(sandbox.path("hostile.wasm"), describing(behaviour)).unwrap();
        let plugin = sandbox.path("hostile.wasm").display().to_string();
        let said = sandbox.run(&["plugin", "list", "--plugin", &plugin]);
        let text = sandbox.redact(&said.stderr);
        writeln!(transcript, "## {behaviour}: exit {}\n{text}", said.code).unwrap();
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_description_is_printed_safely() {
    let sandbox = Sandbox::new();
    for behaviour in ["escape", "version"] {
        std::fs::write(sandbox.path("hostile.wasm"), describing(behaviour)).unwrap();
        let plugin = sandbox.path("hostile.wasm").display().to_string();
        let said = sandbox.run(&["plugin", "show", &plugin]);
        said.exits(0);
        assert!(!said.stdout.contains('\u{1b}'), "{}", said.stdout);
        assert!(said.stdout.len() < 3_000, "{}", said.stdout);
    }
}

fn without_numbers(text: &str) -> String {
    let runs = text.split(|c: char| c.is_ascii_digit()).filter(|run| !run.is_empty());
    runs.collect::<Vec<_>>().join("N")
}

#[test]
fn files_that_are_no_plugins() {
    let sandbox = Sandbox::new();
    let good = std::fs::read(component()).unwrap();
    let mut transcript = String::new();
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("text", b"(component)".to_vec()),
        ("a core module", b"\0asm\x01\0\0\0".to_vec()),
        ("an empty component", b"\0asm\x0d\0\x01\0".to_vec()),
        ("cut", good[..good.len() / 2].to_vec()),
        (
            "an import that is not offered",
            replaced(&good, b"occystrap:output/log@0.1.0", b"occystrap:output/net@0.1.0"),
        ),
    ] {
        std::fs::write(sandbox.path("x.wasm"), bytes).unwrap();
        let plugin = sandbox.path("x.wasm").display().to_string();
        let said = sandbox.run(&["plugin", "list", "--plugin", &plugin]);
        said.exits(1);
        let stderr = sandbox.redact(&said.stderr);
        // The end of a section changes with every build of the plugin.
        let stderr = if what == "cut" { without_numbers(&stderr) } else { stderr };
        writeln!(transcript, "## {what}\n{stderr}").unwrap();
    }
    let said = sandbox.run(&["plugin", "list", "--plugin", "/not/there.wasm"]);
    writeln!(transcript, "## not there\n{}", said.exits(1).stderr).unwrap();
    insta::assert_snapshot!(transcript);
}
