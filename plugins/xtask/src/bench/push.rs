//! Measures pushes: of an archive, which has to be compressed, and of an image from another registry.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::measure::{Program, Samples};
use super::peers::{self, Peer};
use super::registry::Registry;
use super::table::{Table, mib};
use super::{Bench, REAL, image, machine, measure};

/// The folders in which skopeo caches information about blobs from earlier runs, for root and for other users.
const SKOPEO_CACHES: [&str; 2] =
    ["/var/lib/containers/cache", "{home}/.local/share/containers/cache"];

/// A registry that is emptied before each run.
pub(super) struct EmptyRegistry {
    pub(super) registry: Registry,
    folder: PathBuf,
}

impl EmptyRegistry {
    pub(super) fn start(bench: &Bench) -> Result<Option<Self>> {
        let Some(program) = peers::find("docker-registry") else { return Ok(None) };
        let folder = image::fresh(&bench.home.join("pushed"))?;
        let registry = Registry::start(&program, &folder)?;
        Ok(Some(Self { registry, folder }))
    }

    pub(super) fn reset(&self) -> Result<()> {
        let kept = self.folder.join("docker");
        if kept.exists() {
            std::fs::remove_dir_all(kept)?;
        }
        clear_skopeo_cache()?;
        machine::sync_disks();
        measure::claim_memory()
    }

    /// Returns the total size of the blobs in the registry.
    fn size(&self) -> Result<u64> {
        size(&self.folder.join("docker/registry/v2/blobs"))
    }
}

impl Bench {
    pub(super) fn push(&self) -> Result<()> {
        let Some(empty) = EmptyRegistry::start(self)? else { return Ok(()) };
        let archive = image::real(&self.home)?;
        let reference = gzip_reference(&archive, &self.home)?;
        let peers = [
            Some((Peer::Ours(self.ours.clone()), None)),
            Some((Peer::Ours(self.ours.clone()), Some("zstd"))),
            self.python.clone().map(|python| (Peer::Python(python), None)),
            self.skopeo.clone().map(|skopeo| (Peer::Skopeo(skopeo), None)),
        ];
        let peers: Vec<(Peer, Option<&str>)> = peers.into_iter().flatten().collect();
        let mut samples = vec![Samples::default(); peers.len()];
        let mut sizes = vec![0; peers.len()];
        for round in 0..self.runs {
            for index in (0..peers.len()).map(|index| (index + round) % peers.len()) {
                let (peer, compression) = &peers[index];
                empty.reset()?;
                let program = self.pushing(peer, &archive, &empty.registry.host);
                let program = match compression {
                    Some(name) => program.args(["--compression", name]),
                    None => program,
                };
                samples[index].push(program.run()?);
                sizes[index] = empty.size()?;
            }
        }
        let mut table = Table::new(&[
            "tar to registry",
            "seconds",
            "least",
            "most",
            "times ours",
            "CPU seconds",
            "peak MiB",
            "bytes",
            "to gzip -6",
        ]);
        let ours = samples[0].wall().median;
        for (((peer, compression), samples), size) in peers.iter().zip(&samples).zip(&sizes) {
            let wall = samples.wall();
            let how = compression.map_or_else(String::new, |name| format!(" --compression {name}"));
            table.row(vec![
                format!("{}{how}", peer.name()),
                format!("{:.2}", wall.median),
                format!("{:.2}", wall.least),
                format!("{:.2}", wall.most),
                format!("{:.2}", wall.median / ours),
                format!("{:.2}", samples.cpu().median),
                mib(samples.peak()),
                format!("{:.2} M", *size as f64 / 1e6),
                format!("{:+.1} %", (*size as f64 / reference as f64 - 1.0) * 100.0),
            ]);
        }
        println!("\nPush of the real image, median of {}:\n\n{table}", self.runs);
        self.copy(&empty)
    }

    /// Measures a copy from one registry to another, and a second copy when the image is there already.
    fn copy(&self, empty: &EmptyRegistry) -> Result<()> {
        let Some(registry) = self.with_real()? else { return Ok(()) };
        let peers = [Some(Peer::Ours(self.ours.clone())), self.skopeo.clone().map(Peer::Skopeo)];
        let peers: Vec<Peer> = peers.into_iter().flatten().collect();
        let mut samples = vec![(Samples::default(), Samples::default()); peers.len()];
        for round in 0..self.runs {
            for index in (0..peers.len()).map(|index| (index + round) % peers.len()) {
                empty.reset()?;
                let copying = || self.copying(&peers[index], &registry.host, &empty.registry.host);
                samples[index].0.push(copying().run()?);
                clear_skopeo_cache()?;
                samples[index].1.push(copying().run()?);
            }
        }
        let mut table = Table::new(&[
            "registry to registry",
            "seconds",
            "times ours",
            "CPU seconds",
            "peak MiB",
            "again, seconds",
        ]);
        let ours = samples[0].0.wall().median;
        for (peer, (first, second)) in peers.iter().zip(&samples) {
            table.row(vec![
                peer.name().to_owned(),
                format!("{:.2}", first.wall().median),
                format!("{:.2}", first.wall().median / ours),
                format!("{:.2}", first.cpu().median),
                mib(first.peak()),
                format!("{:.2}", second.wall().median),
            ]);
        }
        println!("\nCopy of the real image, median of {}:\n\n{table}", self.runs);
        Ok(())
    }

    fn pushing(&self, peer: &Peer, archive: &Path, host: &str) -> Program {
        let archive = archive.display();
        match peer {
            Peer::Skopeo(program) => Program::new(program, &self.log).args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
                &format!("docker-archive:{archive}"),
                &format!("docker://{host}/{REAL}"),
            ]),
            Peer::Ours(program) | Peer::OursUnverified(program) | Peer::Python(program) => {
                Program::new(program, &self.log).args([
                    "--insecure",
                    "process",
                    &format!("tar://{archive}"),
                    &format!("registry://{host}/{REAL}"),
                ])
            }
        }
    }

    fn copying(&self, peer: &Peer, from: &str, to: &str) -> Program {
        match peer {
            Peer::Skopeo(program) => Program::new(program, &self.log).args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                &format!("docker://{from}/{REAL}"),
                &format!("docker://{to}/{REAL}"),
            ]),
            _ => self
                .process(&format!("registry://{from}/{REAL}"), &format!("registry://{to}/{REAL}")),
        }
    }
}

/// Returns the total size of the image's layers, compressed with `gzip -6`. It is measured once and kept.
fn gzip_reference(archive: &Path, folder: &Path) -> Result<u64> {
    let known = folder.join("gzip-6");
    if let Ok(text) = std::fs::read_to_string(&known) {
        return text.trim().parse().context(text.clone());
    }
    println!("measuring what gzip -6 makes of the layers");
    let script = "for layer in $(tar -tf \"$0\" | grep '^layer'); do \
                  tar -xOf \"$0\" \"$layer\" | gzip -6 | wc -c; done";
    let (_, said) =
        Program::new("sh", folder.join("log")).args(["-c", script]).arg(archive).output()?;
    let sizes = said.split_whitespace().map(str::parse::<u64>);
    let size: u64 = sizes.sum::<Result<_, _>>().context(said.clone())?;
    std::fs::write(known, size.to_string())?;
    Ok(size)
}

/// Deletes skopeo's cache of information about blobs.
pub(super) fn clear_skopeo_cache() -> Result<()> {
    let home = std::env::var("HOME").unwrap_or_default();
    for cache in SKOPEO_CACHES {
        let folder = PathBuf::from(cache.replace("{home}", &home));
        for name in ["blob-info-cache-v1.boltdb", "blob-info-cache-v1.sqlite"] {
            match std::fs::remove_file(folder.join(name)) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    return Err(cause).context(folder.display().to_string());
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn size(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        total += if kind.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}
