//! Compiles components in a process of its own, which has limits on memory and time and can be killed.
//!
//! The process is this program again, started with a hidden command: it limits itself, reads a component from
//! standard input and writes machine code to standard output. A program that embeds this library has the
//! command when its `main` begins with [`serve`]; otherwise components are compiled in the program's own
//! process, where [`super::component_count`] and the time are the only limits.
//!
//! What it refuses: to compile in this process when the other one cannot be started, machine code from anywhere
//! but that process, and to report a limit of the user's shell as a fault of the component.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::{Resource, Rlimit, Signal};
use wasmtime::Engine;

use super::settings::{self, AddressSpace};
use super::user_limit::{self, UserLimit};
use occystrap_base::cancel::Cancel;
use occystrap_base::limits;

/// The hidden command, which no user types by accident.
const COMMAND: &str = "__compile-component";

/// Last argument of the command: the address space that memories reserve.
const LIMITED: &str = "limited-address-space";
const WHOLE: &str = "whole-address-space";

/// Exit code of the compiler when it refuses the component; its standard output gives the reason.
const REFUSED: u8 = 2;

/// Exit code of the compiler when it cannot write the machine code.
const UNWRITTEN: u8 = 3;

/// Exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

/// Longest reason that the compiler's process may give, in bytes.
const LONGEST_REASON: u64 = 4 * 1024;

/// Time between two checks of the process while it compiles.
const STEP: Duration = Duration::from_millis(2);

/// Threads of the compiler: two are enough for the memory limit to hold on any machine.
const THREADS: &str = "2";

/// Set when `main` has called [`serve`].
static SERVES: AtomicBool = AtomicBool::new(false);

/// The limits of one compilation.
#[derive(Debug, Clone, Copy)]
pub struct CompileLimits {
    /// Bytes of memory.
    pub memory: u64,
    /// Wall time, and also processor time of all threads together.
    pub time: Duration,
}

/// The reason why there is no machine code.
#[derive(Debug)]
pub enum CompileError {
    /// The component takes more than [`CompileLimits`] allows; the text says of what.
    TooCostly(String),
    /// The component is invalid, or cannot be compiled for another reason.
    Refused(String),
    /// These limits of the user, which are below [`CompileLimits`], ended the compiler.
    UserLimit(Vec<UserLimit>),
    /// Ctrl-C, SIGTERM or SIGHUP ended the compiler.
    Interrupted,
}

/// Serves as the compiler's process if the arguments say so, and returns its exit code. Otherwise registers
/// this program as one that can be started as the compiler. Call this first in `main`.
#[must_use]
pub fn serve(arguments: &[OsString]) -> Option<ExitCode> {
    if arguments.get(1).is_none_or(|argument| argument != COMMAND) {
        SERVES.store(true, Ordering::Relaxed);
        return None;
    }
    let number = |at: usize| arguments.get(at).and_then(|word| word.to_str()?.parse().ok());
    let (Some(memory), Some(seconds)) = (number(2), number(3)) else {
        return Some(ExitCode::FAILURE);
    };
    let bounds = CompileLimits { memory, time: Duration::from_secs(seconds) };
    let limited = arguments.get(4).is_some_and(|word| word == LIMITED);
    let space = if limited { AddressSpace::Limited } else { AddressSpace::Whole };
    let mut out = io::stdout().lock();
    Some(match work(bounds, space, io::stdin().lock()) {
        Ok(code) => match out.write_all(&code).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(UNWRITTEN),
        },
        Err(why) => {
            let _ = out.write_all(why.as_bytes());
            ExitCode::from(REFUSED)
        }
    })
}

/// Returns whether components can be compiled in a process of their own.
#[must_use]
pub fn is_separate() -> bool {
    SERVES.load(Ordering::Relaxed)
}

/// Does the work of the compiler's process.
fn work(
    bounds: CompileLimits,
    space: AddressSpace,
    component: impl Read,
) -> Result<Vec<u8>, String> {
    restrict(bounds).map_err(|cause| format!("cannot limit its compiler: {cause}"))?;
    let mut bytes = Vec::new();
    let most = limits::COMPONENT_SIZE as u64;
    component.take(most).read_to_end(&mut bytes).map_err(|cause| cause.to_string())?;
    let engine = Engine::new(&settings::config(space)).map_err(|cause| format!("{cause:#}"))?;
    engine.precompile_component(&bytes).map_err(|cause| format!("{cause:#}"))
}

impl CompileLimits {
    /// Returns the limits of the compiler's process (getrlimit(2)).
    fn resources(self) -> [(Resource, u64); 5] {
        [
            // Private writable memory.
            (Resource::Data, self.memory),
            // The whole address space: unused mappings are free, but there must be an end.
            (Resource::As, self.memory.saturating_add(ADDRESSES)),
            (Resource::Cpu, self.time.as_secs().max(1)),
            (Resource::Fsize, limits::MACHINE_CODE),
            (Resource::Core, 0),
        ]
    }

    /// Returns the limits of the user on these resources that are lower than ours. The compiler's process
    /// inherits them.
    fn lowered(self, among: &[Resource]) -> Vec<UserLimit> {
        let resources = self.resources().into_iter();
        let among = resources.filter(|(resource, _)| among.contains(resource));
        among.filter_map(|(resource, most)| UserLimit::below(resource, most)).collect()
    }
}

/// Limits this process, and makes it end with the process that started it.
fn restrict(bounds: CompileLimits) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    for (resource, most) in bounds.resources() {
        let before = rustix::process::getrlimit(resource);
        let lower = |limit: Option<u64>, most: u64| limit.map_or(most, |limit| limit.min(most));
        let mut current = lower(before.current, most);
        let mut maximum = current;
        if resource == Resource::Cpu {
            // The soft limit sends SIGXCPU, which names the reason; the hard limit sends SIGKILL.
            maximum = lower(before.maximum, current.saturating_add(1));
            current = current.min(maximum.saturating_sub(1)).max(1);
        }
        let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
        rustix::process::setrlimit(resource, limit)?;
    }
    Ok(())
}

/// Address space beyond the memory: this program's own code, and what its threads reserve.
const ADDRESSES: u64 = 1 << 30;

/// Compiles a component in a process of its own, and returns a file with the machine code. `slow` is called
/// once, when this takes longer than `patience`. The compiler is ended when the user wants to stop: a terminal
/// sends Ctrl-C to the compiler as well, but other programs send a signal to this process alone.
pub(super) fn compile(
    component: &[u8],
    space: AddressSpace,
    bounds: CompileLimits,
    patience: Duration,
    slow: impl FnOnce(),
    cancel: &Cancel,
) -> Result<File, CompileError> {
    let cannot = |what: &str, cause: &dyn std::fmt::Display| {
        CompileError::Refused(format!("cannot be compiled: cannot {what}: {cause}"))
    };
    let mut code = memory_file().map_err(|cause| cannot("make a file in memory", &cause))?;
    let output = code.try_clone().map_err(|cause| cannot("make a file in memory", &cause))?;
    let started = Instant::now();
    let seconds = bounds.time.as_secs().max(1).to_string();
    // The compiler's process always has a limited address space, so that it cannot find this out itself.
    let space = if space == AddressSpace::Limited { LIMITED } else { WHOLE };
    let mut child = Command::new(OWN_PROGRAM)
        .arg0("occystrap")
        .args([COMMAND, &bounds.memory.to_string(), &seconds, space])
        .env_clear()
        .env("RAYON_NUM_THREADS", THREADS)
        .env("MALLOC_ARENA_MAX", THREADS)
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .map(Running)
        .map_err(|cause| cannot("start the compiler", &cause))?;
    let status = std::thread::scope(|scope| {
        let input = child.0.stdin.take();
        // The write ends early, with an error, when the compiler ends.
        scope.spawn(move || input.map(|mut input| input.write_all(component)));
        child.wait(started, bounds.time, patience, slow, cancel)
    });
    match status.map_err(|cause| cannot("wait for the compiler", &cause))? {
        None if cancel.check().is_err() => Err(CompileError::Interrupted),
        None => Err(CompileError::TooCostly(too_slow(bounds.time))),
        Some(status) => read_status(status, bounds, &mut code).map(|()| code),
    }
}

/// Translates the compiler's exit status.
fn read_status(
    status: ExitStatus,
    bounds: CompileLimits,
    output: &mut File,
) -> Result<(), CompileError> {
    let signal = status.signal().and_then(Signal::from_named_raw);
    let exceeded = |resources: &[Resource], ours: String| match bounds.lowered(resources) {
        lowered if lowered.is_empty() => CompileError::TooCostly(ours),
        lowered => CompileError::UserLimit(lowered),
    };
    let too_much = |what: &str| {
        let memory = bounds.memory >> 20;
        let ours = format!("takes more than {memory} MiB of memory to compile{what}");
        exceeded(&MEMORY, ours)
    };
    let too_large = || {
        let most = limits::MACHINE_CODE >> 20;
        let ours = format!("becomes more than {most} MiB of machine code");
        exceeded(&[Resource::Fsize], ours)
    };
    match (status.code(), signal) {
        (Some(0), _) => Ok(()),
        (Some(code), _) if code == i32::from(REFUSED) => {
            let mut why = String::new();
            let read = output
                .rewind()
                .and_then(|()| output.take(LONGEST_REASON).read_to_string(&mut why).map(drop));
            let why = read.map_or_else(|cause| cause.to_string(), |()| why);
            let lowered = bounds.lowered(user_limit::exhausted(&why));
            if !lowered.is_empty() {
                return Err(CompileError::UserLimit(lowered));
            }
            Err(CompileError::Refused(format!("cannot be compiled: {why}")))
        }
        // Rust's allocator aborts a process that gets no memory.
        (_, Some(Signal::ABORT)) => Err(too_much("")),
        (_, Some(Signal::XCPU)) => Err(exceeded(&[Resource::Cpu], too_slow(bounds.time))),
        (_, Some(Signal::XFSZ)) => Err(too_large()),
        // Where SIGXFSZ is ignored, writing fails instead.
        (Some(code), _) if code == i32::from(UNWRITTEN) => Err(too_large()),
        (_, Some(Signal::KILL)) => {
            // With a limit of one second, SIGKILL comes without a SIGXCPU before it.
            let mut second = bounds.lowered(&[Resource::Cpu]);
            second.retain(|limit| limit.most <= 1);
            match second.is_empty() {
                true => Err(too_much(", or the system has no more")),
                false => Err(CompileError::UserLimit(second)),
            }
        }
        // A reservation that the limit refuses looks like a crash of the compiler.
        (Some(PANICKED), _) | (_, Some(Signal::SEGV | Signal::BUS)) => {
            Err(too_much(", or the compiler crashed"))
        }
        (_, Some(Signal::INT | Signal::TERM | Signal::HUP)) => Err(CompileError::Interrupted),
        _ => Err(CompileError::Refused("cannot be compiled: the compiler crashed".to_owned())),
    }
}

/// Resources whose limits look like a lack of memory.
const MEMORY: [Resource; 2] = [Resource::Data, Resource::As];

/// Returns the message for a component that takes too long.
pub fn too_slow(limit: Duration) -> String {
    format!("took longer than {limit:?} to compile, and was given up")
}

/// The program that runs, even when its file has been replaced (proc(5)).
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Returns a file in memory, which has no name and is part of no file system.
pub(super) fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("occystrap-machine-code", MemfdFlags::CLOEXEC)?.into())
}

/// The compiler's process. It is killed when this value is dropped.
struct Running(Child);

impl Running {
    /// Waits until the process has ended; `None` when that takes too long, or the user wants to stop.
    fn wait(
        &mut self,
        started: Instant,
        limit: Duration,
        patience: Duration,
        slow: impl FnOnce(),
        cancel: &Cancel,
    ) -> io::Result<Option<ExitStatus>> {
        let mut slow = Some(slow);
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            let waited = started.elapsed();
            if waited > limit || cancel.check().is_err() {
                self.0.kill()?;
                self.0.wait()?;
                return Ok(None);
            }
            if waited > patience
                && let Some(slow) = slow.take()
            {
                slow();
            }
            std::thread::sleep(STEP);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process has ended, unless waiting failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_crashes_under_its_limit_may_have_had_too_little_memory() {
        let bounds = CompileLimits { memory: 128 << 20, time: Duration::from_secs(5) };
        // Statuses of wait(2): a panic, SIGBUS, SIGSEGV.
        for status in [101 << 8, 7, 11] {
            let status = ExitStatus::from_raw(status);
            let mut output = tempfile::tempfile().unwrap();
            let failure = read_status(status, bounds, &mut output).unwrap_err();
            let CompileError::TooCostly(why) = failure else { panic!("{failure:?}") };
            let expected = "takes more than 128 MiB of memory to compile, or the compiler crashed";
            assert_eq!(why, expected);
        }
    }
}
