//! Measures the parts of a pull that every program has to do, to find the least time that a pull needs on this
//! machine.
//!
//! Each part is measured alone. The work is divided evenly between all cores, which no real program achieves.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::measure::clock;
use super::registry::{self, Registry};

const BUFFER: usize = 256 * 1024;

/// A layer at the registry.
pub struct Blob {
    pub digest: String,
    pub size: u64,
    /// The path of the blob in the registry's own storage.
    pub file: PathBuf,
}

/// The time for each part.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    pub read: Duration,
    pub gunzip: Duration,
    pub sha256: Duration,
    pub write: Duration,
}

impl Floor {
    /// Returns the time of the slowest part. No program can be faster, even if all parts overlap perfectly.
    pub fn slowest(&self) -> Duration {
        self.read.max(self.gunzip).max(self.sha256).max(self.write)
    }

    /// Returns the time of all parts together. If each part keeps all cores of the machine busy, the parts cannot
    /// overlap.
    pub fn sum(&self) -> Duration {
        self.read + self.gunzip + self.sha256 + self.write
    }
}

/// Returns the layers of an image in a running registry. `folder` is the storage of the registry.
pub fn blobs(registry: &Registry, image: &str, folder: &Path) -> Result<Vec<Blob>> {
    let manifest = registry.manifest(image, "latest")?;
    let mut blobs = Vec::new();
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        let digest = layer["digest"].as_str().unwrap_or_default().to_owned();
        let Some(hex) = digest.strip_prefix("sha256:") else { bail!("layer without a digest") };
        let place = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        let size = layer["size"].as_u64().unwrap_or(0);
        blobs.push(Blob { file: folder.join(place), size, digest });
    }
    Ok(blobs)
}

/// Returns the total uncompressed size of some layers.
pub fn plain_size(blobs: &[Blob]) -> Result<u64> {
    blobs.iter().map(|blob| gunzip(&blob.file)).sum()
}

/// Measures all parts.
pub fn measure(
    registry: &Registry,
    image: &str,
    blobs: &[Blob],
    plain: u64,
    cores: usize,
    folder: &Path,
) -> Result<Floor> {
    let read = clock(|| {
        on_threads(blobs.len(), |index| {
            let path = format!("/v2/{image}/blobs/{}", blobs[index].digest);
            registry::get(&registry.host, &path, |_| ()).map(|_| ())
        })
    })?;
    let each_core_all = |work: &(dyn Fn(&Blob) -> Result<()> + Sync)| {
        let all = clock(|| on_threads(cores, |_| blobs.iter().try_for_each(work)))?;
        anyhow::Ok(all / u32::try_from(cores)?)
    };
    let gunzip = each_core_all(&|blob| gunzip(&blob.file).map(|_| ()))?;
    let compressed: u64 = blobs.iter().map(|blob| blob.size).sum();
    let share = (compressed + plain) / cores as u64;
    let sha256 = clock(|| on_threads(cores, |_| sha256(share)))?;
    let write = clock(|| {
        on_threads(cores, |index| {
            write(&folder.join(format!("floor-{index}")), plain / cores as u64)
        })
    })?;
    for index in 0..cores {
        std::fs::remove_file(folder.join(format!("floor-{index}")))?;
    }
    Ok(Floor { read, gunzip, sha256, write })
}

fn gunzip(path: &Path) -> Result<u64> {
    let file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let mut plain = MultiGzDecoder::new(file);
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let read = plain.read(&mut buffer)?;
        if read == 0 {
            return Ok(size);
        }
        size += read as u64;
    }
}

fn sha256(bytes: u64) -> Result<()> {
    let buffer = vec![7; BUFFER];
    let mut hasher = Sha256::new();
    for _ in 0..bytes / BUFFER as u64 {
        hasher.update(&buffer);
    }
    std::hint::black_box(hasher.finalize());
    Ok(())
}

fn write(path: &Path, bytes: u64) -> Result<()> {
    let buffer = vec![7; BUFFER];
    let mut file = File::create(path)?;
    for _ in 0..bytes / BUFFER as u64 {
        file.write_all(&buffer)?;
    }
    Ok(())
}

fn on_threads(threads: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..threads).map(|index| scope.spawn(move || work(index))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("a thread panicked"),
        })
    })
}
