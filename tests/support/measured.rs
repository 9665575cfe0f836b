//! The resources that a run used: memory and time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::cli::Ran;

/// Time between two measurements of a run.
const STEP: Duration = Duration::from_millis(2);

/// A run, with what it and all that it starts took.
pub struct Measured {
    pub ran: Ran,
    /// The most resident memory of all its processes together, in MiB.
    pub mib: u64,
    pub seconds: f64,
}

impl Measured {
    /// Runs to its end. What it says must fit into pipes and their readers.
    pub fn of(mut command: Command) -> Self {
        let started = Instant::now();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = child.id();
        let waiting = std::thread::spawn(move || child.wait_with_output().unwrap());
        let mut most = 0;
        while !waiting.is_finished() {
            most = most.max(of_tree(pid));
            std::thread::sleep(STEP);
        }
        let seconds = started.elapsed().as_secs_f64();
        Self { ran: Ran::ended(waiting.join().unwrap()), mib: most >> 10, seconds }
    }
}

/// Resident memory of a process and its children, in KiB (proc(5): `statm`, `children`).
fn of_tree(pid: u32) -> u64 {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
    let pages = read("statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
    let mut sum = pages * rustix::param::page_size() as u64 / 1024;
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for thread in threads {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        sum += children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .map(of_tree)
            .sum::<u64>();
    }
    sum
}

/// Runs to its end, without its output, and returns the most memory that the process itself had, in KiB
/// (proc(5), `VmHWM`), and whether it succeeded.
pub fn peak(command: &mut Command) -> (u64, bool) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        let ended = child.try_wait().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(found.unwrap_or(0));
        if let Some(status) = ended {
            return (peak, status.success());
        }
        std::thread::sleep(STEP);
    }
}
