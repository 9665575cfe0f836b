//! The images of the section `batch-build`: base images on each other, and many images on them.

use std::collections::hash_map::{self, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::ustar::{self, Entry};

/// Number of images.
pub const IMAGES: u64 = 100;
/// Base images, each on the one before.
const LEVELS: u64 = 5;
/// Sizes of the layers of a base image, in bytes.
const BASE: [u64; 3] = [16_000_000, 8_000_000, 2_000_000];
/// Sizes of the layers that an image adds, in bytes.
const OWN: [u64; 3] = [3_000_000, 1_500_000, 200_000];
/// Size of a file in a layer, in bytes.
const FILE: u64 = 50_000;

/// Returns the name of an image.
pub fn name(number: u64) -> String {
    format!("batch/image{number}:1")
}

/// Returns the numbers of the images that a later build changes.
pub fn changed() -> impl Iterator<Item = u64> {
    (0..IMAGES).filter(|number| number % 20 == 7)
}

/// Number of distinct layers of the images with these numbers.
pub fn layers(numbers: impl Iterator<Item = u64>) -> u64 {
    let numbers: Vec<u64> = numbers.collect();
    let levels = numbers.iter().map(|number| number % LEVELS + 1).max().unwrap_or(0);
    levels * BASE.len() as u64 + numbers.len() as u64 * OWN.len() as u64
}

/// Writes images as a docker-save archive. `build` is 0, or the number of a later build, whose last layers are others.
pub fn write(path: &Path, numbers: impl Iterator<Item = u64>, build: u64) -> Result<()> {
    let mut to = BufWriter::new(File::create(path)?);
    // By seed: the name of the member and the diff-id.
    let mut written: HashMap<u64, (String, String)> = HashMap::new();
    let mut entries = Vec::new();
    for number in numbers {
        let below = (0..=number % LEVELS).flat_map(|level| {
            (0..).zip(BASE).map(move |(layer, size)| (1_000 * (level + 1) + layer, size))
        });
        let own = (0..).zip(OWN).map(|(layer, size)| {
            let is_last = layer + 1 == OWN.len() as u64;
            let build = if is_last { build } else { 0 };
            (100_000 * (number + 1) + 100 * build + layer, size)
        });
        let (mut members, mut diff_ids) = (Vec::new(), Vec::new());
        for (seed, size) in below.chain(own) {
            if let hash_map::Entry::Vacant(first) = written.entry(seed) {
                let bytes = layer(seed, size)?;
                let member = format!("layer-{seed}.tar");
                write_member(&mut to, &member, &bytes)?;
                first.insert((member, hash(&bytes)));
            }
            let (member, diff_id) = &written[&seed];
            members.push(member.clone());
            diff_ids.push(format!("sha256:{diff_id}"));
        }
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Env": [format!("IMAGE={number}/{build}")]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))?;
        let config_name = format!("{}.json", hash(&config));
        write_member(&mut to, &config_name, &config)?;
        entries.push(json!({"Config": config_name, "RepoTags": [name(number)], "Layers": members}));
    }
    write_member(&mut to, "manifest.json", &serde_json::to_vec(&entries)?)?;
    ustar::pad(&mut to, 0, true)?;
    Ok(to.flush()?)
}

fn write_member(to: &mut impl Write, name: &str, bytes: &[u8]) -> Result<()> {
    let size = bytes.len() as u64;
    to.write_all(&ustar::header(name, Entry::File { mode: 0o644, size })?)?;
    to.write_all(bytes)?;
    Ok(ustar::pad(to, size, false)?)
}

/// Makes a layer of files that compress to about half their size. They have the time of a build, and one of them is what a
/// filter excludes.
fn layer(seed: u64, size: u64) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let count = size / FILE;
    for file in 0..count {
        let name = match file {
            0 => format!("var/cache/build/{seed}"),
            _ => format!("usr/lib/{seed}/file-{file}"),
        };
        let mut content = Vec::with_capacity(usize::try_from(FILE)?);
        while (content.len() as u64) < FILE {
            // Xorshift: half of its letters are random.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
            content.extend_from_slice(b"the same");
        }
        content.truncate(usize::try_from(FILE)?);
        let mut header = ustar::header(&name, Entry::File { mode: 0o644, size: FILE })?;
        header[136..147].copy_from_slice(format!("{:011o}", 1_750_000_000 + seed).as_bytes());
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        plain.extend_from_slice(&header);
        plain.extend_from_slice(&content);
        ustar::pad(&mut plain, FILE, false)?;
    }
    ustar::pad(&mut plain, 0, true)?;
    Ok(plain)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
