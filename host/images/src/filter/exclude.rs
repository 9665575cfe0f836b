//! `exclude:pattern=GLOB[,pattern=GLOB]...`: an image without the files that match.
//!
//! A directory that matches takes what is beneath it. A whiteout goes with the file that it would
//! have hidden: there is none any more, in any layer. By its own name it goes only where a pattern has
//! `.wh.` in it: a pattern for hidden files must not bring back what was deleted. The root stays.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Applied, Filter, Outcome, Pass, Spec, Verdict};
use occystrap_base::error::{Error, Result};
use occystrap_layer::glob::Globs;
use occystrap_layer::image::Image;
use occystrap_layer::overlay::Symlinks;
use occystrap_layer::overlay::path::folders;
use occystrap_layer::overlay::whiteout::{self, Whiteout};
use occystrap_layer::tar::Member;
use occystrap_layer::tar::member::plain;

/// Counts the changes of what patterns mean: a layer that was made with another meaning is another one.
const MEANING: u32 = 4;

/// The filter.
pub struct Exclude {
    globs: Globs,
}

impl Exclude {
    /// From what the user typed.
    pub fn new(spec: &Spec) -> Result<Self> {
        spec.only(&["pattern"])?;
        let patterns = spec.all("pattern");
        if patterns.iter().all(|pattern| pattern.is_empty()) {
            return Err(spec.error("a pattern is missing").hint("such as exclude:pattern=*.pyc"));
        }
        let globs = Globs::new(patterns).map_err(|why| {
            spec.error(why).hint("a bracket that stands for itself is written [[], a brace [{]")
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

struct Excluding<'a> {
    globs: &'a Globs,
    /// Which patterns have matched something.
    used: Vec<AtomicBool>,
    image: &'a Image,
}

impl Applied for Excluding<'_> {
    fn pass(&self, _index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(ExcludingFrom { image: self, symlinks: Symlinks::default() })
    }

    fn end(&self, outcome: &Outcome<'_>) -> Result<()> {
        if outcome.sizes.contains(&None) {
            // It may have matched there.
            return Ok(());
        }
        for (pattern, used) in self.globs.patterns().iter().zip(&self.used) {
            if !used.load(Ordering::Relaxed) {
                let name = &self.image.name;
                let why = if pattern.ends_with('/') { ": no name ends with a slash" } else { "" };
                tracing::warn!("exclude: '{pattern}' matches nothing in {name}{why}");
            }
        }
        Ok(())
    }
}

impl Excluding<'_> {
    /// Whether a pattern that `counts` matches a name from the root, or a directory that it is
    /// beneath.
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

/// At work on one layer.
struct ExcludingFrom<'a> {
    image: &'a Excluding<'a>,
    symlinks: Symlinks,
}

impl ExcludingFrom<'_> {
    fn goes(&self, path: &[u8]) -> bool {
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
    fn member(&mut self, member: &mut Member) -> Result<Verdict> {
        let path = member.plain_path();
        self.symlinks.see(&path, member).ok_or_else(|| {
            Error::source("exclude: a layer has more symbolic links than any image needs")
        })?;
        // Whoever unpacks it follows the links of this layer.
        let is_led = !self.symlinks.is_empty();
        let goes = self.goes(&path) || (is_led && self.goes(&self.symlinks.follow(&path)));
        Ok(if goes { Verdict::Drop } else { Verdict::Same })
    }

    fn drops(&self, path: &[u8]) -> Option<Vec<u8>> {
        let names = [plain(path), self.symlinks.follow(path)];
        names.into_iter().find(|name| self.image.matches(name, |_| true))
    }
}
