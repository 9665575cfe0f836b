//! Programs of other projects: Debian's docker-registry as the server, skopeo as writer and reader.
//!
//!     let Some(registry) = RealRegistry::start("what is tested") else { return };
//!
//! Where a program is not installed the test says `skipped: NAME: reason` and ends; in CI that is a
//! failure, so that a green run there has tested against them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;

use super::token_server::TokenServer;

/// The user that [`RealRegistry::with_password`] and [`RealRegistry::with_tokens`] know.
pub const USER: &str = "operator";
/// And the password, which no output may ever show.
pub const PASSWORD: &str = "correct-horse-battery-staple";

/// Returns whether all these programs are installed; if not, prints that the test is skipped.
pub fn installed(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let Some(missing) = programs.iter().find(|name| !is_there(name)) else { return true };
    skip(test, &format!("{missing} is not installed"));
    false
}

/// Say that a test cannot be run here, and why. In CI that is a failure.
pub fn skip(test: &str, why: &str) {
    let skipped = format!("skipped: {test}: {why}");
    // Straight to the terminal: the test runner swallows what a passing test prints.
    let _ = writeln!(std::io::stderr(), "{skipped}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{skipped}");
}

/// The image that the repository carries.
pub fn hello() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hello.tar")
}

/// A docker-registry on a port of its own. Killed when this is dropped.
pub struct RealRegistry {
    child: Child,
    folder: tempfile::TempDir,
    host: String,
    tokens: Option<TokenServer>,
}

/// The login that the registry requires.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Open,
    Password,
    Tokens,
    /// Open, without a cache in front of its storage.
    Uncached,
    /// The same, and it deletes.
    Deletes,
}

impl RealRegistry {
    /// Open to all. `None` where docker-registry or skopeo is not installed.
    pub fn start(test: &str) -> Option<Self> {
        installed(test, &["docker-registry", "skopeo"]).then(|| Self::launch(Lock::Open))
    }

    /// Open to all, without a cache: it serves what its storage has, also after a test changed that. With `deletes` it
    /// deletes blobs and manifests.
    pub fn uncached(test: &str, deletes: bool) -> Option<Self> {
        let lock = if deletes { Lock::Deletes } else { Lock::Uncached };
        installed(test, &["docker-registry", "skopeo"]).then(|| Self::launch(lock))
    }

    /// The folder of its storage, with `blobs` and `repositories`.
    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("data/docker/registry/v2")
    }

    /// Asks for [`USER`] and [`PASSWORD`] with Basic authentication.
    pub fn with_password(test: &str) -> Option<Self> {
        installed(test, &["docker-registry", "skopeo", "htpasswd"])
            .then(|| Self::launch(Lock::Password))
    }

    /// Asks for tokens, which a [`TokenServer`] gives to [`USER`].
    pub fn with_tokens(test: &str) -> Option<Self> {
        installed(test, &["docker-registry", "skopeo"]).then(|| Self::launch(Lock::Tokens))
    }

    /// The service of [`Self::with_tokens`].
    pub fn tokens(&self) -> &TokenServer {
        self.tokens.as_ref().expect("a registry with tokens")
    }

    /// The file that holds a blob.
    pub fn blob_file(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Every file and folder of its storage, by path.
    pub fn files(&self) -> Vec<PathBuf> {
        let (mut folders, mut files) = (vec![self.folder.path().join("data")], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                files.push(path);
            }
        }
        files.sort();
        files
    }

    fn launch(lock: Lock) -> Self {
        let mut said = String::new();
        // Another process can take the port before the registry does: then it ends, and the next
        // port is tried.
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("occystrap-registry-").tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let host = format!("127.0.0.1:{port}");
            let tokens = (lock == Lock::Tokens).then(TokenServer::start);
            let config = folder.path().join("config.yml");
            std::fs::write(&config, configuration(folder.path(), &host, lock, tokens.as_ref()))
                .unwrap();
            let log = std::fs::File::create(folder.path().join("log")).unwrap();
            let child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut registry = Self { child, folder, host, tokens };
            if registry.answers() {
                return registry;
            }
            said = std::fs::read_to_string(registry.folder.path().join("log")).unwrap();
        }
        panic!("docker-registry does not start:\n{said}");
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(&self.host).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `registry://127.0.0.1:PORT/NAME`.
    pub fn uri(&self, name: &str) -> String {
        format!("registry://{}/{name}", self.host)
    }

    /// SIGKILL: nothing more is answered, and open connections are gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Push a docker-save archive with skopeo.
    pub fn push(&self, archive: &Path, name: &str, options: &[&str]) {
        let from = format!("docker-archive:{}", archive.display());
        let to = format!("docker://{}/{name}", self.host);
        skopeo(&[&["copy", "--quiet", "--dest-tls-verify=false"], options, &[&from, &to]].concat());
    }

    /// GET a manifest, as bytes.
    pub fn manifest(&self, name: &str, reference: &str) -> Vec<u8> {
        let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.oci.image.manifest.v1+json";
        self.request("GET", &format!("/v2/{name}/manifests/{reference}"), accept, b"")
    }

    /// PUT a manifest under a tag.
    pub fn put_manifest(&self, name: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        let content_type = format!("Content-Type: {media_type}");
        self.request("PUT", &format!("/v2/{name}/manifests/{tag}"), &content_type, bytes);
    }

    /// PUT a blob.
    pub fn put_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let (digest, kind) = (Digest::of(bytes), "Content-Type: application/octet-stream");
        let (head, _) = self.exchange("POST", &format!("/v2/{name}/blobs/uploads/"), kind, b"");
        let place = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        let path = place.strip_prefix(&format!("http://{}", self.host)).unwrap_or(place);
        self.request("PUT", &format!("{path}&digest={digest}"), kind, bytes);
        digest
    }

    fn request(&self, method: &str, path: &str, header: &str, body: &[u8]) -> Vec<u8> {
        self.exchange(method, path, header, body).1
    }

    fn exchange(&self, method: &str, path: &str, header: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{header}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let (head, body) = answer.split_at(end + 4);
        let head = String::from_utf8_lossy(head).into_owned();
        assert!(head.starts_with("HTTP/1.1 20"), "{method} {path}: {head}");
        (head, body.to_vec())
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &Path, host: &str, lock: Lock, tokens: Option<&TokenServer>) -> String {
    let place = folder.display();
    let more = match lock {
        Lock::Open | Lock::Password | Lock::Tokens => "cache: {blobdescriptor: inmemory}",
        Lock::Uncached => "delete: {enabled: false}",
        Lock::Deletes => "delete: {enabled: true}",
    };
    let mut text = format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: '{place}/data'}}, {more}}}\n\
         http: {{addr: '{host}'}}\n"
    );
    if let Some(tokens) = tokens {
        let bundle = folder.join("tokens.pem");
        std::fs::write(&bundle, &tokens.certificate).unwrap();
        text += &tokens.configuration(bundle.to_str().unwrap());
    }
    if lock == Lock::Password {
        // docker-registry understands bcrypt (-B) and nothing else.
        let output =
            Command::new("htpasswd").args(["-B", "-b", "-n", USER, PASSWORD]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::write(folder.join("htpasswd"), output.stdout).unwrap();
        text += &format!("auth: {{htpasswd: {{realm: test, path: '{place}/htpasswd'}}}}\n");
    }
    text
}

/// Run skopeo to a good end, and give what it printed.
#[track_caller]
pub fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "skopeo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Passes connections on to another address, slowly.
pub struct SlowProxy {
    host: String,
    passed: Arc<AtomicUsize>,
}

impl SlowProxy {
    /// `rate` in bytes a second, for each connection.
    pub fn start(to: &str, rate: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let to = to.to_owned();
        let passed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&passed);
        // The threads end with the connections and the test binary.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If no server listens any more, the client's connection ends as well.
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let (requests, answers) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                let count = Arc::clone(&count);
                std::thread::spawn(move || pass(requests, server, usize::MAX, &|_| ()));
                std::thread::spawn(move || {
                    pass(answers, client, rate, &|bytes| {
                        count.fetch_add(bytes, Ordering::Relaxed);
                    });
                });
            }
        });
        Self { host, passed }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Until as many bytes of answers have passed.
    #[track_caller]
    pub fn wait_for(&self, bytes: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.passed.load(Ordering::Relaxed) < bytes {
            assert!(Instant::now() < deadline, "nothing passes any more");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, rate: usize, passed: &dyn Fn(usize)) {
    const STEP: Duration = Duration::from_millis(20);
    let mut piece = vec![0; (rate / 50).clamp(1, 64 * 1024)];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
        passed(read);
        if rate != usize::MAX {
            std::thread::sleep(STEP);
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}
