//! A proxy that runs during a measurement: occystrap's, or that of Python occystrap.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// A running proxy on 127.0.0.1. It is stopped when this value is dropped.
pub struct Proxy {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Proxy {
    /// Starts occystrap's proxy in front of a registry.
    pub fn ours(program: &Path, downstream: &str, options: &[&str], log: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["--insecure", "proxy", "--listen", "127.0.0.1:0", "--downstream", downstream])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let host = line.trim().rsplit_once("://").map(|(_, host)| host.to_owned());
        let host = host.with_context(|| {
            format!("no proxy: {}", std::fs::read_to_string(log).unwrap_or_default())
        })?;
        Ok(Self { child, host })
    }

    /// Starts the proxy of Python occystrap.
    pub fn python(program: &Path, downstream: &str, options: &[&str], log: &Path) -> Result<Self> {
        let host = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let child = Command::new(program)
            .args(["--insecure", "proxy", "-l", &host, "-d", downstream])
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(log)?)
            .stderr(File::create(log)?)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut proxy = Self { child, host };
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&proxy.host).is_err() {
            let ended = proxy.child.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < until, "the proxy does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(proxy)
    }

    /// Returns the processor time so far, and the largest resident set in bytes.
    pub fn usage(&self) -> Result<(Duration, u64)> {
        usage(self.child.id())
    }

    /// Stops the proxy as a service manager does. Errors when an image has failed.
    pub fn stop(mut self) -> Result<()> {
        let process = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: kill takes two numbers. The process is a child that was not waited for, so its number is its own.
        unsafe { libc::kill(process, libc::SIGTERM) };
        let status = self.child.wait()?;
        ensure!(status.success(), "the proxy ended with {status}");
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the processor time of a running process (proc_pid_stat(5), fields 14 to 17), and its largest resident set
/// (`VmHWM`), in bytes.
pub fn usage(process: u32) -> Result<(Duration, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program, in parentheses, may have spaces.
    let fields = stat.rsplit_once(") ").context("no name")?.1.split(' ');
    let ticks: u64 = fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    // A tick is 10 ms on Linux (sysconf(3), _SC_CLK_TCK).
    Ok((Duration::from_millis(10 * ticks), peak * 1024))
}
