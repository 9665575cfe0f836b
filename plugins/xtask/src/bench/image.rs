//! The images for the benchmarks: a real image made from Debian packages, and generated images of any size.
//!
//! Each image is made once and kept in the folder of the benchmarks, in the target folder.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::measure::Program;
use crate::ustar::{self, Entry};

/// The layers of the real image, lowest first: a base system, many small files (23,000 headers,
/// modules and scripts), one layer that is larger than all others together, and an application.
const LAYERS: [&[&str]; 4] = [
    &[
        "base-files",
        "libc6",
        "bash",
        "coreutils",
        "perl-base",
        "perl-modules-5.36",
        "locales",
        "tzdata",
    ],
    &["libboost1.74-dev", "python3-django", "vim-runtime", "python3-twisted"],
    &["chromium", "libllvm14"],
    &["git", "libicu72", "python3-sympy"],
];

/// Makes the real image as a docker-save archive, and returns its path.
pub fn real(folder: &Path) -> Result<PathBuf> {
    let archive = folder.join("real.tar");
    if archive.exists() {
        return Ok(archive);
    }
    let work = fresh(&folder.join("real"))?;
    let mut layers = Vec::new();
    for (index, packages) in LAYERS.iter().enumerate() {
        println!("making layer {} of {} from {}", index + 1, LAYERS.len(), packages.join(", "));
        layers.push(layer_of_packages(&work, index, packages)?);
    }
    save(&work, &layers, "bench/real:latest", &archive)?;
    std::fs::remove_dir_all(&work)?;
    Ok(archive)
}

/// Returns whether two files have the same content.
pub fn same(one: &Path, other: &Path) -> Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..read])?;
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}

fn layer_of_packages(work: &Path, index: usize, packages: &[&str]) -> Result<Layer> {
    let debs = fresh(&work.join(format!("debs-{index}")))?;
    let root = fresh(&work.join(format!("root-{index}")))?;
    let log = work.join("log");
    let download = |packages: &[&str]| {
        // apt-get downloads into the current folder.
        Program::new("sh", &log)
            .args(["-c", "cd \"$0\" && exec apt-get download -q \"$@\""])
            .arg(&debs)
            .args(packages)
            .run()
    };
    if download(packages).is_err() {
        // The package lists are empty, or contain versions that were removed.
        Program::new("apt-get", &log).args(["update", "-q"]).run()?;
        download(packages)?;
    }
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(&debs)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    ensure!(found.len() == packages.len(), "{packages:?}: apt-get gave {found:?}");
    found.sort();
    for deb in found {
        Program::new("dpkg-deb", &log).arg("--extract").arg(deb).arg(&root).run()?;
    }
    let name = format!("layer-{index}.tar");
    Program::new("tar", &log)
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"])
        .arg("--create")
        .arg("--file")
        .arg(work.join(&name))
        .arg("--directory")
        .arg(&root)
        .arg(".")
        .run()?;
    std::fs::remove_dir_all(&root)?;
    std::fs::remove_dir_all(&debs)?;
    let diff_id = hash(&work.join(&name))?;
    Ok(Layer { name, diff_id })
}

/// Makes an image with one layer, which contains one file of `size` bytes that compresses well. Returns the path of
/// the docker-save archive. The layer in the archive is compressed with gzip.
pub fn generated(folder: &Path, name: &str, size: u64) -> Result<PathBuf> {
    let archive = folder.join(format!("{name}.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    println!("making {name}: one layer of {size} bytes");
    let work = fresh(&folder.join(name))?;
    let file = BufWriter::new(File::create(work.join("layer.tar.gz"))?);
    let mut layer = Tee { gzip: GzEncoder::new(file, Compression::fast()), hasher: Sha256::new() };
    layer.write_all(&ustar::header("data", Entry::File { mode: 0o644, size })?)?;
    // A piece is longer than a tar block and shorter than gzip's window.
    let piece: Vec<u8> = (0..8192_u32).map(|at| ((at * at) >> 7) as u8).collect();
    let mut left = size;
    while left > 0 {
        let now = left.min(piece.len() as u64);
        layer.write_all(&piece[..usize::try_from(now)?])?;
        left -= now;
    }
    ustar::pad(&mut layer, size, true)?;
    layer.gzip.finish()?.flush()?;
    let diff_id = hexadecimal(&layer.hasher.finalize());
    let layer = Layer { name: "layer.tar.gz".into(), diff_id };
    save(&work, &[layer], &format!("bench/{name}:latest"), &archive)?;
    std::fs::remove_dir_all(&work)?;
    Ok(archive)
}

struct Tee {
    gzip: GzEncoder<BufWriter<File>>,
    hasher: Sha256,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.gzip.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.gzip.flush()
    }
}

struct Layer {
    /// The name of the file in the work folder.
    name: String,
    diff_id: String,
}

/// Writes a docker-save archive, version 1.2, from files in `work`.
fn save(work: &Path, layers: &[Layer], tag: &str, archive: &Path) -> Result<()> {
    let diff_ids = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id));
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/bash"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>()},
    });
    std::fs::write(work.join("config.json"), serde_json::to_vec(&config)?)?;
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]);
    std::fs::write(work.join("manifest.json"), serde_json::to_vec(&manifest)?)?;
    let unfinished = archive.with_extension("part");
    Program::new("tar", work.join("log"))
        .arg("--create")
        .arg("--file")
        .arg(&unfinished)
        .arg("--directory")
        .arg(work)
        .args(["manifest.json", "config.json"])
        .args(names)
        .run()?;
    std::fs::rename(unfinished, archive)?;
    Ok(())
}

/// Returns the SHA-256 of a file, in hexadecimal.
fn hash(path: &Path) -> Result<String> {
    let mut file = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes an empty folder at a path; an existing folder is deleted first. Returns the path.
pub fn fresh(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        std::fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
    }
    std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    Ok(path.to_owned())
}

/// Pushes an archive to a registry. Does nothing if an earlier call has pushed it.
pub fn push(skopeo: &Path, archive: &Path, host: &str, name: &str, folder: &Path) -> Result<()> {
    let done = folder.join(format!("{name}.pushed"));
    if done.exists() {
        return Ok(());
    }
    println!("pushing {name} with skopeo, which compresses it");
    Program::new(skopeo, folder.join("push.log"))
        .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
        .arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("docker://{host}/bench/{name}:latest"))
        .run()?;
    std::fs::write(done, "")?;
    Ok(())
}
