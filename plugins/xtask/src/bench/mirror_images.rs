//! The images of the section `mirror`: 20 repositories with 10 tags each, which share 12 layers.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::ustar::{self, Entry};

/// Number of repositories.
pub const REPOSITORIES: u64 = 20;
/// Tags in each repository.
pub const TAGS: u64 = 10;
/// Layers that repositories share.
const SHARED: u64 = 12;
/// Size of a shared layer, in bytes.
const SHARED_SIZE: u64 = 3_500_000;

/// A blob, and the digest of what it is uncompressed.
struct Layer {
    plain: String,
    digest: String,
    bytes: Vec<u8>,
}

/// Puts all images at a registry.
pub fn fill(host: &str) -> Result<()> {
    let shared: Vec<Layer> =
        (0..SHARED).map(|one| layer(one, SHARED_SIZE)).collect::<Result<_>>()?;
    for repository in 0..REPOSITORIES {
        for used in used(repository, TAGS - 1) {
            put_blob(host, repository, &shared[used])?;
        }
        for tag in 0..TAGS {
            put(host, repository, tag, 0, &shared)?;
        }
    }
    Ok(())
}

/// Gives five images another layer of their own. Each `number` makes other images.
pub fn change_five(host: &str, number: u64) -> Result<()> {
    let shared: Vec<Layer> =
        (0..SHARED).map(|one| layer(one, SHARED_SIZE)).collect::<Result<_>>()?;
    (0..5).try_for_each(|one| put(host, 4 * one, one, number, &shared))
}

/// Returns the shared layers of an image: four of the seven or eight of its repository, or all of them in the last.
fn used(repository: u64, tag: u64) -> Vec<usize> {
    let of_repository = 7 + (repository + 1) % 2;
    let count = if tag == TAGS - 1 { of_repository } else { 4 };
    let first = if tag == TAGS - 1 { 0 } else { tag };
    let nth = |one| (repository * 5 + (first + one) % of_repository) % SHARED;
    (0..count).map(|one| nth(one) as usize).collect()
}

fn put(host: &str, repository: u64, tag: u64, number: u64, shared: &[Layer]) -> Result<()> {
    let seed = 1_000 + 100_000 * number + 100 * repository + tag;
    let own = layer(seed, 120_000 + seed * 7_919 % 50_000)?;
    put_blob(host, repository, &own)?;
    let layers: Vec<&Layer> =
        used(repository, tag).into_iter().map(|one| &shared[one]).chain([&own]).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [format!("IMAGE={repository}/{tag}/{number}")]},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|one| &one.plain).collect::<Vec<_>>()},
    }))?;
    let config = Layer { plain: String::new(), digest: digest(&config), bytes: config };
    put_blob(host, repository, &config)?;
    let described = |kind: &str, blob: &Layer| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media_type, "digest": blob.digest, "size": blob.bytes.len()})
    };
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": described("config.v1+json", &config),
        "layers": layers.iter().map(|one| described("layer.v1.tar+gzip", one)).collect::<Vec<_>>(),
    });
    let path = format!("/v2/team/app{repository:02}/manifests/{tag}.0");
    let sent = send(host, "PUT", &path, media_type, &serde_json::to_vec(&manifest)?)?;
    ensure!(sent.starts_with("HTTP/1.1 201"), "{path}: {sent}");
    Ok(())
}

/// Makes a layer with one file of random bytes.
fn layer(seed: u64, size: u64) -> Result<Layer> {
    let mut plain =
        ustar::header(&format!("file-{seed}"), Entry::File { mode: 0o644, size })?.to_vec();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for _ in 0..size.div_ceil(8) {
        // Xorshift: what it makes cannot be compressed.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        plain.extend_from_slice(&state.to_le_bytes());
    }
    plain.truncate(plain.len() - (size.div_ceil(8) * 8 - size) as usize);
    ustar::pad(&mut plain, size, true)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain)?;
    let bytes = gzip.finish()?;
    Ok(Layer { plain: digest(&plain), digest: digest(&bytes), bytes })
}

fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

fn put_blob(host: &str, repository: u64, blob: &Layer) -> Result<()> {
    let path = format!("/v2/team/app{repository:02}/blobs/uploads/");
    let begun = send(host, "POST", &path, "application/octet-stream", &[])?;
    let location = begun.lines().find_map(|line| line.strip_prefix("Location: "));
    let Some(location) = location else { anyhow::bail!("{path}: {begun}") };
    let place = location.trim().trim_start_matches(&format!("http://{host}"));
    let place = format!("{place}&digest={}", blob.digest);
    let sent = send(host, "PUT", &place, "application/octet-stream", &blob.bytes)?;
    ensure!(sent.starts_with("HTTP/1.1 201"), "{place}: {sent}");
    Ok(())
}

/// Sends a request and returns the answer.
fn send(host: &str, method: &str, path: &str, media_type: &str, body: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(host)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media_type}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
