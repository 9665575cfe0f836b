//! The names that images have behind an air gap.
//!
//! What it refuses: images that an export cannot carry, and two images with one name.

use std::collections::HashMap;

use crate::mirror::exported::MOST_IMAGES;
use occystrap_base::error::{Error, Result};
use occystrap_mirror::document::{EntrySettings, IndexMode, Platforms};
use occystrap_mirror::expand::MirrorItem;
use occystrap_net::registry::Reference;
use occystrap_net::uri::Uri;

/// An image, and its name below the prefix of an import.
pub struct Named<'i> {
    /// The image.
    pub item: &'i MirrorItem<'i>,
    /// Repository below the prefix.
    pub repository: String,
    /// Tag; `None` for an image that is known by its digest alone.
    pub tag: Option<String>,
}

/// Returns the names of images. Errors with everything that cannot be exported.
pub fn names<'i>(items: &'i [MirrorItem<'i>]) -> Result<Vec<Named<'i>>, Vec<Error>> {
    let (mut named, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
    let mut first: HashMap<String, &MirrorItem<'_>> = HashMap::new();
    let mut refused = None;
    for item in items {
        let (settings, place) = (&item.entry.settings, &item.entry.place);
        if !settings.filters.is_empty() {
            if refused.replace(place) != Some(place) {
                let message =
                    "'filters' change images, and an export has them as they are at their source";
                errors.push(place.error(message).hint(
                    "mirror them to a registry first, and export from there with a second file",
                ));
            }
            continue;
        }
        let target = Uri::parse(&item.destination.uri)
            .ok()
            .filter(|uri| uri.scheme == "registry")
            .and_then(|uri| Reference::parse(&uri.rest).ok());
        let Some(target) = target else {
            if refused.replace(place) != Some(place) {
                let message = format!(
                    "'{}' is no registry, and an export needs the name of a repository",
                    item.destination.uri
                );
                errors.push(
                    place
                        .error(message)
                        .hint("write 'to: HOST/REPOSITORY'; an import replaces the host"),
                );
            }
            continue;
        };
        let tag = target.tag.filter(|_| item.destination.digest.is_none());
        let key = match (&tag, item.destination.digest) {
            (Some(tag), _) => format!("{}:{tag}", target.repository),
            (None, digest) => {
                format!("{}@{}", target.repository, digest.map_or(String::new(), |d| d.to_string()))
            }
        };
        if let Some(other) = first.insert(key.clone(), item) {
            let message = format!(
                "'{}' and '{}' are both '{key}' at the other side, which has one host",
                other.destination.uri, item.destination.uri
            );
            errors.push(item.place.error(message).hint("give them different repositories"));
        }
        named.push(Named { item, repository: target.repository, tag });
    }
    if named.len() > MOST_IMAGES {
        let message = format!(
            "the file names {} images, and an export has at most {MOST_IMAGES}",
            named.len()
        );
        errors.push(Error::usage(message).hint("make several files"));
    }
    if errors.is_empty() { Ok(named) } else { Err(errors) }
}

/// Returns whether an import writes a new index.
pub fn rewrites(settings: &EntrySettings) -> bool {
    settings.index == IndexMode::Rewrite
        && matches!(&settings.platforms, Platforms::Listed(listed) if listed.len() > 1)
}
