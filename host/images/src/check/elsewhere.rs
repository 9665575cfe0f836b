//! Layers that the manifest places elsewhere, by URLs, and that are not where the manifest is. They are
//! *unchecked*: the URL is not asked, and nothing is wrong with an image that has them.

use super::finding::{Finding, Findings, Severity};
use crate::source::view::{View, ViewedLayer};

/// The rule.
pub(super) const RULE: &str = "layer-elsewhere";

/// Reports layers of an OCI layout that are not in it. A registry is asked for each of its layers.
pub fn check(view: &View, to: &mut Findings) {
    for (index, kept) in view.layers.iter().enumerate() {
        if kept.content.is_none() && is(kept) {
            to.push(finding(index, kept));
        }
    }
}

/// Whether the manifest places a layer elsewhere.
pub(super) fn is(kept: &ViewedLayer) -> bool {
    kept.promised.elsewhere.is_some()
}

/// The finding for a layer that is not here.
pub(super) fn finding(index: usize, kept: &ViewedLayer) -> Finding {
    let host = kept.promised.elsewhere.as_ref().map(|elsewhere| elsewhere.host());
    let message = format!("stored elsewhere ({})", host.unwrap_or_default());
    Finding::new(Severity::Unchecked, RULE, message).layer(index)
}
