//! Python's occystrap 0.4.17, the predecessor: what it makes of the same image, and an independent reader of tars (Python's
//! `tarfile`).
//!
//!     let Some(python) = Python::find("what is tested") else { return };
//!
//! It is looked for where `OCCYSTRAP_PYTHON` says (a virtual environment), else where `.ci/run` and
//! `cargo xtask bench` install it. Where it is not the test says `skipped: NAME: reason` and ends; in
//! CI that is a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::cli::{Ran, Sandbox};

/// Prints a list of the members of each tar that is named: names and whatever else need not be text
/// in hexadecimal, times as they are written.
const LIST: &str = r#"
import hashlib, json, sys, tarfile
FIELDS = {'path', 'linkpath', 'size', 'uid', 'gid', 'uname', 'gname', 'mtime', 'hdrcharset'}
KINDS = {b'\0': '0', b'7': '0', b'S': '0'}
raw = lambda text: text.encode('utf-8', 'surrogateescape').hex()
def time(member):
    text = member.pax_headers.get('mtime', str(member.mtime))
    return text.rstrip('0').rstrip('.') if '.' in text else text
def describe(archive, member):
    content = archive.extractfile(member).read() if member.isreg() else b''
    device = (member.devmajor, member.devminor) if member.isdev() and not member.isfifo() else (0, 0)
    return {
        'name': raw(member.name), 'kind': KINDS.get(member.type, member.type.decode('latin-1')),
        'mode': '%o' % (member.mode & 0o7777), 'owner': [member.uid, member.gid, member.uname, member.gname],
        'mtime': time(member), 'link': raw(member.linkname) if member.islnk() or member.issym() else '',
        'device': device, 'content': [len(content), hashlib.sha256(content).hexdigest()],
        'records': {key: raw(value) for key, value in member.pax_headers.items()
                    if key not in FIELDS and not key.startswith('GNU.sparse.')},
    }
def listed(path):
    with tarfile.open(path, encoding='utf-8', errors='surrogateescape') as archive:
        return [describe(archive, member) for member in archive]
print(json.dumps([listed(path) for path in sys.argv[1:]]))
"#;

/// The predecessor in its virtual environment.
pub struct Python {
    environment: PathBuf,
}

/// A member of a layer, as Python reads it: `name`, `kind`, `mode`, `owner`, `mtime`, `link`,
/// `device`, `content` and `records`.
pub type Member = Value;

impl Python {
    pub const RELEASE: &str = "0.4.17";

    /// Finds the installation. Returns `None` if there is none, which is a failure in CI.
    pub fn find(test: &str) -> Option<Self> {
        let environment = std::env::var_os("OCCYSTRAP_PYTHON").map_or_else(usual, PathBuf::from);
        if environment.join("bin/occystrap").is_file() {
            return Some(Self { environment });
        }
        let why =
            format!("Python occystrap {} is not in '{}'", Self::RELEASE, environment.display());
        super::real::skip(test, &why);
        None
    }

    /// `occystrap process SOURCE DESTINATION -f FILTER...`, the predecessor's.
    pub fn process(
        &self,
        sandbox: &Sandbox,
        source: &str,
        destination: &str,
        filters: &[&str],
    ) -> Ran {
        let filters = filters.iter().flat_map(|filter| ["-f", filter]);
        let arguments: Vec<&str> =
            ["process", source, destination].into_iter().chain(filters).collect();
        self.run(sandbox, &arguments)
    }

    /// The predecessor with these arguments.
    pub fn run(&self, sandbox: &Sandbox, arguments: &[&str]) -> Ran {
        let mut command = Command::new(self.environment.join("bin/occystrap"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", sandbox.path("home"))
            .env("TMPDIR", sandbox.path("tmp"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        // Names of files need not be UTF-8, and it prints them as they are.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The members of tars, in order.
    #[track_caller]
    pub fn members(&self, tars: &[PathBuf]) -> Vec<Vec<Member>> {
        let mut command = Command::new(self.environment.join("bin/python"));
        let output = command.args(["-I", "-c", LIST]).args(tars).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the names that each pattern matches, by Python's `fnmatch`.
    pub fn matches(&self, patterns: &[String], names: &[String]) -> Vec<Vec<bool>> {
        const MATCH: &str = "import fnmatch, json, sys\n\
            patterns, names = json.loads(sys.argv[1])\n\
            print(json.dumps([[fnmatch.fnmatch(n, p) for n in names] for p in patterns]))";
        let mut command = Command::new(self.environment.join("bin/python"));
        let both = serde_json::json!([patterns, names]).to_string();
        let output = command.args(["-I", "-c", MATCH, &both]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The layers' members of the image in a directory, lowest layer first.
    #[track_caller]
    pub fn layers(&self, directory: &Path) -> Vec<Vec<Member>> {
        self.members(&layer_files(directory))
    }
}

/// The layers of the image in a directory, lowest first, as its manifest lists them.
#[track_caller]
pub fn layer_files(directory: &Path) -> Vec<PathBuf> {
    let list = json(&directory.join("manifest.json"));
    let layers = list[0]["Layers"].as_array().unwrap();
    layers.iter().map(|layer| directory.join(layer.as_str().unwrap())).collect()
}

/// The config of the image in a directory, and its file's name.
#[track_caller]
pub fn config(directory: &Path) -> (Value, String) {
    let list = json(&directory.join("manifest.json"));
    let name = list[0]["Config"].as_str().unwrap().to_owned();
    (json(&directory.join(&name)), name)
}

#[track_caller]
fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// In the target folder, which outlives a clone.
fn usual() -> PathBuf {
    let debug = Path::new(env!("CARGO_BIN_EXE_occystrap")).parent();
    let target = debug.and_then(Path::parent).unwrap_or(Path::new("."));
    target.join("bench").join(format!("python-{}", Python::RELEASE))
}

/// A member's name as text, for assertions.
pub fn name(member: &Member) -> String {
    text(&member["name"])
}

/// The target of a member's link.
pub fn link(member: &Member) -> String {
    text(&member["link"])
}

fn text(hex: &Value) -> String {
    let hex = hex.as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
