//! Plugins for tests of `plugin add`: components that differ, and the record of added plugins.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use occystrap_base::oci::Digest;

use super::cli::{Ran, Sandbox};
use super::hostile;

/// Folder of a user's plugins, below the sandbox's home.
pub const FOLDER: &str = "home/.local/share/occystrap/plugins";

/// The honest-by-default plugin for tests, under its name.
pub fn plain() -> Vec<u8> {
    std::fs::read(hostile::component()).unwrap()
}

/// Returns the same component under another name and scheme, of seven letters.
pub fn called(name: &str) -> Vec<u8> {
    assert_eq!(name.len(), "hostile".len());
    replaced(&plain(), b"hostile", name.as_bytes())
}

/// Returns a component with the same behaviour and another digest: a custom section more (WebAssembly
/// specification, 5.5.3, and the component model's `Binary.md`).
pub fn other_digest(component: &[u8]) -> Vec<u8> {
    [component, b"\0\x05\x04note"].concat()
}

/// Every occurrence replaced by as many bytes.
pub fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    assert_ne!(at, 0);
    bytes
}

impl Sandbox {
    /// A component in a file.
    pub fn component(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).display().to_string()
    }

    /// A component, added without being asked. Returns the path that it was added from.
    #[track_caller]
    pub fn add(&self, bytes: &[u8]) -> String {
        let file = self.component("added.wasm", bytes);
        self.run(&["plugin", "add", "--yes", &file]).exits(0);
        file
    }

    /// The record of what was added.
    pub fn record(&self) -> PathBuf {
        self.path(FOLDER).join("plugins.toml")
    }

    /// The component that is kept under a digest.
    pub fn kept(&self, digest: Digest) -> PathBuf {
        self.path(FOLDER).join(format!("{}.wasm", digest.hex()))
    }

    /// Changes the record as another process might.
    pub fn edit_record(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.record()).unwrap();
        assert!(text.contains(from), "'{from}' is not in {text}");
        std::fs::write(self.record(), text.replace(from, to)).unwrap();
    }

    /// Runs the binary at a terminal with typed input. Its output is `stdout`.
    pub fn at_terminal(&self, arguments: &[&str], typed: &[u8]) -> Ran {
        use std::io::{Read as _, Write as _};
        let plain = self.command(arguments);
        // `script` of util-linux opens a terminal, and passes on what it reads and what is shown.
        let mut script = Command::new("script");
        let line: Vec<String> = std::iter::once(plain.get_program())
            .chain(plain.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        script.args(["-qefc", &line.join(" "), "/dev/null"]).env_clear();
        for (name, value) in plain.get_envs() {
            script.env(name, value.unwrap());
        }
        script.env("SHELL", "/bin/sh").current_dir(self.path(""));
        let mut script = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("'script', of Debian's package bsdutils");
        let mut shown = script.stdout.take().unwrap();
        let mut stdin = script.stdin.take().unwrap();
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        let (to_user, questions) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The user types after the question, and again where nothing ends for long. The terminal stays open.
                if questions.recv().is_err() {
                    return;
                }
                while stdin.write_all(typed).and_then(|()| stdin.flush()).is_ok() {
                    let ended = questions.recv_timeout(std::time::Duration::from_secs(20));
                    if ended == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
                        return;
                    }
                    eprintln!("nothing has ended 20 s after {typed:?} was typed");
                }
            });
            let mut asked = false;
            loop {
                let read = shown.read(&mut piece).unwrap_or(0);
                if read == 0 {
                    break;
                }
                seen.extend_from_slice(&piece[..read]);
                if !asked && seen.windows(6).any(|window| window == b"[y/N] ") {
                    asked = true;
                    to_user.send(()).unwrap();
                }
            }
            drop(to_user);
        });
        let code = script.wait().unwrap().code().unwrap();
        let stdout = String::from_utf8(seen).unwrap().replace('\r', "");
        Ran { code, stdout, stderr: String::new() }
    }
}
