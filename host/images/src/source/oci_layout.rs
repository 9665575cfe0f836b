//! An OCI image layout (image specification, "Image Layout"), as a directory or inside a tar:
//! `index.json` and `blobs/`.

use std::path::Path;

use bytes::Bytes;

use super::Choice;
use super::content_store::{self, Shelf, narrow, parse_index};
use super::directory::Directory;
use super::members::{Members, compression};
use super::platforms::{Alone, Documents};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::layout::{INDEX, MARKER, REF_NAME, VERSION, blob};
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::oci::{Descriptor, Digest, ImageName, Manifest, Platform, json};
use occystrap_layer::image::{Image, Layer, Whole};

/// What names an image in an index: buildkit writes the full name, others a tag.
const NAME_KEYS: [&str; 2] = ["io.containerd.image.name", REF_NAME];

/// 20,000 images with long names are half of this.
pub const LARGEST_INDEX: u64 = 16 * 1024 * 1024;

/// A marker has some thirty bytes.
pub const LARGEST_MARKER: u64 = 64 * 1024;

/// More names help nobody to choose.
const MOST_NAMES: usize = 20;

/// All images of a layout, or those of one tag, that are wanted. Entries of one name for several platforms
/// are one image: the one for the platform that was asked for.
pub fn images(
    members: &dyn Members,
    tag: Option<&str>,
    platform: &Platform,
    wanted: Choice,
) -> Result<Vec<Image>> {
    let shelf = Layout(members);
    let named = wanted.of(groups(entries(members, tag)?))?;
    (named.into_iter())
        .map(|(name, group)| {
            let (manifests, configs) = content_store::readers(&shelf);
            let documents = Documents::new(members.place(), &manifests, &configs);
            let chosen = documents.choose(&group, platform, Alone::Always)?;
            let root = shelf.manifest(&chosen.promised(members.place())?)?;
            narrow(&shelf, root, chosen.platform(), platform, Alone::Always, name)
        })
        .collect()
}

/// All images of a layout with every platform, or those of one tag, that are wanted.
pub fn wholes(members: &dyn Members, tag: Option<&str>, wanted: Choice) -> Result<Vec<Whole>> {
    let (shelf, place) = (Layout(members), members.place());
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
            let root = shelf.manifest(&only.promised(place)?)?;
            content_store::whole(&shelf, root, name)
        })
        .collect()
}

/// All images of a directory with every platform, or those of one tag, that are wanted.
pub fn open_wholes(path: &Path, tag: Option<&str>, wanted: Choice) -> Result<Vec<Whole>> {
    wholes(&Directory::open(path)?, tag, wanted)
}

/// All images of a directory, or those of one tag, that are wanted.
pub fn open(
    path: &Path,
    tag: Option<&str>,
    platform: &Platform,
    wanted: Choice,
) -> Result<Vec<Image>> {
    images(&Directory::open(path)?, tag, platform, wanted)
}

/// Returns what `index.json` lists, which may be nothing. Errors when it is not there, or no index.
pub fn listed(members: &dyn Members) -> Result<Vec<RawDescriptor>> {
    let place = members.place();
    let bytes = members.read(INDEX, LARGEST_INDEX)?.ok_or_else(|| {
        Error::source(format!("{place}: holds no {INDEX}"))
            .hint("is it an OCI image layout? 'skopeo copy ... oci:PATH:TAG' writes one")
    })?;
    Ok(parse_index(&bytes, place)?.manifests)
}

/// What `index.json` lists, or lists under a tag. Errors when that is nothing.
pub fn entries(members: &dyn Members, tag: Option<&str>) -> Result<Vec<RawDescriptor>> {
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

/// Checks whether `index.json` is an index that lists nothing, as Docker 25 writes it beside a `manifest.json`. Errors when it is none.
pub fn is_empty(members: &dyn Members) -> Result<bool> {
    let Some(bytes) = members.read(INDEX, LARGEST_INDEX)? else { return Ok(false) };
    Ok(parse_index(&bytes, members.place())?.manifests.is_empty())
}

/// What other readers refuse a layout for: they look at its marker first, and at the version of its
/// list. Errors of the system are not told here.
#[must_use]
pub fn flaws(members: &dyn Members) -> Vec<Error> {
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

/// Entries by name, in the order of the list. Of those without a name and without a platform, each is an image of its own.
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

/// A manifest or index, its bytes compared with what was promised. Errors ([`Kind::NotFound`])
/// when it is not there.
pub fn manifest(members: &dyn Members, what: &Descriptor) -> Result<Manifest> {
    let (place, path) = (members.place(), blob(what.digest));
    let bytes = members.read(&path, LARGEST_MANIFEST as u64)?.ok_or_else(|| {
        let message = format!("{place}: lists the manifest '{path}', which is not there");
        Error::new(Kind::NotFound, message)
            .hint("the archive or directory is incomplete; save it again")
    })?;
    let found = Digest::of(&bytes);
    if found != what.digest {
        return Err(Error::mismatch(
            format!("{place}: digest of the manifest"),
            what.digest,
            found,
        ));
    }
    Manifest::kept(what, bytes, place)
}

/// Images of archives and directories.
struct Layout<'a>(&'a dyn Members);

impl Shelf for Layout<'_> {
    fn place(&self) -> &str {
        self.0.place()
    }

    fn manifest(&self, what: &Descriptor) -> Result<Manifest> {
        manifest(self.0, what)
    }

    fn blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes> {
        let place = self.place();
        let bytes = self.0.require_bytes(&blob(what.digest), called, limit)?;
        let found = Digest::of(&bytes);
        if found != what.digest {
            let what_of = format!("{place}: digest of the {called}");
            return Err(Error::mismatch(what_of, what.digest, found));
        }
        Ok(bytes)
    }

    fn has(&self, what: &Descriptor) -> Result<bool> {
        Ok(self.0.section(&blob(what.digest))?.is_some())
    }

    fn layer(&self, what: Descriptor, diff_id: Digest, called: &str) -> Result<Layer> {
        let path = blob(what.digest);
        let section = self.0.require(&path, "layer")?;
        let place = format!("{}: {called} ('{path}')", self.place());
        if section.size != what.size {
            let what_of = format!("{place}: size in bytes");
            return Err(Error::mismatch(what_of, what.size, section.size));
        }
        let compression = compression(&section, &place)?;
        Ok(Layer::in_file(section, diff_id, Some(what.digest), compression, place))
    }
}

fn ref_name(entry: &RawDescriptor) -> Option<&str> {
    entry.annotation(REF_NAME)
}

/// What an entry is called.
#[must_use]
pub fn name(entry: &RawDescriptor) -> ImageName {
    let named = NAME_KEYS.iter().find_map(|key| entry.annotation(key));
    let unnamed = ImageName { repository: "unknown".to_owned(), tag: None };
    match named {
        None => unnamed,
        // A name with a slash or a colon is a full one; anything else is a tag.
        Some(name) if name.contains(['/', ':']) => ImageName::parse(name).unwrap_or(unnamed),
        Some(tag) if occystrap_base::oci::name::is_tag(tag) => {
            ImageName { tag: Some(tag.to_owned()), ..unnamed }
        }
        Some(_) => unnamed,
    }
}
