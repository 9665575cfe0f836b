//! The survey of an image whose layers `check` has read.

use super::survey::{LayerFacts, Survey};
use super::tree::TreeBuilder;
use crate::check::{CheckedImage, LayerMembers};
use crate::source::view::View;
use occystrap_base::error::Result;
use occystrap_layer::overlay::MemberList;

/// Errors when what leads to the image or artifact of a view could not be read.
pub fn check_is_there(view: &View) -> Result<()> {
    view.absent().map_or(Ok(()), |error| Err(error.clone()))
}

/// Returns the survey of a view from the members that a check has read.
#[must_use]
pub fn survey_of_view(view: &View, members: &LayerMembers, checked: &CheckedImage) -> Survey {
    let mut paths = TreeBuilder::default();
    let empty = MemberList::default();
    let lists = members.layers();
    lists.iter().for_each(|(list, _)| paths.layer(list.unwrap_or(&empty)));
    let ids = view.config.diff_ids();
    let diff_id = |index: usize| ids.get(index).copied().flatten().map(|id| id.to_string());
    let facts = view.layers.iter().enumerate().map(|(index, layer)| LayerFacts {
        diff_id: diff_id(index).unwrap_or_default(),
        stored: layer.size.or(layer.promised.size),
        is_read: lists.get(index).is_some_and(|(_, is_whole)| *is_whole),
    });
    Survey::of(view.name.clone(), checked.platform.clone(), &view.config.document, facts, paths)
}
