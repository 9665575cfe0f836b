//! A docker-registry of Debian that runs during a benchmark.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A running registry on 127.0.0.1. It is stopped when this value is dropped.
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Registry {
    /// Starts a registry whose storage is `folder`.
    pub fn start(program: &Path, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let folder = std::path::absolute(folder)?;
        // The listener is closed before the registry binds the port. If another process takes the port in between,
        // the registry ends at once, and `await_answer` reports that.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = format!("127.0.0.1:{port}");
        let config = folder.join("config.yml");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{host}'}}\n",
                folder.display()
            ),
        )?;
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log"))?)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut registry = Self { child, host };
        registry.await_answer(&folder)?;
        Ok(registry)
    }

    fn await_answer(&mut self, folder: &Path) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if get(&self.host, "/v2/", |_| ()).is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                bail!("docker-registry does not answer on {} ({ended:?}):\n{said}", self.host);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the manifest of an image.
    pub fn manifest(&self, repository: &str, tag: &str) -> Result<serde_json::Value> {
        let mut body = Vec::new();
        get(&self.host, &format!("/v2/{repository}/manifests/{tag}"), |piece| {
            body.extend_from_slice(piece);
        })?;
        Ok(serde_json::from_slice(&body)?)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a GET request over plain HTTP, and returns the size of the body. It does as little as possible, because it is
/// also used to measure how fast a server can send.
pub fn get(host: &str, path: &str, mut each: impl FnMut(&[u8])) -> Result<u64> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let accept = "application/vnd.docker.distribution.manifest.v2+json, \
                  application/vnd.oci.image.manifest.v1+json, */*";
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )?;
    let mut buffer = vec![0; 256 * 1024];
    let mut head = Vec::new();
    let body = loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "{host}{path}: the answer ends within its headers");
        head.extend_from_slice(&buffer[..read]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break head.split_off(end + 4);
        }
    };
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200"), "{host}{path}: {head}");
    let length: u64 = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .context("no Content-Length")?
        .trim()
        .parse()?;
    let mut received = body.len() as u64;
    each(&body);
    while received < length {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "{host}{path}: the body ends after {received} of {length} bytes");
        each(&buffer[..read]);
        received += read as u64;
    }
    Ok(received)
}
