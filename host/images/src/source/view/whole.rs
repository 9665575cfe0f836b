//! Views of every platform of an image: of an index, and of all that it lists.
//!
//! What cannot be read is a flaw of the index that lists it, or a view of its own that says why; the
//! others are looked at all the same. What it refuses: indexes that are nested too deeply, and more
//! manifests and configs than a move of them would take (`input/shelf.rs`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::content_store::{Layout, Look, image, layout_type, listed};
use super::{FlawIn, IndexEntry, Listing, View, ViewKind};
use crate::source::Called;
use crate::source::content_store::{DEEPEST, MOST_BYTES, MOST_MANIFESTS};
use crate::source::members::Members;
use crate::source::oci_layout;
use crate::source::registry::Published;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::manifest::is_manifest_type;
use occystrap_base::oci::{Digest, ImageName, Manifest, json};

/// What a manifest or an index of a registry stands for.
pub fn views(shelf: &Published, root: Manifest, name: ImageName) -> Result<Vec<View>> {
    let mut gathering = Gathering::new(shelf, name);
    let view = gathering.view();
    gathering.add(root, view, DEEPEST)?;
    Ok(gathering.views)
}

/// An image of a layout: each index before what it lists.
pub struct Whole {
    name: ImageName,
    /// Of all that belongs to it.
    pub views: Vec<View>,
}

impl Called for Whole {
    fn called(&self) -> &ImageName {
        &self.name
    }
}

/// All images of a layout, or those of one tag.
pub fn layout(members: &dyn Members, tag: Option<&str>) -> Result<Vec<Whole>> {
    let look = Layout(members);
    let flaws = oci_layout::flaws(members);
    let mut wholes = Vec::new();
    for (name, group) in oci_layout::groups(oci_layout::entries(members, tag)?) {
        let mut gathering = Gathering::new(&look, name);
        let mut view = gathering.view();
        for error in &flaws {
            view.flaw(FlawIn::Layout, error.clone())?;
        }
        match group.as_slice() {
            [only] => {
                let root = match only.promised(members.place()) {
                    Ok(what) => {
                        let root = look.seen(&what, &mut view)?;
                        layout_type(root.as_ref(), &what, members.place(), &mut view)?;
                        root
                    }
                    Err(error) => {
                        view.flaw(FlawIn::Manifest, error)?;
                        None
                    }
                };
                match root {
                    Some(root) => gathering.add(root, view, DEEPEST)?,
                    None => gathering.views.push(view),
                }
            }
            several => gathering.list(several, None, view, DEEPEST)?,
        }
        wholes.push(Whole { name: gathering.name, views: gathering.views });
    }
    Ok(wholes)
}

struct Gathering<'a> {
    look: &'a dyn Look,
    name: ImageName,
    views: Vec<View>,
    /// What was listed, and whether it was there.
    seen: BTreeMap<Digest, bool>,
    /// Bytes of manifests and configs.
    bytes: u64,
}

impl<'a> Gathering<'a> {
    fn new(look: &'a dyn Look, name: ImageName) -> Self {
        Self { look, name, views: Vec::new(), seen: BTreeMap::new(), bytes: 0 }
    }

    fn view(&self) -> View {
        View::new(self.name.clone(), self.look.place())
    }

    fn error(&self, message: &str) -> Error {
        Error::source(format!("{}: {message}", self.look.place()))
    }

    /// What a manifest stands for. Indexes may be nested `depth` deep.
    fn add(&mut self, manifest: Manifest, mut view: View, depth: usize) -> Result<()> {
        self.bytes += manifest.bytes.len() as u64;
        if !manifest.is_index() {
            let view = image(self.look, manifest, view)?;
            self.bytes += view.config.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            self.views.push(view);
            return Ok(());
        }
        view.reference = self.look.reference(manifest.digest);
        let entries = self.entries(&manifest, depth, &mut view)?;
        self.list(&entries, Some(manifest), view, depth)
    }

    /// What an index lists, as far as it can be read.
    fn entries(
        &self,
        manifest: &Manifest,
        depth: usize,
        view: &mut View,
    ) -> Result<Vec<RawDescriptor>> {
        let mut all = Vec::new();
        let document: Value = json::parse(&manifest.bytes).unwrap_or_default();
        let wrong = match document["manifests"].as_array() {
            _ if depth == 0 => self.error("its indexes are nested too deeply"),
            None => self.error("an image index is not one: it has no list of manifests"),
            Some(many) if many.len() > MOST_MANIFESTS => Error::mismatch(
                format!("{}: number of manifests that an index lists", self.look.place()),
                format!("at most {MOST_MANIFESTS}"),
                many.len(),
            ),
            Some(listed) => {
                for (index, entry) in listed.iter().enumerate() {
                    match serde_json::from_value(entry.clone()) {
                        Ok(entry) => all.push(entry),
                        Err(cause) => {
                            let place = format!("entry {} of the index", index + 1);
                            let error = self.error(&format!("{place} cannot be read: {cause}"));
                            view.flaw(FlawIn::Index, error)?;
                        }
                    }
                }
                return Ok(all);
            }
        };
        view.flaw(FlawIn::Index, wrong)?;
        Ok(all)
    }

    /// An index, and what it lists. The layout's own list has no `manifest`.
    fn list(
        &mut self,
        entries: &[RawDescriptor],
        manifest: Option<Manifest>,
        mut view: View,
        depth: usize,
    ) -> Result<()> {
        let all: Vec<IndexEntry> = entries.iter().map(|entry| listed(entry, None)).collect();
        view.role = ViewKind::Index;
        view.index = Some(Listing { manifest, entries: all.clone() });
        let at = self.views.len();
        self.views.push(view);
        for (index, (entry, said)) in entries.iter().zip(&all).enumerate() {
            let about = said.about.as_ref();
            let platform = match said.attestation {
                true => all.iter().find(|other| about == Some(&other.digest)),
                false => Some(said),
            };
            let platform = platform.and_then(|image| image.platform.clone());
            let said = IndexEntry { platform, chosen: true, ..said.clone() };
            match self.child(entry, said, depth) {
                Ok(there) => {
                    let list =
                        self.views[at].index.as_mut().and_then(|all| all.entries.get_mut(index));
                    list.into_iter().for_each(|entry| entry.chosen = there);
                }
                Err(error) => {
                    let is_full = self.is_full();
                    self.views[at].flaw(FlawIn::Index, error)?;
                    if is_full {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether there is no room for more.
    fn is_full(&self) -> bool {
        self.seen.len() > MOST_MANIFESTS || self.bytes > MOST_BYTES
    }

    /// What an entry stands for, and whether it is there. `said` is what the index says of it, of an
    /// attestation with the platform of the image that it is about. Errors are the index's.
    fn child(&mut self, entry: &RawDescriptor, said: IndexEntry, depth: usize) -> Result<bool> {
        let what = entry.promised(self.look.place())?;
        if let Some(there) = self.seen.get(&what.digest) {
            return Ok(*there);
        }
        self.seen.insert(what.digest, false);
        if self.is_full() {
            let most = MOST_BYTES / 1024 / 1024;
            let bounds = format!("{MOST_MANIFESTS} manifests or {most} MiB of them");
            return Err(self.error(&format!("its indexes list more than {bounds}")));
        }
        let mut view = self.view();
        if said.attestation {
            view.role = ViewKind::Attestation;
        }
        view.index = Some(Listing { manifest: None, entries: vec![said] });
        let Some(manifest) = self.look.seen(&what, &mut view)? else {
            self.views.push(view);
            return Ok(false);
        };
        let is_as_said = manifest.check_media_type(&what, self.look.place()).is_ok();
        // Of manifests, that was said when it was read.
        if !is_as_said && !is_manifest_type(&what.media_type) {
            let called = format!("{}: media type of {}", self.look.place(), what.digest);
            let error = Error::mismatch(called, &what.media_type, &manifest.media_type);
            view.flaw(FlawIn::Manifest, error)?;
        }
        self.seen.insert(what.digest, is_as_said);
        self.add(manifest, view, depth.saturating_sub(1))?;
        Ok(is_as_said)
    }
}
