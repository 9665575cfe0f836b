//! `exclude:pattern=GLOB[,pattern=GLOB]...`: drops files that match.
//!
//! - A directory that matches is dropped with everything in it. The root stays.
//! - A hard link to a dropped file stays if its own name does not match. The first such link of the layer becomes the
//!   file, and later ones lead to it (`dropped.rs`).
//! - A whiteout is dropped if the file that it hides matches, because that file is in no layer any more.
//! - A whiteout whose own name matches is dropped only if the pattern contains `.wh.`: a pattern for hidden files must not
//!   bring back deleted files.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Applied, Filter, FilterOutcome, MemberVerdict, Pass, Spec};
use occystrap_base::error::{Error, Result};
use occystrap_layer::glob::Globs;
use occystrap_layer::image::Image;
use occystrap_layer::overlay::Symlinks;
use occystrap_layer::overlay::path::folders;
use occystrap_layer::overlay::whiteout::{self, Whiteout};
use occystrap_layer::tar::Member;
use occystrap_layer::tar::member::plain;

/// Version of the meaning of patterns. It is part of the key for the layer cache, because another meaning makes another
/// layer.
const MEANING: u32 = 4;

/// The filter `exclude`.
pub struct Exclude {
    globs: Globs,
}

impl Exclude {
    /// Creates the filter from its options.
    pub fn new(spec: &Spec) -> Result<Self> {
        spec.only(&["pattern"])?;
        let patterns = spec.all("pattern");
        if patterns.iter().all(|pattern| pattern.is_empty()) {
            return Err(spec.error("a pattern is missing").hint("such as exclude:pattern=*.pyc"));
        }
        let globs = Globs::new(patterns).map_err(|why| {
            spec.error(why).hint("write [[] for a literal bracket, [{] for a literal brace")
        })?;
        Ok(Self { globs })
    }
}

impl Filter for Exclude {
    fn key(&self) -> Option<String> {
        let mut patterns = self.globs.patterns().to_vec();
        patterns.sort();
        patterns.dedup();
        Some(format!("exclude {MEANING} {patterns:?}"))
    }

    fn begin<'a>(&'a self, image: &'a Image) -> Box<dyn Applied + 'a> {
        let used = self.globs.patterns().iter().map(|_| AtomicBool::new(false)).collect();
        Box::new(Excluding { globs: &self.globs, used, image })
    }
}

/// The filter at work on one image.
struct Excluding<'a> {
    globs: &'a Globs,
    /// By pattern, whether it has matched something.
    used: Vec<AtomicBool>,
    image: &'a Image,
}

impl Applied for Excluding<'_> {
    fn pass(&self, _index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(ExcludingFrom { image: self, symlinks: Symlinks::default() })
    }

    fn end(&self, outcome: &FilterOutcome<'_>) -> Result<()> {
        if outcome.sizes.contains(&None) {
            // A pattern may match in a layer that was not read.
            return Ok(());
        }
        for (pattern, used) in self.globs.patterns().iter().zip(&self.used) {
            if !used.load(Ordering::Relaxed) {
                let name = outcome.context.called(&self.image.name);
                let why = if pattern.ends_with('/') { ": no name ends with a slash" } else { "" };
                let line = format!("exclude: '{pattern}' matches nothing in {name}{why}");
                outcome.context.warnings.say(&line);
            }
        }
        Ok(())
    }
}

impl Excluding<'_> {
    /// Returns whether a pattern for which `counts` is true matches a name from the root, or a directory above it.
    fn matches(&self, plain: &[u8], counts: impl Fn(&str) -> bool) -> bool {
        if plain.is_empty() {
            return false;
        }
        folders(plain).chain([plain]).any(|path| {
            let matching = self.globs.matches(path).into_iter();
            let matching = matching.filter(|index| counts(&self.globs.patterns()[*index]));
            matching.map(|index| self.used[index].store(true, Ordering::Relaxed)).count() > 0
        })
    }
}

/// The filter at work on one layer.
struct ExcludingFrom<'a> {
    image: &'a Excluding<'a>,
    symlinks: Symlinks,
}

impl ExcludingFrom<'_> {
    /// Returns whether a member of this name is dropped.
    fn is_dropped(&self, path: &[u8]) -> bool {
        match Whiteout::of(path) {
            Some(Whiteout::Of(hidden) | Whiteout::Opaque(hidden)) => {
                self.image.matches(&hidden, |_| true)
                    || self.image.matches(path, |pattern| pattern.contains(whiteout::PREFIX))
            }
            None => self.image.matches(path, |_| true),
        }
    }
}

impl Pass for ExcludingFrom<'_> {
    fn member(&mut self, member: &mut Member) -> Result<MemberVerdict> {
        let path = member.plain_path();
        self.symlinks.see(&path, member).ok_or_else(|| {
            Error::source("exclude: a layer has more symbolic links than any image needs")
        })?;
        // Readers that unpack the layer follow its symbolic links, so that the name after following them counts as well.
        let has_links = !self.symlinks.is_empty();
        let is_dropped =
            self.is_dropped(&path) || (has_links && self.is_dropped(&self.symlinks.follow(&path)));
        Ok(if is_dropped { MemberVerdict::Drop } else { MemberVerdict::Same })
    }

    fn drops(&self, path: &[u8]) -> Option<Vec<u8>> {
        let names = [plain(path), self.symlinks.follow(path)];
        names.into_iter().find(|name| self.image.matches(name, |_| true))
    }
}
