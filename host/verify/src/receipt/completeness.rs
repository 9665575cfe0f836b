//! Whether a receipt is complete enough for a verdict.
//!
//! A receipt that occystrap wrote is: the host compared it with its journal. A receipt that was made otherwise may promise
//! nothing, and a destination would hold all of that.

use super::format::DestinationFormat;
use crate::verdict::claims::Claims;
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_output::receipt::{Expectation, Place, Receipt, Role, WrittenFile};

/// Errors with what is missing in a receipt that does not name everything that occystrap writes.
pub fn says_enough(receipt: &Receipt, format: &DestinationFormat) -> Result<(), String> {
    has_contents(receipt).and_then(|()| format.is_named(receipt))
}

/// Returns why a receipt is not worth a verdict: it does not name everything, or names fewer layers than the config.
/// `None` where it is complete.
#[must_use]
pub fn missing(receipt: &Receipt, format: &DestinationFormat, claims: &Claims) -> Option<String> {
    if let Err(missing) = says_enough(receipt, format) {
        return Some(missing);
    }
    let layers = receipt.expectations.iter().filter(|one| one.role.is_layer());
    let (named, are) = (layers.count(), claims.layers()?);
    (named < are).then(|| format!("it names {named} layers, the config {are}"))
}

/// Errors where config, layers or index are missing.
fn has_contents(receipt: &Receipt) -> Result<(), String> {
    for one in &receipt.expectations {
        if !is_whole(one, &receipt.journal) {
            return Err(format!("size or digest of '{}'", one.place.subject()));
        }
    }
    let expected =
        |role: fn(Role) -> bool| receipt.expectations.iter().filter(move |one| role(one.role));
    let id = receipt.image.id;
    if receipt.image.part.is_index() {
        let is = |one: &Expectation| one.digest == Some(id);
        return match expected(|role| role == Role::Manifest).any(is) {
            true => Ok(()),
            false => Err("the index".to_owned()),
        };
    }
    let mut configs = expected(|role| role == Role::Config).peekable();
    let is_config = |one: &Expectation| {
        one.digest == Some(id) && one.size.is_some_and(|size| size <= LARGEST_CONFIG)
    };
    if configs.peek().is_none() || !configs.all(is_config) {
        return Err("the config, which is the image's ID".to_owned());
    }
    let mut layers: Vec<u32> = expected(Role::is_layer)
        .filter_map(|one| match one.role {
            Role::Layer(index) => Some(index),
            _ => None,
        })
        .collect();
    layers.sort_unstable();
    match layers.iter().zip(0..).position(|(found, index)| *found != index) {
        Some(index) => Err(format!("layer {}, once", index + 1)),
        None => Ok(()),
    }
}

/// Returns whether every byte of it has a digest.
fn is_whole(one: &Expectation, journal: &[WrittenFile]) -> bool {
    let is_content = matches!(one.role, Role::Config | Role::Layer(_));
    match &one.place {
        Place::File { path } => match one.digest {
            Some(_) => one.size.is_some(),
            None => {
                let mut written = journal.iter().filter(|file| file.path == *path);
                !is_content
                    && written
                        .next()
                        .is_some_and(|file| one.size == Some(file.size) && is_seamless(file))
                    && written.next().is_none()
            }
        },
        Place::Part { .. } => one.size.is_some() && one.digest.is_some(),
        // A string, which is compared itself.
        Place::Entry { .. } => !is_content,
        Place::Blob { digest } => one.size.is_some() && one.digest == Some(*digest),
        Place::Manifest { .. } => !is_content && one.digest.is_some(),
        Place::Image { .. } | Place::ImageLayer { .. } => one.digest.is_some(),
    }
}

/// Returns whether the runs of bytes in a journal cover their file.
fn is_seamless(file: &WrittenFile) -> bool {
    let end = file.extents.iter().try_fold(0_u64, |at, extent| {
        (extent.offset == at).then(|| at.checked_add(extent.size)).flatten()
    });
    end == Some(file.size)
}
