//! The survey of an image whose layers `check` has read.

use super::survey::{LayerFacts, Survey};
use super::tree::TreeBuilder;
use crate::check::{CheckedImage, LayerMembers};
use crate::source::view::View;
use occystrap_base::error::{Error, Result};
use occystrap_layer::overlay::MemberList;

/// Errors when a view shows no image.
pub fn check_is_image(view: &View) -> Result<()> {
    if let Some(error) = view.absent() {
        return Err(error.clone());
    }
    match view.role.is_artifact() {
        false => Ok(()),
        true => {
            let message = format!("'{}' is an OCI artifact, not an image", view.name);
            Err(Error::source(message).hint("'occystrap info' describes it"))
        }
    }
}

/// Returns the survey of a view from the members that a check has read.
#[must_use]
pub fn survey_of_view(view: &View, members: &LayerMembers, checked: &CheckedImage) -> Survey {
    let mut paths = TreeBuilder::default();
    let empty = MemberList::default();
    members.layers().into_iter().for_each(|list| paths.layer(list.unwrap_or(&empty)));
    let ids = view.config.diff_ids();
    let diff_id = |index: usize| ids.get(index).copied().flatten().map(|id| id.to_string());
    let facts = view.layers.iter().enumerate().map(|(index, layer)| LayerFacts {
        diff_id: diff_id(index).unwrap_or_default(),
        stored: layer.size.or(layer.promised.size).or(layer.counted).unwrap_or_default(),
    });
    let platform = checked.platform.clone().unwrap_or_default();
    Survey::of(view.name.clone(), platform, &view.config.document, facts, paths)
}
