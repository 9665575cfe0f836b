//! `cargo xtask bench`: measures the release build and compares it with other programs.
//!
//! - A real image and a local registry are made once, in the target folder.
//! - Programs that are compared take turns, so that a slow minute of the machine affects all of them. Each round
//!   starts with another program.
//! - The figures are for people to read. No test depends on them.

mod batch;
mod batch_images;
mod docker;
mod filters;
mod floor;
mod image;
mod machine;
mod measure;
mod memory;
mod mirror;
mod mirror_images;
mod peers;
mod plugin;
mod push;
mod registry;
mod relay;
mod service;
mod table;
mod through;
mod untrusted;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use self::measure::{Program, Samples, Spread};
use self::peers::{Output, Peer};
use self::registry::Registry;
use self::table::{Table, mib};

/// The part of the output of `cargo xtask help` that describes this task.
pub const HELP: &str = "\
cargo xtask bench [OPTION]... measure the release build and other programs, and print tables
    --runs N        number of runs; the tables show the median (5)
    --only A,B      measure only these: pull, push, docker, verify, filters, check, search, boundary, memory,
                    start, plugin, untrusted, mirror, proxy, batch-build, floor
    --folder DIR    write the images there (the target folder)
    --binary FILE   measure this program instead of building one
    --python FILE   Python occystrap (by default, it is installed from PyPI into the target folder)
";

const SECTIONS: [&str; 16] = [
    "pull",
    "push",
    "docker",
    "verify",
    "filters",
    "check",
    "search",
    "boundary",
    "memory",
    "start",
    "plugin",
    "untrusted",
    "mirror",
    "proxy",
    "batch-build",
    "floor",
];

/// The sections that also measure Python occystrap.
const WITH_PYTHON: [&str; 7] =
    ["pull", "push", "docker", "filters", "check", "search", "batch-build"];

/// The number of runs for start-up. It takes milliseconds and varies by a few of them, so more runs are needed.
const START_RUNS: usize = 21;

struct Options {
    runs: usize,
    only: Vec<String>,
    folder: Option<PathBuf>,
    binary: Option<PathBuf>,
    python: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options =
            Self { runs: 5, only: Vec::new(), folder: None, binary: None, python: None };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let value = rest.next().with_context(|| format!("'{name}' needs a value"))?;
            match *name {
                "--runs" => options.runs = value.parse().context("--runs")?,
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--folder" => options.folder = Some(std::path::absolute(value)?),
                "--binary" => options.binary = Some(std::path::absolute(value)?),
                "--python" => options.python = Some(std::path::absolute(value)?),
                _ => bail!("unknown option '{name}'; try 'cargo xtask help'"),
            }
        }
        ensure!(options.runs > 0, "--runs: at least 1");
        if let Some(unknown) = options.only.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
            bail!("--only: unknown '{unknown}', there are {}", SECTIONS.join(", "));
        }
        Ok(options)
    }

    fn wants(&self, section: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == section)
    }
}

/// The programs and folders that a measurement needs.
struct Bench {
    root: PathBuf,
    runs: usize,
    ours: PathBuf,
    /// The output `tar`, compiled natively. Only the section `boundary` needs it.
    native: Option<PathBuf>,
    /// The folder for what is made once and kept.
    home: PathBuf,
    /// The folder into which images are written.
    out: PathBuf,
    log: PathBuf,
    python: Option<PathBuf>,
    skopeo: Option<PathBuf>,
    registry: Option<Registry>,
}

/// Measures what the options ask for, and prints tables.
pub fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let home = std::path::absolute(target.join("bench"))?;
    std::fs::create_dir_all(&home)?;
    let ours = match &options.binary {
        Some(binary) => binary.clone(),
        None => build(root, &target)?,
    };
    let native = match options.wants("boundary") {
        true => Some(build_native(root, &target)?),
        false => None,
    };
    let out = options.folder.clone().unwrap_or_else(|| home.clone()).join("occystrap-bench");
    image::fresh(&out)?;
    let skopeo = find_or_report("skopeo", "apt-get install skopeo");
    let registry = find_or_report("docker-registry", "apt-get install docker-registry")
        .filter(|_| skopeo.is_some())
        .map(|program| Registry::start(&program, &home.join("registry")))
        .transpose()?;
    let python = if WITH_PYTHON.iter().any(|name| options.wants(name)) {
        peers::python(options.python.as_deref(), &home)
            .map_err(|cause| println!("missing: Python occystrap: {cause:#}"))
            .ok()
    } else {
        None
    };
    let log = home.join("log");
    let bench = Bench {
        root: root.to_owned(),
        runs: options.runs,
        ours,
        native,
        home,
        out,
        log,
        python,
        skopeo,
        registry,
    };

    println!(
        "\nMachine: {}. Written to {}.",
        machine::describe(),
        machine::file_system(&bench.out)
    );
    let mut pulled = None;
    for section in SECTIONS.iter().filter(|section| options.wants(section)) {
        match *section {
            "pull" => pulled = bench.pull()?,
            "push" => bench.push()?,
            "docker" => bench.docker()?,
            "verify" => bench.verify()?,
            "filters" => bench.filters()?,
            "check" => bench.check()?,
            "search" => bench.search()?,
            "boundary" => bench.boundary()?,
            "memory" => bench.memory()?,
            "start" => bench.start()?,
            "plugin" => bench.plugin()?,
            "untrusted" => bench.untrusted()?,
            "mirror" => bench.mirror()?,
            "proxy" => bench.proxy()?,
            "batch-build" => bench.batch_build()?,
            _ => bench.floor(pulled.as_ref())?,
        }
    }
    std::fs::remove_dir_all(&bench.out)?;
    Ok(())
}

fn build(root: &Path, target: &Path) -> Result<PathBuf> {
    println!("building the release binary");
    cargo_build(root, target, &["--bin", "occystrap"])?;
    Ok(std::path::absolute(target.join("release/occystrap"))?)
}

fn build_native(root: &Path, target: &Path) -> Result<PathBuf> {
    println!("building the native writer");
    cargo_build(root, target, &["--example", "native_writer"])?;
    Ok(std::path::absolute(target.join("release/examples/native_writer"))?)
}

fn cargo_build(root: &Path, target: &Path, what: &[&str]) -> Result<()> {
    let status = Command::new("cargo")
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--locked", "-p", "occystrap"])
        .args(what)
        .arg("--target-dir")
        .arg(target)
        .status()?;
    ensure!(status.success(), "cargo build failed");
    Ok(())
}

/// Returns the path of a program in `PATH`. If it is missing, prints that, and how to install it.
fn find_or_report(name: &str, how: &str) -> Option<PathBuf> {
    let found = peers::find(name);
    if found.is_none() {
        println!("missing: {name} ({how}); what needs it is left out");
    }
    found
}

/// The seconds that occystrap's own pulls took.
struct Pulled {
    dir: Spread,
    tar: Spread,
}

const REAL: &str = "bench/real:latest";

impl Bench {
    /// Returns the registry with the real image in it; `None` if the registry or skopeo is missing.
    fn with_real(&self) -> Result<Option<&Registry>> {
        let (Some(registry), Some(skopeo)) = (&self.registry, &self.skopeo) else {
            return Ok(None);
        };
        let archive = image::real(&self.home)?;
        image::push(skopeo, &archive, &registry.host, "real", &self.home)?;
        Ok(Some(registry))
    }

    /// Returns an empty folder for one run. Earlier writes are on the disk by then.
    fn fresh(&self) -> Result<PathBuf> {
        let folder = image::fresh(&self.out.join("run"))?;
        machine::sync_disks();
        Ok(folder)
    }

    fn process(&self, source: &str, destination: &str) -> Program {
        Program::new(&self.ours, &self.log).args(["--insecure", "process", source, destination])
    }

    fn pull(&self) -> Result<Option<Pulled>> {
        let Some(registry) = self.with_real()? else { return Ok(None) };
        let peers = [
            Some(Peer::Ours(self.ours.clone())),
            Some(Peer::OursUnverified(self.ours.clone())),
            self.python.clone().map(Peer::Python),
            self.skopeo.clone().map(Peer::Skopeo),
        ];
        let peers: Vec<Peer> = peers.into_iter().flatten().collect();
        let cases: Vec<(Output, &Peer)> = [Output::Dir, Output::Tar]
            .into_iter()
            .flat_map(|output| peers.iter().map(move |peer| (output, peer)))
            .collect();
        let mut samples = vec![Samples::default(); cases.len()];
        for round in 0..self.runs {
            // Each round starts with another program, so that no program always runs after the same one.
            for index in (0..cases.len()).map(|index| (index + round * 3) % cases.len()) {
                let ((output, peer), samples) = (&cases[index], &mut samples[index]);
                let fresh = self.fresh()?;
                measure::claim_memory()?;
                let pull = peer.pull(&registry.host, REAL, *output, &fresh, &self.log);
                samples.push(pull.run()?);
            }
        }
        let mut table = Table::new(&[
            "registry to",
            "seconds",
            "least",
            "most",
            "times ours",
            "CPU seconds",
            "peak MiB",
        ]);
        let mut pulled = Pulled { dir: Spread::default(), tar: Spread::default() };
        let mut ours = Spread::default();
        for ((output, peer), samples) in cases.iter().zip(&samples) {
            let wall = samples.wall();
            if matches!(peer, Peer::Ours(_)) {
                ours = wall;
                match output {
                    Output::Dir => pulled.dir = wall,
                    Output::Tar => pulled.tar = wall,
                }
            }
            table.row(vec![
                format!("{}: {}", output.name(), peer.name()),
                format!("{:.2}", wall.median),
                format!("{:.2}", wall.least),
                format!("{:.2}", wall.most),
                format!("{:.2}", wall.median / ours.median),
                format!("{:.2}", samples.cpu().median),
                mib(samples.peak()),
            ]);
        }
        println!("\nPull of the real image, median of {}:\n\n{table}", self.runs);
        Ok(Some(pulled))
    }

    /// Measures verification, with the times that occystrap reports itself: the difference between a pull with and a
    /// pull without verification is smaller than the noise of either.
    fn verify(&self) -> Result<()> {
        let Some(registry) = self.with_real()? else { return Ok(()) };
        let source = format!("registry://{}/{REAL}", registry.host);
        let mut table = Table::new(&[
            "verify",
            "run seconds",
            "fast ms",
            "fast % of run",
            "full seconds",
            "GB/s",
            "GB/s a core",
        ]);
        for output in [Output::Dir, Output::Tar] {
            let (mut run, mut fast) = (Samples::default(), Vec::new());
            let (mut full, mut speed, mut core_speed) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.runs {
                let fresh = self.fresh()?;
                let receipt = fresh.join("receipt.json");
                let destination = format!("{}://{}", output.name(), output.path(&fresh).display());
                let process = self.process(&source, &destination).arg("--receipt").arg(&receipt);
                run.push(process.run()?);
                let (_, report) = self.verified(&receipt, &["--fast"])?;
                fast.push(report.seconds);
                let (sample, report) = self.verified(&receipt, &[])?;
                full.push(report.seconds);
                speed.push(report.bytes / report.seconds / 1e9);
                core_speed.push(report.bytes / sample.cpu.as_secs_f64() / 1e9);
            }
            let median = |numbers: Vec<f64>| Spread::of(numbers.into_iter()).median;
            let (run, fast) = (run.wall().median, median(fast));
            table.row(vec![
                output.name().to_owned(),
                format!("{run:.2}"),
                format!("{:.1}", fast * 1000.0),
                format!("{:.2}", fast / run * 100.0),
                format!("{:.2}", median(full)),
                format!("{:.2}", median(speed)),
                format!("{:.2}", median(core_speed)),
            ]);
        }
        println!("\nVerification, median of {}:\n\n{table}", self.runs);
        Ok(())
    }

    fn verified(&self, receipt: &Path, options: &[&str]) -> Result<(measure::Sample, Report)> {
        let verify = Program::new(&self.ours, &self.log).args(["verify", "-O", "json"]);
        let (sample, said) = verify.args(options).arg(receipt).output()?;
        let json: serde_json::Value = serde_json::from_str(&said).context(said.clone())?;
        let number = |name: &str| json["images"][0][name].as_f64().context(said.clone());
        Ok((sample, Report { seconds: number("seconds")?, bytes: number("bytes")? }))
    }

    /// Measures the time in the plugin and in the calls between plugin and host, as the host counts it.
    fn boundary(&self) -> Result<()> {
        let Some(registry) = self.with_real()? else { return Ok(()) };
        let source = format!("registry://{}/{REAL}", registry.host);
        let mut table = Table::new(&["boundary", "run ms", "guest ms", "calls", "% of run"]);
        for output in [Output::Dir, Output::Tar] {
            let (mut run, mut guest, mut calls) = (Vec::new(), Vec::new(), 0.0);
            for _ in 0..self.runs {
                let fresh = self.fresh()?;
                let destination = format!("{}://{}", output.name(), output.path(&fresh).display());
                let (sample, said) = self.process(&source, &destination).arg("--debug").output()?;
                let sum = |name: &str| {
                    said.split_whitespace()
                        .filter_map(|word| word.strip_prefix(name)?.parse::<f64>().ok())
                        .sum::<f64>()
                };
                run.push(sample.wall.as_secs_f64() * 1000.0);
                guest.push(sum("guest_us=") / 1000.0);
                calls = sum("host_calls=");
            }
            if calls == 0.0 {
                println!("missing: 'guest_us=' and 'host_calls=' in what --debug prints");
                return Ok(());
            }
            let run = Spread::of(run.into_iter()).median;
            let guest = Spread::of(guest.into_iter()).median;
            table.row(vec![
                output.name().to_owned(),
                format!("{run:.0}"),
                format!("{guest:.2}"),
                format!("{calls}"),
                format!("{:.2}", guest / run * 100.0),
            ]);
        }
        println!("\nWhat the WebAssembly boundary costs, median of {}:\n\n{table}", self.runs);
        self.compare_with_native(&source)
    }

    /// Measures the output `tar` as a component and compiled natively, in turn. Both write the same bytes. There is no
    /// verification, because the native program has none.
    fn compare_with_native(&self, source: &str) -> Result<()> {
        let Some(native) = &self.native else { return Ok(()) };
        let as_component = |archive: &Path| {
            self.process(source, &format!("tar://{}", archive.display())).arg("--no-verify")
        };
        let natively = |archive: &Path| Program::new(native, &self.log).arg(source).arg(archive);
        let fresh = self.fresh()?;
        let (one, other) = (fresh.join("component.tar"), fresh.join("native.tar"));
        as_component(&one).run()?;
        natively(&other).run()?;
        ensure!(image::same(&one, &other)?, "component and native writer differ");
        let (mut component, mut twin) = (Samples::default(), Samples::default());
        for round in 0..self.runs * 2 {
            let archive = self.fresh()?.join("image.tar");
            measure::claim_memory()?;
            match round % 4 {
                0 | 3 => component.push(as_component(&archive).run()?),
                _ => twin.push(natively(&archive).run()?),
            }
        }
        let mut table = Table::new(&["tar, not verified", "seconds", "least", "CPU seconds"]);
        for (name, samples) in [("component", &component), ("native", &twin)] {
            table.row(vec![
                name.to_owned(),
                format!("{:.3}", samples.wall().median),
                format!("{:.3}", samples.wall().least),
                format!("{:.3}", samples.cpu().median),
            ]);
        }
        let more = |of: fn(&Samples) -> f64| {
            format!("{:+.1} %", (of(&component) / of(&twin) - 1.0) * 100.0)
        };
        table.row(vec![
            "difference".to_owned(),
            more(|samples| samples.wall().median),
            more(|samples| samples.wall().least),
            more(|samples| samples.cpu().median),
        ]);
        println!(
            "\nThe same writer as a component and natively, {} runs each:\n\n{table}",
            self.runs
        );
        Ok(())
    }

    /// Measures start-up: a one-layer archive, with and without compiled plugins in the cache.
    fn start(&self) -> Result<()> {
        let archive = image::generated(&self.home, "tiny", 10_000)?;
        let source = format!("tar://{}", archive.display());
        let mut table = Table::new(&[
            "ms from start to end",
            "first time",
            "least",
            "later",
            "least",
            "peak MiB",
        ]);
        for output in [Output::Dir, Output::Tar] {
            let cache = self.out.join("cache");
            let once = |empty: bool| {
                let fresh = image::fresh(&self.out.join("run"))?;
                if empty {
                    image::fresh(&cache)?;
                }
                let destination = format!("{}://{}", output.name(), output.path(&fresh).display());
                self.process(&source, &destination).env("XDG_CACHE_HOME", &cache).run()
            };
            let (mut first, mut later) = (Samples::default(), Samples::default());
            machine::sync_disks();
            for _ in 0..START_RUNS {
                first.push(once(true)?);
                later.push(once(false)?);
            }
            let ms = |seconds: f64| format!("{:.1}", seconds * 1000.0);
            table.row(vec![
                format!("tar to {}", output.name()),
                ms(first.wall().median),
                ms(first.wall().least),
                ms(later.wall().median),
                ms(later.wall().least),
                mib(first.peak()),
            ]);
        }
        println!("\nStart-up, median of {START_RUNS}:\n\n{table}");
        Ok(())
    }

    /// Measures the least time that a pull needs on this machine, and compares it with occystrap's own pulls.
    fn floor(&self, pulled: Option<&Pulled>) -> Result<()> {
        let Some(registry) = self.with_real()? else { return Ok(()) };
        let image = REAL.trim_end_matches(":latest");
        let blobs = floor::blobs(registry, image, &self.home.join("registry"))?;
        let plain = floor::plain_size(&blobs)?;
        let compressed: u64 = blobs.iter().map(|blob| blob.size).sum();
        let mut floors = Vec::new();
        for _ in 0..self.runs {
            machine::sync_disks();
            let cores = machine::cores();
            floors.push(floor::measure(registry, image, &blobs, plain, cores, &self.out)?);
        }
        let median = |part: fn(&floor::Floor) -> std::time::Duration| {
            Spread::of(floors.iter().map(|floor| part(floor).as_secs_f64())).median
        };
        let mut table = Table::new(&["floor, all cores", "seconds", "ours to dir", "ours to tar"]);
        let rows: [(&str, f64); 6] = [
            ("reading: GET of the blobs to nowhere", median(|floor| floor.read)),
            ("gunzip", median(|floor| floor.gunzip)),
            ("sha256, compressed and plain", median(|floor| floor.sha256)),
            ("writing", median(|floor| floor.write)),
            ("the slowest of these", median(floor::Floor::slowest)),
            ("all of these after each other", median(floor::Floor::sum)),
        ];
        for (name, seconds) in rows {
            let times = |ours: Option<f64>| match ours {
                Some(ours) => format!("{:.2}x", ours / seconds),
                None => "-".to_owned(),
            };
            table.row(vec![
                name.to_owned(),
                format!("{seconds:.2}"),
                times(pulled.map(|pulled| pulled.dir.median)),
                times(pulled.map(|pulled| pulled.tar.median)),
            ]);
        }
        println!(
            "\nThe image: {} layers, {:.1} MB compressed, {:.1} MB plain.\n\n{table}",
            blobs.len(),
            compressed as f64 / 1e6,
            plain as f64 / 1e6
        );
        Ok(())
    }
}

/// The figures that a verification reports about itself.
struct Report {
    seconds: f64,
    bytes: f64,
}
