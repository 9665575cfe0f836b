//! An object at a destination that must be unchanged after something failed.

use std::fmt::Write as _;

use super::cli::{Ran, Sandbox, Tree};
use super::image::{Pack, TestImage};
use super::shape;

/// A sandbox whose destinations `out` and `out.tar` hold an image. Keeps a transcript of what was
/// said, for a snapshot.
pub struct Bystander {
    pub sandbox: Sandbox,
    pub transcript: String,
    before: [Tree; 2],
}

impl Bystander {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        shape::legacy(&[&TestImage::tiny("old:1")], Pack::Gzip).write(&sandbox.path("old.tar"));
        for to in [sandbox.uri("dir", "out"), sandbox.uri("tar", "out.tar")] {
            sandbox.process(&sandbox.uri("tar", "old.tar"), &to, &[]).verified();
        }
        let before = ["out", "out.tar"].map(|name| sandbox.tree(name));
        Self { sandbox, transcript: String::new(), before }
    }

    /// An archive is refused by both outputs, and nothing is touched.
    #[track_caller]
    pub fn refuses(&mut self, what: &str, archive: &[u8]) {
        std::fs::write(self.sandbox.path("in.tar"), archive).unwrap();
        let source = self.sandbox.uri("tar", "in.tar");
        self.refuses_source(what, &source, &[], || ());
    }

    /// A source is refused by both outputs, over what is there and in a new folder, in the same
    /// words, and nothing is touched. `again` is called before each.
    #[track_caller]
    pub fn refuses_source(&mut self, what: &str, source: &str, more: &[&str], again: impl Fn()) {
        let mut texts = Vec::new();
        for (scheme, name) in [("dir", "out"), ("tar", "out.tar"), ("dir", "new/folder")] {
            again();
            let said = self.sandbox.process(source, &self.sandbox.uri(scheme, name), more);
            texts.push(self.failed(what, &said));
        }
        texts.dedup();
        let [text] = texts.as_slice() else { panic!("{what}: {texts:#?}") };
        writeln!(self.transcript, "## {what}\n{text}\n").unwrap();
    }

    /// A run ended with exit code 1, one error of one line, at most one hint, and a summary; and it
    /// touched nothing. Returns error and hint.
    #[track_caller]
    pub fn failed(&self, what: &str, said: &Ran) -> String {
        assert_eq!(said.code, 1, "{what}: {}", said.stderr);
        assert_eq!(said.stdout, "", "{what}");
        self.untouched(what);
        let text = self.sandbox.redact(&said.stderr);
        let (error, summary) = text.trim_end().rsplit_once('\n').unwrap_or((&text, ""));
        assert!(summary.starts_with("Summary: 0/1 images, 0 layers, 0 B, [s]"), "{what}: {text}");
        assert!(summary.ends_with(", 0/1 verified"), "{what}: {text}");
        assert!(error.lines().count() <= 2 && error.starts_with("error: "), "{what}: {text}");
        error.to_owned()
    }

    /// Everything is as it was, and nothing else is there.
    #[track_caller]
    pub fn untouched(&self, what: &str) {
        let now = ["out", "out.tar"].map(|name| self.sandbox.tree(name));
        assert_eq!(now, self.before, "{what}");
        assert!(!self.sandbox.path("new").exists(), "{what}: folders made for nothing were left");
        self.sandbox.assert_clean();
    }
}
