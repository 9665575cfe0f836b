//! `wasi:*`, for components whose language has a runtime that imports it: an empty world. The functions give no
//! access to the machine: no files, no environment, no network, no time of day, no randomness. Text that a
//! runtime prints goes to the log, under its limits.
//!
//! Functions that runtimes call when they start are answered here, by name (`define`); every other call ends
//! the session. `wasmtime-wasi` with an empty context is not used: it would let the time of day and randomness
//! through, and has code for files and sockets that would have to be disabled. Answers never depend on the
//! machine, so that the same image gives the same bytes.

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use crate::plugin::bindings::log::Level;
use crate::plugin::permission::{WASI_PACKAGES, wasi_interface};
use crate::plugin::runtime::PluginEngine;
use crate::plugin::state::GuestState;
use occystrap_base::limits;

/// Bytes that a runtime may print in one call. It asks for them first (`check-write`).
const CALL: u64 = 4 * 1024;

/// Bytes of "randomness" in one call: runtimes ask for seeds of a few dozen bytes.
const RANDOM_BYTES: u64 = 64 * 1024;

/// Resolution of the clock, in nanoseconds.
const RESOLUTION: u64 = 1_000;

/// A stream, in both directions; the number of its handle says which one.
struct Stream;

/// A pollable, which is always ready.
struct Pollable;

/// A failure of a stream, which never occurs.
struct StreamFailure;

/// A file, socket or terminal, of which there are none.
struct Absent;

/// Standard input, output and error, as a handle's number.
const IN: u32 = 0;
const OUT: u32 = 1;
const ERR: u32 = 2;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code)]
    Failed(Resource<StreamFailure>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Links every `wasi:*` interface that a component imports.
pub fn link(
    linker: &mut Linker<GuestState>,
    engine: &PluginEngine,
    component: &Component,
) -> wasmtime::Result<()> {
    let engine = engine.wasmtime();
    let component_type = component.component_type();
    for (import, item) in component_type.imports(engine) {
        let (Some(known), ComponentItem::ComponentInstance(item)) =
            (wasi_interface(import), item.ty)
        else {
            continue;
        };
        let mut instance = linker.instance(import)?;
        for (name, item) in item.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    instance.resource(name, resource(name), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_)
                    if !define(&mut instance, known.interface, name)? =>
                {
                    refuse(&mut instance, known.interface, name)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Returns the host's type for a resource. Interfaces repeat the resources of others under the same names:
/// these must be the same type.
fn resource(name: &str) -> ResourceType {
    match name {
        "input-stream" | "output-stream" => ResourceType::host::<Stream>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "error" => ResourceType::host::<StreamFailure>(),
        _ => ResourceType::host::<Absent>(),
    }
}

/// Defines a function that ends the session.
fn refuse(
    instance: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()> {
    let rule = format!("it called '{interface}#{name}', which gives access to nothing");
    instance.func_new(name, move |store, _, _, _| Err(store.data().violation(&rule)))
}

type Store<'a> = StoreContextMut<'a, GuestState>;

/// Defines a function that runtimes call. Returns `false` for all others.
fn define(
    at: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    let ready = |_: Store<'_>| Ok((Resource::<Pollable>::new_own(0),));
    let stream = |number| Ok((Resource::<Stream>::new_own(number),));
    let package = interface.strip_prefix(WASI_PACKAGES).unwrap_or(interface);
    match (package, name) {
        ("cli/environment", "get-environment") => {
            at.func_wrap(name, |_: Store<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))
        }
        ("cli/environment", "get-arguments") => {
            at.func_wrap(name, |_: Store<'_>, (): ()| Ok((Vec::<String>::new(),)))
        }
        ("cli/environment", "initial-cwd") => {
            at.func_wrap(name, |_: Store<'_>, (): ()| Ok((None::<String>,)))
        }
        ("cli/exit", "exit") => at.func_wrap(
            name,
            |store: Store<'_>, (_,): (Result<(), ()>,)| -> wasmtime::Result<()> {
                Err(store.data().violation("it ended itself (wasi:cli/exit)"))
            },
        ),
        ("cli/stdin", "get-stdin") => at.func_wrap(name, move |_: Store<'_>, (): ()| stream(IN)),
        ("cli/stdout", "get-stdout") => at.func_wrap(name, move |_: Store<'_>, (): ()| stream(OUT)),
        ("cli/stderr", "get-stderr") => at.func_wrap(name, move |_: Store<'_>, (): ()| stream(ERR)),
        (
            "cli/terminal-stdin" | "cli/terminal-stdout" | "cli/terminal-stderr",
            "get-terminal-stdin" | "get-terminal-stdout" | "get-terminal-stderr",
        ) => at.func_wrap(name, |_: Store<'_>, (): ()| Ok((None::<Resource<Absent>>,))),
        ("clocks/monotonic-clock", "now") => at.func_wrap(name, |store: Store<'_>, (): ()| {
            let computed = store.data().clock.guest_time().as_nanos();
            let computed = u64::try_from(computed).unwrap_or(u64::MAX);
            Ok((computed / RESOLUTION * RESOLUTION,))
        }),
        ("clocks/monotonic-clock", "resolution") => {
            at.func_wrap(name, |_: Store<'_>, (): ()| Ok((RESOLUTION,)))
        }
        ("clocks/monotonic-clock", "subscribe-instant" | "subscribe-duration") => {
            at.func_wrap(name, move |store: Store<'_>, (_,): (u64,)| ready(store))
        }
        ("clocks/wall-clock", "now") => at
            .func_wrap(name, |_: Store<'_>, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 0 },))),
        ("clocks/wall-clock", "resolution") => at
            .func_wrap(name, |_: Store<'_>, (): ()| Ok((Datetime { seconds: 1, nanoseconds: 0 },))),
        ("filesystem/preopens", "get-directories") => at.func_wrap(name, |_: Store<'_>, (): ()| {
            Ok((Vec::<(Resource<Absent>, String)>::new(),))
        }),
        ("io/poll", "[method]pollable.ready") => {
            at.func_wrap(name, |_: Store<'_>, (_,): (Resource<Pollable>,)| Ok((true,)))
        }
        ("io/poll", "[method]pollable.block") => {
            at.func_wrap(name, |_: Store<'_>, (_,): (Resource<Pollable>,)| Ok(()))
        }
        ("io/poll", "poll") => {
            at.func_wrap(name, |_: Store<'_>, (all,): (Vec<Resource<Pollable>>,)| {
                let ready = (0..u32::try_from(all.len()).unwrap_or(u32::MAX)).collect::<Vec<u32>>();
                Ok((ready,))
            })
        }
        ("io/streams", "[method]input-stream.subscribe" | "[method]output-stream.subscribe") => {
            at.func_wrap(name, move |store: Store<'_>, (_,): (Resource<Stream>,)| ready(store))
        }
        ("io/streams", "[method]input-stream.read" | "[method]input-stream.blocking-read") => at
            .func_wrap(name, |_: Store<'_>, (_, _): (Resource<Stream>, u64)| {
                Ok((Err::<Vec<u8>, StreamError>(StreamError::Closed),))
            }),
        ("io/streams", "[method]output-stream.check-write") => at
            .func_wrap(name, |_: Store<'_>, (_,): (Resource<Stream>,)| {
                Ok((Ok::<u64, StreamError>(CALL),))
            }),
        (
            "io/streams",
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
        ) => {
            at.func_wrap(name, |mut store: Store<'_>, (to, bytes): (Resource<Stream>, Vec<u8>)| {
                store.data_mut().printed(to.rep() == ERR, &bytes)?;
                Ok((Ok::<(), StreamError>(()),))
            })
        }
        ("io/streams", "[method]output-stream.flush" | "[method]output-stream.blocking-flush") => {
            at.func_wrap(name, |_: Store<'_>, (_,): (Resource<Stream>,)| {
                Ok((Ok::<(), StreamError>(()),))
            })
        }
        ("random/random", "get-random-bytes")
        | ("random/insecure", "get-insecure-random-bytes") => {
            at.func_wrap(name, |mut store: Store<'_>, (len,): (u64,)| {
                let state = store.data_mut();
                if len > RANDOM_BYTES {
                    let rule = format!("it wanted more than {RANDOM_BYTES} random bytes at once");
                    return Err(state.violation(rule));
                }
                Ok(((0..len).map(|_| state.next_number() as u8).collect::<Vec<u8>>(),))
            })
        }
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            at.func_wrap(name, |mut store: Store<'_>, (): ()| Ok((store.data_mut().next_number(),)))
        }
        ("random/insecure-seed", "insecure-seed") => {
            at.func_wrap(name, |mut store: Store<'_>, (): ()| {
                let state = store.data_mut();
                Ok(((state.next_number(), state.next_number()),))
            })
        }
        _ => return Ok(false),
    }
    .map(|()| true)
}

impl GuestState {
    /// Adds bytes that were printed: whole lines go to the log.
    fn printed(&mut self, error: bool, bytes: &[u8]) -> wasmtime::Result<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = &mut self.runtime.lines[usize::from(error)];
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            // Longer lines are cut by the log as well.
            let room = limits::LOG_LINE.saturating_sub(line.len()).min(text.len());
            line.extend_from_slice(&text[..room]);
            if text.len() < part.len() {
                self.end_line(error)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, error: bool) -> wasmtime::Result<()> {
        let line = std::mem::take(&mut self.runtime.lines[usize::from(error)]);
        let level = if error { Level::Warn } else { Level::Info };
        self.say(level, &String::from_utf8_lossy(&line))
    }

    /// Logs the text of lines that have no end yet, at the end of a session.
    pub fn end_lines(&mut self) {
        for error in [false, true] {
            if !self.runtime.lines[usize::from(error)].is_empty() {
                // An error means that the plugin logged too many lines. It would end the session, which is over
                // already.
                let _ = self.end_line(error);
            }
        }
    }

    /// Returns the next number of a fixed sequence (SplitMix64): for hash seeds, never for secrets.
    fn next_number(&mut self) -> u64 {
        self.runtime.number = self.runtime.number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.runtime.number;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
