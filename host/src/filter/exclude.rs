//! `exclude:pattern=GLOB[,pattern=GLOB]...`: an image without the files that match.
//!
//! A directory that matches takes what is beneath it, and a whiteout goes with the file that it
//! would have hidden: there is none any more, in any layer.

use std::sync::atomic::{AtomicBool, Ordering};

use super::glob::Globs;
use super::{Applied, Filter, Outcome, Pass, Spec, Verdict};
use crate::error::Result;
use crate::image::Image;
use crate::layer_tar::Member;
use crate::layer_tar::whiteout::Whiteout;

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
        Some(format!("exclude {patterns:?}"))
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
        Box::new(self)
    }

    fn end(&self, outcome: &Outcome<'_>) -> Result<()> {
        if outcome.sizes.contains(&None) {
            // It may have matched there.
            return Ok(());
        }
        for (pattern, used) in self.globs.patterns().iter().zip(&self.used) {
            if !used.load(Ordering::Relaxed) {
                let name = &self.image.name;
                tracing::warn!("exclude: '{pattern}' matches nothing in {name}");
            }
        }
        Ok(())
    }
}

impl Excluding<'_> {
    /// Whether a name matches, or a directory that it is beneath.
    fn matches(&self, path: &[u8]) -> bool {
        let folders = (1..path.len()).filter(|at| path[*at] == b'/').map(|at| &path[..at]);
        folders.chain([path]).any(|path| {
            let matching = self.globs.matches(path);
            matching.iter().for_each(|index| self.used[*index].store(true, Ordering::Relaxed));
            !matching.is_empty()
        })
    }
}

impl Pass for &Excluding<'_> {
    fn member(&mut self, member: &mut Member) -> Result<Verdict> {
        let hidden = match Whiteout::of(&member.path) {
            Some(Whiteout::Of(path) | Whiteout::Opaque(path)) => self.matches(&path),
            None => false,
        };
        Ok(if hidden || self.drops(&member.path) { Verdict::Drop } else { Verdict::Same })
    }

    fn drops(&self, path: &[u8]) -> bool {
        self.matches(path)
    }
}
