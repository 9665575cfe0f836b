//! Choosing the image for a platform from what an index lists.
//!
//! `platform` is optional in an index, and may be empty. Where the index is silent, the config of the image tells
//! what it is for, as in containerd. What it refuses: to take an attestation or another artifact for an image, and to
//! guess among several images that all say nothing.

use std::cell::Cell;

use bytes::Bytes;

use super::content_store::{DEEPEST, parse, parse_index};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::{ConfigDocument, RawDescriptor};
use occystrap_base::oci::{Descriptor, Manifest, Platform, json};

/// Manifests that are fetched to learn what they are for. Each costs two requests; indexes whose tools leave platforms
/// out have a handful of entries.
const MOST_ASKED: usize = 64;

/// What is taken where there is one image, and so no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// It is taken, whatever it is for. So it is with the list of an OCI image layout.
    Always,
    /// It is taken where the index does not name another platform, as Docker and containerd do.
    IfUnsaid,
}

/// Access to the manifests and configs that an index leads to.
pub struct Documents<'a> {
    place: &'a str,
    manifest: &'a dyn Fn(&Descriptor) -> Result<Manifest>,
    config: &'a dyn Fn(&Descriptor) -> Result<Bytes>,
    asked: Cell<usize>,
}

impl<'a> Documents<'a> {
    /// Returns access through two functions. `place` is named in errors.
    pub fn new(
        place: &'a str,
        manifest: &'a dyn Fn(&Descriptor) -> Result<Manifest>,
        config: &'a dyn Fn(&Descriptor) -> Result<Bytes>,
    ) -> Self {
        Self { place, manifest, config, asked: Cell::new(0) }
    }

    /// Finds the entry that fits a platform best, the first of equals. Errors list the platforms that there are.
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
        // The first of equals, as containerd and Docker choose.
        let best = fits.rev().max_by_key(|(fit, _)| *fit);
        best.map(|(_, entry)| entry).ok_or_else(|| {
            let mut there: Vec<String> =
                known.iter().map(|(_, platform)| platform.to_string()).collect();
            there.dedup();
            let message = format!("{}: holds no image for {wanted}", self.place);
            let error = Error::new(Kind::NotFound, message);
            if there.is_empty() {
                return error.hint("its index lists no image with a known platform");
            }
            error.hint(format!(
                "it is there for: {}; choose with --os, --architecture and --variant",
                there.join(", ")
            ))
        })
    }

    /// Returns what an entry is for by the config that it leads to; of a nested index, what all its entries are for.
    /// An entry that is not there, or cannot be read, is for nothing.
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
        let manifest = (self.manifest)(&entry.promised(self.place)?)?;
        if !manifest.is_index() {
            let what = parse(&manifest, self.place)?.config(self.place)?.promised(self.place)?;
            let bytes = (self.config)(&what)?;
            let config: ConfigDocument = json::parse(&bytes)
                .map_err(|cause| Error::source(format!("{}: config: {cause}", self.place)))?;
            return Ok(vec![config.platform()]);
        }
        let mut all = Vec::new();
        let index = parse_index(&manifest.bytes, self.place)?;
        for entry in index.manifests.iter().filter(|entry| entry.may_be_image()) {
            match entry.platform().filter(Platform::is_whole) {
                Some(platform) => all.push(platform),
                None => all.extend(self.platforms_of(entry, depth - 1)?),
            }
        }
        Ok(all)
    }
}
