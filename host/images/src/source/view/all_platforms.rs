//! Views of every platform of an image: of an index, and of everything that it lists.
//!
//! A manifest that cannot be read is a flaw of the index that lists it, or has a view of its own that says why; the
//! others are read all the same. What it refuses: indexes that are nested too deeply, and more manifests and configs
//! than a move of them would accept (`source/content_store.rs`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::from_manifest::{image, listed, listed_manifest, read_manifest};
use super::{FlawIn, IndexEntry, Listing, View, ViewKind};
use crate::source::Called;
use crate::source::content_store::{ContentStore, DEEPEST, MOST_BYTES, MOST_MANIFESTS};
use crate::source::members::ArchiveMembers;
use crate::source::oci_layout::{self, LayoutStore};
use crate::source::registry::RepositoryStore;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::manifest::is_manifest_type;
use occystrap_base::oci::{Digest, ImageName, Manifest, json};

/// Returns the views of an image in a registry: of each index before what it lists.
pub fn views(store: &RepositoryStore, root: Manifest, name: ImageName) -> Result<Vec<View>> {
    let mut collector = Collector::new(store, name);
    let view = collector.view();
    collector.add(root, view, DEEPEST)?;
    Ok(collector.views)
}

/// The views of all platforms of an image: of each index before what it lists.
pub struct PlatformViews {
    name: ImageName,
    /// The views.
    pub views: Vec<View>,
}

impl Called for PlatformViews {
    fn called(&self) -> &ImageName {
        &self.name
    }
}

/// Returns the views of all images of a layout, or of those of one tag.
pub fn layout(members: &dyn ArchiveMembers, tag: Option<&str>) -> Result<Vec<PlatformViews>> {
    let store = LayoutStore(members);
    let flaws = oci_layout::flaws(members);
    let mut wholes = Vec::new();
    for (name, group) in oci_layout::groups(oci_layout::entries(members, tag)?) {
        let mut collector = Collector::new(&store, name);
        let mut view = collector.view();
        for error in &flaws {
            view.flaw(FlawIn::Layout, error.clone())?;
        }
        match group.as_slice() {
            [only] => match listed_manifest(&store, only, &mut view)? {
                Some(root) => collector.add(root, view, DEEPEST)?,
                None => collector.views.push(view),
            },
            several => collector.list(several, None, view, DEEPEST)?,
        }
        wholes.push(PlatformViews { name: collector.name, views: collector.views });
    }
    Ok(wholes)
}

/// A collector of the views of an index and of everything that it lists.
struct Collector<'a> {
    store: &'a dyn ContentStore,
    name: ImageName,
    views: Vec<View>,
    /// The digests that were listed, and whether each manifest could be read.
    seen: BTreeMap<Digest, bool>,
    /// Bytes of manifests and configs.
    bytes: u64,
}

impl<'a> Collector<'a> {
    fn new(store: &'a dyn ContentStore, name: ImageName) -> Self {
        Self { store, name, views: Vec::new(), seen: BTreeMap::new(), bytes: 0 }
    }

    fn view(&self) -> View {
        View::new(self.name.clone(), self.store.place())
    }

    fn error(&self, message: &str) -> Error {
        Error::source(format!("{}: {message}", self.store.place()))
    }

    /// Adds the view of a manifest, and of what it lists. Indexes may be nested `depth` deep.
    fn add(&mut self, manifest: Manifest, mut view: View, depth: usize) -> Result<()> {
        self.bytes += manifest.bytes.len() as u64;
        if !manifest.is_index() {
            let view = image(self.store, manifest, view)?;
            self.bytes += view.config.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            self.views.push(view);
            return Ok(());
        }
        view.reference = self.store.reference(manifest.digest);
        let entries = self.entries(&manifest, depth, &mut view)?;
        self.list(&entries, Some(manifest), view, depth)
    }

    /// Returns the entries of an index that can be read. The others are flaws of the view.
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
            None => self.error("not an image index: it has no list of manifests"),
            Some(many) if many.len() > MOST_MANIFESTS => Error::mismatch(
                format!("{}: number of manifests that an index lists", self.store.place()),
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

    /// Adds the view of an index, and of what it lists. The layout's own list has no `manifest`.
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

    /// Returns whether a limit is exceeded.
    fn is_full(&self) -> bool {
        self.seen.len() > MOST_MANIFESTS || self.bytes > MOST_BYTES
    }

    /// Adds the view of an entry, and returns whether its manifest could be read as the index describes it. `said` is
    /// the entry; for an attestation, with the platform of its image. Errors become flaws of the index.
    fn child(&mut self, entry: &RawDescriptor, said: IndexEntry, depth: usize) -> Result<bool> {
        let what = entry.promised(self.store.place())?;
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
        let Some(manifest) = read_manifest(self.store, &what, &mut view)? else {
            self.views.push(view);
            return Ok(false);
        };
        let is_as_said = manifest.check_media_type(&what, self.store.place()).is_ok();
        // For manifest types, this was reported when the manifest was read.
        if !is_as_said && !is_manifest_type(&what.media_type) {
            let called = format!("{}: media type of {}", self.store.place(), what.digest);
            let error = Error::mismatch(called, &what.media_type, &manifest.media_type);
            view.flaw(FlawIn::Manifest, error)?;
        }
        self.seen.insert(what.digest, is_as_said);
        self.add(manifest, view, depth.saturating_sub(1))?;
        Ok(is_as_said)
    }
}
