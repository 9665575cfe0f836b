//! Measures a batch build: 100 images on shared base images, which dockerd pushes four at a time through a proxy with
//! filters; the next build, in which five of them have changed; and the same without a proxy.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::batch_images::{self, IMAGES};
use super::docker::Dockerd;
use super::measure::{Program, Spread};
use super::push::EmptyRegistry;
use super::relay::{Counted, Relay};
use super::service::Proxy;
use super::table::{Table, mib};
use super::{Bench, find_or_report};

/// The filters of the proxies.
const FILTERS: [&str; 4] = ["-f", "normalize-timestamps", "-f", "exclude:pattern=var/cache/**"];

/// Images that are pushed at the same time.
const AT_ONCE: &str = "4";

/// Images that are compared with Python occystrap, which is slow.
const FEW: u64 = 10;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Ours,
    Python,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "docker push",
            Self::Ours => "through occystrap proxy",
            Self::Python => "through Python's proxy",
        }
    }
}

/// One push of many images.
struct Pushed {
    wall: f64,
    docker: f64,
    proxy: f64,
    peak: u64,
    counted: Counted,
}

/// What all pushes need.
struct Build<'a> {
    bench: &'a Bench,
    engine: Dockerd,
    docker: PathBuf,
    empty: EmptyRegistry,
}

impl Bench {
    pub(super) fn batch_build(&self) -> Result<()> {
        let dockerd = find_or_report("dockerd", "apt-get install docker.io");
        let docker = find_or_report("docker", "apt-get install docker.io");
        let (Some(dockerd), Some(docker)) = (dockerd, docker) else { return Ok(()) };
        let Some(empty) = EmptyRegistry::start(self)? else { return Ok(()) };
        let engine = Dockerd::start_with(&dockerd, &self.out.join("dockerd"), "overlay2")?;
        let build = Build { bench: self, engine, docker, empty };
        let mut rows: Vec<(String, Vec<Pushed>)> = Vec::new();
        for round in 0..self.runs {
            let numbers = round as u64 * 10;
            build.load(0..IMAGES, 0)?;
            build.all(&mut rows, numbers)?;
        }
        self.print_batch("100 images", &rows);
        let ways = [Some(Way::Direct), Some(Way::Ours), self.python.as_ref().map(|_| Way::Python)];
        let ways: Vec<Way> = ways.into_iter().flatten().collect();
        let mut rows: Vec<(String, Vec<Pushed>)> = Vec::new();
        for round in 0..self.runs {
            for way in (0..ways.len()).map(|index| ways[(index + round) % ways.len()]) {
                build.empty.reset()?;
                let relay = Relay::start(&build.empty.registry.host)?;
                let proxy = build.proxy(way, &relay, &[])?;
                let pushed = build.push(0..FEW, &relay, proxy.as_ref())?;
                note(&mut rows, way.name().to_owned(), pushed);
                if let Some(proxy) = proxy {
                    proxy.stop()?;
                }
            }
        }
        self.print_batch("10 of them", &rows);
        Ok(())
    }

    fn print_batch(&self, title: &str, rows: &[(String, Vec<Pushed>)]) {
        let mut table = Table::new(&[
            title,
            "seconds",
            "times docker push",
            "CPU seconds of the proxy",
            "of dockerd",
            "peak MiB",
            "uploads",
            "mounts",
        ]);
        let median =
            |all: &[Pushed], part: fn(&Pushed) -> f64| Spread::of(all.iter().map(part)).median;
        for (name, all) in rows {
            let case = name.split_once(": ").map_or("", |(case, _)| case);
            let is_direct = |other: &&(String, Vec<Pushed>)| {
                other.0.starts_with(case) && other.0.ends_with(Way::Direct.name())
            };
            let direct = rows.iter().find(is_direct).map(|row| median(&row.1, |one| one.wall));
            let wall = median(all, |one| one.wall);
            let Some(last) = all.last() else { continue };
            table.row(vec![
                name.clone(),
                format!("{wall:.2}"),
                direct.map_or_else(String::new, |direct| format!("{:.2}", wall / direct)),
                format!("{:.2}", median(all, |one| one.proxy)),
                format!("{:.2}", median(all, |one| one.docker)),
                mib(last.peak),
                last.counted.uploads.to_string(),
                last.counted.mounts.to_string(),
            ]);
        }
        println!("\nA batch build, median of {}:\n\n{table}", self.runs);
    }
}

fn note(rows: &mut Vec<(String, Vec<Pushed>)>, name: String, pushed: Pushed) {
    match rows.iter_mut().find(|(known, _)| *known == name) {
        Some((_, all)) => all.push(pushed),
        None => rows.push((name, vec![pushed])),
    }
}

/// Checks how many blobs the proxy has sent.
fn expect(way: Way, pushed: &Pushed, blobs: u64) -> Result<()> {
    let uploads = pushed.counted.uploads;
    ensure!(way != Way::Ours || uploads == blobs, "{uploads} uploads of {blobs} blobs");
    Ok(())
}

impl Build<'_> {
    /// Loads images into the engine.
    fn load(&self, numbers: impl Iterator<Item = u64>, build: u64) -> Result<()> {
        let archive = self.bench.out.join("batch.tar");
        batch_images::write(&archive, numbers, build)?;
        self.client().args(["load", "--quiet", "--input"]).arg(&archive).run()?;
        Ok(std::fs::remove_file(archive)?)
    }

    fn client(&self) -> Program {
        let socket = format!("unix://{}", self.engine.socket().display());
        Program::new(&self.docker, &self.bench.log).args(["-H", &socket])
    }

    fn proxy(&self, way: Way, relay: &Relay, options: &[&str]) -> Result<Option<Proxy>> {
        let log = self.bench.home.join("proxy.log");
        let options = [&FILTERS, options].concat();
        Ok(match (way, &self.bench.python) {
            (Way::Ours, _) => Some(Proxy::ours(&self.bench.ours, &relay.host, &options, &log)?),
            (Way::Python, Some(python)) => {
                Some(Proxy::python(python, &relay.host, &options, &log)?)
            }
            _ => None,
        })
    }

    /// Pushes all images and, after a change of five of them, all again: directly, through one proxy, and through a second one
    /// that has the layer cache of the first.
    fn all(&self, rows: &mut Vec<(String, Vec<Pushed>)>, number: u64) -> Result<()> {
        let changed = batch_images::changed().count() as u64;
        for way in [Way::Direct, Way::Ours] {
            self.empty.reset()?;
            let relay = Relay::start(&self.empty.registry.host)?;
            let cache = self.bench.out.join("layers.json");
            let _ = std::fs::remove_file(&cache);
            let cache = cache.display().to_string();
            let options = ["--layer-cache", cache.as_str()];
            let proxy = self.proxy(way, &relay, &options)?;
            let name = |case: &str| format!("{case}: {}", way.name());
            let first = self.push(0..IMAGES, &relay, proxy.as_ref())?;
            // Each layer and each config. Without a proxy, dockerd may send a layer twice at the same time.
            let distinct = batch_images::layers(0..IMAGES) + IMAGES;
            expect(way, &first, distinct)?;
            note(rows, name("first build"), first);
            let later = number + 1 + u64::from(way == Way::Ours) * 4;
            self.load(batch_images::changed(), later)?;
            let second = self.push(0..IMAGES, &relay, proxy.as_ref())?;
            expect(way, &second, 2 * changed)?;
            note(rows, name("five changed"), second);
            let Some(proxy) = proxy else { continue };
            proxy.stop()?;
            self.load(batch_images::changed(), later + 1)?;
            let proxy = self.proxy(way, &relay, &options)?;
            let third = self.push(0..IMAGES, &relay, proxy.as_ref())?;
            expect(way, &third, 2 * changed)?;
            note(rows, name("five changed, after a restart"), third);
            proxy.map(Proxy::stop).transpose()?;
        }
        Ok(())
    }

    /// Pushes images, four at a time: through a proxy, or to the relay in front of the registry.
    fn push(
        &self,
        numbers: std::ops::Range<u64>,
        relay: &Relay,
        proxy: Option<&Proxy>,
    ) -> Result<Pushed> {
        let host = proxy.map_or(&relay.host, |proxy| &proxy.host);
        let mut pairs = String::new();
        for number in numbers {
            let name = batch_images::name(number);
            pairs += &format!("{name} {host}/{name}\n");
        }
        let list = self.bench.out.join("pairs");
        std::fs::write(&list, pairs)?;
        relay.take();
        let used = |of: &dyn Fn() -> Result<(std::time::Duration, u64)>| -> Result<f64> {
            Ok(of()?.0.as_secs_f64())
        };
        let engine = || super::service::usage(self.engine.process()?);
        let of_proxy = || proxy.map_or(Ok(Default::default()), Proxy::usage);
        let before = (used(&engine)?, used(&of_proxy)?);
        let started = Instant::now();
        self.xargs(&list)?;
        let wall = started.elapsed().as_secs_f64();
        let peak = of_proxy()?.1;
        Ok(Pushed {
            wall,
            docker: used(&engine)? - before.0,
            proxy: used(&of_proxy)? - before.1,
            peak,
            counted: relay.take(),
        })
    }

    fn xargs(&self, list: &Path) -> Result<()> {
        let socket = format!("unix://{}", self.engine.socket().display());
        let script = "exec xargs -P \"$1\" -L 1 sh -c '\"$0\" -H \"$1\" tag \"$2\" \"$3\" && \
                      exec \"$0\" -H \"$1\" push --quiet \"$3\"' \"$2\" \"$3\" < \"$0\"";
        let run = Program::new("sh", &self.bench.log).args(["-c", script]).arg(list);
        run.args([AT_ONCE, &self.docker.display().to_string(), &socket]).run()?;
        Ok(())
    }
}
