//! Measures the transfer from a Docker engine and to it. The engine does most of the work, so the processor time and
//! the memory of the client are compared.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::measure::{self, Program, Samples};
use super::table::{Table, mib};
use super::{Bench, REAL, find_or_report, image, machine};

/// A running dockerd of Debian. It is stopped when this value is dropped.
pub(super) struct Dockerd {
    keeper: Child,
    folder: PathBuf,
}

/// The shell script that runs the daemon until the input of the script ends, and then deletes what the daemon has
/// stored. The input also ends if this process is killed.
const KEEPER: &str = r#"
trap '' INT TERM HUP
folder=$1; shift
"$@" >"$folder/log" 2>&1 </dev/null &
cat
kill $!; wait $!
rm -rf --one-file-system "$folder"
"#;

impl Dockerd {
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self> {
        Self::start_with(program, folder, "vfs")
    }

    /// Starts an engine with this storage driver.
    pub(super) fn start_with(program: &Path, folder: &Path, storage: &str) -> Result<Self> {
        let folder = image::fresh(folder)?;
        let place = folder.display();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .arg(program)
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .arg(format!("--storage-driver={storage}"))
            .args([format!("--data-root={place}/data"), format!("--exec-root={place}/exec")])
            .args([format!("--pidfile={place}/pid"), format!("--host=unix://{place}/sock")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut engine = Self { keeper, folder };
        let until = Instant::now() + Duration::from_secs(60);
        while std::os::unix::net::UnixStream::connect(engine.socket()).is_err() {
            if Instant::now() > until || engine.keeper.try_wait()?.is_some() {
                let log = std::fs::read_to_string(engine.folder.join("log")).unwrap_or_default();
                bail!("dockerd does not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(engine)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    /// Returns the process of the daemon.
    pub(super) fn process(&self) -> Result<u32> {
        Ok(std::fs::read_to_string(self.folder.join("pid"))?.trim().parse()?)
    }

    pub(super) fn uri(&self, name: &str) -> String {
        format!("docker://{name}?socket={}", self.socket().display())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // The keeper ends with its input.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Bench {
    /// Measures transfers from and to a Docker engine. Does nothing if dockerd is not installed.
    pub(super) fn docker(&self) -> Result<()> {
        let Some(program) = find_or_report("dockerd", "apt-get install docker.io") else {
            return Ok(());
        };
        let archive = image::real(&self.home)?;
        let engine = Dockerd::start(&program, &self.out.join("dockerd"))?;
        let tar = format!("tar://{}", archive.display());
        let out = |folder: &Path| format!("dir://{}", folder.join("image").display());
        self.process(&tar, &engine.uri(REAL)).run().context("filling dockerd")?;

        let mut table = Table::new(&["", "seconds", "CPU seconds", "of Python's", "peak MiB"]);
        let python = self.python.as_ref();
        for way in ["docker to dir", "tar to docker"] {
            let run = |program: &Path, round: usize| {
                let fresh = self.fresh()?;
                let name = format!("bench/loaded:{round}");
                let (source, destination) = match way {
                    "docker to dir" => (engine.uri(REAL), out(&fresh)),
                    _ => (tar.clone(), engine.uri(&name)),
                };
                machine::sync_disks();
                measure::claim_memory()?;
                let client = Program::new(program, &self.log);
                // Python occystrap's own verification fails here: it treats the first letters of a path in
                // the archive as an ID.
                let unverified = way == "tar to docker" && program != self.ours.as_path();
                let client = if unverified { client.arg("--no-verify") } else { client };
                client.args(["process", &source, &destination]).run()
            };
            let (mut ours, mut theirs) = (Samples::default(), Samples::default());
            for round in 0..self.runs {
                ours.push(run(&self.ours, round)?);
                if let Some(python) = python {
                    theirs.push(run(python, round)?);
                }
            }
            let mut row = |name: &str, samples: &Samples| {
                let share = samples.cpu().median / theirs.cpu().median;
                table.row(vec![
                    format!("{way}: {name}"),
                    format!("{:.2}", samples.wall().median),
                    format!("{:.2}", samples.cpu().median),
                    if share.is_finite() { format!("{share:.2}") } else { "-".to_owned() },
                    mib(samples.peak()),
                ]);
            };
            row("occystrap", &ours);
            if python.is_some() {
                row(
                    if way == "tar to docker" { "Python, unverified" } else { "Python occystrap" },
                    &theirs,
                );
            }
        }
        println!("\nA Docker engine (vfs), median of {}:\n\n{table}", self.runs);
        Ok(())
    }
}
