//! What a receipt must name so that a reader of the destination's format finds the image.
//!
//! Config and layers can all be there while nothing leads to them. The host knows the formats that it reads itself. It
//! knows nothing about the formats of other plugins.

use crate::derive::layout;
use occystrap_base::oci::ImageName;
use occystrap_base::oci::layout::{CATALOG, INDEX, LIST, blob};
use occystrap_output::plugin::embedded::EMBEDDED;
use occystrap_output::receipt::{Expectation, Place, Receipt, Role, Step};
use occystrap_output::write::target;
use occystrap_output::write::target::Target;

/// The format of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationFormat {
    /// `dir://`.
    Directory,
    /// `tar://`.
    Archive,
    /// `oci-layout://`, and the tag in its URI.
    Layout(Option<String>),
    /// A repository of a registry, and the tag in the URI.
    Repository(String),
    /// OCI manifests in places that only the plugin knows.
    Manifests,
    /// The format of an engine, or one that only the plugin knows.
    Unknown,
}

impl DestinationFormat {
    /// Returns the format of a destination.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let scheme = target.lasting.split("://").next().unwrap_or_default();
        let ours = EMBEDDED.iter().any(|known| known.schemes.contains(&scheme));
        match &target.endpoint {
            target::Endpoint::Repository(reference, _) => Self::Repository(reference.target()),
            target::Endpoint::TaggedDirectory(_, tag) if ours => Self::Layout(tag.clone()),
            target::Endpoint::Directory(_) if ours => Self::Directory,
            target::Endpoint::File(_) if ours => Self::Archive,
            target::Endpoint::Engine(..) => Self::Unknown,
            _ if target.plugin.description().oci_manifests => Self::Manifests,
            _ => Self::Unknown,
        }
    }

    /// Returns whether the images of the format have OCI manifests.
    #[must_use]
    pub fn has_manifests(&self) -> bool {
        matches!(self, Self::Layout(_) | Self::Repository(_) | Self::Manifests)
    }

    /// Checks that a receipt names the way to its image. Errors with what is missing.
    pub fn is_named(&self, receipt: &Receipt) -> Result<(), String> {
        let expectations = &receipt.expectations;
        // For an index, the manifest is the index itself.
        let mut manifests = expectations.iter().filter(|one| {
            one.role == Role::Manifest
                && (!receipt.image.part.is_index() || one.digest == Some(receipt.image.id))
        });
        let catalogued = |wanted: &Place| {
            expectations.iter().any(|one| one.role == Role::Catalog && one.place == *wanted)
        };
        let image = &receipt.image;
        let named = !image.part.is_listed();
        if image.part.is_index() && !self.has_manifests() {
            return Err("its plugin writes no index".to_owned());
        }
        match self {
            Self::Unknown => Ok(()),
            Self::Manifests => some(manifests.next().is_some(), || "the manifest".to_owned()),
            Self::Repository(tag) => {
                let leads = |one: &Expectation| match &one.place {
                    Place::Manifest { reference } if named => reference == tag,
                    Place::Manifest { reference } => {
                        one.digest.is_some_and(|digest| digest.to_string() == *reference)
                    }
                    _ => false,
                };
                let what = if named { tag.as_str() } else { "its digest" };
                some(manifests.any(leads), || format!("the manifest under '{tag}'", tag = what))
            }
            Self::Layout(tag) => {
                let mut files = expectations.iter().filter(|one| one.digest.is_some());
                if let Some(one) = files.find(|one| !is_blob(one)) {
                    let what = "which readers look for under its digest";
                    return Err(format!("where '{}' is, {what}", one.place.subject()));
                }
                let Some(digest) = manifests.next().and_then(|one| one.digest) else {
                    return Err("the manifest".to_owned());
                };
                let tag = tag.as_deref().or(image.tag.as_deref()).unwrap_or("latest");
                let entry = layout::catalogued(tag, &digest.to_string());
                some(!named || catalogued(&entry.place), || {
                    format!("the entry '{tag}' of {}", INDEX)
                })
            }
            Self::Directory => {
                let Some(Place::File { path }) = manifests.next().map(|one| &one.place) else {
                    return Err("the manifest".to_owned());
                };
                let ImageName { repository, tag } = image.image_name();
                let tag = tag.unwrap_or_else(|| image.id.to_string());
                let called = format!("{repository}:{tag}");
                let steps = vec![Step::Key(repository), Step::Key(tag)];
                let entry = Place::Entry { path: CATALOG.to_owned(), steps, value: path.clone() };
                some(catalogued(&entry), || format!("the entry '{called}' of catalog.json"))
            }
            Self::Archive => {
                let is_list = |one: &Expectation| matches!(&one.place, Place::Part { member, .. } if member == LIST);
                some(manifests.any(is_list), || LIST.to_owned())?;
                // Only the archive as a whole excludes other members.
                let is_file = |one: &Expectation| matches!(one.place, Place::File { .. });
                some(expectations.iter().any(is_file), || "the archive as a whole".to_owned())
            }
        }
    }
}

fn some(is_there: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_there { Ok(()) } else { Err(what()) }
}

/// Returns whether it is in the file that a layout has for its digest (image specification, "Image Layout").
fn is_blob(one: &Expectation) -> bool {
    let at = one.digest.map(blob);
    matches!(&one.place, Place::File { path } if at.as_ref() == Some(path))
}
