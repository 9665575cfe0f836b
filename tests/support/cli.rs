//! The binary, run as a user runs it, with a home directory of its own.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use occystrap_base::oci::Digest;

/// A folder for one test: the user's home, temporary folder, and work. Gone at its end.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

/// The output of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Exit code as a shell reports it: 128 + N for signal N.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A folder's content: a line for each entry, by path; files with size and digest.
pub type Tree = BTreeMap<String, String>;

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("occystrap-test-").tempdir().unwrap();
        for name in ["home", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// A path in the sandbox.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `scheme://` and a path in the sandbox.
    pub fn uri(&self, scheme: &str, name: &str) -> String {
        format!("{scheme}://{}", self.path(name).display())
    }

    /// The binary, with nothing of this machine's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_occystrap"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            // Compiled components are shared, so that not every test compiles them again.
            .env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// `occystrap process SOURCE DESTINATION ...`.
    pub fn process(&self, source: &str, destination: &str, more: &[&str]) -> Ran {
        self.run(&[&["process", source, destination], more].concat())
    }

    /// Everything below a path. A path that is not there has nothing.
    pub fn tree(&self, name: &str) -> Tree {
        let mut tree = Tree::new();
        let root = self.path(name);
        match root.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => walk(&root, "", &mut tree),
            Ok(_) => drop(tree.insert(String::new(), describe(&root))),
            Err(_) => {}
        }
        tree
    }

    /// Checks that nothing was left in the temporary folder or in the home.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(self.tree("tmp"), Tree::new(), "temporary files were left");
        assert_eq!(self.tree("home"), Tree::new(), "the home was written to");
    }

    /// Returns the output with the sandbox as `[T]`, numbers of seconds as `[s]`, and digests cut.
    pub fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.folder.path().display().to_string(), "[T]");
        redact(&text.replace(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests"), "[tests]"))
    }
}

impl Ran {
    pub fn of(mut command: Command) -> Self {
        let busy = std::io::ErrorKind::ExecutableFileBusy;
        for _ in 0..100 {
            match command.output() {
                // Another test has started a process while a copy of the binary was open for writing, and that
                // process has the handle until it executes another program.
                Err(error) if error.kind() == busy => {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                output => return Self::ended(output.unwrap()),
            }
        }
        panic!("the program is still open for writing");
    }

    pub fn ended(output: std::process::Output) -> Self {
        let status = output.status;
        let stderr = String::from_utf8(output.stderr).unwrap();
        // The message that something takes long appears only on a busy machine.
        let said = |line: &&str| !line.starts_with("warning: compiling plugin '");
        Self {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: stderr.split_inclusive('\n').filter(said).collect(),
        }
    }

    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }

    /// Exit code 0, and the last line says that all is verified.
    #[track_caller]
    pub fn verified(&self) -> &Self {
        self.exits(0);
        let last = self.stderr.lines().last().unwrap_or_default();
        let (done, of) = last
            .rsplit_once(", ")
            .and_then(|(_, last)| last.strip_suffix(" verified"))
            .and_then(|counts| counts.split_once('/'))
            .unwrap_or_else(|| panic!("{}", self.stderr));
        assert!(done == of && done != "0", "{}", self.stderr);
        assert_eq!(self.stdout, "", "nothing but results belongs to standard output");
        self
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "'{text}' is not in: {}", self.stderr);
        self
    }

    /// Checks that a text is on standard output.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "'{text}' is not in: {}", self.stdout);
        self
    }

    /// The document of `-O json`.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

fn walk(folder: &Path, prefix: &str, tree: &mut Tree) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.symlink_metadata().unwrap().is_dir() {
            tree.insert(format!("{name}/"), "directory".into());
            walk(&path, &format!("{name}/"), tree);
        } else {
            tree.insert(name, describe(&path));
        }
    }
}

fn describe(path: &Path) -> String {
    let metadata = path.symlink_metadata().unwrap();
    if metadata.is_symlink() {
        return format!("symlink to {}", path.read_link().unwrap().display());
    }
    let bytes = std::fs::read(path).unwrap();
    format!("{} bytes {}", bytes.len(), Digest::of(&bytes))
}

/// Replaces what differs from run to run: seconds (`0.1s`, `"seconds": 0.12`) and ports of
/// 127.0.0.1. Long hexadecimal words are cut to eight digits, so that snapshots are readable.
pub fn redact(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word: &str = &rest[..rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len())
            .max(first.len_utf8())];
        let after = &rest[word.len()..];
        let fraction = after
            .strip_prefix('.')
            .map_or(0, |digits| digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
        let number = word.bytes().all(|byte| byte.is_ascii_digit());
        if number && fraction > 0 && after[1 + fraction..].starts_with("s,") {
            shown += "[s]";
            rest = &after[1 + fraction..][1..];
            continue;
        }
        if number && shown.ends_with("\"seconds\": ") {
            shown += "[s]";
            rest = if fraction > 0 { &after[1 + fraction..] } else { after };
            continue;
        }
        if number && shown.ends_with("127.0.0.1:") {
            shown += "[port]";
        } else if number && shown.ends_with("/run/containers/") {
            shown += "[uid]";
        } else if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            shown += &word[..8];
            shown += "…";
        } else {
            shown += word;
        }
        rest = after;
    }
    shown
}
