//! Reading an image for `info --tree`, `info --html` and `explore`: what each layer has, and what of it a container sees.

use std::collections::HashMap;

use serde_json::Value;

use super::efficiency::Efficiency;
use super::tree::{Effect, NodeId, NodeKind, PathVersion, Tree, TreeBuilder};
use crate::check::{CheckedImage, LayerMembers};
use crate::info::history::{shorten, steps};
use crate::source::view::View;
use occystrap_base::error::Result;
use occystrap_base::oci::{ImageName, json};
use occystrap_base::terminal::size::size;
use occystrap_layer::blob::{Stored, read_checked, read_layers};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::overlay::{Fate, MemberBudget, MemberList};
use occystrap_layer::tar::TarReader;
use occystrap_net::context::Context;

/// An image, and where its bytes are.
pub struct Survey {
    /// The name of the image.
    pub name: ImageName,
    /// The platform, such as `linux/amd64`; `None` if the image does not state it.
    pub platform: Option<String>,
    /// Layers, lowest first.
    pub layers: Vec<SurveyedLayer>,
    /// The paths of all layers.
    pub tree: Tree,
    /// Bytes of all files that were read, without the holes of sparse files.
    pub size: u64,
    /// Bytes of those files that a later layer deletes or replaces. Layers that could not be read may do that as well.
    pub wasted: u64,
    /// The efficiency, as dive defines it.
    pub efficiency: Efficiency,
    /// Whether the image has more members than are kept, so that all numbers are too small.
    pub incomplete: bool,
    /// Numbers of the layers that could not be read to their end, from 0 for the lowest.
    pub unread: Vec<usize>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct SurveyedLayer {
    /// Number of the layer, from 0 for the lowest.
    pub index: usize,
    /// Digest of the uncompressed layer.
    pub diff_id: String,
    /// Bytes of the stored layer; `None` if they are not known.
    pub stored: Option<u64>,
    /// Whether the layer was read to its end. If not, its numbers are those of the members before the damage.
    pub is_read: bool,
    /// Whether `wasted` is known: the layer and all above it were read.
    pub is_waste_known: bool,
    /// Whether it is known what the layer changes: the layer and all below it were read.
    pub is_effect_known: bool,
    /// The command that made it, without the text of the builder; `None` if the history does not fit the layers.
    pub created_by: Option<String>,
    /// Bytes of its files, without the holes of sparse files.
    pub size: u64,
    /// Bytes of its files that a later layer deletes or replaces.
    pub wasted: u64,
    /// Bytes of files of lower layers that this layer deletes. The image keeps them, a container does not see them.
    pub freed: u64,
    /// Number of files that the layer adds. Directories are not counted.
    pub added: u64,
    /// Number of files that it replaces.
    pub replaced: u64,
    /// Number of files that it deletes.
    pub deleted: u64,
}

/// A wasted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waste {
    /// Path from the root of the image, without a leading slash.
    pub path: Vec<u8>,
    /// Bytes of its content.
    pub size: u64,
    /// Number of its layer, from 0.
    pub layer: usize,
    /// `deleted` or `replaced`.
    pub fate: &'static str,
    /// Number of the layer that deletes or replaces it, from 0.
    pub by: usize,
}

/// The wasted files of one directory, without those of directories below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryWaste {
    /// Path from the root of the image; empty for the root.
    pub path: Vec<u8>,
    /// Bytes of the files.
    pub size: u64,
    /// Number of the files.
    pub files: u64,
}

/// Reads every layer of an image, and compares it with its digests. Errors when one differs or is not a tar.
pub fn survey(image: &Image, context: &Context) -> Result<Survey> {
    let budget = MemberBudget::default();
    // An opaque layer is not a tar.
    let wanted = |_, layer: &Layer| !layer.opaque;
    let read = |_, layer: &Layer, stored, _: &Context| members(layer, stored, &budget);
    let read = read_layers(&image.layers, wanted, "layer", context, read)?;
    let mut builder = TreeBuilder::default();
    // A list is not needed once it is in the tree.
    read.into_iter().for_each(|list| builder.layer(&list.unwrap_or_default()));
    let config = json::parse(&image.config).unwrap_or_default();
    let facts = image.layers.iter().map(|layer| LayerFacts {
        diff_id: layer.diff_id.to_string(),
        stored: Some(layer.size),
        is_read: true,
    });
    Ok(Survey::of(image.name.clone(), image.platform.stated(), &config, facts, builder))
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

/// What is known of a layer without reading it.
pub struct LayerFacts {
    /// Digest of the uncompressed layer; empty if it is not known.
    pub diff_id: String,
    /// Bytes of the stored layer; `None` if they are not known.
    pub stored: Option<u64>,
    /// Whether the layer was read to its end.
    pub is_read: bool,
}

impl Survey {
    /// Returns the survey of an image whose layers are in `paths`, one for each of `facts`. `config` is its config.
    #[must_use]
    pub fn of(
        name: ImageName,
        platform: Option<String>,
        config: &Value,
        facts: impl ExactSizeIterator<Item = LayerFacts>,
        paths: TreeBuilder,
    ) -> Self {
        let incomplete = paths.cut;
        let tree = paths.finish();
        let steps = steps(config, facts.len());
        let mut layers: Vec<SurveyedLayer> = facts
            .enumerate()
            .map(|(index, LayerFacts { diff_id, stored, is_read })| {
                let step = steps.iter().find(|step| step.layer == Some(index));
                let created_by = step.and_then(|step| step.created_by.as_deref().map(shorten));
                SurveyedLayer {
                    index,
                    diff_id,
                    stored,
                    is_read,
                    is_waste_known: true,
                    is_effect_known: true,
                    created_by,
                    size: 0,
                    wasted: 0,
                    freed: 0,
                    added: 0,
                    replaced: 0,
                    deleted: 0,
                }
            })
            .collect();
        let unread: Vec<usize> =
            layers.iter().filter(|layer| !layer.is_read).map(|layer| layer.index).collect();
        for layer in &mut layers {
            layer.is_waste_known = unread.last().is_none_or(|last| *last < layer.index);
            layer.is_effect_known = unread.first().is_none_or(|first| *first > layer.index);
        }
        for node in tree.nodes() {
            tree.versions(node).iter().for_each(|version| count(&tree, node, version, &mut layers));
        }
        Self {
            name,
            platform,
            size: layers.iter().map(|layer| layer.size).sum(),
            wasted: layers.iter().map(|layer| layer.wasted).sum(),
            layers,
            efficiency: Efficiency::of(&tree),
            tree,
            incomplete,
            unread,
        }
    }
}

impl SurveyedLayer {
    /// Returns the bytes of its files as text.
    #[must_use]
    pub fn size_text(&self) -> String {
        size_text(self.size, self.is_read)
    }
}

/// Returns bytes as text. What is not known is not 0.
fn size_text(bytes: u64, is_known: bool) -> String {
    match (is_known, bytes) {
        (true, bytes) => size(bytes),
        (false, 0) => "not known".to_owned(),
        (false, bytes) => format!("at least {}", size(bytes)),
    }
}

/// Reads the members of one layer.
fn members(layer: &Layer, stored: Stored, budget: &MemberBudget) -> Result<MemberList> {
    read_checked(layer, stored, |plain| {
        let mut list = MemberList::default();
        let mut reader = TarReader::new(plain, layer.place.clone());
        while let Some(member) = reader.next_member()? {
            list.add(&member, budget);
        }
        Ok(list)
    })
}

/// Adds a version to the numbers of its layer, and of the layer that ends it.
fn count(tree: &Tree, node: NodeId, version: &PathVersion, layers: &mut [SurveyedLayer]) {
    let own = &mut layers[version.layer];
    own.size += version.size;
    own.wasted += version.wasted();
    let is_file = version.kind != NodeKind::Directory;
    if is_file {
        match tree.effect(node, version.layer) {
            // A member that the layer repeats counts once.
            _ if version.end() == Some(version.layer) => {}
            Some(Effect::Added) => own.added += 1,
            _ => own.replaced += 1,
        }
    }
    if let (true, Fate::Deleted(by)) = (is_file, version.fate) {
        layers[by].deleted += 1;
        layers[by].freed += version.wasted();
    }
}

impl Survey {
    /// Returns the bytes of all files; `None` if a layer could not be read.
    #[must_use]
    pub fn known_size(&self) -> Option<u64> {
        self.unread.is_empty().then_some(self.size)
    }

    /// Returns the wasted bytes; `None` if a layer could not be read.
    #[must_use]
    pub fn known_wasted(&self) -> Option<u64> {
        self.unread.is_empty().then_some(self.wasted)
    }

    /// Returns the bytes of all files as text.
    #[must_use]
    pub fn size_text(&self) -> String {
        size_text(self.size, self.unread.is_empty())
    }

    /// Returns which layers could not be read to their end, as text; `None` if all were read.
    #[must_use]
    pub fn unread_text(&self) -> Option<String> {
        match self.unread.as_slice() {
            [] => None,
            [one] => Some(format!("layer {} could not be read", one + 1)),
            more => Some(format!("{} layers could not be read", more.len())),
        }
    }

    /// Returns the wasted files, the largest first. Files without content waste nothing.
    #[must_use]
    pub fn waste(&self) -> Vec<Waste> {
        let mut waste = Vec::new();
        for node in self.tree.nodes() {
            for version in self.tree.versions(node) {
                let (fate, by) = match version.fate {
                    _ if version.wasted() == 0 => continue,
                    Fate::Present => continue,
                    Fate::Deleted(by) => ("deleted", by),
                    Fate::Replaced(by) => ("replaced", by),
                };
                let (size, layer) = (version.size, version.layer);
                waste.push(Waste { path: self.tree.path(node), size, layer, fate, by });
            }
        }
        let order = |waste: &Waste| (std::cmp::Reverse(waste.size), waste.layer);
        waste.sort_by(|one, other| {
            order(one).cmp(&order(other)).then_with(|| one.path.cmp(&other.path))
        });
        waste
    }

    /// Returns the waste of each directory, the largest first.
    #[must_use]
    pub fn waste_by_directory(&self) -> Vec<DirectoryWaste> {
        let mut found: HashMap<NodeId, (u64, u64)> = HashMap::new();
        for node in self.tree.nodes() {
            let sizes = self.tree.versions(node).iter().map(PathVersion::wasted);
            for size in sizes.filter(|size| *size > 0) {
                let folder = self.tree.parent(node).unwrap_or(Tree::ROOT);
                let sum = found.entry(folder).or_default();
                *sum = (sum.0 + size, sum.1 + 1);
            }
        }
        let directory = |(node, (size, files)): (NodeId, (u64, u64))| DirectoryWaste {
            path: self.tree.path(node),
            size,
            files,
        };
        let mut all: Vec<DirectoryWaste> = found.into_iter().map(directory).collect();
        all.sort_by(|one, other| other.size.cmp(&one.size).then_with(|| one.path.cmp(&other.path)));
        all
    }
}
