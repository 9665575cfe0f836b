//! Engines of other projects: Debian's dockerd, Podman and containerd, started by the tests themselves.
//!
//!     for engine in real_engine::all("what is tested") { ... }
//!
//! One of each serves the whole run, with storage, state and socket in a temporary folder; none of
//! it touches an engine of this machine. Tests use image names of their own. Where an engine is not
//! installed, or this is not root, the test says `skipped: NAME: reason`; in CI that is a failure.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;
use occystrap_net::docker::{Address, Engine as Client, Loaded};

use super::real::installed;

/// A running engine.
pub struct RealEngine {
    folder: PathBuf,
    /// For messages: `dockerd`, `podman` or `containerd`.
    pub name: &'static str,
    /// Its standard input is open as long as this process lives.
    _keeper: Child,
}

/// Runs the daemon until its own input ends, which is when the test binary has ended, in whatever
/// way; then stops it and takes its folder away. Podman leaves a mount of its overlays. A static is never dropped, and a signal does not run destructors.
const KEEPER: &str = r#"
trap '' INT TERM HUP
folder=$1; shift
"$@" >"$folder/log" 2>&1 </dev/null &
cat
kill $!; wait $!
umount "$folder/data/overlay" 2>/dev/null
rm -rf --one-file-system "$folder"
"#;

/// Returns all engines that are installed.
pub fn all(test: &str) -> Vec<&'static RealEngine> {
    [dockerd(test), podman(test)].into_iter().flatten().collect()
}

/// Docker's, whose storage copies layers, so that it starts everywhere.
pub fn dockerd(test: &str) -> Option<&'static RealEngine> {
    static ONE: OnceLock<RealEngine> = OnceLock::new();
    able(test, "dockerd").then(|| ONE.get_or_init(|| launch_dockerd("vfs")))
}

fn launch_dockerd(storage: &str) -> RealEngine {
    RealEngine::launch("dockerd", |folder| {
        let mut arguments: Vec<String> =
            ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none"]
                .map(str::to_owned)
                .into();
        arguments.push(format!("--storage-driver={storage}"));
        for (option, name) in [("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid")] {
            arguments.push(format!("--{option}={folder}/{name}"));
        }
        arguments.push(format!("--host=unix://{folder}/engine.sock"));
        arguments
    })
}

/// Podman's, which speaks Docker's language, with the same storage.
pub fn podman(test: &str) -> Option<&'static RealEngine> {
    static ONE: OnceLock<RealEngine> = OnceLock::new();
    able(test, "podman").then(|| ONE.get_or_init(|| launch_podman("vfs")))
}

fn launch_podman(storage: &str) -> RealEngine {
    RealEngine::launch("podman", |folder| {
        let mut arguments = vec!["podman".to_owned(), format!("--storage-driver={storage}")];
        for (option, name) in [("root", "data"), ("runroot", "run"), ("tmpdir", "tmp")] {
            arguments.push(format!("--{option}={folder}/{name}"));
        }
        arguments.extend(["system", "service", "--time=0"].map(str::to_owned));
        arguments.push(format!("unix://{folder}/engine.sock"));
        arguments
    })
}

/// Returns dockerd, Podman and containerd with the storage that users have, which is overlayfs. Empty if one of them
/// cannot be started here.
pub fn all_with_overlayfs(test: &str) -> &'static [RealEngine] {
    static ALL: OnceLock<Vec<RealEngine>> = OnceLock::new();
    if !["dockerd", "podman"].iter().all(|program| able(test, program))
        || !installed(test, &["containerd", "ctr"])
    {
        return &[];
    }
    ALL.get_or_init(|| {
        vec![launch_dockerd("overlay2"), launch_podman("overlay"), launch_containerd()]
    })
}

fn launch_containerd() -> RealEngine {
    RealEngine::launch("containerd", |folder| {
        let settings = format!(
            "version = 2\nroot = '{folder}/data'\nstate = '{folder}/run'\n\
             disabled_plugins = ['io.containerd.grpc.v1.cri']\n[grpc]\naddress = '{folder}/engine.sock'\n"
        );
        std::fs::write(format!("{folder}/containerd.toml"), settings).unwrap();
        ["containerd".to_owned(), "--config".to_owned(), format!("{folder}/containerd.toml")].into()
    })
}

fn able(test: &str, program: &str) -> bool {
    if !installed(test, &[program]) {
        return false;
    }
    if rustix::process::geteuid().is_root() {
        return true;
    }
    super::real::skip(test, &format!("{program} needs root"));
    false
}

impl RealEngine {
    fn launch(name: &'static str, arguments: impl Fn(&str) -> Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("occystrap-{name}-")).tempdir();
        let folder = folder.unwrap().keep();
        // Podman's locks are in files, so that none is left in shared memory.
        let settings = "[engine]\nlock_type = \"file\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n";
        std::fs::write(folder.join("containers.conf"), settings).unwrap();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .args(arguments(folder.to_str().unwrap()))
            .env("HOME", &folder)
            .env("CONTAINERS_CONF", folder.join("containers.conf"))
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while std::os::unix::net::UnixStream::connect(folder.join("engine.sock")).is_err() {
            let gone = keeper.try_wait().unwrap();
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(gone.is_none() && Instant::now() < until, "{name} does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { folder, name, _keeper: keeper }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("engine.sock")
    }

    /// `docker://NAME?socket=PATH`.
    pub fn uri(&self, name: &str) -> String {
        format!("docker://{name}?socket={}", self.socket().display())
    }

    /// Our own client.
    pub fn client(&self) -> Client {
        Client::new(&Address::Unix(self.socket()), &Cancel::default()).unwrap()
    }

    /// Loads an archive and unpacks its images, with the engine's own client. Returns what the client says if that
    /// fails.
    pub fn import(&self, archive: &Path) -> std::result::Result<(), String> {
        if self.name != "containerd" {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
            let loaded = runtime.block_on(self.load(archive));
            return loaded.map(drop).map_err(|error| error.to_string());
        }
        let output = Command::new("ctr")
            .arg("--address")
            .arg(self.socket())
            .args(["images", "import"])
            .arg(archive)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Loads an archive, in pieces.
    pub async fn load(&self, archive: &Path) -> Result<Loaded> {
        let mut load = self.client().load(&tokio::runtime::Handle::current());
        let archive = Bytes::from(std::fs::read(archive).unwrap());
        for at in (0..archive.len()).step_by(100_000) {
            load.write(archive.slice(at..archive.len().min(at + 100_000))).await?;
        }
        load.finish().await
    }
}
