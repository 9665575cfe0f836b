//! A receipt in a plugin's words.

use crate::plugin::bindings::writer;
use crate::receipt::{Expectation, Place, Role, Step};
use occystrap_base::error::Result;

/// What a plugin expects. Errors where a digest is none.
pub fn from_guest(raw: writer::Expectation) -> Result<Expectation> {
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
