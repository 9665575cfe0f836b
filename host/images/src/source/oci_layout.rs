//! An OCI image layout (image specification, "Image Layout"), as a directory or in a tar: `index.json` and `blobs/`.
//!
//! What it refuses: documents above their limits, and manifests and configs that differ from their digests.

use std::path::Path;

use bytes::Bytes;

use super::Choice;
use super::content_store::{ContentStore, StoredManifest, parse_index};
use super::directory::Directory;
use super::members::ArchiveMembers;
use super::platforms::{Alone, PlatformChooser};
use super::resolve::{narrow, whole};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::layout::{INDEX, MARKER, REF_NAME, VERSION, blob};
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::oci::{Descriptor, Digest, ImageName, Manifest, Platform, json};
use occystrap_layer::image::{Content, Image, Whole};

/// The annotations that name an image in an index: buildkit writes the full name, other tools a tag.
const NAME_KEYS: [&str; 2] = ["io.containerd.image.name", REF_NAME];

/// Largest `index.json`, in bytes. 20,000 images with long names take half of this.
pub const LARGEST_INDEX: u64 = 16 * 1024 * 1024;

/// Largest `oci-layout` file, in bytes. It usually has some thirty.
pub const LARGEST_MARKER: u64 = 64 * 1024;

/// Most names in a hint. A longer list does not help to choose.
const MOST_NAMES: usize = 20;

/// Returns the wanted images of a layout, or of one tag. Entries of one name for several platforms are one image: the
/// one for the requested platform.
pub fn images(
    members: &dyn ArchiveMembers,
    tag: Option<&str>,
    platform: &Platform,
    wanted: Choice,
) -> Result<Vec<Image>> {
    let store = LayoutStore(members);
    let named = wanted.of(groups(entries(members, tag)?))?;
    (named.into_iter())
        .map(|(name, group)| {
            let chosen = PlatformChooser::new(&store).choose(&group, platform, Alone::Always)?;
            let root = store.manifest(&chosen.promised(members.place())?)?;
            narrow(&store, root, chosen.platform(), platform, Alone::Always, name)
        })
        .collect()
}

/// Returns the wanted images of a layout, or of one tag, with every platform.
pub fn wholes(
    members: &dyn ArchiveMembers,
    tag: Option<&str>,
    wanted: Choice,
) -> Result<Vec<Whole>> {
    let (store, place) = (LayoutStore(members), members.place());
    let named = wanted.of(groups(entries(members, tag)?))?;
    (named.into_iter())
        .map(|(name, group)| {
            let [only] = group.as_slice() else {
                let message = format!(
                    "{place}: '{name}' is listed {} times, without an index of its own to keep",
                    group.len()
                );
                return Err(Error::source(message)
                    .hint("without --all-platforms, one of them can be moved"));
            };
            let root = store.manifest(&only.promised(place)?)?;
            whole(&store, root, name)
        })
        .collect()
}

/// Returns the wanted images of a directory, or of one tag, with every platform.
pub fn open_wholes(path: &Path, tag: Option<&str>, wanted: Choice) -> Result<Vec<Whole>> {
    wholes(&Directory::open(path)?, tag, wanted)
}

/// Returns the wanted images of a directory, or of one tag.
pub fn open(
    path: &Path,
    tag: Option<&str>,
    platform: &Platform,
    wanted: Choice,
) -> Result<Vec<Image>> {
    images(&Directory::open(path)?, tag, platform, wanted)
}

/// Returns the entries of `index.json`, possibly none. Errors when the file is missing or not an index.
pub fn listed(members: &dyn ArchiveMembers) -> Result<Vec<RawDescriptor>> {
    let place = members.place();
    let bytes = members.read(INDEX, LARGEST_INDEX)?.ok_or_else(|| {
        Error::source(format!("{place}: holds no {INDEX}"))
            .hint("is it an OCI image layout? 'skopeo copy ... oci:PATH:TAG' writes one")
    })?;
    Ok(parse_index(&bytes, place)?.manifests)
}

/// Returns the entries of `index.json`, or those of a tag. Errors when there is none.
pub fn entries(members: &dyn ArchiveMembers, tag: Option<&str>) -> Result<Vec<RawDescriptor>> {
    let place = members.place();
    let mut entries = listed(members)?;
    if entries.is_empty() {
        return Err(Error::source(format!("{place}: {INDEX} lists no image")));
    }
    let Some(tag) = tag else { return Ok(entries) };
    let mut names: Vec<String> = entries.iter().map(|entry| name(entry).to_string()).collect();
    entries.retain(|entry| ref_name(entry) == Some(tag) || name(entry).tag.as_deref() == Some(tag));
    if entries.is_empty() {
        names.truncate(MOST_NAMES);
        let message = format!("{place}: holds no image of the tag '{tag}'");
        let hint = format!("it holds: {}", names.join(", "));
        return Err(Error::new(Kind::NotFound, message).hint(hint));
    }
    Ok(entries)
}

/// Returns whether `index.json` is an empty index, as Docker 25 writes it next to a `manifest.json`. Errors when it is
/// not an index.
pub fn is_empty(members: &dyn ArchiveMembers) -> Result<bool> {
    let Some(bytes) = members.read(INDEX, LARGEST_INDEX)? else { return Ok(false) };
    Ok(parse_index(&bytes, members.place())?.manifests.is_empty())
}

/// Returns the reasons for which other readers refuse a layout: they read its marker first, and the version of its
/// list. Errors of the system are left out.
#[must_use]
pub fn flaws(members: &dyn ArchiveMembers) -> Vec<Error> {
    let place = members.place();
    let mut flaws = Vec::new();
    match members.read(MARKER, LARGEST_MARKER) {
        Ok(Some(bytes)) => {
            let marker: serde_json::Value = json::parse(&bytes).unwrap_or_default();
            let said = &marker["imageLayoutVersion"];
            if said != VERSION {
                let what = format!("{place}: version of the layout in '{MARKER}'");
                flaws.push(Error::mismatch(what, format!("\"{VERSION}\""), said.to_string()));
            }
        }
        Ok(None) => {
            let message = format!("{place}: holds no '{MARKER}', which readers look for first");
            flaws.push(Error::source(message));
        }
        Err(error) => flaws.push(error),
    }
    let index = members.read(INDEX, LARGEST_INDEX).ok().flatten();
    let index = index.and_then(|bytes| parse_index(&bytes, place).ok());
    if let Some(found) =
        index.map(|index| index.schema_version).filter(|version| *version != Some(2))
    {
        let found = found.map_or("nothing".to_owned(), |found| found.to_string());
        flaws.push(Error::mismatch(format!("{place}: schemaVersion of {INDEX}"), 2_u64, found));
    }
    flaws
}

/// Groups entries by name, in the order of the list. Each entry without a name and without a platform is an image of
/// its own.
#[must_use]
pub fn groups(entries: Vec<RawDescriptor>) -> Vec<(ImageName, Vec<RawDescriptor>)> {
    let mut groups: Vec<(ImageName, Vec<RawDescriptor>)> = Vec::new();
    for entry in entries {
        let name = name(&entry);
        let alone = name.tag.is_none() && entry.platform().is_none();
        match groups.iter_mut().find(|(known, _)| *known == name && !alone) {
            Some((_, group)) => group.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    groups
}

/// Reads a manifest or an index, and compares digest, size and media type. Errors ([`Kind::NotFound`]) when it is not
/// there.
pub fn manifest(members: &dyn ArchiveMembers, what: &Descriptor) -> Result<Manifest> {
    LayoutStore(members).manifest(what)
}

/// The images of an archive or a directory as a content store.
pub struct LayoutStore<'a>(pub &'a dyn ArchiveMembers);

impl ContentStore for LayoutStore<'_> {
    fn place(&self) -> &str {
        self.0.place()
    }

    fn fetch(&self, what: &Descriptor) -> Result<StoredManifest> {
        let (place, path) = (self.place(), blob(what.digest));
        let bytes = self.0.read(&path, LARGEST_MANIFEST as u64)?.ok_or_else(|| {
            let message = format!("{place}: lists the manifest '{path}', which is not there");
            Error::new(Kind::NotFound, message)
                .hint("the archive or directory is incomplete; save it again")
        })?;
        let found = Digest::of(&bytes);
        if found != what.digest {
            let what_of = format!("{place}: digest of the manifest");
            return Err(Error::mismatch(what_of, what.digest, found));
        }
        let manifest = Manifest::read(place, Some(&what.media_type), bytes)?;
        Ok(StoredManifest { manifest, refused: None })
    }

    fn stored_blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes> {
        self.0.require_bytes(&blob(what.digest), called, limit)
    }

    fn content(&self, digest: Digest) -> Result<Content> {
        self.0.require(&blob(digest), "layer").map(Content::File)
    }

    fn has(&self, what: &Descriptor) -> Result<bool> {
        Ok(self.0.section(&blob(what.digest))?.is_some())
    }
}

fn ref_name(entry: &RawDescriptor) -> Option<&str> {
    entry.annotation(REF_NAME)
}

/// Returns the name of an entry.
#[must_use]
pub fn name(entry: &RawDescriptor) -> ImageName {
    let named = NAME_KEYS.iter().find_map(|key| entry.annotation(key));
    let unnamed = ImageName { repository: "unknown".to_owned(), tag: None };
    match named {
        None => unnamed,
        // A name with a slash or a colon is a full name; anything else is a tag.
        Some(name) if name.contains(['/', ':']) => ImageName::parse(name).unwrap_or(unnamed),
        Some(tag) if occystrap_base::oci::name::is_tag(tag) => {
            ImageName { tag: Some(tag.to_owned()), ..unnamed }
        }
        Some(_) => unnamed,
    }
}
