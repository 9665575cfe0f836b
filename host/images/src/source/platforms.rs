//! Choosing the image for a platform from an index.
//!
//! `platform` is optional in an index, and may be empty. Where the index does not state it, the config of the image
//! does, as in containerd. What it refuses: to choose an attestation or another artifact, and to guess among several
//! images that all state no platform.

use std::cell::Cell;

use super::content_store::{ContentStore, DEEPEST, parse, parse_index};
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::document::{ConfigDocument, RawDescriptor};
use occystrap_base::oci::{Platform, json};

/// Manifests that are fetched to learn their platforms. Each costs two requests. Indexes of tools that leave the
/// platforms out have a handful of entries.
const MOST_ASKED: usize = 64;

/// The rule for an index that lists only one image, so that there is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// The image is chosen, whatever its platform. This is the rule for the list of an OCI image layout.
    Always,
    /// The image is chosen unless the index names another platform, as Docker and containerd do.
    IfUnsaid,
}

/// A chooser of entries of indexes, which reads manifests and configs from a store.
pub struct PlatformChooser<'a> {
    store: &'a dyn ContentStore,
    asked: Cell<usize>,
}

impl<'a> PlatformChooser<'a> {
    /// Returns a chooser that has read nothing yet.
    pub fn new(store: &'a dyn ContentStore) -> Self {
        Self { store, asked: Cell::new(0) }
    }

    /// Returns the entry that fits a platform best, the first of equals. Errors list the available platforms.
    pub fn choose<'e>(
        &self,
        entries: &'e [RawDescriptor],
        wanted: &Platform,
        alone: Alone,
    ) -> Result<&'e RawDescriptor> {
        if let ([only], Alone::Always) = (entries, alone) {
            return Ok(only);
        }
        let images: Vec<_> = entries.iter().filter(|entry| entry.may_be_image()).collect();
        if let [only] = images.as_slice()
            && (alone == Alone::Always || only.platform().is_none())
        {
            return Ok(only);
        }
        let (said, silent): (Vec<_>, Vec<_>) = images
            .into_iter()
            .map(|entry| (entry, entry.platform().unwrap_or_else(Platform::unknown)))
            .partition(|(_, platform)| platform.is_whole());
        let mut known = said;
        if !known.iter().any(|(_, platform)| platform.fit(wanted).is_some()) {
            for (entry, part) in silent {
                for platform in self.platforms_of(entry, DEEPEST)? {
                    known.push((entry, part.clone().or(&platform)));
                }
            }
        }
        let fits =
            known.iter().filter_map(|(entry, platform)| Some((platform.fit(wanted)?, *entry)));
        // containerd and Docker, too, choose the first of equals.
        let best = fits.rev().max_by_key(|(fit, _)| *fit);
        best.map(|(_, entry)| entry).ok_or_else(|| {
            let mut there: Vec<String> =
                known.iter().map(|(_, platform)| platform.to_string()).collect();
            there.dedup();
            let message = format!("{}: holds no image for {wanted}", self.store.place());
            let error =
                Error::new(Kind::NotFound, message).with_origin(FaultOrigin::NoSuchPlatform);
            if there.is_empty() {
                return error.hint("its index lists no image with a known platform");
            }
            error.hint(format!(
                "it is there for: {}; choose with --os, --architecture and --variant",
                there.join(", ")
            ))
        })
    }

    /// Returns the platform of an entry by its config; for a nested index, the platforms of all its entries. An entry
    /// that is missing or cannot be read has none.
    fn platforms_of(&self, entry: &RawDescriptor, depth: usize) -> Result<Vec<Platform>> {
        if self.asked.get() >= MOST_ASKED || depth == 0 {
            return Ok(Vec::new());
        }
        self.asked.set(self.asked.get() + 1);
        match self.read(entry, depth) {
            Err(error) if matches!(error.kind(), Kind::Source | Kind::NotFound) => Ok(Vec::new()),
            read => read,
        }
    }

    fn read(&self, entry: &RawDescriptor, depth: usize) -> Result<Vec<Platform>> {
        let manifest = self.store.manifest(&entry.promised(self.store.place())?)?;
        if !manifest.is_index() {
            let what = parse(&manifest, self.store.place())?
                .config(self.store.place())?
                .promised(self.store.place())?;
            let bytes = self.store.blob(&what, "config", LARGEST_CONFIG)?;
            let config: ConfigDocument = json::parse(&bytes).map_err(|cause| {
                Error::source(format!("{}: config: {cause}", self.store.place()))
            })?;
            return Ok(vec![config.platform()]);
        }
        let mut all = Vec::new();
        let index = parse_index(&manifest.bytes, self.store.place())?;
        for entry in index.manifests.iter().filter(|entry| entry.may_be_image()) {
            match entry.platform().filter(Platform::is_whole) {
                Some(platform) => all.push(platform),
                None => all.extend(self.platforms_of(entry, depth - 1)?),
            }
        }
        Ok(all)
    }
}
