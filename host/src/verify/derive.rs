//! What an output says of itself: expectations where there is no receipt.
//!
//! The chain is config digest (the config's name) -> diff-ids (in the config) -> layers. Sizes are
//! not recorded there (`extent` asks the layers themselves), and headers of an archive have no digest: only a receipt covers them.

use std::path::Path;

use super::{Level, Object, Status, Verification, check, extent, memory};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::image::{Compression, Digest, ImageName, Part, config};
use crate::input::archive;
use crate::input::directory::Directory;
use crate::input::docker_save::{self, Entry};
use crate::input::members::{Members, compression};
use crate::output::Destination;
use crate::receipt::{Expectation, Place, Role, Step};

/// An image and what its verification found.
pub struct Found {
    /// What it is called.
    pub name: ImageName,
    /// Which part of that.
    pub part: Part,
    /// What it is for, where that is known.
    pub platform: Option<String>,
    /// How many layers its manifest lists.
    pub layers: usize,
    /// Bytes of its config and layers.
    pub bytes: u64,
    /// What was found.
    pub verification: Verification,
}

/// Verify every image of a directory.
pub fn directory(path: &Path, level: Level, context: &Context) -> Result<Vec<Found>> {
    let members = Directory::open(path)?;
    let destination = Destination::directory(path)?;
    let mut found = Vec::new();
    for (name, manifest) in members.catalog()? {
        let shown = name.clone().unwrap_or(ImageName { repository: manifest.clone(), tag: None });
        let entries = match docker_save::read(&members, &manifest) {
            Ok(entries) => entries,
            Err(error) => {
                let status = absent_or(&members, &manifest);
                let place = destination.display(&manifest);
                found.push(without_manifest(shown, level, place, status, &error));
                continue;
            }
        };
        for entry in &entries {
            let place = |member: &str| Place::File { path: member.to_owned() };
            let mut chain = chain(&members, entry, place, level, context)?;
            chain.expect(Role::Manifest, place(&manifest), None, None);
            if let Some(name) = &name {
                let tag = name.tag.clone().unwrap_or_else(|| entry.config_digest());
                chain.expect(
                    Role::Catalog,
                    Place::Entry {
                        path: "catalog.json".to_owned(),
                        steps: vec![Step::Key(name.repository.clone()), Step::Key(tag)],
                        value: manifest.clone(),
                    },
                    None,
                    None,
                );
            }
            let name = name.clone().or_else(|| entry.first_name()).unwrap_or_else(|| shown.clone());
            found.push(chain.verify(name, entry, &destination, level, context)?);
        }
    }
    if found.is_empty() {
        let message = format!("'{}': its catalog lists no image", path.display());
        return Err(Error::destination(message));
    }
    Ok(found)
}

/// Verify every image of an archive.
pub fn tar(path: &Path, level: Level, context: &Context) -> Result<Vec<Found>> {
    let destination = Destination::file(path)?;
    let file_name = destination.file_name().unwrap_or_default().to_owned();
    let members = archive::index(path, context)?;
    let entries = docker_save::read(&members, "manifest.json")?;
    let place = |member: &str| {
        let section = members.section(member).ok().flatten();
        Place::Part {
            path: file_name.clone(),
            member: member.to_owned(),
            // One that is not there is found to end after the archive does.
            offset: section.map_or(u64::MAX, |section| section.offset),
        }
    };
    let mut found = Vec::new();
    for entry in &entries {
        let mut chain = chain(&members, entry, place, level, context)?;
        let manifest = members.section("manifest.json")?.map(|section| section.size);
        chain.expect(Role::Manifest, place("manifest.json"), manifest, None);
        let name =
            entry.first_name().unwrap_or(ImageName { repository: "unknown".to_owned(), tag: None });
        found.push(chain.verify(name, entry, &destination, level, context)?);
    }
    Ok(found)
}

/// Expectations, and what is known about some of them before anyone looks.
#[derive(Default)]
struct Chain {
    expectations: Vec<Expectation>,
    /// Which expectation, and what is said of it.
    verdicts: Vec<(usize, Status, String)>,
    bytes: u64,
}

fn chain(
    members: &dyn Members,
    entry: &Entry,
    place: impl Fn(&str) -> Place,
    level: Level,
    context: &Context,
) -> Result<Chain> {
    let mut chain = Chain::default();
    let promised = docker_save::promised(entry.config());
    let bytes = members.require_bytes(entry.config(), "config", config::LARGEST_CONFIG);
    let parsed = bytes.as_ref().ok().map(|bytes| config::parse(bytes, members.place()));
    let size = bytes.as_ref().ok().map(|bytes| bytes.len() as u64);
    chain.bytes += size.unwrap_or_default();
    match (&bytes, promised) {
        (Ok(bytes), Some(expected))
            if Digest::of(bytes) != expected && docker_save::is_rewritten(bytes) =>
        {
            chain.expect(Role::Config, place(entry.config()), size, None);
            chain.doubt(Status::Unchecked, docker_save::REWRITTEN);
        }
        (Err(error), _) => {
            chain.expect(Role::Config, place(entry.config()), size, promised);
            chain.doubt(absent_or(members, entry.config()), &error.to_string());
        }
        (Ok(_), Some(expected)) => {
            chain.expect(Role::Config, place(entry.config()), size, Some(expected))
        }
        (Ok(_), None) => {
            chain.expect(Role::Config, place(entry.config()), size, None);
            chain.doubt(Status::Unchecked, "its name promises no digest");
        }
    }
    let diff_ids = match parsed {
        Some(Ok(config)) => {
            let (said, listed) = (config.diff_ids.len(), entry.layers().len());
            if said != listed {
                let why = format!("lists {said} layers, the manifest {listed}");
                chain.doubt(Status::DigestMismatch, &why);
            }
            config.diff_ids
        }
        Some(Err(_)) => {
            chain.doubt(Status::Unreadable, "is not the config of an image");
            Vec::new()
        }
        None => Vec::new(),
    };
    for (index, layer) in (0..).zip(entry.layers()) {
        let diff_id = diff_ids.get(index as usize).copied();
        let role = Role::Layer(index);
        match members.require(layer, "layer") {
            Err(error) => {
                chain.expect(role, place(layer), None, diff_id);
                chain.doubt(absent_or(members, layer), &error.to_string());
            }
            Ok(section) => {
                chain.bytes += section.size;
                let plain = matches!(compression(&section, layer), Ok(Compression::None));
                let named = docker_save::promised(layer).filter(|_| layer.starts_with("blobs/"));
                let digest = if plain { diff_id } else { named };
                chain.expect(role, place(layer), Some(section.size), digest);
                if section.size == 0 && diff_id.is_some_and(|id| id != Digest::of(b"")) {
                    chain.doubt(Status::SizeMismatch, "is empty");
                } else if digest.is_none() {
                    let why = "what it must hold is not known: it is compressed, or the config cannot be read";
                    chain.doubt(Status::Unchecked, why);
                } else if level == Level::Fast && !plain {
                    let why = "how large it must be is not recorded; a full verification reads it";
                    chain.doubt(Status::Unchecked, why);
                } else if level == Level::Fast
                    && let Some((status, why)) = extent::doubt(&section, &context.cancel)?
                {
                    chain.doubt(status, &why);
                }
            }
        }
    }
    Ok(chain)
}

impl Chain {
    fn expect(&mut self, role: Role, place: Place, size: Option<u64>, digest: Option<Digest>) {
        self.expectations.push(Expectation { role, place, size, digest });
    }

    /// Something is known of the last expectation.
    fn doubt(&mut self, status: Status, why: &str) {
        self.verdicts.push((self.expectations.len() - 1, status, why.to_owned()));
    }

    fn verify(
        self,
        name: ImageName,
        entry: &Entry,
        destination: &Destination,
        level: Level,
        context: &Context,
    ) -> Result<Found> {
        let (memory, cancel) = (memory::Memory::showing(&context.progress), &context.cancel);
        let mut objects =
            check::objects(&self.expectations, &[], destination, level, &memory, cancel)?;
        for (index, status, why) in self.verdicts {
            // Of what is not there, nothing else can be said.
            let known = |object: &&mut Object| object.status.is_bad() && status != Status::Missing;
            if let Some(object) = objects.get_mut(index).filter(|object| !known(object)) {
                object.blame(status, None, None, &why);
            }
        }
        let layers = entry.layers().len();
        Ok(Found {
            name,
            part: Part::Whole,
            platform: None,
            layers,
            bytes: self.bytes,
            verification: Verification { level, objects },
        })
    }
}

/// What to say of a file that could not be read: that it is not there, or the other thing.
fn absent_or(members: &dyn Members, name: &str) -> Status {
    match members.section(name) {
        Ok(None) => Status::Missing,
        _ => Status::Unreadable,
    }
}

fn without_manifest(
    name: ImageName,
    level: Level,
    location: String,
    status: Status,
    error: &Error,
) -> Found {
    let mut object = Object::at(location).for_role(Role::Manifest);
    object.blame(status, None, None, &error.to_string());
    Found {
        name,
        part: Part::Whole,
        platform: None,
        layers: 0,
        bytes: 0,
        verification: Verification { level, objects: vec![object] },
    }
}
