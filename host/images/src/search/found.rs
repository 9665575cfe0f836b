//! Searches a layer member by member, and collects the matches of an image.

use std::collections::HashSet;

use super::memory::SearchMemory;
use super::pattern::Pattern;
use occystrap_base::error::Result;
use occystrap_base::oci::{Digest, ImageName};
use occystrap_layer::image::Image;
use occystrap_layer::overlay::{Fate, Trace, Whiteout, fate};
use occystrap_layer::tar::member::plain;
use occystrap_layer::tar::{Member, MemberKind, Time};

/// A member that matches the pattern.
#[derive(Debug)]
pub struct Match {
    /// Its path as the layer spells it.
    pub path: Box<[u8]>,
    /// Target of a link; else empty.
    pub link: Box<[u8]>,
    /// `file`, `directory`, `symlink`, ...; `whiteout` and `opaque` for deletions.
    pub kind: &'static str,
    /// Bytes of its content in the layer, without the holes of a sparse file.
    pub size: u64,
    /// Bytes of a sparse file with its holes; `None` for other files.
    pub apparent: Option<u64>,
    /// Permission bits.
    pub mode: u32,
    /// IDs of owner and group.
    pub owner: (i64, i64),
    /// Modification time.
    pub mtime: Time,
    /// Whether a later member or layer deletes or replaces it.
    pub fate: Fate,
}

impl Match {
    fn of(member: &Member) -> Self {
        let kind = match Whiteout::of(&member.plain_path()) {
            Some(Whiteout::Of(_)) => "whiteout",
            Some(Whiteout::Opaque(_)) => "opaque",
            None => member.kind.name(),
        };
        Self {
            path: member.path.as_slice().into(),
            link: member.link.as_slice().into(),
            kind,
            size: member.stored(),
            apparent: member.sparse.as_ref().map(|_| member.size),
            mode: member.mode & 0o7777,
            owner: (member.uid, member.gid),
            mtime: member.mtime,
            fate: Fate::Present,
        }
    }

    /// Returns its approximate memory in bytes.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.link.len()
    }

    /// Returns whether it is a file, so that its size is meaningful.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == MemberKind::File.name()
    }
}

/// The matches in one layer, and the effect of the layer on those below it.
#[derive(Default)]
pub struct LayerSearch {
    matches: Vec<Match>,
    trace: Trace,
}

impl LayerSearch {
    /// Takes the next member of a layer in which nothing is searched. Errors when the budget is exceeded.
    pub fn look_at(&mut self, member: &Member, budget: &SearchMemory) -> Result<()> {
        budget.take(size_of::<u64>())?;
        self.trace.add(member, &member.plain_path());
        Ok(())
    }

    /// Adds the next member. Errors when the budget is exceeded.
    pub fn add(&mut self, member: &Member, pattern: &Pattern, budget: &SearchMemory) -> Result<()> {
        self.look_at(member, budget)?;
        if pattern.matches(&member.path) {
            let found = Match::of(member);
            budget.take(found.weight())?;
            self.matches.push(found);
        }
        Ok(())
    }
}

/// The matches in an image, by layer, lowest first.
pub struct FoundImage {
    /// Name of the image.
    pub name: ImageName,
    /// Platform, such as `linux/amd64`; `None` if the image does not state it.
    pub platform: Option<String>,
    /// The diff-id of each layer, and its matches in the order of the layer.
    pub layers: Vec<(Digest, Vec<Match>)>,
}

impl FoundImage {
    /// Combines the searches of all layers of an image, and finds out which matches a later layer deletes or replaces.
    #[must_use]
    pub fn of(image: &Image, searched: Vec<LayerSearch>) -> Self {
        let (traces, matches): (Vec<Trace>, Vec<Vec<Match>>) = searched
            .into_iter()
            .map(|mut layer| {
                layer.trace.seal();
                (layer.trace, layer.matches)
            })
            .unzip();
        let layers = (image.layers.iter().zip(matches).enumerate())
            .map(|(index, (layer, mut matches))| {
                set_fates(index, &mut matches, &traces);
                (layer.diff_id, matches)
            })
            .collect();
        Self { name: image.name.clone(), platform: image.platform.stated(), layers }
    }

    /// Returns the number of matches.
    #[must_use]
    pub fn count(&self) -> usize {
        self.layers.iter().map(|(_, matches)| matches.len()).sum()
    }
}

/// Sets the fate of each match of a layer.
fn set_fates(index: usize, matches: &mut [Match], traces: &[Trace]) {
    let mut later = HashSet::new();
    // If a layer has a name several times, the last member counts.
    for found in matches.iter_mut().rev() {
        if matches!(found.kind, "whiteout" | "opaque") {
            continue;
        }
        let path = plain(&found.path);
        let directory = found.kind == MemberKind::Directory.name();
        found.fate = match later.contains(&path) && !directory {
            true => Fate::Replaced(index),
            false => fate(&path, directory, index, traces.iter()),
        };
        later.insert(path);
    }
}
