//! The file whose content belongs to a path.

use occystrap_images::explore::Explored;
use occystrap_images::usage::tree::{NodeId, NodeKind};

/// Returns layer and path of the content at a node, as a container of the layers up to `layer` has it, or as the layer
/// below had it where `layer` deletes it; `None` for what is no file.
pub fn content_of(image: &Explored, node: NodeId, layer: usize) -> Option<(usize, Vec<u8>)> {
    let tree = &image.survey.tree;
    let below = || tree.at(node, layer.checked_sub(1)?);
    let version = tree.at(node, layer).or_else(below)?;
    match version.kind {
        NodeKind::File => Some((version.layer, tree.path(node))),
        NodeKind::HardLink => {
            let (node, version) = tree.content(version)?;
            (version.kind == NodeKind::File).then(|| (version.layer, tree.path(node)))
        }
        NodeKind::Directory | NodeKind::Symlink => None,
    }
}
