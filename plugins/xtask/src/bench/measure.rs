//! Runs a program and measures its wall clock time, processor time and peak memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The time and memory of one run of a program.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub wall: Duration,
    /// The user and system time of the program, and of the children that it waited for.
    pub cpu: Duration,
    /// The largest resident set, in bytes.
    pub peak: u64,
}

/// A program and its arguments. Its output goes to a file, and is part of the error if the program fails.
pub struct Program {
    command: Command,
    log: PathBuf,
}

impl Program {
    pub fn new(path: impl AsRef<Path>, log: impl Into<PathBuf>) -> Self {
        let mut command = Command::new(path.as_ref());
        command.stdin(Stdio::null());
        Self { command, log: log.into() }
    }

    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn args<I: IntoIterator<Item = A>, A: AsRef<std::ffi::OsStr>>(mut self, all: I) -> Self {
        self.command.args(all);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the program to its end. If the program fails, the error contains its output.
    pub fn run(mut self) -> Result<Sample> {
        let log = File::create(&self.log).with_context(|| self.log.display().to_string())?;
        self.command.stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = self.command.spawn().with_context(|| format!("{:?}", self.command))?;
        let (status, usage) = wait(child.id())?;
        let wall = started.elapsed();
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            bail!("{:?} failed (wait status {status}):\n{said}", self.command);
        }
        // ru_maxrss is in kilobytes on Linux (getrusage(2)).
        let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
        Ok(Sample { wall, cpu: duration(usage.ru_utime) + duration(usage.ru_stime), peak })
    }

    /// Runs the program, and also returns its output.
    pub fn output(self) -> Result<(Sample, String)> {
        let log = self.log.clone();
        let sample = self.run()?;
        Ok((sample, std::fs::read_to_string(log)?))
    }
}

/// Waits for a child with wait4(2), the only call that returns the peak memory of one child instead of the peak of all
/// children so far.
fn wait(process: u32) -> Result<(i32, libc::rusage)> {
    let process = libc::pid_t::try_from(process)?;
    let mut status = 0;
    // SAFETY: rusage is a plain structure of integers, for which all bits zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers refer to live variables of the types that wait4 writes.
        if unsafe { libc::wait4(process, &raw mut status, 0, &raw mut usage) } == process {
            return Ok((status, usage));
        }
        let cause = io::Error::last_os_error();
        if cause.kind() != io::ErrorKind::Interrupted {
            return Err(cause).context("wait4");
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Measures the wall clock time of work in this process, with the clock of [`Program::run`].
pub fn clock(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

/// Claims the memory of a virtual machine before a timed run.
///
/// In a virtual machine, pages that were free for some seconds go back to the hypervisor, and the next program spends
/// time to get them back: up to a second for an image. Without this call, that time would be counted for the program
/// that happens to run next.
pub fn claim_memory() -> Result<()> {
    // dd reads zeros into a buffer of this size. It is a separate process, so that its memory does not count for
    // this one.
    let mut touch = Command::new("dd");
    touch.args(["if=/dev/zero", "of=/dev/null", "bs=2000M", "count=1", "status=none"]);
    let status = touch.status().context("dd")?;
    anyhow::ensure!(status.success(), "{touch:?} failed");
    Ok(())
}

/// The samples of several runs of the same program.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    pub fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Returns the wall clock time in seconds.
    pub fn wall(&self) -> Spread {
        Spread::of(self.0.iter().map(|sample| sample.wall.as_secs_f64()))
    }

    /// Returns the processor time in seconds.
    pub fn cpu(&self) -> Spread {
        Spread::of(self.0.iter().map(|sample| sample.cpu.as_secs_f64()))
    }

    /// Returns the largest peak memory in bytes. A user's memory limit must allow it.
    pub fn peak(&self) -> u64 {
        self.0.iter().map(|sample| sample.peak).max().unwrap_or(0)
    }
}

/// The median, the smallest and the largest of some numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// Returns the spread of some numbers, in any order; zeros if there are no numbers.
    pub fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let Some(last) = numbers.len().checked_sub(1) else { return Self::default() };
        let median = f64::midpoint(numbers[last / 2], numbers[last.div_ceil(2)]);
        Self { median, least: numbers[0], most: numbers[last] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let of = |numbers: &[f64]| Spread::of(numbers.iter().copied()).median;
        assert_eq!(of(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(of(&[]), 0.0);
    }

    #[test]
    fn a_program_is_measured_and_its_failure_shown() {
        let log = std::env::temp_dir().join(format!("xtask-measure-{}", std::process::id()));
        let sample = Program::new("sh", &log).args(["-c", "sleep 0.05"]).run().unwrap();
        assert!(sample.wall >= Duration::from_millis(50) && sample.peak > 0);
        let error = Program::new("sh", &log).args(["-c", "echo why; exit 3"]).run().unwrap_err();
        assert!(error.to_string().contains("why"));
        std::fs::remove_file(log).unwrap();
    }
}
