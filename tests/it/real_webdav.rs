//! An image on a real WebDAV server, rclone's, by the plugin of examples/rust-webdav: written,
//! verified, read by skopeo, and damaged.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Sandbox};
use crate::support::real::{PASSWORD, USER, hello, installed, skip};

/// Path to which examples/build.sh writes the component.
fn component() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/build/webdav.wasm")
}

/// An rclone that serves a folder, and the user's home with a login for it. Killed when dropped.
struct Webdav {
    child: Child,
    folder: tempfile::TempDir,
    host: String,
    sandbox: Sandbox,
}

impl Webdav {
    /// Starts a server without a cache of its folder, or one with the default cache of five minutes.
    fn start(test: &str, forgets: bool) -> Option<Self> {
        if !installed(test, &["rclone"]) {
            return None;
        }
        if !component().is_file() {
            skip(test, "examples/build.sh rust-webdav was not run");
            return None;
        }
        let sandbox = Sandbox::new();
        let netrc = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
        std::fs::write(sandbox.path("netrc"), netrc).unwrap();
        // Another process can take the port before rclone does.
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("occystrap-webdav-").tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let host = format!("127.0.0.1:{port}");
            let mut child = Command::new("rclone")
                .args(["serve", "webdav", "--addr", &host, "--user", USER, "--pass", PASSWORD])
                .args(["--dir-cache-time", if forgets { "0s" } else { "5m" }])
                .args(["--config", "/dev/null", "--cache-dir"])
                .arg(sandbox.path("rclone"))
                .arg(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(&host).is_ok() {
                    return Some(Self { child, folder, host, sandbox });
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("rclone does not start");
    }

    fn run(&self, arguments: &[&str], more: &[&str]) -> Ran {
        let (plugin, origin) = (component().display().to_string(), format!("http://{}", self.host));
        let given = ["--plugin", &plugin, "--allow-net", &origin, "--retries", "0"];
        let login = ["--netrc-file", "netrc"];
        self.sandbox.run(&[arguments, &given, &login, more].concat())
    }

    fn process(&self, source: &str, more: &[&str]) -> Ran {
        self.run(&["process", source, &format!("webdav://{}/app", self.host)], more)
    }

    /// Returns the path of a file below the folder that rclone serves.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("app").join(name)
    }
}

impl Drop for Webdav {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_image_lands_on_rclone_and_is_read_by_others() {
    let Some(server) = Webdav::start("an image lands on rclone", false) else { return };
    let source = format!("tar://{}", hello().display());
    let said = server.process(&source, &["--verify=full", "--receipt", "r.json", "--debug"]);
    said.verified();
    assert!(!said.stderr.contains(PASSWORD));
    let receipt = std::fs::read_to_string(server.sandbox.path("r.json")).unwrap();
    assert!(!receipt.contains(PASSWORD) && !receipt.contains(USER));
    // Once more, over what is there.
    server.process(&source, &["--verify=full"]).verified();
    for more in [&["--fast"][..], &[], &["--untrusted"]] {
        server.run(&["verify", "r.json"], more).exits(0).says("1/1 verified");
    }
    // Other tools read it as an OCI image layout.
    let layout = format!("oci-layout://{}", server.path("").display());
    server.sandbox.run(&["check", layout.trim_end_matches('/')]).exits(0);
    if installed("skopeo reads what lands on rclone", &["skopeo"]) {
        let from =
            format!("oci:{}:1.0", server.path("").display().to_string().trim_end_matches('/'));
        let output = Command::new("skopeo").args(["inspect", "--config", &from]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn damage_on_rclone_is_found() {
    let Some(mut server) = Webdav::start("damage on rclone is found", true) else { return };
    let source = format!("tar://{}", hello().display());
    server.process(&source, &["--receipt", "r.json"]).verified();
    let blobs = server.path("blobs/sha256");
    let files = std::fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.chain([server.path("index.json")]).collect();
    files.sort();
    assert_eq!(files.len(), 6);
    for file in &files {
        let content = std::fs::read(file).unwrap();
        let name = file.display();
        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 0x20;
        std::fs::write(file, flipped).unwrap();
        for more in [&[][..], &["--untrusted"]] {
            let said = server.run(&["verify", "r.json"], more);
            assert_eq!(said.code, 1, "{name} flipped: {}{}", said.stdout, said.stderr);
        }
        for (what, cut) in [("cut", Some(&content[..content.len() - 1])), ("gone", None)] {
            match cut {
                Some(cut) => std::fs::write(file, cut).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
            for more in [&["--fast"][..], &[], &["--untrusted"]] {
                let said = server.run(&["verify", "r.json"], more);
                assert_eq!(said.code, 1, "{name} {what} {more:?}: {}{}", said.stdout, said.stderr);
            }
        }
        std::fs::write(file, content).unwrap();
    }
    server.run(&["verify", "r.json"], &[]).exits(0);
    // The server refuses the login.
    std::fs::write(server.sandbox.path("netrc"), "").unwrap();
    for more in [&["--fast"][..], &[], &["--untrusted"]] {
        server.run(&["verify", "r.json"], more).exits(3).says("1 UNCONFIRMED");
    }
    server.process(&source, &[]).exits(1).says("401").says("a login for it is looked for");
    // No server answers.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    for more in [&["--fast"][..], &[], &["--untrusted"]] {
        server.run(&["verify", "r.json"], more).exits(3).says("1 UNCONFIRMED");
    }
}

/// rclone answers HEAD from what it remembers, and breaks off where there is less: nothing wrong was
/// seen, and nothing is verified.
#[test]
fn the_cache_of_rclone_is_not_believed() {
    let Some(server) = Webdav::start("what rclone remembers", false) else { return };
    let source = format!("tar://{}", hello().display());
    server.process(&source, &["--receipt", "r.json"]).verified();
    let file = server.path("index.json");
    let content = std::fs::read(&file).unwrap();
    std::fs::write(&file, &content[..content.len() - 1]).unwrap();
    for more in [&["--fast"][..], &[], &["--untrusted"]] {
        let said = server.run(&["verify", "r.json"], more);
        assert_ne!(said.code, 0, "cut {more:?}: {}{}", said.stdout, said.stderr);
    }
    std::fs::remove_file(&file).unwrap();
    for more in [&["--fast"][..], &[], &["--untrusted"]] {
        let said = server.run(&["verify", "r.json"], more);
        assert_ne!(said.code, 0, "gone {more:?}: {}{}", said.stdout, said.stderr);
    }
}
