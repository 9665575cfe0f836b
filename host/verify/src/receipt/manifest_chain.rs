//! Checks that the manifest of a receipt leads to the config and the layers of the receipt, and to nothing else.
//!
//! The manifest has the promised bytes. The author of a forged receipt may have written the manifest as well.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::format::DestinationFormat;
use crate::look::{elsewhere, engine_image, registry, web};
use crate::verdict::claims::Claims;
use crate::verdict::document as client;
use crate::verdict::flaw::{Lead, Reason, Status};
use crate::verdict::object::CheckedObject;
use occystrap_base::error::printable;
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::layout::LIST;
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::oci::{Digest, PlatformPart, json};
use occystrap_images::level::Level;
use occystrap_images::source::docker_save;
use occystrap_images::source::members::ArchiveMembers;
use occystrap_images::source::tar_index::TarIndex;
use occystrap_output::destination::ReadAccess;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::read_access::FolderReader;
use occystrap_output::receipt::{Expectation, Place, Receipt, Role, listed};

/// A manifest with the promised digest: its media type at a registry, and its bytes.
pub type Document = (Option<String>, Bytes);

/// Returns a manifest, where it is there and has the promised digest.
#[must_use]
pub fn document(one: &Expectation, access: &ReadAccess, memory: &HashMemo) -> Option<Document> {
    let (media_type, bytes) = match (&one.place, access) {
        (Place::Manifest { reference }, ReadAccess::Repository(remote)) => {
            let found = match memory.recall_manifest(reference) {
                Some(known) => known,
                None => {
                    let found = remote.manifest(reference).ok()?;
                    memory.remember_manifest(reference, found.clone());
                    found
                }
            }?;
            (Some(found.manifest.media_type), found.manifest.bytes)
        }
        (_, ReadAccess::Storage(destination)) => {
            (None, read(one, destination, LARGEST_MANIFEST as u64)?)
        }
        (Place::File { path }, ReadAccess::Web(site)) => {
            let size = one.size.filter(|size| *size <= LARGEST_MANIFEST as u64)?;
            (None, site.bytes(&site.url_of(path)?, size, one.digest?).ok()?.into())
        }
        _ => return None,
    };
    (one.digest == Some(Digest::of(&bytes))).then_some((media_type, bytes))
}

/// Returns the bytes of a small file or part, where all of them are there.
fn read(one: &Expectation, destination: &FolderReader, limit: u64) -> Option<Bytes> {
    let (path, offset) = match &one.place {
        Place::File { path } => (path, 0),
        Place::Part { path, offset, .. } => (path, *offset),
        _ => return None,
    };
    let size = one.size.filter(|size| *size <= limit)?;
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    destination.open(path).ok()?.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes.into())
}

/// Returns what the config promises about the layers, where it has the promised digest. Otherwise the check of the
/// config reports it.
#[must_use]
pub fn claims(
    receipt: &Receipt,
    format: &DestinationFormat,
    access: &ReadAccess,
    level: Level,
    memory: &HashMemo,
) -> Claims {
    let expectations = &receipt.expectations;
    if receipt.image.part.is_index() {
        return Claims::default();
    }
    let claims = match access {
        ReadAccess::Storage(destination) => {
            let config = expectations.iter().find(|one| one.role == Role::Config);
            let bytes = config.and_then(|one| {
                read(one, destination, LARGEST_CONFIG)
                    .filter(|bytes| Some(Digest::of(bytes)) == one.digest)
            });
            bytes.map_or_else(Claims::default, |bytes| Claims::of(&bytes))
        }
        ReadAccess::Repository(remote) => registry::claims(expectations, remote, memory),
        ReadAccess::Web(site) => web::claims(expectations, site, memory),
        // A receipt of this run was not cut: additional layers in the engine are a flaw.
        ReadAccess::Engine(_) if receipt.is_fresh => Claims::default(),
        ReadAccess::Engine(named) => engine_image::claims(expectations, named, level, memory),
    };
    let claims = claims.against(receipt);
    // An artifact stands beside images in an index, or has its own name, which the receipt says.
    let image = &receipt.image;
    let may_be_artifact =
        matches!(image.part, PlatformPart::Platform(_) | PlatformPart::Referrer(_))
            || image.artifact;
    let beside = format.has_manifests() && may_be_artifact;
    let manifest = expectations.iter().find(|one| one.role == Role::Manifest).filter(|_| beside);
    let manifest = manifest.and_then(|one| document(one, access, memory));
    let parsed = manifest.and_then(|(_, bytes)| json::parse::<ManifestDocument>(&bytes).ok());
    match parsed {
        Some(parsed) => claims.within(&parsed),
        None if receipt.image.part.is_listed() => claims,
        None => claims.of_image(),
    }
}

/// Marks the layers of a receipt as unchecked that are missing and that the manifest places elsewhere. The manifest is
/// read where a layer is missing, and counts where it has the promised digest.
pub fn excuse_elsewhere(
    receipt: &Receipt,
    access: &ReadAccess,
    memory: &HashMemo,
    objects: &mut [CheckedObject],
) {
    let is_missing =
        |object: &CheckedObject| object.kind == "layer" && object.status == Status::Missing;
    if !objects.iter().any(is_missing) {
        return;
    }
    let manifest = receipt.expectations.iter().find(|one| one.role == Role::Manifest);
    let document = manifest.and_then(|one| document(one, access, memory));
    let parsed = document.and_then(|(_, bytes)| json::parse::<ManifestDocument>(&bytes).ok());
    if let Some(parsed) = parsed {
        elsewhere::mark_unchecked_layers(&parsed, objects);
    }
}

/// Records the flaw of each manifest that clients cannot read, or that does not lead to the image.
/// [`super::index_children`] checks the manifests of an index.
pub fn check(
    receipt: &Receipt,
    format: &DestinationFormat,
    access: &ReadAccess,
    memory: &HashMemo,
    objects: &mut [CheckedObject],
) {
    if receipt.image.part.is_index() {
        return;
    }
    for (one, object) in receipt.expectations.iter().zip(objects) {
        if one.role != Role::Manifest || object.status != Status::Ok {
            continue;
        }
        let wrong = match format {
            DestinationFormat::Unknown => continue,
            DestinationFormat::Directory | DestinationFormat::Archive => match access.storage() {
                Some(destination) => names_image(receipt, one, format, destination),
                None => continue,
            },
            _ => match document(one, access, memory) {
                Some((media_type, bytes)) => {
                    if let Some(flaw) = client::check(&bytes) {
                        object.record_if_ok(flaw);
                        continue;
                    }
                    let checked =
                        listed::check(media_type.as_deref(), &bytes, &receipt.expectations);
                    let of_image = receipt.image.part.is_whole() && !receipt.image.artifact;
                    let parsed = json::parse::<ManifestDocument>(&bytes).ok();
                    let parsed = parsed.filter(|_| of_image && checked.is_ok());
                    let flaw = parsed.and_then(|parsed| client::check_config_type(&parsed));
                    if let Some(flaw) = flaw {
                        object.record_if_ok(flaw);
                        continue;
                    }
                    checked.map_err(|why| Lead::Other(why.to_owned()))
                }
                None => {
                    object.mark_unchecked(Reason::ChangedMeanwhile);
                    continue;
                }
            },
        };
        if let Err(why) = wrong {
            object.fail(Status::DigestMismatch, Reason::LeadsElsewhere(why));
            object.host_only = true;
        }
    }
}

/// Errors where a list in `docker save` form does not name the image, or names other images.
fn names_image(
    receipt: &Receipt,
    manifest: &Expectation,
    format: &DestinationFormat,
    destination: &FolderReader,
) -> Result<(), Lead> {
    let mut others = Vec::new();
    let members: Box<dyn ArchiveMembers> = match (format, destination.file_name()) {
        (DestinationFormat::Archive, Some(name)) => {
            let file = destination.open(name).map_err(|cause| Lead::Archive(cause.to_string()))?;
            let place = format!("'{}'", destination.display(name));
            let index = TarIndex::read(Arc::new(file), place).map_err(Lead::Unfollowed)?;
            others.extend(index.names().map(str::to_owned));
            Box::new(index)
        }
        _ => Box::new(destination.members()),
    };
    let is = |name: &str, one: &Expectation| match &one.place {
        Place::File { path } => path == name,
        Place::Part { offset, .. } => members
            .section(name)
            .ok()
            .flatten()
            .is_some_and(|found| found.offset == *offset && Some(found.size) == one.size),
        _ => false,
    };
    let list = match &manifest.place {
        Place::File { path } => path.as_str(),
        _ => LIST,
    };
    if !is(list, manifest) {
        return Err(Lead::NotFound);
    }
    let entries = docker_save::read(&*members, list).map_err(Lead::Unfollowed)?;
    let [entry] = entries.as_slice() else {
        return Err(Lead::Images(entries.len()));
    };
    let expected = |role: Role| receipt.expectations.iter().filter(move |one| one.role == role);
    let layers = receipt.expectations.iter().filter(|one| one.role.is_layer());
    let fits = expected(Role::Config).all(|one| is(entry.config(), one))
        && entry.layers().len() == layers.count()
        && (0..)
            .zip(entry.layers())
            .all(|(index, layer)| expected(Role::Layer(index)).any(|one| is(layer, one)));
    if !fits {
        return Err(Lead::OtherFiles);
    }
    // Some readers follow another list instead, such as `index.json`.
    let is_listed =
        |name: &String| name == list || name == entry.config() || entry.layers().contains(name);
    if let Some(other) = others.iter().find(|name| !is_listed(name)) {
        return Err(Lead::NotListed(printable(other)));
    }
    let name = receipt.image.image_name();
    match *format == DestinationFormat::Archive
        && name.tag.is_some()
        && !docker_save::is_named(entry, &name)
    {
        true => Err(Lead::NotNamed(name.to_string())),
        false => Ok(()),
    }
}
