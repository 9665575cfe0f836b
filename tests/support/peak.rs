//! How much memory a process needs.

use std::process::{Command, Stdio};
use std::time::Duration;

/// The most memory that a run had, in KiB (proc(5), `VmHWM`), asked until it ends; and whether it went well.
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
        std::thread::sleep(Duration::from_millis(2));
    }
}
