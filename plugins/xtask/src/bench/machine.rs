//! The machine on which the figures are measured.

use std::path::Path;
use std::process::Command;

/// Returns a description of the machine: processor, cores, memory, kernel, and its load in the last minute.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = value(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown".into());
    let memory = value(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .unwrap_or(0);
    format!(
        "{} cores of {processor}, {} GiB, Linux {}, load {} before the start",
        cores(),
        memory.div_ceil(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default()
    )
}

/// Returns the number of threads that can run at the same time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the type of the file system of a folder.
pub fn file_system(folder: &Path) -> String {
    let output = Command::new("df").arg("--output=fstype").arg(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().nth(1).map_or("unknown".into(), |line| line.trim().to_owned())
}

/// Waits until everything written so far is on the disk, so that it does not slow down the next measurement.
pub fn sync_disks() {
    // SAFETY: sync(2) has no arguments and always succeeds.
    unsafe { libc::sync() }
}
