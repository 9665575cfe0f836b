//! Secrets in a receipt that is about to be written.
//!
//! A receipt is kept and given to others, and a registry can put what it was sent into names, platforms
//! and configs. What it refuses: to write such a receipt. Masked, it would name other things than were
//! written. What the user typed, both ends and the filters, is the user's to show.

use super::{Place, Receipt, Step};
use crate::image::Part;
use crate::secret;

/// Digits of a SHA-256 digest. It is computed from bytes, and has a short secret in it by chance.
const DIGEST: usize = 64;

/// Names the first part of a receipt that has a secret in it.
pub(super) fn in_receipt(receipt: &Receipt) -> Option<&'static str> {
    let image = &receipt.image;
    let part = match &image.part {
        Part::Platform(text) | Part::Nested(text) => text.as_str(),
        Part::Whole | Part::Index => "",
    };
    let has = |text: &str| holds(text.as_bytes());
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
    holds(&receipt.state).then_some("the plugin's state")
}

/// What a place is called, wherever that comes from.
fn texts(place: &Place) -> Vec<&str> {
    match place {
        Place::File { path } => vec![path],
        Place::Part { path, member, .. } => vec![path, member],
        Place::Entry { path, steps, value } => {
            let steps = steps.iter().flat_map(|step| match step {
                Step::Key(key) => vec![key.as_str()],
                Step::Element { keys, value } => {
                    keys.iter().chain([value]).map(String::as_str).collect()
                }
            });
            steps.chain([path.as_str(), value.as_str()]).collect()
        }
        Place::Manifest { reference } => vec![reference],
        Place::Image { name } => vec![name],
        Place::ImageLayer { image, .. } => vec![image],
        Place::Blob { .. } => vec![],
    }
}

/// Whether a text has a secret in it elsewhere than in its digests.
fn holds(text: &[u8]) -> bool {
    if !secret::is_in(text) {
        return false;
    }
    let mut left = Vec::with_capacity(text.len());
    for run in text.chunk_by(|one, next| one.is_ascii_hexdigit() == next.is_ascii_hexdigit()) {
        let is_digest = run.len() == DIGEST && run.iter().all(u8::is_ascii_hexdigit);
        left.extend_from_slice(if is_digest { b"\n" } else { run });
    }
    secret::is_in(&left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_holds_a_secret_by_chance_and_other_text_does_not() {
        secret::keep("1eacc0f596");
        let digest = format!("{}1eacc0f596", "0".repeat(54));
        assert!(secret::is_in(digest.as_bytes()));
        assert!(!holds(format!("blobs/sha256/{digest}").as_bytes()));
        assert!(holds(format!("blobs/{digest}/1eacc0f596").as_bytes()));
        assert!(holds(&digest.as_bytes()[1..]));
    }
}
