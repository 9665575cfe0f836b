//! Expectations for the images of a directory or an archive that has no receipt.

use std::path::Path;

use super::docker_save::{Chain, absent_or};
use super::layout;
use crate::look::files::{ArchiveFiles, NamedFiles as _};
use crate::verdict::document;
use crate::verdict::flaw::{Difference, Flaw, Reason, Status};
use crate::verdict::found::Found;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::Result;
use occystrap_base::oci::ImageName;
use occystrap_base::oci::layout::{CATALOG, INDEX, LIST};
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_images::level::Level;
use occystrap_images::source::archive::no_image;
use occystrap_images::source::directory::Directory;
use occystrap_images::source::docker_save;
use occystrap_images::source::members::ArchiveMembers;
use occystrap_images::source::two_lists::{self, Leads};
use occystrap_net::context::Context;
use occystrap_output::destination::read_access::FolderReader;
use occystrap_output::receipt::{Place, Role};

/// Largest manifest file that is read, in bytes.
const LARGEST: u64 = LARGEST_MANIFEST as u64;

/// Verifies every image of a directory.
pub fn directory(path: &Path, level: Level, context: &Context) -> Result<Vec<Found>> {
    let members = Directory::open(path)?;
    let destination = FolderReader::directory(path)?;
    let mut found = Vec::new();
    // The catalog is read once, and not again for each of its images.
    let listed = match members.catalog()? {
        None => vec![(None, None, LIST.to_owned())],
        Some(images) => images
            .into_iter()
            .map(|image| (Some(image.name), image.config, image.manifest))
            .collect(),
    };
    for (name, config, manifest) in listed {
        let shown = name.clone().unwrap_or(ImageName { repository: manifest.clone(), tag: None });
        let entries = match docker_save::read(&members, &manifest) {
            Ok(entries) => entries,
            Err(error) => {
                let status = absent_or(&members, &manifest);
                let place = destination.display(&manifest);
                let flaw = Flaw::new(status, Reason::Quoted(error));
                found.push(Found::without_image(shown, level, place, flaw));
                continue;
            }
        };
        let flaw = members.read(&manifest, LARGEST)?.and_then(|bytes| document::check(&bytes));
        for entry in &entries {
            let place = |member: &str| Place::File { path: member.to_owned() };
            let mut chain = Chain::of(&members, entry, place, level, context)?;
            chain.expect(Role::Manifest, place(&manifest), None, None);
            flaw.iter().for_each(|flaw| chain.flaw(flaw.clone()));
            let listed = name.clone();
            let name = name.clone().or_else(|| entry.first_name()).unwrap_or_else(|| shown.clone());
            let mut image = chain.verify(name, entry, &destination)?;
            image.verification.objects.extend(listed.map(|name| {
                let mut object =
                    CheckedObject::at(destination.display(CATALOG)).for_role(Role::Catalog);
                let own = docker_save::names(entry);
                if name.tag.is_some() && !docker_save::is_named(entry, &name) {
                    let own = match entry.first_name() {
                        Some(_) => own.iter().map(ToString::to_string).collect(),
                        None => Vec::new(),
                    };
                    object.mark_unchecked(Reason::OtherName { name: name.to_string(), own });
                }
                let own = entry.config_digest();
                if let Some(config) = config.clone().filter(|config| *config != own) {
                    let reason = Reason::OtherConfig { manifest: manifest.clone() };
                    let sides = Difference::Value { expected: Some(config), found: Some(own) };
                    object.record(Flaw::new(Status::DigestMismatch, reason).between(sides));
                }
                object
            }));
            found.push(image);
        }
    }
    if found.is_empty() {
        let flaw = Flaw::new(Status::Unchecked, Reason::Empty);
        found.push(Found::without_image(unnamed(), level, destination.display(CATALOG), flaw));
    }
    Ok(found)
}

/// Verifies every image of an archive.
pub fn tar(path: &Path, level: Level, context: &Context) -> Result<Vec<Found>> {
    let archive = ArchiveFiles::open(path, context)?;
    let members = archive.index();
    if !members.contains(LIST) {
        return match members.contains(INDEX) {
            true => layout::held(archive, None, level, context),
            false => Err(no_image(members)),
        };
    }
    let entries = docker_save::list(members, LIST)?;
    let place = |member: &str| archive.place(member);
    let flaw = members.read(LIST, LARGEST)?.and_then(|bytes| document::check(&bytes));
    let rivals = docker_save::Rivals::of(&entries);
    let mut found = Vec::new();
    if entries.is_empty() {
        let flaw = Flaw::new(Status::Unchecked, Reason::Empty);
        found.push(Found::without_image(unnamed(), level, archive.called(LIST), flaw));
    }
    for entry in &entries {
        let mut chain = Chain::of(members, entry, place, level, context)?;
        let list = members.section(LIST)?.map(|section| section.size);
        chain.expect(Role::Manifest, place(LIST), list, None);
        flaw.iter().for_each(|flaw| chain.flaw(flaw.clone()));
        let name = entry.first_name().unwrap_or_else(unnamed);
        for why in docker_save::wrong_names(entry).into_iter().chain(rivals.of_entry(entry)) {
            chain.quote(Status::Unreadable, why);
        }
        if let Some(Err(error)) = chain.id().map(|id| two_lists::agree(members, &name, id)) {
            chain.quote(Status::DigestMismatch, error);
        }
        let mut image = chain.verify(name.clone(), entry, &archive)?;
        image.verification.objects.extend(other_list(&archive, &name));
        found.push(image);
    }
    Ok(found)
}

/// Returns the finding about the second list of an archive, `index.json`, where its readers find no image. A flaw of
/// the list itself is reported with the first list.
fn other_list(archive: &ArchiveFiles, name: &ImageName) -> Option<CheckedObject> {
    let mut object = CheckedObject::at(archive.called(INDEX)).for_role(Role::Catalog);
    match two_lists::leads(archive.index(), name) {
        Ok(None) | Err(_) => return None,
        Ok(Some(Leads::ToImage)) => {}
        Ok(Some(Leads::ToNothing)) => object.mark_unchecked(Reason::Empty),
        Ok(Some(Leads::ToMissing(path))) => {
            object.fail(Status::Missing, Reason::LeadsToMissing { path: path.to_string() });
        }
    }
    Some(object)
}

fn unnamed() -> ImageName {
    ImageName { repository: "unknown".to_owned(), tag: None }
}
