//! Looking at one receipt: the host at every byte, and then the plugin, whose word raises a doubt and
//! settles none.

use std::os::unix::fs::FileExt as _;

use super::grants::Opened;
use super::watch::Watched;
use super::{Batch, Stop, cover};
use crate::cancel::Cancel;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::image::Digest;
use crate::output::target::{self, REPOSITORY_OPTIONS};
use crate::output::{Destination, Grant, Target};
use crate::plugin::bindings::verifier::{self, Finding};
use crate::plugin::description::{self, parse_boolean};
use crate::plugin::{Plugin, limits};
use crate::receipt::{Expectation, Place, Receipt, Role};
use crate::registry::{Client, Reference};
use crate::uri::Uri;
use crate::verify::claims::Claims;
use crate::verify::memory::Memory;
use crate::verify::object::{Object, Status};
use crate::verify::{Level, Verification, check, layout, registry, unpacked, web};

impl Batch<'_> {
    /// The verdict on one receipt, or why there is none.
    pub(super) fn look(&self, receipt: &Receipt, watched: &Watched) -> Result<Verification, Stop> {
        let uri = Uri::parse(&receipt.destination)?;
        if uri.credentials.is_some() {
            return Err(Stop::Refused(Error::source("the receipt's destination has a login")));
        }
        let plugin = self.plugin(&uri.scheme, &receipt.plugin).map_err(Stop::Doubt)?;
        let context = self.context_of(watched);
        let target = self.target(&plugin, &uri, &context)?;
        let grant = match &target.place {
            target::Place::Directory(path) | target::Place::TaggedDirectory(path, _) => {
                self.grants.open(path, false)?
            }
            target::Place::File(path) => self.grants.open(path, true)?,
            target::Place::Repository(..) | target::Place::Engine(..) | target::Place::Web(..) => {
                self.count(cover::check(receipt, None)?)?;
                let grant = target.open(&context).map_err(Stop::Doubt)?;
                return self.judge(receipt, &target, &grant, &context).map_err(Stop::Doubt);
            }
        };
        let destination = match grant {
            Opened::There(destination) => destination,
            Opened::Missing(error) => {
                let level = Level::Full;
                return Ok(Verification::unreachable(level, receipt, &target, &error, None));
            }
        };
        self.count(cover::check(receipt, destination.file_name())?)?;
        let grant = Grant::Storage(destination);
        self.judge(receipt, &target, &grant, &context).map_err(Stop::Doubt)
    }

    /// What a receipt's destination names. Nothing is opened or asked.
    fn target(&self, plugin: &Plugin, uri: &Uri, context: &Context) -> Result<Target, Stop> {
        let doubt = |message: String, hint: &str| {
            Err(Stop::Doubt(Error::new(Kind::Auth, message).hint(hint)))
        };
        match plugin.description().destination {
            description::Kind::Engine => {
                return doubt(
                    format!("'{}': receipts of unknown origin get no engine", uri.display()),
                    "'occystrap verify RECEIPT', without --untrusted, asks the engine",
                );
            }
            description::Kind::Repository => {
                let host = Reference::parse(&uri.rest)?.host;
                if !self.grants.allows(&host) {
                    return doubt(
                        format!("the registry '{host}' was not granted"),
                        "--allow-registry HOST[:PORT] grants one",
                    );
                }
                let mut own = uri.options.iter().filter(|(name, _)| {
                    REPOSITORY_OPTIONS.contains(&name.as_str()) && name != "max_workers"
                });
                if own.any(|(name, value)| {
                    name != "insecure"
                        || (parse_boolean(value) != Some(false) && !self.grants.settings().insecure)
                }) {
                    return doubt(
                        "how a registry is spoken to is not the receipt's to say".to_owned(),
                        "--insecure, --username and --password hold for all receipts",
                    );
                }
            }
            _ => {}
        }
        let client = |_: &Uri| {
            let settings = self.grants.settings();
            let shared =
                self.client.get_or_init(|| Client::new(settings, self.context.cancel.clone()));
            shared
                .as_ref()
                .map(|shared| shared.with_cancel(context.cancel.clone()))
                .map_err(Error::clone)
        };
        Ok(Target::with_plugin(plugin.clone(), uri, client, &context.cancel)?)
    }

    fn judge(
        &self,
        receipt: &Receipt,
        target: &Target,
        grant: &Grant,
        context: &Context,
    ) -> Result<Verification> {
        let memory = Memory::default();
        let expectations = &receipt.expectations;
        let is_index = receipt.image.part.is_index();
        let mut objects = match grant {
            Grant::Storage(destination) => {
                let mut objects = storage(receipt, destination, &memory, &context.cancel)?;
                if let target::Place::TaggedDirectory(..) = &target.place {
                    layout::beside(destination, expectations, &mut objects);
                }
                objects
            }
            Grant::Repository(remote) => {
                let claims = match is_index {
                    true => Claims::default(),
                    false => registry::claims(expectations, remote, &memory),
                };
                let level = Level::Full;
                let mut objects =
                    registry::objects(expectations, &claims, remote, level, &memory, context)?;
                check_layers(expectations, &claims, &mut objects);
                objects
            }
            Grant::Web(site) => {
                let claims = match is_index {
                    true => Claims::default(),
                    false => web::claims(expectations, site, &memory),
                };
                let level = Level::Full;
                let mut objects =
                    web::objects(expectations, &claims, site, level, &memory, context)?;
                check_layers(expectations, &claims, &mut objects);
                objects
            }
            Grant::Engine(_) => Vec::new(),
        };
        context.cancel.check()?;
        // Who has lost cannot win by more looking, and what the plugin says changes nothing.
        if !objects.iter().any(|object| object.status.is_bad()) {
            let session = target.plugin.verify(grant, &memory, &context.cancel);
            let said = session
                .and_then(|session| session.verify(&receipt.for_guest(), verifier::Level::Full));
            hear(said, &target.plugin.description().name, grant, &mut objects)?;
        }
        Ok(Verification { level: Level::Full, objects })
    }
}

/// The host's look at files: every byte, and what the layers are by the config's word.
fn storage(
    receipt: &Receipt,
    destination: &Destination,
    memory: &Memory,
    cancel: &Cancel,
) -> Result<Vec<Object>> {
    let (expectations, journal) = (&receipt.expectations, &receipt.journal);
    let claims = match receipt.image.part.is_index() {
        true => Claims::default(),
        false => claims(expectations, destination),
    };
    let wrong = unpacked::layers(expectations, &claims, destination, memory, cancel)?;
    let level = Level::Full;
    let mut objects = check::objects(expectations, journal, destination, level, memory, cancel)?;
    unpacked::judge(wrong, &mut objects);
    claims.judge(expectations, &mut objects);
    check_layers(expectations, &claims, &mut objects);
    Ok(objects)
}

/// What the config says, where it is the one that was promised; else the look at it tells.
fn claims(expectations: &[Expectation], destination: &Destination) -> Claims {
    let read = |one: &Expectation| -> Option<Vec<u8>> {
        let (path, offset) = match &one.place {
            Place::File { path } => (path, 0),
            Place::Part { path, offset, .. } => (path, *offset),
            _ => return None,
        };
        // At most `LARGEST_CONFIG`: `cover` has looked.
        let mut bytes = vec![0; usize::try_from(one.size?).ok()?];
        destination.open(path).ok()?.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes).filter(|bytes| Some(Digest::of(bytes)) == one.digest)
    };
    let config = expectations.iter().find(|one| one.role == Role::Config);
    config.and_then(read).map_or_else(Claims::default, |bytes| Claims::of(&bytes))
}

/// A layer is the image's when the config says so, and the host has seen what it unpacks to.
fn check_layers(expectations: &[Expectation], claims: &Claims, objects: &mut [Object]) {
    for (one, object) in expectations.iter().zip(objects) {
        if !matches!(one.role, Role::Layer(_)) || object.status != Status::Ok {
            continue;
        }
        let why = match (claims.diff_id(one.role), &one.place) {
            (None, _) => "the config does not say what this layer is",
            (Some(diff_id), Place::Part { .. }) if one.digest != Some(diff_id) => {
                "is not the layer that the config names, or compressed where the host cannot tell"
            }
            _ => continue,
        };
        object.blame(Status::Unchecked, None, None, why);
    }
}

/// What the plugin says, where the host has found nothing: a doubt.
fn hear(
    said: Result<Vec<Finding>>,
    plugin: &str,
    grant: &Grant,
    objects: &mut Vec<Object>,
) -> Result<()> {
    let findings = match said {
        Ok(findings) => findings,
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            let mut object = Object::of_plugin(grant.whole(), &error);
            object.status = Status::Unchecked;
            objects.push(object);
            return Ok(());
        }
    };
    for finding in findings.into_iter().take(limits::UNTRUSTED_FINDINGS) {
        let location = grant.display(&finding.subject);
        let at = objects.iter().position(|object| object.location == location);
        let at = at.unwrap_or_else(|| {
            objects.push(Object::at(location));
            objects.len() - 1
        });
        objects[at].accuse(plugin, finding);
        objects[at].status = Status::Unchecked;
    }
    Ok(())
}
