//! The metadata of the names of files. Docker, Podman and containerd set the metadata of every hard link on the one file, so
//! that those of its last name count. Builders write the same metadata for all names of a file.
//!
//! What it refuses: more hard links than [`MOST_LINKS`].

use std::collections::HashMap;

use occystrap_layer::overlay::Merged;
use occystrap_layer::overlay::merged::MemberId;
use occystrap_layer::tar::member::Records;
use occystrap_layer::tar::{Member, MemberKind, Time};

/// Most hard links of one layer. An image of ostree has some 200,000, which take 30 MB.
pub const MOST_LINKS: usize = 1_000_000;

/// The metadata of one name.
#[derive(Clone)]
struct NameMetadata {
    mode: u32,
    uid: i64,
    gid: i64,
    mtime: Time,
    records: Option<Box<Records>>,
}

/// The metadata of the hard links of one layer, by their numbers in the layer.
#[derive(Default)]
pub struct LinkMetadata(HashMap<u32, NameMetadata>);

impl LinkMetadata {
    /// Takes a member of the layer. Returns whether there are not too many links.
    #[must_use]
    pub fn see(&mut self, number: u32, member: &Member) -> bool {
        if member.kind == MemberKind::HardLink {
            let Member { mode, uid, gid, mtime, .. } = *member;
            let records = (!member.records.is_empty()).then(|| Box::new(member.records.clone()));
            self.0.insert(number, NameMetadata { mode, uid, gid, mtime, records });
        }
        self.0.len() <= MOST_LINKS
    }
}

/// Gives a member the metadata of the last name of its file. `links` are those of all layers.
pub fn give_last(member: &mut Member, id: MemberId, merged: &Merged, links: &[LinkMetadata]) {
    let last = merged.last_name(id);
    let of = last.and_then(|(layer, number)| links.get(usize::from(layer))?.0.get(&number));
    let Some(NameMetadata { mode, uid, gid, mtime, records }) = of else { return };
    if (member.uid, member.gid) != (*uid, *gid) {
        // The names of owners would take precedence over the numbers.
        (member.owner, member.group) = (Vec::new(), Vec::new());
    }
    (member.uid, member.gid, member.mtime) = (*uid, *gid, *mtime);
    if member.kind != MemberKind::Symlink {
        member.mode = *mode;
    }
    for (keyword, value) in records.iter().flat_map(|records| records.iter()) {
        member.records.insert(keyword.clone(), value.clone());
    }
}
