//! An archive with two lists of its images, `manifest.json` and `index.json`, as Docker 25 and later
//! write it. Some readers follow the one, some the other; what it refuses: that they lead to
//! different images.

use std::collections::BTreeSet;

use super::members::Members;
use super::oci_layout::{self, groups};
use super::shelf::{DEEPEST, MOST_MANIFESTS, parse_index};
use crate::error::Result;
use crate::image::document::{ManifestDocument, RawDescriptor};
use crate::image::layout::INDEX;
use crate::image::{Digest, ImageName, json, reading};

/// Compare what `manifest.json` calls an image with what `index.json` does, where there is one.
/// Errors when that is another image, or the index cannot be read.
pub fn agree(members: &dyn Members, name: &ImageName, id: Digest) -> Result<()> {
    if members.section(INDEX)?.is_none() {
        return Ok(());
    }
    // Docker 25 writes one that lists nothing: readers follow the other list.
    let mut named = groups(oci_layout::listed(members)?);
    if named.iter().any(|(other, _)| other == name) {
        named.retain(|(other, _)| other == name);
    }
    let mut ids = Ids { members, seen: BTreeSet::new(), found: BTreeSet::new() };
    for entry in named.iter().flat_map(|(_, group)| group) {
        ids.add(entry, DEEPEST)?;
    }
    // One that leads to none misleads nobody.
    if ids.found.is_empty() || ids.found.contains(&id) {
        return Ok(());
    }
    let found = ids.found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(reading::refused(
        members.place(),
        &format!("the image '{name}'"),
        &format!("manifest.json calls {id} so, {INDEX} {found}"),
    ))
}

/// Images that an index leads to.
struct Ids<'a> {
    members: &'a dyn Members,
    seen: BTreeSet<Digest>,
    found: BTreeSet<Digest>,
}

impl Ids<'_> {
    fn add(&mut self, entry: &RawDescriptor, depth: usize) -> Result<()> {
        let place = self.members.place();
        let what = entry.promised(place)?;
        if depth == 0 || self.seen.len() >= MOST_MANIFESTS || !self.seen.insert(what.digest) {
            return Ok(());
        }
        // Of a platform that the engine does not have, only the name is there.
        let Ok(manifest) = oci_layout::manifest(self.members, &what) else { return Ok(()) };
        if manifest.is_index() {
            for entry in &parse_index(&manifest.bytes, place)?.manifests {
                self.add(entry, depth - 1)?;
            }
        } else if let Ok(manifest) = json::parse::<ManifestDocument>(&manifest.bytes) {
            self.found.insert(manifest.config(place)?.promised(place)?.digest);
        }
        Ok(())
    }
}
