//! Expectations for the images of an OCI image layout that has no receipt.

use std::path::Path;

use serde_json::Value;

use super::store::{ListedManifest, Store};
use super::tree;
use crate::look::files::{FolderFiles, NamedFiles};
use crate::look::{check, unpacked};
use crate::verdict::claims::{Claims, platform_flaw};
use crate::verdict::document;
use crate::verdict::flaw::{Difference, Flaw, Reason, Status};
use crate::verdict::found::Found;
use crate::verdict::object::CheckedObject;

use crate::verdict::outcome::Outcomes;
use occystrap_base::error::{Error, Kind, Result, printable};
use occystrap_base::oci::config::{self, LARGEST_CONFIG};
use occystrap_base::oci::document::{ManifestDocument, RawDescriptor};
use occystrap_base::oci::layout::{INDEX, MARKER, REF_NAME, VERSION, blob};
use occystrap_base::oci::{Digest, ImageName, Manifest, json, reading};
use occystrap_images::level::Level;
use occystrap_images::source::content_store::parse_index;
use occystrap_images::source::oci_layout::{self, LARGEST_INDEX, LARGEST_MARKER};
use occystrap_net::context::Context;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::read_access::FolderReader;
use occystrap_output::receipt::{Expectation, Place, Role, Step};

/// Verifies every image of a layout, or the images of one tag.
pub fn images(
    path: &Path,
    tag: Option<&str>,
    level: Level,
    context: &Context,
) -> Result<Vec<Found>> {
    held(FolderFiles::of(FolderReader::directory(path)?), tag, level, context)
}

/// Verifies every image of a layout, in a directory or in an archive.
pub(super) fn held(
    held: impl NamedFiles,
    tag: Option<&str>,
    level: Level,
    context: &Context,
) -> Result<Vec<Found>> {
    if tag.is_none() && oci_layout::is_empty(held.members())? {
        let name = ImageName { repository: "unknown".to_owned(), tag: None };
        let flaw = Flaw::new(Status::Unchecked, Reason::Empty);
        let mut empty = Found::without_image(name, level, held.called(INDEX), flaw);
        empty.verification.objects.push(marker(&held));
        return Ok(vec![empty]);
    }
    let entries = oci_layout::entries(held.members(), tag)?;
    let place = held.members().place().to_owned();
    let (marker, version) = (marker(&held), list(&held));
    let store = Layout { held, memory: HashMemo::showing(&context.progress), context };
    let (mut found, looked) = (Vec::new(), Outcomes::new());
    for entry in &entries {
        let root = ListedManifest::entry(entry, &place)?;
        let ref_name = entry.annotation(REF_NAME);
        // Entries of one name for several platforms are legal.
        let unique = |name: &&str| {
            let same = |other: &&RawDescriptor| other.annotation(REF_NAME) == Some(*name);
            entries.iter().filter(same).count() == 1
        };
        // Only the entry of a file is read again. A member of an archive was just read, and does not change.
        let is_file = matches!(store.held.place(INDEX), Place::File { .. });
        let catalog = ref_name
            .filter(unique)
            .filter(|_| is_file)
            .map(|name| catalogued(name, &root.reference));
        let more: Vec<Expectation> = catalog.into_iter().collect();
        let mut images =
            tree::verify(&store, root, &oci_layout::name(entry), &more, level, &looked)?;
        // The image that the name stands for comes last.
        if let Some(image) = images.last_mut() {
            let objects = &mut image.verification.objects;
            objects.push(marker.clone());
            let said = [
                version.clone(),
                store.rivals(entry, &entries, tag),
                media_type(&store.held, entry),
                platform(&store.held, entry),
            ];
            objects.extend(said.into_iter().flatten());
        }
        found.extend(images);
    }
    Ok(found)
}

/// Checks what readers need beside the objects of a receipt: the marker file, and what the index says of itself and of
/// the image. Nothing is checked where no entry of the index is expected: then the image belongs to another index.
pub fn beside(
    destination: &FolderReader,
    expectations: &[Expectation],
    objects: &mut Vec<CheckedObject>,
) {
    let listed =
        |one: &Expectation| matches!(&one.place, Place::Entry { path, .. } if path == INDEX);
    if !expectations.iter().any(listed) {
        return;
    }
    let folder = FolderFiles::of(destination.clone());
    objects.push(marker(&folder));
    let manifest = expectations.iter().find(|one| one.role == Role::Manifest);
    let digest = manifest.and_then(|one| one.digest).map(|digest| digest.to_string());
    let mut entries = oci_layout::entries(folder.members(), None).unwrap_or_default();
    entries.retain(|entry| Some(entry.digest().to_string()) == digest);
    // The image of the receipt was listed for the platform of its config. Another platform was written later.
    let platforms = entries.iter().find_map(|entry| {
        let mut object = platform(&folder, entry)?;
        object.status = Status::DigestMismatch;
        Some(object)
    });
    // Each location is one object, which has the first flaw that is found.
    for found in [list(&folder), platforms].into_iter().flatten() {
        match objects.iter_mut().find(|object| object.location == found.location) {
            Some(object) if object.status == Status::Ok => *object = found,
            Some(_) => {}
            None => objects.push(found),
        }
    }
}

/// Checks the marker file, which readers open first: they refuse a layout without it, or of another version.
fn marker(held: &dyn NamedFiles) -> CheckedObject {
    let mut object = CheckedObject::at(held.called(MARKER)).for_role(Role::Catalog);
    if held.files().open(MARKER).is_err_and(|cause| check::is_denied(&cause)) {
        check::fail_denied(&mut object);
        return object;
    }
    match held.members().read(MARKER, LARGEST_MARKER) {
        Err(error) => object.fail_with(Status::Unreadable, &error),
        Ok(None) => object.fail(Status::Missing, Reason::NotThere),
        Ok(Some(bytes)) => {
            let marker = json::parse::<Value>(&bytes).unwrap_or_default();
            match marker["imageLayoutVersion"].as_str() {
                Some(VERSION) => {}
                found => {
                    let (expected, found) = (Some(VERSION.to_owned()), found.map(printable));
                    let flaw = Flaw::new(Status::Unreadable, Reason::OtherLayoutVersion);
                    object.record(flaw.between(Difference::Value { expected, found }));
                }
            }
        }
    }
    object
}

/// Checks that `index.json` has the only version (image specification, "Image Index") and can be read in one way.
fn list(held: &dyn NamedFiles) -> Option<CheckedObject> {
    let bytes = held.members().read(INDEX, LARGEST_INDEX).ok().flatten()?;
    if let Err(why) = reading::manifest(&bytes) {
        let why = why.to_string();
        let flaw = Flaw::new(Status::DigestMismatch, Reason::TwoReadings { why });
        let mut object = of_index(held, flaw);
        object.host_only = true;
        return Some(object);
    }
    if let Some(flaw) = document::check(&bytes) {
        let mut object = CheckedObject::at(held.called(INDEX)).for_role(Role::Catalog);
        object.record_if_ok(flaw);
        return Some(object);
    }
    let index = parse_index(&bytes, held.members().place()).ok()?;
    (index.schema_version != Some(2)).then(|| {
        let found = index.schema_version.map(|found| found.to_string());
        let sides = Difference::Value { expected: Some("2".to_owned()), found };
        of_index(held, Flaw::new(Status::DigestMismatch, Reason::OtherSchemaVersion).between(sides))
    })
}

/// Returns a finding about `index.json`.
fn of_index(held: &dyn NamedFiles, flaw: Flaw) -> CheckedObject {
    let mut object = CheckedObject::at(held.called(INDEX)).for_role(Role::Catalog);
    object.record(flaw);
    object
}

impl<H: NamedFiles> Layout<'_, H> {
    /// Returns the finding about a tag with several images. Several images are legal for several platforms; otherwise
    /// the tag is ambiguous. `tag` is the tag that the user gave: full names do not distinguish images then.
    fn rivals(
        &self,
        entry: &RawDescriptor,
        entries: &[RawDescriptor],
        tag: Option<&str>,
    ) -> Option<CheckedObject> {
        let name = oci_layout::name(entry);
        let called = tag.or(name.tag.as_deref())?;
        let platform = |entry: &RawDescriptor| entry.platform();
        let mine = platform(entry);
        let tagged = |entry: &RawDescriptor| entry.annotation(REF_NAME).map(str::to_owned);
        let own = tagged(entry);
        // Other tools copy an entry for a new tag, with its full name.
        let is_other = |other: &RawDescriptor| {
            let their = tagged(other);
            own.is_none() || their.is_none() || own == their
        };
        let rivals = entries.iter().filter(|other| {
            let other_is = platform(other);
            is_other(other)
                && (tag.is_some() || oci_layout::name(other) == name)
                && (mine.is_none() || other_is.is_none() || mine == other_is)
        });
        // The count includes the entry itself.
        let count = rivals.count();
        (count > 1).then(|| {
            let reason = Reason::SeveralOfTag { count, tag: printable(called) };
            of_index(&self.held, Flaw::new(Status::DigestMismatch, reason))
        })
    }
}

/// Returns the finding about an entry whose platform is not that of the image's config. Files that cannot be read are
/// found by other checks.
fn platform(held: &dyn NamedFiles, entry: &RawDescriptor) -> Option<CheckedObject> {
    let members = held.members();
    let said = entry.platform()?;
    let place = members.place();
    let promised = entry.promised(place).ok()?;
    let manifest = oci_layout::manifest(members, &promised).ok()?;
    let manifest = json::parse::<ManifestDocument>(&manifest.bytes).ok()?;
    let config = manifest.config(place).ok()?.promised(place).ok()?;
    let bytes = members.read(&blob(config.digest), LARGEST_CONFIG).ok().flatten()?;
    // A damaged config is a finding of its own.
    let config = Some(bytes).filter(|bytes| Digest::of(bytes) == config.digest)?;
    let is = config::parse(&config, place).ok()?.platform;
    is.contradicts(&said).then(|| {
        let mut object = of_index(held, platform_flaw(&is, &said));
        object.host_only = true;
        object
    })
}

/// Returns the finding about an entry with another media type than its manifest: Podman and skopeo find no image there,
/// or read it as the entry says. Files that cannot be read are found by other checks.
fn media_type(held: &dyn NamedFiles, entry: &RawDescriptor) -> Option<CheckedObject> {
    let members = held.members();
    let promised = entry.promised(members.place()).ok()?;
    let manifest = oci_layout::manifest(members, &promised).ok()?;
    let error = manifest.check_layout_type(&promised, members.place()).err()?;
    let mut object = CheckedObject::at(held.called(INDEX)).for_role(Role::Catalog);
    object.fail_with(Status::DigestMismatch, &error);
    Some(object)
}

/// Returns the entry of `index.json` that is expected for a name.
pub fn catalogued(name: &str, digest: &str) -> Expectation {
    let keys = vec!["annotations".to_owned(), REF_NAME.to_owned()];
    let steps = vec![
        Step::Key("manifests".to_owned()),
        Step::Element { keys, value: name.to_owned() },
        Step::Key("digest".to_owned()),
    ];
    let place = Place::Entry { path: INDEX.to_owned(), steps, value: digest.to_owned() };
    Expectation { role: Role::Catalog, place, size: None, digest: None }
}

/// Returns the store of a layout.
pub fn store<'a>(
    destination: &FolderReader,
    memory: &HashMemo,
    context: &'a Context,
) -> impl Store + 'a {
    let held = FolderFiles::of(destination.clone());
    Layout { held, memory: memory.clone(), context }
}

struct Layout<'a, H> {
    held: H,
    /// Images share layers.
    memory: HashMemo,
    context: &'a Context,
}

impl<H: NamedFiles> Store for Layout<'_, H> {
    fn manifest(&self, what: &ListedManifest) -> Result<Option<Manifest>> {
        let Some(promised) = &what.promised else { return Ok(None) };
        match oci_layout::manifest(self.held.members(), promised) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn blob(&self, digest: Digest) -> Place {
        self.held.place(&blob(digest))
    }

    fn place(&self, what: &ListedManifest) -> Place {
        let path = what.promised.as_ref().map_or(String::new(), |known| blob(known.digest));
        self.held.place(&path)
    }

    fn display(&self, what: &ListedManifest) -> String {
        match &what.promised {
            Some(known) => self.held.called(&blob(known.digest)),
            None => self.held.files().display(&what.reference),
        }
    }

    fn claims(&self, expectations: &[Expectation]) -> Claims {
        let config = expectations.iter().find(|one| one.role == Role::Config);
        let Some((digest, size)) = config.and_then(|one| one.digest.zip(one.size)) else {
            return Claims::default();
        };
        let path = blob(digest);
        // The check of the config finds a config that is missing or too large.
        let Ok(Some(bytes)) = self.held.members().read(&path, LARGEST_CONFIG) else {
            return Claims::default();
        };
        let found = Digest::of(&bytes);
        if bytes.len() as u64 == size {
            match self.held.place(&path) {
                Place::Part { path, offset, .. } => {
                    self.memory.remember_at(&path, offset, size, found);
                }
                _ => self.memory.remember(&path, size, found),
            }
        }
        match found == digest {
            true => Claims::of(&bytes),
            false => Claims::of_wrong(Error::mismatch("has other content", digest, found)),
        }
    }

    fn check(
        &self,
        expectations: &[Expectation],
        claims: &Claims,
        level: Level,
    ) -> Result<Vec<CheckedObject>> {
        let (files, memory) = (self.held.files(), &self.memory);
        let cancel = &self.context.cancel;
        let unpacked = match level {
            Level::Fast => Vec::new(),
            Level::Full => unpacked::layers(expectations, claims, files, memory, cancel)?,
        };
        let mut objects = check::objects(expectations, &[], files, level, memory, cancel)?;
        unpacked::record(unpacked, &mut objects);
        claims.compare(expectations, &mut objects);
        Ok(objects)
    }
}
