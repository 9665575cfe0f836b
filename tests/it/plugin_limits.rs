//! The limits on plugins, measured: memory and time of the real binary, with components that try to use more. These tests
//! compare and print the rows of the table in docs/permissions.md.

use std::path::Path;
use std::process::Command;

use occystrap_base::limits;

use crate::support::bombs;
use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile::{Arena, component, describing};
use crate::support::image::{Pack, TestImage};
use crate::support::measured::Measured;
use crate::support::{receipts, shape};

/// A row of the table: a limit.
struct Row {
    what: &'static str,
    /// The constant, and its value as the table has it.
    limit: &'static str,
    mib: u64,
    seconds: u64,
}

/// Every row, in the order of the table.
fn rows() -> Vec<Row> {
    let row = |what, limit, mib, seconds| Row { what, limit, mib, seconds };
    let rows = vec![
        row(SHOW, "`SHOW_MEMORY` 256 MiB, `SHOW_TIME` 10 s", 256, 10),
        row(COMPILED, "`COMPILE_MEMORY` 1024 MiB, `COMPILE_TIME` 120 s", 1200, 130),
        row(NESTED, "`NESTED_INSTANCES` 1000", 64, 10),
        row(MEMORIES, "`MEMORY` 64 MiB", 180, 20),
        row(TABLES, "`TABLE_ELEMENTS` 200000", 128, 20),
        row(INSTANCES, "`INSTANCES` 256", 128, 20),
        row(KEPT, "`HOST_MEMORY` 32 MiB", 200, 60),
        row(OWN, "`OWN_BYTES` 1024 MiB", 128, 60),
        row(BUSY, "`HOST_TIME` 20 s, 10 s with `--untrusted`", 128, 120),
        row(COMPUTING, "`CPU_TIME` 10 s, 2 s with `--untrusted`", 128, 40),
    ];
    // The numbers are those of the code.
    assert_eq!(limits::SHOW_MEMORY >> 20, 256);
    assert_eq!(limits::SHOW_TIME.as_secs(), 10);
    assert_eq!((limits::COMPILE_MEMORY >> 20, limits::COMPILE_TIME.as_secs()), (1024, 120));
    assert_eq!((limits::NESTED_INSTANCES, limits::INSTANCES), (1000, 256));
    assert_eq!((limits::MEMORY >> 20, limits::TABLE_ELEMENTS), (64, 200_000));
    assert_eq!((limits::HOST_MEMORY >> 20, limits::OWN_BYTES >> 20), (32, 1024));
    let untrusted = limits::Allowance::untrusted();
    assert_eq!((limits::HOST_TIME.as_secs(), untrusted.host_time.as_secs()), (20, 10));
    assert_eq!((limits::CPU_TIME.as_secs(), untrusted.cpu_time.as_secs()), (10, 2));
    rows
}

const SHOW: &str = "`plugin show FILE`, whatever the file is";
const COMPILED: &str = "compiling, in `add`, `test`, `process` and `verify`";
const NESTED: &str = "instances, multiplied along the nesting";
const MEMORIES: &str = "memories of all instances together";
const TABLES: &str = "tables of all instances together";
const INSTANCES: &str = "instances of modules";
const KEPT: &str = "host memory that calls leave behind";
const OWN: &str = "bytes of a plugin's own on the disk";
const BUSY: &str = "processor time of the host for calls";
const COMPUTING: &str = "processor time of the plugin";

/// Compares a measurement with its row.
#[track_caller]
fn within(what: &str, case: &str, measured: &Measured) {
    let row = rows().into_iter().find(|row| row.what == what).unwrap();
    let Measured { mib, seconds, ran } = measured;
    // The measured values are in the log of CI.
    eprintln!("limits: {what}: {case}: {mib} MiB, {seconds:.1} s");
    assert!(*mib <= row.mib, "{case}: {mib} MiB: {}", ran.stderr);
    assert!(*seconds <= row.seconds as f64, "{case}: {seconds} s: {}", ran.stderr);
}

/// A component's file in a sandbox with a cache of its own: nothing is compiled before.
fn file(sandbox: &Sandbox, bytes: &[u8]) -> String {
    let path = sandbox.path("plugin.wasm");
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command.env("XDG_CACHE_HOME", sandbox.path("cache"));
    command
}

fn show(sandbox: &Sandbox, bytes: &[u8]) -> Measured {
    let file = file(sandbox, bytes);
    Measured::of(command(sandbox, &["plugin", "show", &file]))
}

/// Every command that compiles a component and makes an instance of it, with what it says of one that
/// breaks a limit.
fn every_way_in(bytes: &[u8], what: &str, rule: &str) {
    let sandbox = receipts::sandbox();
    let receipt = receipts::write(&sandbox, "hostile", "image", "");
    let file = file(&sandbox, bytes);
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("hostile", "out"));
    let root = sandbox.path("srv").display().to_string();
    let add = ["plugin", "add", "--yes", &file];
    let process = ["process", &from, &to, "--plugin", &file];
    let verify = ["verify", "--untrusted", "--root", &root, "--plugin", &file, &receipt];
    for (way, code, arguments) in [
        ("plugin show", 1, &["plugin", "show", &file][..]),
        ("plugin add", 1, &add),
        ("plugin test", 1, &["plugin", "test", &file]),
        ("process --plugin", 1, &process),
        ("verify --untrusted", 3, &verify),
    ] {
        let measured = Measured::of(command(&sandbox, arguments));
        let said = format!("{}{}", measured.ran.stdout, measured.ran.stderr);
        assert!(said.contains(rule), "{way}: '{rule}' is not in: {said}");
        assert_eq!(measured.ran.code, code, "{way}: {said}");
        within(what, way, &measured);
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn instances_that_multiply_along_the_nesting_are_counted_first() {
    for levels in [22, 60] {
        let bytes = bombs::doubling(levels);
        assert!(bytes.len() < 2_000);
        every_way_in(&bytes, NESTED, "instances along its nesting: expected at most 1000, found");
    }
}

#[test]
fn the_memories_of_all_instances_are_one_sum() {
    let bytes = bombs::with_instances(&bombs::memory(1_000), 24);
    every_way_in(&bytes, MEMORIES, "it wanted more than 64 MiB of memory");
}

#[test]
fn the_tables_of_all_instances_are_one_sum() {
    let bytes = bombs::with_instances(&bombs::table(60_000), 10);
    every_way_in(&bytes, TABLES, "it wanted more than 200000 table elements");
}

#[test]
fn there_are_only_so_many_instances() {
    let bytes = bombs::with_instances(b"\0asm\x01\0\0\0", 500);
    every_way_in(&bytes, INSTANCES, "it has more than 256 instances");
}

#[test]
fn plugins_of_several_instances_and_memories_work() {
    let sandbox = receipts::sandbox();
    let bytes = bombs::with_instances(&bombs::memory(100), 5);
    let file = file(&sandbox, &bytes);
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("hostile", "out"));
    sandbox.process(&from, &to, &["--plugin", &file]).verified();
}

#[test]
fn a_look_at_any_file_takes_little_memory_and_time() {
    let sandbox = Sandbox::new();
    const MOST: usize = limits::COMPONENT_SIZE - 64;
    let many = "functions: expected at most";
    let declared = "bytes of declarations: expected at most";
    let costly = "are not shown";
    type Case = (&'static str, &'static dyn Fn() -> Vec<u8>, &'static str);
    let cases: [Case; 25] = [
        ("300,000 empty functions", &|| bombs::holding(&bombs::functions(300_000, 0)), many),
        ("99,000 functions", &|| bombs::with_module(&bombs::functions(99_000, 30)), costly),
        ("a large function", &|| bombs::with_module(&bombs::functions(1, 290_000)), ""),
        ("a million calls", &|| bombs::with_module(&bombs::calls(1, 1_000_000)), costly),
        ("30 million calls", &|| bombs::with_module(&bombs::calls(30, 1_000_000)), costly),
        ("64 MiB of code", &|| bombs::with_module(&bombs::functions(90_000, 98)), costly),
        ("64 MiB of types", &|| bombs::full_of("types", MOST), declared),
        ("64 MiB of imports", &|| bombs::full_of("imports", MOST), declared),
        ("64 MiB of exports", &|| bombs::full_of("exports", MOST), declared),
        ("64 MiB of globals", &|| bombs::full_of("globals", MOST), declared),
        (
            "60 MB of empty sections",
            &|| [b"\0asm\x0d\0\x01\0".to_vec(), [0, 1, 0].repeat(20_000_000)].concat(),
            "sections: expected at most 100000, found more",
        ),
        ("64 MiB of names", &|| bombs::full_of("names", MOST), "bytes of names"),
        ("64 MiB of data", &|| bombs::full_of("data", MOST), ""),
        ("64 MiB that nothing reads", &|| bombs::full_of("custom", MOST), ""),
        ("4 MiB of types", &|| bombs::full_of("types", 4_100_000), ""),
        ("4 MiB of exports", &|| bombs::full_of("exports", 4_100_000), ""),
        ("4 MiB of imports", &|| bombs::full_of("imports", 4_100_000), ""),
        ("2 MiB of globals", &|| bombs::full_of("globals", 2_000_000), ""),
        ("300,000 functions of WASI", &|| bombs::importing(300_000), ""),
        ("types of types", &|| bombs::types_of_types(), ""),
        ("100 memories with holes", &|| bombs::holding(&bombs::sparse(100, 250)), ""),
        ("64 memories", &|| bombs::with_instances(&bombs::memory(1_000), 64), "64 MiB of memory"),
        ("no component", &|| vec![b'x'; MOST], "is not a WebAssembly component"),
        ("describe computes", &|| describing("loop"), "it computed for more than 1s"),
        ("describe grows", &|| describing("grow"), "it wanted more than 64 MiB of memory"),
    ];
    for (case, bytes, rule) in cases {
        let measured = show(&sandbox, &bytes());
        let said = &measured.ran;
        assert!(said.stderr.contains(rule), "{case}: '{rule}' is not in: {}", said.stderr);
        assert!(said.code == 1 || case == "a large function", "{case}: {}", said.stderr);
        within(SHOW, case, &measured);
    }
    sandbox.assert_clean();
}

#[test]
fn the_environment_of_a_debugging_session_changes_no_machine_code() {
    let sandbox = Sandbox::new();
    let file = file(&sandbox, &std::fs::read(component()).unwrap());
    let mut command = command(&sandbox, &["plugin", "show", &file]);
    command.env("WASMTIME_BACKTRACE_DETAILS", "1");
    Ran::of(command).exits(0);
}

#[test]
fn a_plugin_that_is_not_compiled_for_a_look_shows_its_imports_and_what_to_type() {
    let sandbox = Sandbox::new();
    let bytes = bombs::with_module(&bombs::functions(60_000, 30));
    let said = show(&sandbox, &bytes).ran;
    said.exits(1)
        .says("its name, schemes and options are not shown")
        .says("takes more than 128 MiB of memory to compile")
        .says("hint: 'occystrap plugin add ");
    assert!(said.stdout.contains("It may:\n  - "), "{}", said.stdout);
    assert!(said.stdout.contains("  component  sha256:"), "{}", said.stdout);
    let file = sandbox.path("plugin.wasm").display().to_string();
    let measured = Measured::of(command(&sandbox, &["plugin", "show", "-O", "json", &file]));
    let json = measured.ran.exits(1).json();
    assert!(json["plugin"]["name"].is_null() && json["error"]["message"].is_string(), "{json}");
    let permissions = json["plugin"]["permissions"].as_array().unwrap();
    assert!(permissions.iter().any(|granted| granted["interface"] == "storage-edit"), "{json}");
    // The suggested command compiles it; from then on it is shown.
    let added = Measured::of(command(&sandbox, &["plugin", "add", "--yes", &file]));
    added.ran.exits(0).says("added hostile");
    within(COMPILED, "60,000 functions", &added);
    let shown = show(&sandbox, &bytes);
    assert!(shown.ran.exits(0).stdout.starts_with("hostile 0.5.0"), "{}", shown.ran.stdout);
    within(SHOW, "60,000 functions, compiled before", &shown);
}

#[test]
fn a_component_that_takes_more_memory_than_there_is_is_given_up() {
    let sandbox = Sandbox::new();
    let file = file(&sandbox, &bombs::with_module(&bombs::calls(30, 1_000_000)));
    let measured = Measured::of(command(&sandbox, &["plugin", "add", "--yes", &file]));
    measured.ran.exits(1).says("takes more than 1024 MiB of memory to compile");
    within(COMPILED, "30 million calls", &measured);
}

/// A run that writes with a behaviour, and is stopped.
fn stopped(behaviour: &str, what: &str, rule: &str) -> Ran {
    let arena = Arena::new();
    std::fs::write(arena.sandbox.path("out/many"), vec![7; 1 << 20]).unwrap();
    let plugin = component().display().to_string();
    let to = arena.sandbox.uri("hostile", &format!("out?behaviour={behaviour}"));
    let arguments = ["process", &arena.sandbox.uri("tar", "in.tar"), &to, "--plugin", &plugin];
    let measured = Measured::of(arena.sandbox.command(&arguments));
    measured.ran.exits(1).says("plugin 'hostile' was stopped").says(rule);
    assert!(!arena.sandbox.path("out/0").exists());
    within(what, &format!("process, {behaviour}"), &measured);
    measured.ran
}

#[test]
fn host_memory_that_calls_leave_behind_is_one_sum() {
    let rule = "it made the host keep more than 32 MiB for it";
    for behaviour in ["pieces-everywhere", "buffers", "ranges"] {
        stopped(behaviour, KEPT, rule);
    }
}

#[test]
fn bytes_of_a_plugin_s_own_have_a_limit() {
    let ran = stopped("pad-forever", OWN, "it wrote more than 1073741824 bytes of its own");
    ran.says("padded 1024 MiB");
    assert!(!ran.stderr.contains("padded 1280 MiB"), "{}", ran.stderr);
}

#[test]
fn calls_keep_the_host_busy_only_so_long() {
    stopped("stat-forever", BUSY, "it kept the host busy for more than 20s");
}

/// Each file has a path of its own and is given up: nothing of it stays in memory.
#[test]
fn creating_files_keeps_the_host_busy_only_so_long() {
    stopped("create-forever", BUSY, "it kept the host busy for more than 20s");
}

/// A plugin that misbehaves when it verifies an untrusted receipt. One of the rules stops it.
fn unconfirmed(behaviour: &str, what: &str, rules: &[&str]) {
    let sandbox = receipts::sandbox();
    let layers = vec![vec![5; 10_240], vec![7; 1 << 20]];
    let image = TestImage::with_layers("app:1", layers);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    let receipt = receipts::write(&sandbox, "hostile", "image", &format!("?behaviour={behaviour}"));
    let root = sandbox.path("srv").display().to_string();
    let plugin = component().display().to_string();
    let arguments = ["verify", "--untrusted", "--root", &root, "--plugin", &plugin, &receipt];
    let measured = Measured::of(sandbox.command(&arguments));
    let said = format!("{}{}", measured.ran.stdout, measured.ran.stderr);
    assert!(rules.iter().any(|rule| said.contains(rule)), "{rules:?} is not in: {said}");
    measured.ran.exits(3);
    within(what, &format!("verify --untrusted, {behaviour}"), &measured);
}

#[test]
fn a_verifying_plugin_has_the_same_limits() {
    let computed = "it computed for more than 2s";
    unconfirmed("verify-ranges", KEPT, &["it made the host keep more than 32 MiB for it"]);
    // Its calls take the host five times as long as the plugin itself, more or less.
    unconfirmed("verify-stat", BUSY, &["it kept the host busy for more than 10s", computed]);
    unconfirmed("verify-loop", COMPUTING, &[computed]);
    stopped("loop", COMPUTING, "it computed for more than 10s");
}

/// Rows of the table of measured limits in a document.
fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/permissions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("\n## The limits, measured\n").unwrap();
    let rows = table.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| "));
    rows.skip(2).map(str::to_owned).collect()
}

#[test]
fn the_table_of_limits_is_that_of_these_tests() {
    let documented = documented();
    let rows = rows();
    assert_eq!(documented.len(), rows.len(), "{documented:#?}");
    for (Row { what, limit, mib, seconds }, line) in rows.into_iter().zip(documented) {
        let start = format!("| {what} | {limit} | {mib} MiB, {seconds} s; seen ");
        assert!(line.starts_with(&start), "docs/permissions.md has\n{line}\ninstead of\n{start}");
        let cell = line.strip_prefix(&start).unwrap().trim_end_matches(" |");
        let seen = cell.split_once(" MiB, ").unwrap();
        let (seen_mib, rest): (u64, &str) = (seen.0.parse().unwrap(), seen.1);
        let seen_seconds: f64 = rest.split_once(" s").unwrap().0.parse().unwrap();
        assert!(seen_mib <= mib && seen_seconds <= seconds as f64, "{line}");
    }
}
