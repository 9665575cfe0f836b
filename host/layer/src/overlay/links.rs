//! Contents with several names: hard links, which keep what they lead to when its own name goes.

use std::collections::{HashMap, HashSet};

use super::{Change, Fate, MemberList, Trace, fate, hash};

/// A name in a layer, by the layer's index and what stands for the path.
type Name = (usize, u64);

/// A link to a link to a link: more in a row are not followed.
const LONGEST: usize = 40;

/// The contents that are in the image under another name than their own.
pub struct Links(HashSet<Name>);

impl Links {
    /// Of all layers, the lowest first.
    pub fn of<'a>(layers: impl Iterator<Item = (&'a MemberList, &'a Trace)> + Clone) -> Self {
        let traces = || layers.clone().map(|(_, trace)| trace);
        let mut leads: HashMap<Name, Name> = HashMap::new();
        let mut present = Vec::new();
        for (index, (roll, _)) in layers.clone().enumerate() {
            roll.each(|entry| {
                if entry.act != Change::HardLink {
                    return;
                }
                // What it leads to is in this layer or in the next one below that has the name.
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

    /// Whether a content is there under another name than `path`, which layer `index` has it as.
    #[must_use]
    pub fn keep(&self, index: usize, path: &[u8]) -> bool {
        self.0.contains(&(index, hash(path)))
    }
}
