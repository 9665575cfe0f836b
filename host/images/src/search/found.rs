//! What a search has found.

use std::collections::HashSet;

use super::layer::LayerSearch;
use occystrap_base::oci::{Digest, ImageName};
use occystrap_layer::image::Image;
use occystrap_layer::overlay::{Fate, Trace, Whiteout, fate};
use occystrap_layer::tar::member::plain;
use occystrap_layer::tar::{Member, MemberKind, Time};

/// A member that was searched for.
#[derive(Debug)]
pub struct Match {
    /// Its name as the layer has it.
    pub path: Box<[u8]>,
    /// Where it points; empty for all but links.
    pub link: Box<[u8]>,
    /// `file`, `directory`, `symlink`, ...; `whiteout` and `opaque` for what deletes others.
    pub kind: &'static str,
    /// Bytes of its content.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group, by number.
    pub owner: (i64, i64),
    /// When it was modified.
    pub mtime: Time,
    /// What becomes of it.
    pub fate: Fate,
}

impl Match {
    pub(super) fn of(member: &Member) -> Self {
        let kind = match Whiteout::of(&member.plain_path()) {
            Some(Whiteout::Of(_)) => "whiteout",
            Some(Whiteout::Opaque(_)) => "opaque",
            None => member.kind.name(),
        };
        Self {
            path: member.path.as_slice().into(),
            link: member.link.as_slice().into(),
            kind,
            size: member.size,
            mode: member.mode & 0o7777,
            owner: (member.uid, member.gid),
            mtime: member.mtime,
            fate: Fate::Present,
        }
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.link.len()
    }

    /// Whether it has content of which the size tells something.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == MemberKind::File.name()
    }
}

/// The layers of an image with what was found in each, lowest first.
pub struct FoundImage {
    /// The image.
    pub name: ImageName,
    /// Such as `linux/amd64`.
    pub platform: String,
    /// The diff-id of each layer, and its matches in the order in which they stand there.
    pub layers: Vec<(Digest, Vec<Match>)>,
}

impl FoundImage {
    /// What was found in the layers of an image, and what becomes of each.
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
                judge(index, &mut matches, &traces);
                (layer.diff_id, matches)
            })
            .collect();
        Self { name: image.name.clone(), platform: image.platform.to_string(), layers }
    }

    /// How many matches there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.layers.iter().map(|(_, matches)| matches.len()).sum()
    }
}

fn judge(index: usize, matches: &mut [Match], traces: &[Trace]) {
    let mut later = HashSet::new();
    // Of members with one name the last counts.
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
