//! Random images with symbolic links, hard links, whiteouts and opaque directories: what two models of engines make of an
//! image stays the same under filters that rewrite layers, or the filter refuses the image. The models share no code with the
//! filters.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::made::{ImageOf, layers as members_of, results};
use super::merged::member;
use super::tar_members::Listed;
use super::{Filters, no_source};
use crate::filter::squash::Squash;
use crate::filter::{Filter, FilterInputs, Spec};
use occystrap_base::error::Result;
use occystrap_layer::tar::{Member, MemberKind};

/// How an engine unpacks a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Into the file system of the layers below, whose links it follows, as umoci does.
    Follows,
    /// Into a folder of its own, which is put over the layers below, as overlayfs does for Docker and Podman.
    Stacks,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Folder,
    Symlink(String),
    /// A file, by its number.
    File(usize),
}

/// A file system, and the layer that put each path there.
#[derive(Default, Clone)]
struct FileSystem {
    nodes: BTreeMap<String, (Node, usize)>,
    /// Content and mode of each file.
    files: Vec<(String, u32)>,
}

/// What a user sees: each path with its content, its mode, and the first of its names.
pub type Seen = BTreeMap<String, String>;

/// Images that are tried without `PROPTEST_CASES`. They take ten seconds.
const SEEDED: u32 = 200;

/// Most links that Linux follows for one path.
const MOST_LINKS: usize = 40;

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !["", "."].contains(part)).collect()
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn is_below(folder: &str, path: &str) -> bool {
    !path.is_empty()
        && (folder.is_empty()
            || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

impl FileSystem {
    /// Follows the links of a folder; `None` if they lead in a circle or through a file.
    fn folder(&self, path: &str) -> Option<String> {
        let mut left: Vec<String> = parts(path).into_iter().rev().map(str::to_owned).collect();
        let (mut done, mut links) = (String::new(), 0);
        while let Some(part) = left.pop() {
            if part == ".." {
                done = done.rsplit_once('/').map_or(String::new(), |(above, _)| above.to_owned());
                continue;
            }
            let at = join(&done, &part);
            match self.nodes.get(&at) {
                Some((Node::Symlink(to), _)) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return None;
                    }
                    if to.starts_with('/') {
                        done.clear();
                    }
                    left.extend(parts(to).into_iter().rev().map(str::to_owned));
                }
                Some((Node::File(_), _)) => return None,
                Some((Node::Folder, _)) | None => done = at,
            }
        }
        Some(done)
    }

    /// Returns the place of a name whose folders are followed.
    fn place(&self, path: &str) -> Option<String> {
        let (name, above) =
            parts(path).split_last().map(|(name, above)| (*name, above.join("/")))?;
        Some(join(&self.folder(&above)?, name))
    }

    fn remove(&mut self, path: &str, itself: bool, older_than: usize) {
        let gone = |at: &String| (itself && at == path) || is_below(path, at);
        self.nodes.retain(|at, (_, layer)| !gone(at) || *layer >= older_than);
        // A folder stays that has something newer in it.
        let kept: Vec<String> =
            self.nodes.keys().filter(|at| is_below(path, at)).cloned().collect();
        kept.iter().for_each(|at| self.add_folders(at, older_than));
    }

    fn add_folders(&mut self, path: &str, layer: usize) {
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert((Node::Folder, layer));
        }
    }

    fn put(&mut self, path: String, node: Node, layer: usize) {
        self.add_folders(&path, layer);
        if node == Node::Folder && self.nodes.get(&path).is_some_and(|(it, _)| *it == Node::Folder)
        {
            self.nodes.insert(path, (node, layer));
            return;
        }
        self.remove(&path, true, usize::MAX);
        self.nodes.insert(path, (node, layer));
    }

    /// Adds a member that is no whiteout. A link to what is not here leads to `lower`.
    fn unpack(
        &mut self,
        (member, content): &(Member, Vec<u8>),
        layer: usize,
        lower: &Self,
    ) -> Option<()> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let written = text(&member.path);
        if parts(&written).is_empty() {
            return Some(());
        }
        let path = self.place(&written)?;
        let node = match member.kind {
            MemberKind::Directory => Node::Folder,
            MemberKind::Symlink => Node::Symlink(text(&member.link)),
            MemberKind::HardLink => {
                let target = self.place(&text(&member.link))?;
                let found = self.nodes.get(&target).or_else(|| lower.nodes.get(&target))?;
                match &found.0 {
                    Node::Folder => return None,
                    _ if target == path => return None,
                    Node::File(file) => self.files[*file].1 = member.mode,
                    Node::Symlink(_) => {}
                }
                found.0.clone()
            }
            _ => {
                self.files.push((text(content), member.mode));
                Node::File(self.files.len() - 1)
            }
        };
        self.put(path, node, layer);
        Some(())
    }

    /// Applies a layer; `None` if the engine cannot.
    fn apply(&mut self, engine: Engine, listed: &Listed, layer: usize) -> Option<()> {
        let whiteout = |member: &Member| {
            let path = String::from_utf8_lossy(&member.path).into_owned();
            let all = parts(&path);
            let (name, above) = all.split_last()?;
            Some((above.join("/"), name.strip_prefix(".wh.")?.to_owned()))
        };
        if engine == Engine::Follows {
            for one in listed {
                match whiteout(&one.0) {
                    Some((above, name)) => {
                        let folder = self.folder(&above)?;
                        match name.as_str() {
                            ".wh..opq" => self.remove(&folder, false, layer),
                            _ => self.remove(&join(&folder, &name), true, layer),
                        }
                    }
                    None => self.unpack(one, layer, &Self::default())?,
                }
            }
            return Some(());
        }
        // Whiteouts are about the layers below.
        let mut own = Self { nodes: BTreeMap::new(), files: std::mem::take(&mut self.files) };
        for one in listed {
            match whiteout(&one.0) {
                Some(_) => {}
                None => own.unpack(one, layer, self)?,
            }
        }
        for (member, _) in listed {
            let Some((above, name)) = whiteout(member) else { continue };
            let folder = own.folder(&above)?;
            match name.as_str() {
                ".wh..opq" => self.remove(&folder, false, layer),
                _ => self.remove(&join(&folder, &name), true, layer),
            }
        }
        self.files = own.files;
        for (path, (node, _)) in own.nodes {
            self.put(path, node, layer);
        }
        Some(())
    }

    fn seen(&self) -> Seen {
        let mut first: BTreeMap<usize, &String> = BTreeMap::new();
        for (path, (node, _)) in &self.nodes {
            if let Node::File(file) = node {
                first.entry(*file).or_insert(path);
            }
        }
        let line = |(path, (node, _)): (&'_ String, &(Node, usize))| match node {
            Node::Folder => "folder".to_owned(),
            Node::Symlink(to) => format!("to {to}"),
            Node::File(file) => {
                let (content, mode) = &self.files[*file];
                format!("{content} {mode:o} {}", first.get(file).map_or(path, |first| first))
            }
        };
        self.nodes.iter().map(|entry| (entry.0.clone(), line(entry))).collect()
    }
}

/// Returns what an engine makes of layers; `None` if it cannot unpack them.
pub fn unpacked(engine: Engine, layers: &[Listed]) -> Option<Seen> {
    let mut all = FileSystem::default();
    for (index, listed) in layers.iter().enumerate() {
        all.apply(engine, listed, index)?;
    }
    Some(all.seen())
}

/// Generates members, and links to folders, which the others lead through. All names have one mode: builders write the
/// same metadata for all names of a file.
fn any_member() -> impl Strategy<Value = (Member, Vec<u8>)> {
    let link = ("[abc]|[ab]/[ab]", "(|/|\\.\\./)[abc](|/[ab])").prop_map(|(path, to)| {
        (Member { link: to.into(), ..Member::new(MemberKind::Symlink, path.as_str()) }, vec![])
    });
    prop_oneof![5 => member(), 2 => link]
}

/// Returns layers that both engines can unpack, without the members that they cannot.
fn sound(layers: &[Listed]) -> Vec<Listed> {
    let mut sound: Vec<Listed> = Vec::new();
    for layer in layers {
        sound.push(Vec::new());
        for member in layer {
            sound.last_mut().unwrap().push(member.clone());
            let can = |engine| unpacked(engine, &sound).is_some();
            if !can(Engine::Follows) {
                sound.last_mut().unwrap().pop();
            }
        }
    }
    sound
}

/// Returns what a filter makes of an image.
fn filtered(text: &str, image: &ImageOf) -> Result<Vec<Listed>> {
    if text.starts_with("squash") {
        let squash = Squash::new(&Spec::parse(text, &|_| None)?)?;
        let made = image.reshaped(squash.reshapes().unwrap())?;
        return Ok(members_of(&made));
    }
    let results = results();
    let inputs = FilterInputs { environment: &|_| None, results: &results, source: &no_source };
    let filters = Filters::parse(&[text.to_owned()], &inputs)?;
    Ok(members_of(&image.filtered(&filters)?))
}

fn check(layers: &[Listed], text: &str) -> std::result::Result<bool, TestCaseError> {
    let image = ImageOf::new(layers.to_vec());
    let made = match filtered(text, &image) {
        Ok(made) => made,
        Err(error) => {
            let said = error.to_string();
            let known = [
                "through",
                "below",
                "as a directory and as",
                "as a hard link",
                "replaces or hides",
                "after it was something else",
                "comes before",
                "are one place",
                "has 1 layers",
                "has 2 layers",
                "root is not",
                "lead to each other",
                "out of the image",
            ];
            prop_assert!(known.iter().any(|part| said.contains(part)), "{text}: {said}");
            return Ok(false);
        }
    };
    for engine in [Engine::Follows, Engine::Stacks] {
        let Some(before) = unpacked(engine, layers) else { continue };
        let after = unpacked(engine, &made);
        let shown = |layers: &[Listed]| -> Vec<Vec<String>> {
            let one = |(member, content): &(Member, Vec<u8>)| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let Member { kind, mode, .. } = member;
                let (path, link) = (text(&member.path), text(&member.link));
                format!("{} {path} {link} {mode:o} {}", kind.name(), text(content))
            };
            layers.iter().map(|listed| listed.iter().map(one).collect()).collect()
        };
        let (old, new) = (shown(layers), shown(&made));
        prop_assert!(after.is_some(), "{text} {engine:?}: unpacks no more\n{old:#?}\n{new:#?}");
        let after = after.unwrap();
        let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differs = |path: &&&String| before.get(**path) != after.get(**path);
        let differing: Vec<_> = all.iter().filter(differs).collect();
        let differing: Vec<_> =
            differing.iter().map(|path| (path, before.get(**path), after.get(**path))).collect();
        prop_assert!(differing.is_empty(), "{text} {engine:?}: {differing:?}\n{old:#?}\n{new:#?}");
    }
    Ok(true)
}

/// Returns how many images are tried: as many random ones as `PROPTEST_CASES` says, or always the same few.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let rng_seed = if cases.is_some() { RngSeed::Random } else { RngSeed::Fixed(1) };
    let cases = cases.unwrap_or(SEEDED);
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn an_image_is_the_same_for_engines_or_is_refused(
        layers in vec(vec(any_member(), 1..7), 1..4),
        first in 2_usize..4,
    ) {
        let layers = sound(&layers);
        for text in ["canonical", "squash"] {
            check(&layers, text)?;
        }
        if layers.len() >= first {
            check(&layers, &format!("squash:from-layer={first}"))?;
            check(&layers, &format!("canonical:from-layer={first}"))?;
        }
    }
}
