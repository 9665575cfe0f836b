//! `search:pattern=GLOB[,regex=true][,script_friendly=true]`: prints what is found in an image on its
//! way, and changes nothing.
//!
//! What it prints is complete or not there: it comes when all layers have been read. It sees what the
//! filters before it have left.

use std::sync::{Mutex, PoisonError};

use super::{Applied, Filter, Outcome, Pass, Spec, Verdict};
use crate::search::{Budget, FoundImage, LayerSearch, Pattern, write_script, write_text};
use occystrap_base::error::Result;
use occystrap_base::terminal::results::Results;
use occystrap_layer::image::Image;
use occystrap_layer::tar::Member;

/// The filter.
pub struct Search {
    pattern: Pattern,
    script: bool,
    results: Results,
}

impl Search {
    /// From what the user typed; matches go to `results`.
    pub fn new(spec: &Spec, results: &Results) -> Result<Self> {
        spec.only(&["pattern", "regex", "script-friendly"])?;
        let Some(pattern) = spec.one("pattern")?.filter(|pattern| !pattern.is_empty()) else {
            return Err(spec.error("a pattern is missing").hint("such as search:pattern=*.conf"));
        };
        let pattern = Pattern::parse(pattern, spec.switch("regex")?).map_err(|why| {
            let error = spec.error(&why);
            match why.hint_text() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        Ok(Self { pattern, script: spec.switch("script-friendly")?, results: results.clone() })
    }
}

impl Filter for Search {
    /// What is not read is not searched.
    fn key(&self) -> Option<String> {
        None
    }

    fn begin<'a>(&'a self, image: &'a Image) -> Box<dyn Applied + 'a> {
        let searched = image.layers.iter().map(|_| Mutex::default()).collect();
        Box::new(Searching { filter: self, searched, budget: Budget::default() })
    }
}

struct Searching<'a> {
    filter: &'a Search,
    /// Of each layer.
    searched: Vec<Mutex<LayerSearch>>,
    budget: Budget,
}

impl Applied for Searching<'_> {
    fn pass(&self, index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(Looking { searching: self, found: LayerSearch::default(), index })
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn end(&self, outcome: &Outcome<'_>) -> Result<()> {
        let take = |layer: &Mutex<LayerSearch>| {
            std::mem::take(&mut *layer.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let found = [FoundImage::of(outcome.image, self.searched.iter().map(take).collect())];
        let mut text = Vec::new();
        // Into memory, where nothing can fail.
        let _ = match self.filter.script {
            true => write_script(&found, &mut text),
            false => write_text(&found, true, &mut text),
        };
        self.filter.results.write(&text)
    }
}

/// At work on one layer. Its finds are handed over when it is dropped.
struct Looking<'a> {
    searching: &'a Searching<'a>,
    found: LayerSearch,
    index: usize,
}

impl Pass for Looking<'_> {
    fn member(&mut self, member: &mut Member) -> Result<Verdict> {
        let Searching { filter, budget, .. } = self.searching;
        self.found.see(member, &filter.pattern, budget)?;
        Ok(Verdict::Same)
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if let Some(layer) = self.searching.searched.get(self.index) {
            let mut layer = layer.lock().unwrap_or_else(PoisonError::into_inner);
            *layer = std::mem::take(&mut self.found);
        }
    }
}
