//! A run under strace, which counts its system calls, makes one of them fail, or kills the process there.

use std::process::Command;

use super::cli::{Ran, Sandbox};

/// Calls that change a folder.
pub const CHANGES: [&str; 5] = ["linkat", "renameat", "renameat2", "unlinkat", "mkdirat"];

/// Calls that are made to fail besides: opening, looking, locking and writing. Not `write`: that is how
/// the network's runtime wakes its threads, and what is printed.
const OTHERS: [&str; 8] =
    ["openat", "openat2", "newfstatat", "statx", "fstat", "flock", "pwrite64", "fsync"];

/// A system call of the run: its name, and its number among the calls of that name in its thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub number: usize,
}

impl Call {
    /// The action of strace at this call: `signal=SIGKILL`, `error=ENOSPC`.
    pub fn inject(&self, what: &str) -> String {
        format!("inject={}:{what}:when={}", self.name, self.number)
    }
}

/// The command under strace, with faults injected. A process that is killed takes strace with it.
pub fn under_strace(sandbox: &Sandbox, arguments: &[&str], injections: &[&str]) -> Command {
    let plain = sandbox.command(arguments);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(sandbox.path("trace"));
    let all: Vec<&str> = match injections.is_empty() {
        true => CHANGES.iter().chain(&OTHERS).copied().collect(),
        false => injections.iter().filter_map(|one| one.split(['=', ':']).nth(1)).collect(),
    };
    strace.args(["-e", &format!("trace={}", all.join(","))]);
    for injection in injections {
        strace.args(["-e", injection]);
    }
    strace.arg(plain.get_program()).args(plain.get_args()).env_clear();
    strace.current_dir(sandbox.path(""));
    strace.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace
}

/// The calls of an undisturbed run from the first that names its destination to the last change, in
/// the thread that commits.
pub fn calls(sandbox: &Sandbox, arguments: &[&str], destination: &str) -> Vec<Call> {
    Ran::of(under_strace(sandbox, arguments, &[])).verified();
    let trace = std::fs::read_to_string(sandbox.path("trace")).unwrap();
    let started = trace.lines().filter_map(|line| {
        let (thread, call) = line.split_once(' ')?;
        let (name, rest) = call.trim_start().split_once('(')?;
        name.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some((thread, name, rest))
    });
    let started: Vec<(&str, &str, &str)> = started.collect();
    let is_change =
        |(_, name, rest): &(&str, &str, &str)| CHANGES.contains(name) && !rest.contains("/cache/");
    let committing = started.iter().rfind(|one| is_change(one)).unwrap().0;
    let own: Vec<_> = started.into_iter().filter(|(thread, ..)| *thread == committing).collect();
    let named = format!("{destination}\"");
    let first = own.iter().position(|(.., rest)| rest.contains(&named)).unwrap();
    let last = own.iter().rposition(is_change).unwrap();
    let number = |at: usize| own[..=at].iter().filter(|(_, name, _)| *name == own[at].1).count();
    let call = |at: usize| Call { name: own[at].1.to_owned(), number: number(at) };
    (first..=last).map(call).collect()
}
