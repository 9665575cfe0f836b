//! Finds secrets in a receipt that is about to be written.
//!
//! Users keep receipts and pass them on, and a registry can put a login that it was sent into names, platforms
//! and configs. What it refuses: to write such a receipt. If the secret were masked, the receipt would name
//! other things than were written. What the user typed (both URIs and the filters) may be shown.

use super::{Place, Receipt, Step};
use occystrap_base::oci::PlatformPart;
use occystrap_base::secret;

/// Returns the name of the first part of a receipt that has a secret in it.
pub(super) fn in_receipt(receipt: &Receipt) -> Option<&'static str> {
    let image = &receipt.image;
    let part = match &image.part {
        PlatformPart::Platform(text)
        | PlatformPart::Nested(text)
        | PlatformPart::Referrer(text) => text.as_str(),
        PlatformPart::Whole | PlatformPart::Index => "",
    };
    let has = |text: &str| secret::is_in(text.as_bytes());
    let tag = image.tag.as_deref().unwrap_or_default();
    if has(&image.name) || has(tag) {
        return Some("the image's name");
    }
    if has(part) {
        return Some("the image's platform");
    }
    let places = || receipt.expectations.iter().map(|one| &one.place);
    if places().any(|place| texts(place).into_iter().any(has)) {
        return Some("the place of a part");
    }
    if receipt.journal.iter().any(|file| has(&file.path)) {
        return Some("the name of a file");
    }
    secret::is_in(&receipt.state).then_some("the plugin's state")
}

/// Returns all texts of a place, whether the plugin, the source or the user chose them.
fn texts(place: &Place) -> Vec<&str> {
    match place {
        Place::File { path } => vec![path.as_str()],
        Place::Part { path, member, .. } => vec![path.as_str(), member.as_str()],
        Place::Entry { path, steps, value } => {
            let steps = steps.iter().flat_map(|step| match step {
                Step::Key(key) => vec![key.as_str()],
                Step::Element { keys, value } => {
                    keys.iter().chain([value]).map(String::as_str).collect()
                }
            });
            steps.chain([path.as_str(), value.as_str()]).collect()
        }
        Place::Manifest { reference } => vec![reference.as_str()],
        Place::Image { name } => vec![name.as_str()],
        Place::ImageLayer { image, .. } => vec![image.as_str()],
        Place::Blob { .. } => vec![],
    }
}
