//! Measures a mirror of 200 images between two registries: the first run, runs with nothing to do, and a run with five
//! changed images. Requests are counted by relays, which also add latency.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::measure::{Program, Sample, Spread};
use super::mirror_images::{self, REPOSITORIES, TAGS};
use super::push::clear_skopeo_cache;
use super::registry::Registry;
use super::relay::{Counted, Relay};
use super::table::Table;
use super::{Bench, find_or_report, image, machine, peers};

/// Latency of each request.
const DELAYS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(20)];

/// Connections to each registry for bare requests: as many as `occystrap mirror` has.
const CONNECTIONS: usize = 64;

/// A run that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    First,
    Nothing,
    Changed,
    Immutable,
}

const CASES: [Case; 4] = [Case::First, Case::Nothing, Case::Changed, Case::Immutable];

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first run",
            Self::Nothing => "nothing to do",
            Self::Changed => "five changed",
            Self::Immutable => "nothing to do, immutable",
        }
    }
}

/// A program that mirrors.
enum Mirrorer {
    Ours,
    Skopeo(PathBuf),
    Crane(PathBuf),
}

impl Mirrorer {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours => "occystrap mirror run",
            Self::Skopeo(_) => "skopeo sync",
            Self::Crane(_) => "crane cp, four at a time",
        }
    }
}

/// Both registries, and the relays in front of them.
struct Ends {
    source: Registry,
    from: Relay,
    to: Relay,
    /// It runs as long as this value lives.
    _destination: Registry,
    storage: PathBuf,
    /// Folder of the files for the programs.
    files: PathBuf,
    /// How often images were changed.
    changes: std::cell::Cell<u64>,
}

/// A run, and what it asked.
#[derive(Clone, Copy)]
struct Measured {
    sample: Sample,
    source: Counted,
    destination: Counted,
}

impl Bench {
    pub(super) fn mirror(&self) -> Result<()> {
        let Some(registry) = peers::find("docker-registry") else {
            println!("missing: docker-registry (apt-get install docker-registry)");
            return Ok(());
        };
        let crane = "apt-get install golang-go; go install github.com/google/go-containerregistry/cmd/crane@latest";
        let others = [
            self.skopeo.clone().map(Mirrorer::Skopeo),
            find_or_report("crane", crane).map(Mirrorer::Crane),
        ];
        let programs: Vec<Mirrorer> =
            [Mirrorer::Ours].into_iter().chain(others.into_iter().flatten()).collect();
        let ends = Ends::start(self, &registry)?;
        for delay in DELAYS {
            let mut rows = Vec::new();
            let mut heads = Vec::new();
            for round in 0..self.runs {
                for index in (0..programs.len()).map(|index| (index + round) % programs.len()) {
                    let program = &programs[index];
                    ends.empty()?;
                    for case in CASES {
                        if case == Case::Immutable && !matches!(program, Mirrorer::Ours) {
                            continue;
                        }
                        if case == Case::Nothing {
                            heads.push(ends.heads(delay)?.as_secs_f64());
                        }
                        let measured = ends.measure(self, program, case, delay)?;
                        rows.push((index, case, measured));
                    }
                }
            }
            let heads = Spread::of(heads.into_iter());
            self.print_mirror(&programs, &rows, delay, heads);
        }
        Ok(())
    }

    fn print_mirror(
        &self,
        programs: &[Mirrorer],
        rows: &[(usize, Case, Measured)],
        delay: Duration,
        heads: Spread,
    ) {
        let mut table = Table::new(&[
            "200 images",
            "seconds",
            "times ours",
            "CPU seconds",
            "uploads",
            "mounts",
            "requests at source",
            "at destination",
        ]);
        for case in CASES {
            let of = |index: usize| {
                let rows = rows.iter().filter(move |row| (row.0, row.1) == (index, case));
                rows.map(|row| row.2).collect::<Vec<_>>()
            };
            let wall = |runs: &[Measured]| {
                Spread::of(runs.iter().map(|run| run.sample.wall.as_secs_f64())).median
            };
            let ours = wall(&of(0));
            for (index, program) in programs.iter().enumerate() {
                let runs = of(index);
                let Some(last) = runs.last() else { continue };
                let cpu = Spread::of(runs.iter().map(|run| run.sample.cpu.as_secs_f64())).median;
                table.row(vec![
                    format!("{}: {}", case.name(), program.name()),
                    format!("{:.2}", wall(&runs)),
                    format!("{:.2}", wall(&runs) / ours),
                    format!("{cpu:.2}"),
                    last.destination.uploads.to_string(),
                    last.destination.mounts.to_string(),
                    last.source.requests.to_string(),
                    last.destination.requests.to_string(),
                ]);
            }
            if case == Case::Nothing {
                let (least, times) = (format!("{:.2}", heads.median), heads.median / ours);
                let name = format!("400 bare HEADs, {CONNECTIONS} connections to each");
                let times = format!("{times:.2}");
                table.row(vec![
                    name,
                    least,
                    times,
                    "".into(),
                    "0".into(),
                    "0".into(),
                    "200".into(),
                    "200".into(),
                ]);
            }
        }
        println!(
            "\nA mirror of 200 images with 412 blobs, {} ms of latency, median of {}:\n\n{table}",
            delay.as_millis(),
            self.runs
        );
    }
}

impl Ends {
    fn start(bench: &Bench, registry: &Path) -> Result<Self> {
        let folder = bench.home.join("mirrored");
        let done = folder.join("filled");
        let is_filled = done.exists();
        if !is_filled {
            image::fresh(&folder)?;
        }
        let source = Registry::start(registry, &folder)?;
        if !is_filled {
            println!("making 200 images with 412 blobs");
            mirror_images::fill(&source.host)?;
            std::fs::write(done, "")?;
        }
        let storage = image::fresh(&bench.home.join("mirror"))?;
        let destination = Registry::start(registry, &storage)?;
        let (from, to) = (Relay::start(&source.host)?, Relay::start(&destination.host)?);
        let files = image::fresh(&bench.home.join("mirror-files"))?;
        // Images of an earlier benchmark were changed with numbers of that time.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let changes = std::cell::Cell::new(now.as_secs());
        Ok(Self { source, from, to, _destination: destination, storage, files, changes })
    }

    /// Empties the destination, and forgets what programs know of it.
    fn empty(&self) -> Result<()> {
        let kept = self.storage.join("docker");
        if kept.exists() {
            std::fs::remove_dir_all(kept)?;
        }
        image::fresh(&self.files)?;
        clear_skopeo_cache()?;
        self.write_files()
    }

    /// Writes what the programs read: our file, that of skopeo, and a list of pairs for crane.
    fn write_files(&self) -> Result<()> {
        let (from, to) = (&self.from.host, &self.to.host);
        let names: Vec<String> = (0..REPOSITORIES).map(|one| format!("app{one:02}")).collect();
        let ours = format!(
            "version: 1\nimages:\n- from: {from}/team/{{{}}}\n  to: {to}/mirror/{{name}}\n  tags: {{regex: '.*'}}\n",
            names.join(",")
        );
        let mut skopeo = format!("{from}:\n  tls-verify: false\n  images:\n");
        let mut pairs = String::new();
        for name in &names {
            writeln!(skopeo, "    team/{name}: []")?;
            for tag in 0..TAGS {
                writeln!(pairs, "{from}/team/{name}:{tag}.0 {to}/mirror/{name}:{tag}.0")?;
            }
        }
        std::fs::write(self.files.join("mirror.yaml"), ours)?;
        std::fs::write(self.files.join("skopeo.yaml"), skopeo)?;
        std::fs::write(self.files.join("pairs"), pairs)?;
        Ok(())
    }

    fn measure(
        &self,
        bench: &Bench,
        program: &Mirrorer,
        case: Case,
        delay: Duration,
    ) -> Result<Measured> {
        if case == Case::Changed {
            self.changes.set(self.changes.get() + 1);
            mirror_images::change_five(&self.source.host, self.changes.get())?;
        }
        let file = self.files.join("mirror.yaml");
        if case == Case::Immutable {
            let text = std::fs::read_to_string(&file)?;
            std::fs::write(&file, text + "  immutable: ['*']\n")?;
        }
        let command = match program {
            Mirrorer::Ours => {
                let command = Program::new(&bench.ours, &bench.log);
                command.args(["mirror", "run", "--insecure"]).arg(&file)
            }
            Mirrorer::Skopeo(path) => Program::new(path, &bench.log)
                .args(["--insecure-policy", "sync", "--src", "yaml", "--dest", "docker"])
                .arg("--dest-tls-verify=false")
                .arg(self.files.join("skopeo.yaml"))
                .arg(format!("{}/mirror", self.to.host)),
            Mirrorer::Crane(path) => Program::new("sh", &bench.log)
                .args(["-c", "exec xargs -P 4 -L 1 \"$0\" cp --insecure < \"$1\""])
                .arg(path)
                .arg(self.files.join("pairs")),
        };
        machine::sync_disks();
        self.set_delay(delay);
        self.from.take();
        self.to.take();
        let sample = command.run()?;
        let (source, destination) = (self.from.take(), self.to.take());
        Ok(Measured { sample, source, destination })
    }

    fn set_delay(&self, delay: Duration) {
        self.from.set_delay(delay);
        self.to.set_delay(delay);
    }

    /// Returns the time of the requests that a run with nothing to do cannot avoid: a HEAD of each manifest at both ends.
    fn heads(&self, delay: Duration) -> Result<Duration> {
        self.set_delay(delay);
        let mut paths = Vec::new();
        for repository in 0..REPOSITORIES {
            for tag in 0..TAGS {
                paths.push(format!("app{repository:02}/manifests/{tag}.0"));
            }
        }
        let started = Instant::now();
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for (host, prefix) in [(&self.from.host, "team"), (&self.to.host, "mirror")] {
                for first in 0..CONNECTIONS {
                    let mine = paths.iter().skip(first).step_by(CONNECTIONS);
                    running.push(scope.spawn(move || heads_of(host, prefix, mine)));
                }
            }
            running.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
            })
        })?;
        Ok(started.elapsed())
    }
}

/// Asks for manifests one after the other on one connection.
fn heads_of<'p>(host: &str, prefix: &str, paths: impl Iterator<Item = &'p String>) -> Result<()> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    for path in paths {
        let accept = "application/vnd.oci.image.manifest.v1+json";
        write!(
            stream,
            "HEAD /v2/{prefix}/{path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"
        )?;
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        while !head.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut buffer)?;
            anyhow::ensure!(read > 0, "{host}: the connection was closed");
            head.extend_from_slice(&buffer[..read]);
        }
        let head = String::from_utf8_lossy(&head);
        anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{prefix}/{path}: {head}");
    }
    Ok(())
}
