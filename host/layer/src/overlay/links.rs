//! Content with several names: a hard link keeps the content of a file when the file's own name is deleted.

use std::collections::{HashMap, HashSet};

use super::{Change, Fate, MemberList, Trace, fate, hash};

/// A name in a layer: the index of the layer and the hash of the path.
type Name = (usize, u64);

/// Most hard links in a row that are followed.
const LONGEST: usize = 40;

/// The content that is in the image under another name than its own.
pub struct Links(HashSet<Name>);

impl Links {
    /// Finds the links of all layers, the lowest first.
    pub fn of<'a>(layers: impl Iterator<Item = (&'a MemberList, &'a Trace)> + Clone) -> Self {
        let traces = || layers.clone().map(|(_, trace)| trace);
        let mut leads: HashMap<Name, Name> = HashMap::new();
        let mut present = Vec::new();
        for (index, (list, _)) in layers.clone().enumerate() {
            list.each(|entry| {
                if entry.act != Change::HardLink {
                    return;
                }
                // The target is in this layer, or in the next lower layer that has the name.
                let below = traces().take(index + 1).enumerate();
                let Some((lower, _)) = below.filter(|(_, trace)| trace.has_file(entry.link)).last()
                else {
                    return;
                };
                let name = (index, hash(entry.path));
                leads.insert(name, (lower, hash(entry.link)));
                if fate(entry.path, false, index, traces()) == Fate::Present {
                    present.push(name);
                }
            });
        }
        let content = |name: Name| {
            let steps = std::iter::successors(Some(name), |name| leads.get(name).copied());
            steps.take(LONGEST).last()
        };
        Self(present.into_iter().filter_map(content).collect())
    }

    /// Returns whether the content that layer `index` has at `path` is in the image under another name.
    #[must_use]
    pub fn keep(&self, index: usize, path: &[u8]) -> bool {
        self.0.contains(&(index, hash(path)))
    }
}
