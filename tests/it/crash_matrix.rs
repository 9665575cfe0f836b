//! Every system call of a commit, with a kill before it and with an error instead of it: a reader finds the old state or
//! the new state, and the next run leaves only the new one.

use std::collections::BTreeMap;
use std::path::Path;

use occystrap_base::error::Error;
use occystrap_base::oci::{Digest, PlatformRequest};
use occystrap_images::source::Source;
use occystrap_net::uri::Uri;

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::context::context;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::real::installed;
use crate::support::shape;
use crate::support::traced::{CHANGES, Call, calls, under_strace};

/// Names of images, and the digests of their configs.
type Images = BTreeMap<String, Digest>;

/// A destination in a sandbox, with a template of its old state.
struct Stage {
    sandbox: Sandbox,
    scheme: &'static str,
    /// Below `work`.
    path: &'static str,
    options: &'static str,
    more: &'static [&'static str],
    before: Tree,
    after: Tree,
    /// The states that readers may find: the old images, the new ones.
    images: [Images; 2],
    right: Images,
}

/// `dir` with one manifest keeps no two images: between the two, readers find neither.
fn is_one_at_a_time(stage: &Stage) -> bool {
    stage.scheme == "dir" && stage.options.is_empty()
}

impl Stage {
    fn new(scheme: &'static str, path: &'static str, options: &'static str, exists: bool) -> Self {
        let sandbox = Sandbox::new();
        let shared = tar(&[("etc/os-release", b"in both")]);
        let image = |name: &str| {
            let own = tar(&[("etc/motd", name.as_bytes())]);
            TestImage::with_layers(name, vec![shared.clone(), own])
        };
        let [old, new] = [image("old:one"), image("new:two")];
        for (image, name) in [(&old, "old.tar"), (&new, "in.tar")] {
            shape::legacy(&[image], Pack::Plain).write(&sandbox.path(name));
        }
        for folder in ["template", "work"] {
            std::fs::create_dir(sandbox.path(folder)).unwrap();
        }
        let mut stage = Self {
            sandbox,
            scheme,
            path,
            options,
            more: &[],
            before: Tree::new(),
            after: Tree::new(),
            images: [Images::new(), Images::new()],
            right: [&old, &new].map(|image| (image.name.clone(), image.id())).into(),
        };
        if exists {
            let to = stage.uri("template");
            stage.sandbox.process(&stage.sandbox.uri("tar", "old.tar"), &to, &[]).verified();
        }
        stage.reset();
        stage.before = stage.tree();
        stage.images[0] = stage.read();
        stage.run(&[]).verified();
        stage.after = stage.tree();
        stage.images[1] = stage.read();
        assert_eq!(stage.images[1].get("new:two"), Some(&new.id()));
        stage
    }

    fn uri(&self, folder: &str) -> String {
        self.sandbox.uri(self.scheme, &format!("{folder}/{}{}", self.path, self.options))
    }

    fn reset(&self) {
        std::fs::remove_dir_all(self.sandbox.path("work")).unwrap();
        copy(&self.sandbox.path("template"), &self.sandbox.path("work"));
    }

    fn tree(&self) -> Tree {
        self.sandbox.tree("work")
    }

    /// Moves the new image, with faults.
    fn run(&self, injections: &[&str]) -> Ran {
        let (from, to) = (self.sandbox.uri("tar", "in.tar"), self.uri("work"));
        let arguments = [&["process", &from, &to][..], self.more].concat();
        match injections.is_empty() {
            true => self.sandbox.run(&arguments),
            false => Ran::of(under_strace(&self.sandbox, &arguments, injections)),
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.reset();
        let (from, to) = (self.sandbox.uri("tar", "in.tar"), self.uri("work"));
        let arguments = [&["process", &from, &to][..], self.more].concat();
        // A missing directory is looked for from below.
        let name = self.sandbox.path("work").join(self.path).display().to_string();
        let calls = calls(&self.sandbox, &arguments, &name);
        assert_eq!(self.tree(), self.after);
        assert!(calls.len() > 10, "{calls:?}");
        calls
    }

    /// Returns the images that the sources of occystrap find.
    fn read(&self) -> Images {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let uri = self.sandbox.uri(self.scheme, &format!("work/{}", self.path));
        let no_client = |_: &Uri| Err(Error::usage("no registry"));
        let source =
            Source::parse(&Uri::parse(&uri).unwrap(), &PlatformRequest::default(), no_client);
        // If nothing is there, no image is found.
        let images = source.unwrap().open(&context(&runtime)).unwrap_or_default();
        images.into_iter().map(|image| (image.name.to_string(), image.id)).collect()
    }

    /// Checks that the destination has the old state or the new one, as far as the format has states.
    #[track_caller]
    fn is_old_or_new(&self, what: &str) {
        let found = self.read();
        let state: Tree = self.tree().into_iter().filter(|(name, _)| !is_temporary(name)).collect();
        if is_one_at_a_time(self) {
            let wrong = found.iter().find(|(name, id)| self.right.get(*name) != Some(*id));
            assert_eq!(wrong, None, "{what}: a name leads to another image");
            self.no_name_is_wrong(what);
        } else {
            assert!(self.images.contains(&found), "{what}: {found:?}");
        }
        if state == self.after || self.before.is_empty() {
            assert!(state == self.after || state.is_empty(), "{what}: {state:#?}");
            return;
        }
        for (path, content) in &self.before {
            // Checksums of files that are there, and that no name leads to yet, do no harm.
            let shared =
                is_one_at_a_time(self) && path.ends_with(".json") || path.ends_with("/SHA256SUMS");
            assert!(state.get(path) == Some(content) || shared, "{what}: '{path}' has changed");
        }
        for path in state.keys() {
            let known = self.before.contains_key(path) || self.after.contains_key(path);
            assert!(known, "{what}: '{path}' is of neither state");
        }
    }

    /// Checks that catalog and manifest give an image the same name: some readers do not compare them.
    #[track_caller]
    fn no_name_is_wrong(&self, what: &str) {
        let folder = self.sandbox.path("work").join(self.path);
        let read = |name: &str| -> serde_json::Value {
            let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|_| b"{}".to_vec());
            serde_json::from_slice(&bytes).unwrap()
        };
        for (repository, tags) in read("catalog.json").as_object().unwrap() {
            for (tag, manifest) in tags.as_object().unwrap() {
                let own = &read(manifest.as_str().unwrap())[0]["RepoTags"][0];
                assert_eq!(own, &format!("{repository}:{tag}"), "{what}");
            }
        }
    }

    /// The next run removes what was left, and its result is that of an undisturbed one.
    #[track_caller]
    fn next_run_cleans(&self, what: &str) {
        let said = self.run(&[]);
        assert_eq!(said.code, 0, "{what}: {}", said.stderr);
        assert_eq!(self.tree(), self.after, "{what}");
    }

    /// A kill before every call that changes something.
    fn kills(&self) {
        let calls = self.calls();
        for call in calls.iter().filter(|call| CHANGES.contains(&call.name.as_str())) {
            assert!(self.is_killed(&[], call), "{call:?} was not reached");
        }
    }

    /// Runs without the exchange of names: other calls are made than in the run that was counted.
    fn kills_without_exchange(&self) {
        let mut killed = 0;
        for name in CHANGES {
            let call = |number| Call { name: name.to_owned(), number };
            let is_killed = |call: &Call| self.is_killed(&["inject=renameat2:error=EINVAL"], call);
            killed += (1..).map(call).take_while(is_killed).count();
        }
        assert!(killed > 10, "{killed}");
    }

    /// Kills a run before a call, and looks at what is left. Whether the call was reached.
    fn is_killed(&self, also: &[&str], call: &Call) -> bool {
        self.reset();
        let kill = call.inject("signal=SIGKILL");
        let what = format!("{} {kill}", self.scheme);
        // The last injection for a call is the one that counts.
        let said = self.run(&[also, &[kill.as_str()]].concat());
        if said.code != 137 {
            said.verified();
            return false;
        }
        self.is_old_or_new(&what);
        self.next_run_cleans(&what);
        true
    }

    /// An error in the place of every call.
    fn errors(&self) {
        for call in self.calls() {
            let errors: &[&str] = match call.name.as_str() {
                "openat" | "openat2" => &["EMFILE", "ENOSPC"],
                "linkat" | "renameat" | "renameat2" | "mkdirat" | "pwrite64" => &["ENOSPC", "EIO"],
                _ => &["EIO"],
            };
            for error in errors {
                self.reset();
                let fault = call.inject(&format!("error={error}"));
                let said = self.run(&[&fault]);
                let what = format!("{} {fault}: {} {}", self.scheme, said.code, said.stderr);
                assert!(!said.stderr.contains("panicked"), "{what}");
                match said.code {
                    0 => {
                        let state = self.tree().into_iter().filter(|(name, _)| !is_temporary(name));
                        assert_eq!(state.collect::<Tree>(), self.after, "{what}");
                        self.next_run_cleans(&what);
                    }
                    1 => {
                        assert!(said.stderr.contains("error: "), "{what}");
                        assert_eq!(self.tree(), self.before, "{what}");
                    }
                    _ => panic!("{what}"),
                }
            }
        }
    }
}

fn is_temporary(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with(".occystrap-"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}

fn has_strace(test: &str) -> bool {
    installed(test, &["strace"])
}

#[test]
fn a_directory_with_one_manifest() {
    if has_strace("a_directory_with_one_manifest") {
        let stage = Stage::new("dir", "out", "", true);
        stage.kills();
        stage.errors();
    }
}

#[test]
fn a_directory_with_unique_names() {
    if has_strace("a_directory_with_unique_names") {
        let stage = Stage::new("dir", "out", "?unique_names=true&checksums=true", true);
        stage.kills();
        stage.errors();
    }
}

#[test]
fn a_layout() {
    if has_strace("a_layout") {
        let stage = Stage::new("oci-layout", "out", "", true);
        stage.kills();
        stage.errors();
    }
}

#[test]
fn an_archive() {
    if has_strace("an_archive") {
        for exists in [true, false] {
            let stage = Stage::new("tar", "out.tar", "", exists);
            stage.kills();
            stage.errors();
        }
    }
}

#[test]
fn a_directory_that_is_missing() {
    if has_strace("a_directory_that_is_missing") {
        let stage = Stage::new("dir", "deep/er/out", "", false);
        stage.kills();
        stage.errors();
    }
}

#[test]
fn a_layout_that_is_missing() {
    if has_strace("a_layout_that_is_missing") {
        let stage = Stage::new("oci-layout", "out", "", false);
        stage.kills();
        stage.errors();
    }
}

#[test]
fn a_kill_during_fsync_leaves_nothing() {
    if has_strace("a_kill_during_fsync_leaves_nothing") {
        for exists in [true, false] {
            let mut stage = Stage::new("oci-layout", "out", "", exists);
            stage.more = &["--fsync"];
            stage.kills();
        }
    }
}

#[test]
fn a_file_system_that_cannot_exchange_names() {
    if has_strace("a_file_system_that_cannot_exchange_names") {
        let stage = Stage::new("dir", "out", "", true);
        stage.kills_without_exchange();
        let stage = Stage::new("dir", "deep/out", "", false);
        stage.kills_without_exchange();
    }
}
