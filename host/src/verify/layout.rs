//! What an OCI image layout says of itself: expectations where there is no receipt.

use std::path::Path;

use oci_spec::image::{Descriptor as OciDescriptor, ImageManifest};
use serde_json::Value;

use super::derive::Found;
use super::memory::Memory;
use super::tree::{self, Listed, Shelf};
use super::{Level, Object, Status, check};
use crate::context::Context;
use crate::error::{Kind, Result, printable};
use crate::image::config::{self, LARGEST_CONFIG};
use crate::image::{Descriptor, Digest, Platform};
use crate::input::directory::Directory;
use crate::input::members::Members;
use crate::input::oci_layout::{
    self, INDEX, LARGEST_INDEX, LARGEST_MARKER, MARKER, REF_NAME, VERSION,
};
use crate::input::shelf::parse_index;
use crate::output::Destination;
use crate::receipt::{Expectation, Place, Role, Step};
use crate::registry::Manifest;

/// Verify every image of a layout, or those of one tag.
pub fn images(
    path: &Path,
    tag: Option<&str>,
    level: Level,
    context: &Context,
) -> Result<Vec<Found>> {
    let members = Directory::open(path)?;
    let entries = oci_layout::entries(&members, tag)?;
    let destination = Destination::directory(path)?;
    let place = format!("'{}'", path.display());
    let marker = marker(&members, &destination);
    let version = schema_version(&members, &destination);
    let shelf = Layout { members, destination, memory: Memory::default(), context };
    let mut found = Vec::new();
    for entry in &entries {
        let root = Listed::entry(entry, &place)?;
        let ref_name = entry.annotations().as_ref().and_then(|all| all.get(REF_NAME));
        // Entries of one name for several platforms are legal.
        let unique = |name: &&String| {
            let same = |other: &&OciDescriptor| {
                other.annotations().as_ref().and_then(|all| all.get(REF_NAME)) == Some(*name)
            };
            entries.iter().filter(same).count() == 1
        };
        let catalog = ref_name.filter(unique).map(|name| catalogued(name, &root.reference));
        let more: Vec<Expectation> = catalog.into_iter().collect();
        let mut images = tree::verify(&shelf, root, &oci_layout::name(entry), &more, level)?;
        // What the name stands for comes last.
        if let Some(image) = images.last_mut() {
            let objects = &mut image.verification.objects;
            objects.push(marker.clone());
            let said = [version.clone(), shelf.rivals(entry, &entries, tag), shelf.platform(entry)];
            objects.extend(said.into_iter().flatten());
        }
        found.extend(images);
    }
    Ok(found)
}

/// Readers look at it first, and refuse a layout without one or of another version.
fn marker(members: &Directory, destination: &Destination) -> Object {
    let mut object = Object::at(destination.display(MARKER)).for_role(Role::Catalog);
    match members.read(MARKER, LARGEST_MARKER) {
        Err(error) => object.blame_error(Status::Unreadable, &error),
        Ok(None) => object.blame(Status::Missing, None, None, "is not there"),
        Ok(Some(bytes)) => {
            let marker = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
            match marker["imageLayoutVersion"].as_str() {
                Some(VERSION) => {}
                found => object.blame(
                    Status::Unreadable,
                    Some(VERSION.to_owned()),
                    found.map(printable),
                    "is not of the version that readers know",
                ),
            }
        }
    }
    object
}

/// `index.json` must be of the one version that there is (image specification, "Image Index").
fn schema_version(members: &Directory, destination: &Destination) -> Option<Object> {
    let bytes = members.read(INDEX, LARGEST_INDEX).ok().flatten()?;
    let index = parse_index(&bytes, members.place()).ok()?;
    (index.schema_version() != 2).then(|| {
        let found = index.schema_version().to_string();
        let message = "is of another 'schemaVersion'";
        blamed(destination, Some("2".to_owned()), Some(found), message)
    })
}

/// A finding about `index.json`.
fn blamed(
    destination: &Destination,
    expected: Option<String>,
    found: Option<String>,
    message: &str,
) -> Object {
    let mut object = Object::at(destination.display(INDEX)).for_role(Role::Catalog);
    object.blame(Status::DigestMismatch, expected, found, message);
    object
}

impl Layout<'_> {
    /// One name for several images is legal for several platforms; any more, and nobody knows which
    /// is meant. `tag` is how somebody asked: the full names do not tell images apart then.
    fn rivals(
        &self,
        entry: &OciDescriptor,
        entries: &[OciDescriptor],
        tag: Option<&str>,
    ) -> Option<Object> {
        let name = oci_layout::name(entry);
        let called = tag.or(name.tag.as_deref())?;
        let platform = |entry: &OciDescriptor| entry.platform().as_ref().map(Platform::promised);
        let mine = platform(entry);
        let rivals = entries.iter().filter(|other| {
            let other_is = platform(other);
            (tag.is_some() || oci_layout::name(other) == name)
                && (mine.is_none() || other_is.is_none() || mine == other_is)
        });
        // The entry is its own.
        let count = rivals.count();
        (count > 1).then(|| {
            let message = format!("has {count} entries of the tag '{}'", printable(called));
            blamed(&self.destination, None, None, &message)
        })
    }

    /// An entry's platform is that of the image's config; what cannot be read is found elsewhere.
    fn platform(&self, entry: &OciDescriptor) -> Option<Object> {
        let said = Platform::promised(entry.platform().as_ref()?);
        let place = self.members.place();
        let promised = Descriptor::promised(entry, place).ok()?;
        let manifest = oci_layout::manifest(&self.members, &promised).ok()?;
        let manifest = serde_json::from_slice::<ImageManifest>(&manifest.bytes).ok()?;
        let config = Descriptor::promised(manifest.config(), place).ok()?;
        let bytes = self.members.read(&path(config.digest), LARGEST_CONFIG).ok().flatten()?;
        // A damaged one is a finding of its own.
        let config = Some(bytes).filter(|bytes| Digest::of(bytes) == config.digest)?;
        let is = config::parse(&config, place).ok()?.platform;
        // Variants are spelled in several ways, and left out.
        let differs = (&said.os, &said.architecture) != (&is.os, &is.architecture);
        differs.then(|| {
            let message = "gives the image another platform than its config";
            blamed(&self.destination, Some(is.to_string()), Some(said.to_string()), message)
        })
    }
}

/// What `index.json` says of a name.
fn catalogued(name: &str, digest: &str) -> Expectation {
    let keys = vec!["annotations".to_owned(), REF_NAME.to_owned()];
    let steps = vec![
        Step::Key("manifests".to_owned()),
        Step::Element { keys, value: name.to_owned() },
        Step::Key("digest".to_owned()),
    ];
    let place = Place::Entry { path: INDEX.to_owned(), steps, value: digest.to_owned() };
    Expectation { role: Role::Catalog, place, size: None, digest: None }
}

struct Layout<'a> {
    members: Directory,
    destination: Destination,
    /// Images share layers.
    memory: Memory,
    context: &'a Context,
}

fn path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Shelf for Layout<'_> {
    fn manifest(&self, what: &Listed) -> Result<Option<Manifest>> {
        let Some(promised) = &what.promised else { return Ok(None) };
        match oci_layout::manifest(&self.members, promised) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn blob(&self, digest: Digest) -> Place {
        Place::File { path: path(digest) }
    }

    fn place(&self, what: &Listed) -> Place {
        Place::File {
            path: what.promised.as_ref().map_or(String::new(), |known| path(known.digest)),
        }
    }

    fn display(&self, what: &Listed) -> String {
        match &what.promised {
            Some(known) => self.destination.display(&path(known.digest)),
            None => self.destination.display(&what.reference),
        }
    }

    fn look(&self, expectations: &[Expectation], level: Level) -> Result<Vec<Object>> {
        check::objects(
            expectations,
            &[],
            &self.destination,
            level,
            &self.memory,
            &self.context.cancel,
        )
    }
}
