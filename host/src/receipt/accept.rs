//! Believing a plugin's receipt, as far as the host's journal goes.

use super::{Expectation, Handed, Place, Role, Step, listed};
use crate::error::Result;
use crate::output::{Journal, Pending};
use crate::plugin::bindings::writer;
use crate::plugin::description::Description;
use crate::plugin::limits;
use crate::plugin::state::violation;
use crate::registry::manifest::LARGEST_MANIFEST;

/// Believe a plugin's receipt as far as the journal goes. Errors name the rule that it broke: it
/// names what the host never saw, or leaves out the config or a layer that was handed over; or its
/// manifest lists other things, or is not the one that had to be kept; or it is about an index of
/// which not everything has landed.
pub fn accept(
    who: &Description,
    raw: writer::Receipt,
    handed: Handed,
    journal: &Journal,
    pending: &Pending,
) -> Result<(Vec<Expectation>, Vec<u8>)> {
    let plugin = &who.name;
    if raw.state.len() > limits::RECEIPT_STATE {
        let rule = format!("its receipt has more than {} bytes of state", limits::RECEIPT_STATE);
        return Err(violation(plugin, rule));
    }
    if raw.expectations.len() > limits::RECEIPT_ITEMS {
        return Err(violation(
            plugin,
            format!("its receipt names more than {} things", limits::RECEIPT_ITEMS),
        ));
    }
    let refuse =
        |what: &str, why: &str| Err(violation(plugin, format!("its receipt {what} {why}")));
    let mut config = 0;
    let mut layers = vec![0_u32; handed.layers().len()];
    let mut expectations = Vec::with_capacity(raw.expectations.len());
    for raw in raw.expectations {
        let mut expectation = from_guest(raw).map_err(|error| violation(plugin, error))?;
        let subject = expectation.place.subject();
        let seen = match &expectation.place {
            Place::File { path } => journal.whole(path).map(|(size, digest)| (Some(size), digest)),
            Place::Part { path, offset, .. } => expectation.size.and_then(|size| {
                let digest = journal.written(path)?.extent(*offset, size)?;
                Some((Some(size), Some(digest)))
            }),
            Place::Entry { path, .. } => journal.written(path).map(|_| (None, None)),
            Place::Blob { digest } => {
                journal.blob(*digest).map(|blob| (Some(blob.size), Some(*digest)))
            }
            Place::Image { name } => journal
                .loaded(name)
                .map(|contents| (Some(contents.config.1), Some(contents.config.0))),
            Place::ImageLayer { image, index } => journal
                .loaded(image)
                .and_then(|contents| contents.layers.get(*index as usize))
                .map(|(digest, size)| (Some(*size), Some(*digest))),
            Place::Manifest { reference } => journal
                .manifest(reference)
                .map(|manifest| (Some(manifest.bytes.len() as u64), Some(manifest.digest))),
        };
        let Some((size, digest)) = seen else {
            return refuse(
                &format!("names '{subject}',"),
                "which the host never saw written or read",
            );
        };
        if expectation.size.is_some_and(|named| Some(named) != size)
            || expectation.digest.is_some_and(|named| Some(named) != digest)
        {
            return refuse(
                &format!("names '{subject}'"),
                "with another size or digest than was written",
            );
        }
        (expectation.size, expectation.digest) = (size, digest);
        match expectation.role {
            Role::Config if handed.image().is_some_and(|image| digest == Some(image.id)) => {
                config += 1;
            }
            Role::Layer(index) => {
                match (layers.get_mut(index as usize), handed.layers().get(index as usize)) {
                    (Some(count), Some(layer))
                        if digest.is_some_and(|digest| {
                            digest == layer.diff_id
                                || Some(digest) == layer.digest
                                || journal.diff_id(digest) == Some(layer.diff_id)
                        }) =>
                    {
                        *count += 1;
                    }
                    _ => {
                        return refuse(
                            &format!("names '{subject}'"),
                            "as a layer, which it is not",
                        );
                    }
                }
            }
            Role::Config => {
                return refuse(&format!("names '{subject}'"), "as the config, which it is not");
            }
            Role::Manifest | Role::Catalog | Role::Image => {}
        }
        expectations.push(expectation);
    }
    if config == 0 && handed.image().is_some() {
        return refuse("leaves out", "the config");
    }
    if let Some(index) = layers.iter().position(|count| *count == 0) {
        return refuse("leaves out", &format!("layer {} of {}", index + 1, layers.len()));
    }
    let named = |reference: &str| {
        expectations.iter().any(
            |one| matches!(&one.place, Place::Manifest { reference: named } if named == reference),
        )
    };
    // Without a manifest of that name nothing has appeared.
    let mut wanted = pending.tag().into_iter().chain(journal.references());
    if let Some(reference) = wanted.find(|reference| !named(reference)) {
        return refuse("leaves out", &format!("the manifest '{reference}'"));
    }
    let manifests = expectations.iter().filter(|one| one.role == Role::Manifest);
    if who.oci_manifests && manifests.count() == 0 {
        return refuse("leaves out", "the manifest");
    }
    if let (Some(contents), Some(image)) = (journal.contents(), handed.image()) {
        let diff_ids = image.layers.iter().map(|layer| layer.diff_id);
        if contents.config.0 != image.id
            || !contents.layers.iter().map(|(digest, _)| *digest).eq(diff_ids)
        {
            return refuse("is about another image than", "the one that it loads");
        }
    }
    if let Some(child) = handed.absent() {
        return refuse("is about an index that lists", &format!("{child}, which was not written"));
    }
    for expectation in &expectations {
        let subject = expectation.place.subject();
        if let (Role::Manifest, Some(kept)) = (expectation.role, handed.kept())
            && expectation.digest != Some(kept.digest)
        {
            return refuse(&format!("names '{subject}',"), "another manifest than the source's");
        }
        let document = match (&expectation.place, expectation.role) {
            (Place::Manifest { reference }, _) => journal
                .manifest(reference)
                .map(|manifest| (Some(manifest.media_type.as_str()), manifest.bytes.clone())),
            (Place::File { path }, Role::Manifest) if who.oci_manifests => {
                pending.written(path, LARGEST_MANIFEST).map(|bytes| (None, bytes))
            }
            _ => continue,
        };
        let judged = match document {
            // What an index lists has been looked at.
            Some(_) if handed.image().is_none() => Ok(()),
            Some((media_type, bytes)) => listed::check(media_type, &bytes, &expectations),
            None => Err("a manifest that is not there"),
        };
        if let Err(why) = judged {
            return refuse(&format!("names '{subject}',"), why);
        }
    }
    Ok((expectations, raw.state))
}

fn from_guest(raw: writer::Expectation) -> Result<Expectation> {
    Ok(Expectation {
        role: match raw.role {
            writer::Role::Config => Role::Config,
            writer::Role::Layer(index) => Role::Layer(index),
            writer::Role::Manifest => Role::Manifest,
            writer::Role::Catalog => Role::Catalog,
            writer::Role::Image => Role::Image,
        },
        place: match raw.place {
            writer::Place::File(path) => Place::File { path },
            writer::Place::Part(part) => {
                Place::Part { path: part.path, member: part.member, offset: part.offset }
            }
            writer::Place::Entry(entry) => {
                let steps = entry.steps.into_iter().map(Step::from_guest).collect();
                Place::Entry { path: entry.path, steps, value: entry.value }
            }
            writer::Place::Blob(digest) => Place::Blob { digest: digest.parse()? },
            writer::Place::Manifest(reference) => Place::Manifest { reference },
            writer::Place::Image(name) => Place::Image { name },
            writer::Place::ImageLayer(layer) => {
                Place::ImageLayer { image: layer.image, index: layer.index }
            }
        },
        size: raw.size,
        digest: raw.digest.map(|text| text.parse()).transpose()?,
    })
}
