//! An archive with two lists of its images, `manifest.json` and `index.json`, as Docker 25 and later write it.
//!
//! Some readers use the one list, some the other. What it refuses: two lists that lead to different images.

use std::collections::BTreeSet;

use super::content_store::{DEEPEST, MOST_MANIFESTS, parse_index};
use super::members::ArchiveMembers;
use super::oci_layout::{self, groups};
use occystrap_base::error::Result;
use occystrap_base::oci::document::{ManifestDocument, RawDescriptor};
use occystrap_base::oci::layout::{INDEX, blob};
use occystrap_base::oci::{Digest, ImageName, json, reading};
use occystrap_net::web::Elsewhere;

/// Compares the image with a name in `manifest.json` with the one in `index.json`, if there is an index. Errors when
/// these are two images, or the index cannot be read.
pub fn agree(members: &dyn ArchiveMembers, name: &ImageName, id: Digest) -> Result<()> {
    let Some(ids) = Ids::of(members, name)? else { return Ok(()) };
    // A list that leads to no image cannot mislead a reader.
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

/// Returns whether `index.json` leads to an image whose blobs are all there, which its readers need: containerd, and
/// skopeo with `oci-archive:`. `None` without an index. An index may list platforms that the engine did not have: one
/// complete image is enough.
pub fn leads(members: &dyn ArchiveMembers, name: &ImageName) -> Result<Option<Leads>> {
    let Some(ids) = Ids::of(members, name)? else { return Ok(None) };
    Ok(Some(match ids.missing {
        _ if ids.is_complete => Leads::ToImage,
        None => Leads::ToNothing,
        Some(path) => Leads::ToMissing(path),
    }))
}

/// The result of following an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leads {
    /// It leads to a complete image.
    ToImage,
    /// It lists nothing.
    ToNothing,
    /// A blob that it lists is missing or has another size: its path.
    ToMissing(String),
}

/// Images that an index leads to.
struct Ids<'a> {
    members: &'a dyn ArchiveMembers,
    seen: BTreeSet<Digest>,
    found: BTreeSet<Digest>,
    /// Whether all blobs of one image are there.
    is_complete: bool,
    /// The path of the first missing blob.
    missing: Option<String>,
}

impl<'a> Ids<'a> {
    /// Follows an index under a name, or under all names where it does not list that one. `None` without an index.
    fn of(members: &'a dyn ArchiveMembers, name: &ImageName) -> Result<Option<Self>> {
        if members.section(INDEX)?.is_none() {
            return Ok(None);
        }
        let (seen, found) = (BTreeSet::new(), BTreeSet::new());
        let mut ids = Self { members, seen, found, is_complete: false, missing: None };
        if oci_layout::is_empty(members)? {
            return Ok(Some(ids));
        }
        let mut named = groups(oci_layout::entries(members, None)?);
        let is_it = |other: &ImageName| other.in_full() == name.in_full();
        if named.iter().any(|(other, _)| is_it(other)) {
            named.retain(|(other, _)| is_it(other));
        }
        for entry in named.iter().flat_map(|(_, group)| group) {
            ids.add(entry, DEEPEST)?;
        }
        Ok(Some(ids))
    }

    fn add(&mut self, entry: &RawDescriptor, depth: usize) -> Result<()> {
        let place = self.members.place();
        let what = entry.promised(place)?;
        if depth == 0 || self.seen.len() >= MOST_MANIFESTS || !self.seen.insert(what.digest) {
            return Ok(());
        }
        // The engine does not have this platform: the index lists it, but the manifest is missing.
        let Ok(manifest) = oci_layout::manifest(self.members, &what) else {
            self.missing.get_or_insert(blob(what.digest));
            return Ok(());
        };
        if manifest.is_index() {
            for entry in &parse_index(&manifest.bytes, place)?.manifests {
                self.add(entry, depth - 1)?;
            }
        } else if let Ok(manifest) = json::parse::<ManifestDocument>(&manifest.bytes) {
            let config = manifest.config(place)?;
            self.found.insert(config.promised(place)?.digest);
            let mut missing = None;
            for listed in std::iter::once(config).chain(manifest.layers()) {
                let promised = listed.promised(place)?;
                let there = self.members.section(&blob(promised.digest))?;
                let is_elsewhere = there.is_none() && Elsewhere::of(listed).is_some();
                if !is_elsewhere && there.is_none_or(|section| section.size != promised.size) {
                    missing = Some(blob(promised.digest));
                    break;
                }
            }
            self.is_complete |= missing.is_none();
            self.missing = self.missing.take().or(missing);
        }
        Ok(())
    }
}
