//! Conversions between receipts and the WIT types that plugins use.

use crate::plugin::bindings::writer;
use crate::receipt::{Expectation, Place, Receipt, Role, Step};
use occystrap_base::error::Result;

/// Converts an expectation of a plugin. Errors when a digest is invalid.
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

impl Receipt {
    /// Converts expectations and state for the plugin's `verify`.
    #[must_use]
    pub fn for_guest(&self) -> writer::Receipt {
        let expectations = self.expectations.iter().map(|expectation| writer::Expectation {
            role: match expectation.role {
                Role::Config => writer::Role::Config,
                Role::Layer(index) => writer::Role::Layer(index),
                Role::Manifest => writer::Role::Manifest,
                Role::Catalog => writer::Role::Catalog,
                Role::Image => writer::Role::Image,
            },
            place: match expectation.place.clone() {
                Place::File { path } => writer::Place::File(path),
                Place::Part { path, member, offset } => {
                    writer::Place::Part(writer::Part { path, member, offset })
                }
                Place::Entry { path, steps, value } => {
                    let steps = steps.into_iter().map(Step::into_guest).collect();
                    writer::Place::Entry(writer::Entry { path, steps, value })
                }
                Place::Blob { digest } => writer::Place::Blob(digest.to_string()),
                Place::Manifest { reference } => writer::Place::Manifest(reference),
                Place::Image { name } => writer::Place::Image(name),
                Place::ImageLayer { image, index } => {
                    writer::Place::ImageLayer(writer::ImageLayer { image, index })
                }
            },
            size: expectation.size,
            digest: expectation.digest.map(|digest| digest.to_string()),
        });
        writer::Receipt { expectations: expectations.collect(), state: self.state.clone() }
    }
}

impl Step {
    /// Converts a step of a plugin.
    #[must_use]
    pub fn from_guest(raw: writer::Step) -> Self {
        match raw {
            writer::Step::Key(key) => Self::Key(key),
            writer::Step::Element(writer::Element { keys, value }) => Self::Element { keys, value },
        }
    }

    /// Converts a step for a plugin.
    #[must_use]
    pub fn into_guest(self) -> writer::Step {
        match self {
            Self::Key(key) => writer::Step::Key(key),
            Self::Element { keys, value } => writer::Step::Element(writer::Element { keys, value }),
        }
    }
}
