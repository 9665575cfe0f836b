//! The host's own look at what a container engine holds.

use super::derive::Found;
use super::memory::Memory;
use super::object::{Object, Status};
use super::{Level, Verification};
use crate::error::{Error, Result};
use crate::image::Digest;
use crate::output::engine::{Exported, Named, Seen};
use crate::receipt::{Expectation, Place, Role};

/// Look at everything: ask the engine, and at [`Level::Full`] have the image exported and hash it.
pub fn objects(
    expectations: &[Expectation],
    named: &Named,
    level: Level,
    memory: &Memory,
) -> Result<Vec<Object>> {
    let inspected = named.inspect();
    if let Ok(image) = &inspected {
        memory.remember_image(image.clone());
    }
    let exported = match (&inspected, level) {
        (Ok(Some(_)), Level::Full) => Some(named.export()),
        _ => None,
    };
    if let Some(Ok(exported)) = &exported {
        memory.remember_export(exported.clone());
    }
    let checker = Checker { named, inspected, exported };
    Ok(expectations.iter().map(|expectation| checker.check(expectation)).collect())
}

/// Verify an image without a receipt: what the engine says of it, and in full, that it gives out
/// just that.
pub fn held(named: &Named, level: Level) -> Result<Vec<Found>> {
    let name = named.image().clone();
    let Some(image) = named.inspect()? else {
        return Err(named.absent());
    };
    let (subject, memory) = (name.to_string(), Memory::default());
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
    let objects = objects(&expectations, named, level, &memory)?;
    let verification = Verification { level, objects };
    let (part, bytes) = (crate::image::Part::Whole, image.size);
    Ok(vec![Found { name, part, platform: None, layers, bytes, verification }])
}

struct Checker<'a> {
    named: &'a Named,
    inspected: Result<Option<Seen>>,
    /// Only in full.
    exported: Option<Result<Option<Exported>>>,
}

/// What is compared: of the image, or of one of its layers.
#[derive(Clone, Copy)]
enum Part {
    Image,
    Layer(usize),
}

impl Checker<'_> {
    fn check(&self, expectation: &Expectation) -> Object {
        let subject = expectation.place.subject();
        let mut object = Object::at(subject).for_role(expectation.role);
        (object.digest, object.size) = (expectation.digest, expectation.size);
        let name = self.named.image().to_string();
        let part = match &expectation.place {
            Place::Image { name: image } if *image == name => Part::Image,
            Place::ImageLayer { image, index } if *image == name => Part::Layer(*index as usize),
            _ => {
                object.misplaced();
                return object;
            }
        };
        match &self.inspected {
            Err(error) => object.blame_error(Status::Unreadable, error),
            Ok(None) => object.blame(
                Status::Missing,
                None,
                None,
                &format!("{} has no image of that name", self.named.place()),
            ),
            Ok(Some(image)) => {
                let found = match part {
                    // The ID tells nothing of the config; its layers do, and an export all.
                    Part::Image if image.id_is_manifest => expectation.digest,
                    Part::Image => Some(image.id),
                    Part::Layer(index) => image.diff_ids.get(index).copied(),
                };
                compare(expectation.digest, found, &mut object);
            }
        }
        if let Some(exported) = self.exported.as_ref().filter(|_| object.status == Status::Ok) {
            Self::check_export(exported, part, expectation.digest, &mut object);
        }
        object
    }

    fn check_export(
        exported: &Result<Option<Exported>, Error>,
        part: Part,
        expected: Option<Digest>,
        object: &mut Object,
    ) {
        match exported {
            Err(error) => object.blame_error(Status::Unreadable, error),
            Ok(None) => object.blame(Status::Missing, None, None, "cannot be exported"),
            Ok(Some(image)) => {
                let found = match part {
                    Part::Image => Some(image.config),
                    Part::Layer(index) => image.layers.get(index).copied(),
                };
                compare(expected, found, object);
            }
        }
    }
}

fn compare(expected: Option<Digest>, found: Option<Digest>, object: &mut Object) {
    // Nobody promised anything of the config where the ID is another thing's.
    if expected.is_none() || expected == found {
        return;
    }
    let (expected, found) =
        (expected.map(|digest| digest.to_string()), found.map(|digest| digest.to_string()));
    match found {
        None => object.blame(Status::Missing, expected, None, "the image has fewer layers"),
        Some(_) => object.blame(Status::DigestMismatch, expected, found, "is another one"),
    }
}
