//! The hostile plugin, and a destination for it to attack.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::cli::{Ran, Sandbox, Tree};
use super::image::{Pack, TestImage};
use super::shape;

/// The prebuilt component; `cargo xtask plugins` makes it.
pub fn component() -> PathBuf {
    named("hostile")
}

/// One behaviour of the plugin.
pub fn named(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/hostile/{name}.wasm"))
}

/// Its bytes, with another behaviour of `describe`.
pub fn describing(behaviour: &str) -> Vec<u8> {
    let marker = b"hostile-describe=";
    let mut bytes = std::fs::read(component()).unwrap();
    let found = bytes.windows(marker.len()).position(|window| window == marker);
    let at = found.expect("the marker") + marker.len();
    let filled = format!("{behaviour:-<15}");
    bytes[at..at + 15].copy_from_slice(filled.as_bytes());
    bytes
}

/// A folder with things in it that must survive, next to things that must not be reached.
pub struct Arena {
    pub sandbox: Sandbox,
    pub transcript: String,
    before: Tree,
}

impl Arena {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
        std::fs::write(sandbox.path("secret"), "not for plugins").unwrap();
        std::fs::create_dir(sandbox.path("out")).unwrap();
        for (name, content) in [("config", "old"), ("layer-0", "old layer"), ("catalog.json", "{}")]
        {
            std::fs::write(sandbox.path("out").join(name), content).unwrap();
        }
        for (name, target) in [("link", "../secret"), ("dirlink", ".."), ("rootlink", "/")] {
            std::os::unix::fs::symlink(target, sandbox.path("out").join(name)).unwrap();
        }
        let before = sandbox.tree("");
        Self { sandbox, transcript: String::new(), before }
    }

    /// Runs the plugin with a behaviour.
    pub fn run(&self, behaviour: &str, more: &[&str]) -> Ran {
        let plugin = component().display().to_string();
        let destination = self.sandbox.uri("hostile", &format!("out?behaviour={behaviour}"));
        let options = [&["--plugin", &plugin], more].concat();
        self.sandbox.process(&self.sandbox.uri("tar", "in.tar"), &destination, &options)
    }

    /// The plugin is stopped, with one line that names it and `rule`; nothing was touched.
    #[track_caller]
    pub fn stopped(&mut self, behaviour: &str, rule: &str) {
        let said = self.run(behaviour, &[]);
        assert_eq!(said.code, 1, "{behaviour}: {}", said.stderr);
        let error = said.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains("plugin 'hostile'"), "{behaviour}: {error}");
        assert!(error.contains(rule), "{behaviour}: '{rule}' is not in: {error}");
        self.untouched(behaviour);
        let text = self.sandbox.redact(&said.stderr);
        let shown: Vec<&str> = text.lines().filter(|line| !line.starts_with("Summary")).collect();
        writeln!(self.transcript, "{behaviour}\n    {}", shown.join("\n    ")).unwrap();
    }

    /// Everything is as it was.
    #[track_caller]
    pub fn untouched(&self, what: &str) {
        assert_eq!(self.sandbox.tree(""), self.before, "{what}");
    }
}
