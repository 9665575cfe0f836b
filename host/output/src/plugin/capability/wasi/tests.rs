//! Small components, each with one call of WASI: what it gets, or how it ends.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::*;
use crate::destination::hash_memo::HashMemo;
use crate::plugin::violation::Violation;
use occystrap_base::cancel::Cancel;

/// A component that imports `interface` with `items`, lowers its function `name`, and hands it to a
/// core module as `call`; `body` is that of the function `run`, which returns an i64.
fn component(interface: &str, items: &str, name: &str, signature: &str, body: &str) -> String {
    format!(
        r#"(component
            (import "{interface}" (instance $it {items}))
            (core module $memory
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $m))
            (alias core export $memory "realloc" (core func $realloc))
            (core func $lowered
                (canon lower (func $it "{name}") (memory (core memory $m)) (realloc (core func $realloc))))
            (core module $main
                (import "host" "memory" (memory 1))
                (import "host" "call" (func $call {signature}))
                (func (export "run") (result i64) {body}))
            (core instance $main (instantiate $main (with "host" (instance
                (export "memory" (memory $m))
                (export "call" (func $lowered))))))
            (func (export "run") (result s64) (canon lift (core func $main "run"))))"#
    )
}

/// Runs it, and returns its result or the rule that it broke, and the rest of its store.
fn run(text: &str) -> (std::result::Result<i64, String>, Store<GuestState>) {
    let engine = PluginEngine::new().expect("an engine");
    let component = Component::new(engine.wasmtime(), wat::parse_str(text).expect("a component"))
        .expect("it compiles");
    let mut linker = Linker::new(engine.wasmtime());
    link(&mut linker, &engine, &component).expect("it links");
    let state = GuestState::new(Arc::from("test"), Cancel::default(), HashMemo::default());
    let mut store = Store::new(engine.wasmtime(), state);
    store.set_epoch_deadline(1);
    let instance = linker.instantiate(&mut store, &component).expect("it starts");
    let function = instance.get_typed_func::<(), (i64,)>(&mut store, "run").expect("'run'");
    let said = function.call(&mut store, ()).map(|(said,)| said).map_err(|cause| {
        cause.downcast_ref::<Violation>().map_or(format!("{cause:#}"), |stop| stop.0.to_string())
    });
    (said, store)
}

#[test]
fn numbers_are_the_same_in_every_run() {
    let items = r#"(export "get-random-u64" (func (result u64)))"#;
    let text = component(
        "wasi:random/random@0.2.3",
        items,
        "get-random-u64",
        "(result i64)",
        "(drop (call $call)) (call $call)",
    );
    let (first, second) = (run(&text).0, run(&text).0);
    assert!(first.is_ok() && first == second, "{first:?} {second:?}");
    let once = text.replace("(drop (call $call))", "");
    assert_ne!(run(&once).0, first, "they are not all the same");
}

#[test]
fn random_bytes_have_a_limit() {
    let items = r#"(export "get-random-bytes" (func (param "len" u64) (result (list u8))))"#;
    let body = |len: u64| {
        format!("(call $call (i64.const {len}) (i32.const 0)) (i64.load offset=0 (i32.const 0))")
    };
    let text = |len| {
        let signature = "(param i64 i32)";
        component("wasi:random/random@0.2.0", items, "get-random-bytes", signature, &body(len))
    };
    // The place of the list, and its length.
    assert_eq!(run(&text(16)).0, Ok(16 << 32 | 1024));
    let (said, _) = run(&text(1 << 40));
    assert_eq!(
        said,
        Err("plugin 'test' was stopped: it wanted more than 65536 random bytes at once".to_owned())
    );
}

#[test]
fn the_clock_shows_what_was_computed_and_the_calendar_stands() {
    let items = r#"(export "now" (func (result u64)))"#;
    let text = component(
        "wasi:clocks/monotonic-clock@0.2.9",
        items,
        "now",
        "(result i64)",
        "(call $call)",
    );
    assert_eq!(run(&text).0, Ok(0), "nothing was measured in this store");
    let items = r#"(type $t (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $d (eq $t))) (export "now" (func (result $d)))"#;
    let body = "(i64.store (i32.const 0) (i64.const 7)) (call $call (i32.const 0)) \
        (i64.load (i32.const 0))";
    let text = component("wasi:clocks/wall-clock@0.2.9", items, "now", "(param i32)", body);
    assert_eq!(run(&text).0, Ok(0));
}

#[test]
fn there_is_no_environment_and_there_are_no_files() {
    let items = r#"(export "get-arguments" (func (result (list string))))"#;
    let body = "(i64.store (i32.const 0) (i64.const -1)) (call $call (i32.const 0)) \
        (i64.extend_i32_u (i32.load offset=4 (i32.const 0)))";
    let text = component("wasi:cli/environment@0.2.0", items, "get-arguments", "(param i32)", body);
    assert_eq!(run(&text).0, Ok(0), "no arguments");
    let items = r#"(export "get-environment" (func (result (list (tuple string string)))))"#;
    let text =
        component("wasi:cli/environment@0.2.0", items, "get-environment", "(param i32)", body);
    assert_eq!(run(&text).0, Ok(0), "no variables");
    let items = r#"(export "descriptor" (type $d (sub resource)))
        (export "get-directories" (func (result (list (tuple (own $d) string)))))"#;
    let text =
        component("wasi:filesystem/preopens@0.2.0", items, "get-directories", "(param i32)", body);
    assert_eq!(run(&text).0, Ok(0), "no folders");
}

#[test]
fn a_call_of_anything_else_ends_the_session() {
    let items = r#"(export "network" (type $n (sub resource)))
        (export "instance-network" (func (result (own $n))))"#;
    let body = "(i64.extend_i32_u (call $call))";
    let interface = "wasi:sockets/instance-network@0.2.0";
    let text = component(interface, items, "instance-network", "(result i32)", body);
    assert_eq!(
        run(&text).0,
        Err("plugin 'test' was stopped: it called \
             'wasi:sockets/instance-network#instance-network', which gives access to nothing"
            .to_owned())
    );
    let items = r#"(export "exit" (func (param "status" (result))))"#;
    let body = "(call $call (i32.const 0)) (i64.const 0)";
    let text = component("wasi:cli/exit@0.2.0", items, "exit", "(param i32)", body);
    assert_eq!(
        run(&text).0,
        Err("plugin 'test' was stopped: it ended itself (wasi:cli/exit)".to_owned())
    );
}

#[test]
fn printed_text_goes_to_the_log_line_by_line() {
    let mut state = GuestState::new(Arc::from("test"), Cancel::default(), HashMemo::default());
    state.printed(false, b"one\ntwo\nthr").expect("within the limit");
    assert_eq!(state.logged, 2);
    state.printed(true, b"an error").expect("within the limit");
    state.printed(false, b"ee\n").expect("within the limit");
    assert_eq!(state.logged, 3);
    // Of a longer line only the first bytes are kept.
    state.printed(false, &vec![b'x'; 1 << 20]).expect("within the limit");
    assert!(state.runtime.lines[0].len() <= limits::LOG_LINE);
    state.end_lines();
    assert_eq!(state.logged, 5, "both lines without an end");
    let flood = b"\n".repeat(2_000);
    let stopped = state.printed(false, &flood).expect_err("more lines than are shown");
    assert!(stopped.downcast_ref::<Violation>().is_some(), "{stopped:#}");
}

#[test]
fn only_what_is_known_is_offered() {
    for known in ["wasi:cli/stdout@0.2.0", "wasi:io/poll@0.2.12", "wasi:sockets/tcp@0.2.3"] {
        assert!(wasi_interface(known).is_some(), "{known}");
    }
    for unknown in [
        "wasi:cli/stdout",
        "wasi:cli/stdout@0.3.0",
        "wasi:cli/stdout@1.0.0",
        "wasi:keyvalue/store@0.2.0",
        "wasi:cli/run@0.2.0",
        "other:cli/stdout@0.2.0",
    ] {
        assert!(wasi_interface(unknown).is_none(), "{unknown}");
    }
}
