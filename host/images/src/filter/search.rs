//! `search:pattern=GLOB[,regex=true][,script_friendly=true]`: prints matching files of an image, and changes nothing.
//!
//! It prints all matches after the last layer, or nothing if a layer cannot be read. It sees the members that the filters
//! before it keep.

use std::sync::{Mutex, PoisonError};

use super::{Applied, Filter, FilterOutcome, MemberVerdict, Pass, Spec};
use crate::search::{FoundImage, LayerSearch, Pattern, SearchMemory, write_script, write_text};
use occystrap_base::error::Result;
use occystrap_base::terminal::results::Results;
use occystrap_layer::image::Image;
use occystrap_layer::tar::Member;

/// The filter `search`.
pub struct Search {
    pattern: Pattern,
    script: bool,
    results: Results,
}

impl Search {
    /// Creates the filter from its options; it prints matches to `results`.
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
    /// Returns `None`: a layer that is not read is not searched.
    fn key(&self) -> Option<String> {
        None
    }

    fn begin<'a>(&'a self, image: &'a Image) -> Box<dyn Applied + 'a> {
        let searched = image.layers.iter().map(|_| Mutex::default()).collect();
        Box::new(Searching { filter: self, searched, budget: SearchMemory::default() })
    }
}

/// The filter at work on one image.
struct Searching<'a> {
    filter: &'a Search,
    /// The matches of each layer.
    searched: Vec<Mutex<LayerSearch>>,
    budget: SearchMemory,
}

impl Applied for Searching<'_> {
    fn pass(&self, index: usize) -> Box<dyn Pass + Send + '_> {
        Box::new(SearchingIn { searching: self, found: LayerSearch::default(), index })
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn end(&self, outcome: &FilterOutcome<'_>) -> Result<()> {
        let take = |layer: &Mutex<LayerSearch>| {
            std::mem::take(&mut *layer.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let found = [FoundImage::of(outcome.image, self.searched.iter().map(take).collect())];
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = match self.filter.script {
            true => write_script(&found, &mut text),
            false => write_text(&found, true, &mut text),
        };
        self.filter.results.write(&text)
    }
}

/// The filter at work on one layer. It hands over its matches when it is dropped.
struct SearchingIn<'a> {
    searching: &'a Searching<'a>,
    found: LayerSearch,
    index: usize,
}

impl Pass for SearchingIn<'_> {
    fn member(&mut self, member: &mut Member) -> Result<MemberVerdict> {
        let Searching { filter, budget, .. } = self.searching;
        self.found.add(member, &filter.pattern, budget)?;
        Ok(MemberVerdict::Same)
    }
}

impl Drop for SearchingIn<'_> {
    fn drop(&mut self) {
        if let Some(layer) = self.searching.searched.get(self.index) {
            let mut layer = layer.lock().unwrap_or_else(PoisonError::into_inner);
            *layer = std::mem::take(&mut self.found);
        }
    }
}
