//! Compares what a container engine holds with expectations.

use super::checker::Compare;
use crate::verdict::claims::Claims;
use crate::verdict::flaw::{Difference, Flaw, Reason, Status};
use crate::verdict::found::Found;
use crate::verdict::object::{CheckedObject, Verification};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;
use occystrap_images::level::Level;
use occystrap_output::destination::engine_image::{
    EngineImageDigests, EngineImageInfo, EngineReader,
};
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::{Expectation, Place, Role};

/// Checks all expectations: inspects the image, and at [`Level::Full`] exports and hashes it.
pub fn objects(
    expectations: &[Expectation],
    claims: &Claims,
    named: &EngineReader,
    level: Level,
    memory: &HashMemo,
) -> Result<Vec<CheckedObject>> {
    let inspected = inspect(named, memory);
    let exported = match (&inspected, level) {
        (Ok(Some(image)), Level::Full) => Some(export(named, image, memory)),
        _ => None,
    };
    let is_layer = |role: Role| role.is_layer();
    let expected = expectations.iter().filter(|expectation| is_layer(expectation.role)).count();
    // A receipt that names fewer layers than the config was cut, which is not a flaw of the image.
    let layers = expected.max(claims.layers().unwrap_or_default());
    let image = EngineAnswer { named, inspected, exported, layers };
    Ok(expectations.iter().map(|expectation| image.check(expectation)).collect())
}

/// Returns what the config says of its layers, where the engine has the config that is expected: the ID of the image
/// is its digest, or in full, with containerd's store, that of the exported config is.
pub fn claims(
    expectations: &[Expectation],
    named: &EngineReader,
    level: Level,
    memory: &HashMemo,
) -> Claims {
    let config = expectations.iter().find(|one| one.role == Role::Config);
    let Some(expected) = config.and_then(|one| one.digest) else { return Claims::default() };
    let Ok(Some(image)) = inspect(named, memory) else { return Claims::default() };
    let found = match (image.id_is_manifest, level) {
        (false, _) => Some(image.id),
        (true, Level::Full) => match export(named, &image, memory) {
            Ok(Some(exported)) if exported.layers == image.diff_ids => Some(exported.config),
            _ => None,
        },
        (true, Level::Fast) => None,
    };
    match found == Some(expected) {
        true => Claims::of_layers(image.diff_ids),
        false => Claims::default(),
    }
}

/// Returns what the engine says of the image, which is asked once.
fn inspect(named: &EngineReader, memory: &HashMemo) -> Result<Option<EngineImageInfo>> {
    memory.recall_image().unwrap_or_else(|| {
        let inspected = named.inspect();
        memory.remember_image(inspected.clone());
        inspected
    })
}

/// Returns the digests of the exported image, which is exported once.
fn export(
    named: &EngineReader,
    image: &EngineImageInfo,
    memory: &HashMemo,
) -> Result<Option<EngineImageDigests>> {
    memory.recall_export().unwrap_or_else(|| {
        let exported = named.export(image.size);
        memory.remember_export(exported.clone());
        exported
    })
}

/// Verifies an image without a receipt: compares its exported bytes with what the engine says of it, at
/// [`Level::Full`].
pub fn held(named: &EngineReader, level: Level) -> Result<Vec<Found>> {
    let name = named.image().clone();
    let Some(image) = named.inspect()? else {
        return Err(named.absent());
    };
    let (subject, memory) = (name.to_string(), HashMemo::default());
    let layers = image.diff_ids.len();
    let expect = |role: Role, place: Place, digest: Option<Digest>| Expectation {
        role,
        place,
        size: None,
        digest,
    };
    let id = (!image.id_is_manifest).then_some(image.id);
    let mut expectations = vec![expect(Role::Config, Place::Image { name: subject.clone() }, id)];
    expectations.extend((0..).zip(image.diff_ids).map(|(index, diff_id)| {
        let place = Place::ImageLayer { image: subject.clone(), index };
        expect(Role::Layer(index), place, Some(diff_id))
    }));
    let objects = objects(&expectations, &Claims::default(), named, level, &memory)?;
    let verification = Verification::new(level, objects);
    let (part, bytes) = (occystrap_base::oci::PlatformPart::Whole, image.size);
    Ok(vec![Found { name, part, platform: None, layers, bytes, verification }])
}

/// What an engine says of an image, and what it exports.
struct EngineAnswer<'a> {
    named: &'a EngineReader,
    inspected: Result<Option<EngineImageInfo>>,
    /// The exported image, at [`Level::Full`].
    exported: Option<Result<Option<EngineImageDigests>>>,
    /// The number of layers that the image must have.
    layers: usize,
}

/// The part of an image that is compared.
#[derive(Clone, Copy)]
enum EnginePart {
    Image,
    Layer(usize),
}

impl Compare for EngineAnswer<'_> {
    fn location(&self, expectation: &Expectation) -> String {
        expectation.place.subject()
    }

    fn compare(&self, expectation: &Expectation, object: &mut CheckedObject) {
        let name = self.named.image().to_string();
        let part = match &expectation.place {
            Place::Image { name: image } if *image == name => EnginePart::Image,
            Place::ImageLayer { image, index } if *image == name => {
                EnginePart::Layer(*index as usize)
            }
            _ => {
                return object.misplaced();
            }
        };
        match &self.inspected {
            Err(error) => object.fail_with(Status::Unreadable, error),
            Ok(None) => {
                let engine = self.named.place().to_owned();
                object.fail(Status::Missing, Reason::NotInEngine { engine });
            }
            Ok(Some(image)) => {
                let found = match part {
                    // An ID that is the digest of a manifest says nothing about the config. The layers do, and an
                    // export shows all.
                    EnginePart::Image if image.id_is_manifest => expectation.digest,
                    EnginePart::Image => Some(image.id),
                    EnginePart::Layer(index) => image.diff_ids.get(index).copied(),
                };
                compare(expectation.digest, found, object);
                self.compare_layers(part, image.diff_ids.len(), object);
            }
        }
        if let Some(exported) = self.exported.as_ref().filter(|_| object.status == Status::Ok) {
            self.check_export(exported, part, expectation.digest, object);
        }
    }
}

impl EngineAnswer<'_> {
    /// Compares the number of layers: in an image with additional layers, every expected layer is right.
    fn compare_layers(&self, part: EnginePart, found: usize, object: &mut CheckedObject) {
        if matches!(part, EnginePart::Image) && object.status == Status::Ok && found > self.layers {
            let sides = Difference::Layers { expected: self.layers, found };
            object.record(Flaw::new(Status::DigestMismatch, Reason::MoreLayers).between(sides));
        }
    }

    fn check_export(
        &self,
        exported: &Result<Option<EngineImageDigests>, Error>,
        part: EnginePart,
        expected: Option<Digest>,
        object: &mut CheckedObject,
    ) {
        match exported {
            // The error concerns the export as a whole, and does not say which layer is wrong.
            Err(error) if matches!(part, EnginePart::Layer(_)) && !error.is_unconfirmed() => {
                object.mark_unchecked(Reason::ImageUnread);
            }
            Err(error) => object.fail_with(Status::Unreadable, error),
            Ok(None) => object.fail(Status::Missing, Reason::NotExported),
            Ok(Some(image)) => {
                let found = match part {
                    EnginePart::Image => Some(image.config),
                    EnginePart::Layer(index) => image.layers.get(index).copied(),
                };
                compare(expected, found, object);
                self.compare_layers(part, image.layers.len(), object);
            }
        }
    }
}

fn compare(expected: Option<Digest>, found: Option<Digest>, object: &mut CheckedObject) {
    // Nothing was promised about the config where the ID is the digest of a manifest.
    if expected.is_none() || expected == found {
        return;
    }
    let (status, reason) = match found {
        None => (Status::Missing, Reason::FewerLayers),
        Some(_) => (Status::DigestMismatch, Reason::OtherInEngine),
    };
    object.record(Flaw::new(status, reason).between(Difference::Digest { expected, found }));
}
