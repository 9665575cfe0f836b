//! Accepting a plugin's receipt, as far as the host's journal agrees.
//!
//! What it refuses: a receipt that names what the host never saw, or leaves out the config or a layer of the image; one
//! whose manifest lists other things, or is not the manifest that had to be kept; and one of an index of which not
//! everything has landed.

use std::collections::BTreeSet;

use super::item::Item;
use crate::destination::{Journal, Pending};
use crate::plugin::bindings::writer;
use crate::plugin::description::Description;
use crate::plugin::receipt::from_guest;
use crate::plugin::violation::violation;
use crate::receipt::{Expectation, Place, Role, listed};
use occystrap_base::error::Result;
use occystrap_base::limits;
use occystrap_base::oci::manifest::LARGEST_MANIFEST;
use occystrap_base::oci::{Digest, Manifest};
use occystrap_base::secret;
use occystrap_layer::image::Layer;
use occystrap_net::uri::is_secret_name;

/// Accepts a plugin's receipt as far as the journal agrees. `staying` are the layers that are stored
/// elsewhere and stay there, by their index. Errors name the rule that the receipt broke.
pub fn accept(
    description: &Description,
    raw: writer::Receipt,
    item: Item,
    staying: &BTreeSet<u32>,
    journal: &Journal,
    pending: &Pending,
) -> Result<(Vec<Expectation>, Vec<u8>)> {
    let refused = |why: String| violation(&description.name, format!("its receipt {why}"));
    within_limits(&raw).map_err(refused)?;
    without_secrets(description, &raw).map_err(refused)?;
    let check = ReceiptCheck { description, item, staying, journal, pending };
    let mut expectations = Vec::with_capacity(raw.expectations.len());
    for raw in raw.expectations {
        let mut one = from_guest(raw).map_err(|error| violation(&description.name, error))?;
        check.saw(&mut one).and_then(|()| check.fits_role(&one)).map_err(refused)?;
        expectations.push(one);
    }
    check.whole(&expectations).map_err(refused)?;
    Ok((expectations, raw.state))
}

/// Returns the manifest or index of a receipt, as it was written; `None` where the destination has none.
pub fn written_manifest(
    expectations: &[Expectation],
    journal: &Journal,
    pending: &Pending,
) -> Option<Manifest> {
    let one = expectations.iter().find(|one| one.role == Role::Manifest)?;
    match &one.place {
        Place::Manifest { reference } => journal.manifest(reference).cloned(),
        Place::File { path } => {
            let bytes = pending.written(path, LARGEST_MANIFEST)?;
            Manifest::read(path, None, bytes).ok()
        }
        _ => None,
    }
}

fn within_limits(raw: &writer::Receipt) -> Result<(), String> {
    if raw.state.len() > limits::RECEIPT_STATE {
        return Err(format!("has more than {} bytes of state", limits::RECEIPT_STATE));
    }
    if raw.expectations.len() > limits::RECEIPT_ITEMS {
        return Err(format!("names more than {} things", limits::RECEIPT_ITEMS));
    }
    Ok(())
}

/// Checks that a receipt does not hold a secret that its plugin was given as an option: receipts are kept and passed
/// on. A masked receipt would name other objects than those that were written.
fn without_secrets(description: &Description, raw: &writer::Receipt) -> Result<(), String> {
    if !description.options.iter().any(|option| is_secret_name(&option.name)) {
        return Ok(());
    }
    let of_place = |place: &writer::Place| match place {
        writer::Place::File(path) => secret::is_in(path.as_bytes()),
        writer::Place::Part(part) => {
            secret::is_in(part.path.as_bytes()) || secret::is_in(part.member.as_bytes())
        }
        writer::Place::Entry(entry) => {
            secret::is_in(entry.path.as_bytes()) || secret::is_in(entry.value.as_bytes())
        }
        _ => false,
    };
    let holds =
        secret::is_in(&raw.state) || raw.expectations.iter().any(|one| of_place(&one.place));
    if holds { Err("holds a secret that it was given as an option".to_owned()) } else { Ok(()) }
}

/// Compares a receipt with what the host saw. Errors say what the receipt does: `names 'x', which ...`.
struct ReceiptCheck<'a> {
    description: &'a Description,
    item: Item<'a>,
    staying: &'a BTreeSet<u32>,
    journal: &'a Journal,
    pending: &'a Pending,
}

impl ReceiptCheck<'_> {
    /// Compares an expectation with what the host saw: size and digest that it names must be the same. What it does not
    /// name is filled in.
    fn saw(&self, one: &mut Expectation) -> Result<(), String> {
        let subject = one.place.subject();
        let Some((size, digest)) = self.seen(one) else {
            return Err(format!("names '{subject}', which the host never saw written or read"));
        };
        if one.size.is_some_and(|named| Some(named) != size)
            || one.digest.is_some_and(|named| Some(named) != digest)
        {
            return Err(format!("names '{subject}' with another size or digest than was written"));
        }
        (one.size, one.digest) = (size, digest);
        Ok(())
    }

    /// Returns the layer that an expectation is about, where that stays elsewhere: no write is seen of it.
    fn staying(&self, one: &Expectation) -> Option<&Layer> {
        match one.role {
            Role::Layer(index) if self.staying.contains(&index) => {
                self.item.layers().get(index as usize)
            }
            _ => None,
        }
    }

    /// Returns what the journal has of a place; `None` where it has nothing.
    fn seen(&self, one: &Expectation) -> Option<(Option<u64>, Option<Digest>)> {
        let journal = self.journal;
        if let Some(layer) = self.staying(one) {
            return Some((Some(layer.size), layer.digest));
        }
        match &one.place {
            Place::File { path } => journal.whole(path).map(|(size, digest)| (Some(size), digest)),
            Place::Part { path, offset, .. } => {
                let size = one.size?;
                let digest = journal.written(path)?.extent(*offset, size)?;
                Some((Some(size), Some(digest)))
            }
            Place::Entry { path, .. } => journal.written(path).map(|_| (None, None)),
            Place::Blob { digest } => {
                journal.blob(*digest).map(|blob| (Some(blob.size), Some(*digest)))
            }
            Place::Image { name } => {
                let (digest, size) = journal.loaded(name)?.config;
                Some((Some(size), Some(digest)))
            }
            Place::ImageLayer { image, index } => {
                let (digest, size) = journal.loaded(image)?.layers.get(*index as usize)?;
                Some((Some(*size), Some(*digest)))
            }
            Place::Manifest { reference } => {
                let manifest = journal.manifest(reference)?;
                Some((Some(manifest.bytes.len() as u64), Some(manifest.digest)))
            }
        }
    }

    /// Checks that config and layers are those that the plugin was given.
    fn fits_role(&self, one: &Expectation) -> Result<(), String> {
        let is = |layer: &Layer, digest: Digest| {
            digest == layer.diff_id
                || Some(digest) == layer.digest
                || self.journal.diff_id(digest) == Some(layer.diff_id)
        };
        let (fits, what) = match one.role {
            Role::Config => {
                let id = self.item.image().map(|image| image.id);
                (id.is_some() && one.digest == id, "the config")
            }
            Role::Layer(index) => {
                let layer = self.item.layers().get(index as usize);
                let fits = layer.zip(one.digest).is_some_and(|(layer, digest)| is(layer, digest));
                (fits, "a layer")
            }
            Role::Manifest | Role::Catalog | Role::Image => return Ok(()),
        };
        match fits {
            true => Ok(()),
            false => Err(format!("names '{}' as {what}, which it is not", one.place.subject())),
        }
    }

    /// Compares all expectations with the item: nothing is left out, and they are about what was written.
    fn whole(&self, all: &[Expectation]) -> Result<(), String> {
        self.leaves_nothing_out(all)?;
        self.is_what_was_loaded()?;
        if let Some(child) = self.item.absent() {
            return Err(format!("is about an index that lists {child}, which was not written"));
        }
        for one in all {
            self.document(one, all)
                .map_err(|why| format!("names '{}', {why}", one.place.subject()))?;
        }
        Ok(())
    }

    fn leaves_nothing_out(&self, all: &[Expectation]) -> Result<(), String> {
        let has = |role: Role| all.iter().any(|one| one.role == role);
        if self.item.image().is_some() && !has(Role::Config) {
            return Err("leaves out the config".to_owned());
        }
        let layers = self.item.layers().len();
        if let Some(index) = (0..).take(layers).find(|index| !has(Role::Layer(*index))) {
            return Err(format!("leaves out layer {} of {layers}", index + 1));
        }
        let named = |reference: &str| {
            all.iter().any(
                |one| matches!(&one.place, Place::Manifest { reference: named } if named == reference),
            )
        };
        // Without a manifest of that name nothing has appeared.
        let mut wanted = self.pending.tag().into_iter().chain(self.journal.references());
        if let Some(reference) = wanted.find(|reference| !named(reference)) {
            return Err(format!("leaves out the manifest '{reference}'"));
        }
        if self.description.oci_manifests && !has(Role::Manifest) {
            return Err("leaves out the manifest".to_owned());
        }
        Ok(())
    }

    /// Compares what an engine was sent with the image.
    fn is_what_was_loaded(&self) -> Result<(), String> {
        let (Some(contents), Some(image)) = (self.journal.contents(), self.item.image()) else {
            return Ok(());
        };
        let diff_ids = image.layers.iter().map(|layer| layer.diff_id);
        let loaded = contents.layers.iter().map(|(digest, _)| *digest);
        match contents.config.0 == image.id && loaded.eq(diff_ids) {
            true => Ok(()),
            false => Err("is about another image than the one that it loads".to_owned()),
        }
    }

    /// Checks that a manifest lists the image and nothing else, and is the source's where that had to be kept.
    fn document(&self, one: &Expectation, all: &[Expectation]) -> Result<(), &'static str> {
        // Only the source's manifest says where the layers are that stay elsewhere.
        let source = self.item.image().and_then(|image| image.manifest.as_ref());
        let needed = source.filter(|_| !self.staying.is_empty());
        if let (Role::Manifest, Some(kept)) = (one.role, self.item.kept().or(needed))
            && one.digest != Some(kept.digest)
        {
            return Err("another manifest than the source's");
        }
        let document = match (&one.place, one.role) {
            (Place::Manifest { reference }, _) => self
                .journal
                .manifest(reference)
                .map(|manifest| (Some(manifest.media_type.as_str()), manifest.bytes.clone())),
            (Place::File { path }, Role::Manifest) if self.description.oci_manifests => {
                self.pending.written(path, LARGEST_MANIFEST).map(|bytes| (None, bytes))
            }
            _ => return Ok(()),
        };
        match document {
            // The manifests that an index lists were checked before.
            Some(_) if self.item.image().is_none() => Ok(()),
            Some((media_type, bytes)) => listed::check(media_type, &bytes, all),
            None => Err("a manifest that is not there"),
        }
    }
}
