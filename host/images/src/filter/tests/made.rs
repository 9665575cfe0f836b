//! Images made of members, for filters that work on whole images.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use super::super::local_layers::new_layer;
use super::super::{Filters, Reshape};
use super::tar_members::{Listed, file, read, write};
use occystrap_base::error::Result;
use occystrap_base::files::Section;
use occystrap_base::oci::{Compression, Digest};
use occystrap_base::terminal::progress::Progress;
use occystrap_base::terminal::results::Results;
use occystrap_layer::blob::{from_io, open_one};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::{Member, MemberKind};
use occystrap_net::context::Context;
use tokio::runtime::Runtime;

/// An image whose layers have these members.
pub struct ImageOf(Image);

impl ImageOf {
    /// Returns an image with a step of history for each layer.
    pub fn new(layers: Vec<Listed>) -> Self {
        let layers = layers.iter().enumerate().map(|(index, listed)| {
            let tar = write(listed);
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, &tar).unwrap();
            let section = Section::new(Arc::new(file), 0, tar.len() as u64);
            let place = format!("layer {}", index + 1);
            Layer::in_file(section, Digest::of(&tar), None, Compression::None, place)
        });
        let layers: Vec<Layer> = layers.collect();
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let steps = vec![serde_json::json!({ "created_by": "a step" }); layers.len()];
        let config = serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": steps });
        let config = config.to_string();
        let id = Digest::of(config.as_bytes());
        Self(Image { layers, config: config.into(), id, ..super::image() })
    }

    /// Returns the image with layers that are compressed with zstd.
    pub fn in_zstd(&self) -> Self {
        let zstd = |layer: &Layer| {
            let mut tar = Vec::new();
            open_one(layer, &context()).unwrap().read_to_end(&mut tar).unwrap();
            let make = |to: &mut (dyn std::io::Write + Send)| {
                to.write_all(&tar).map_err(|cause| from_io(cause, &layer.place))
            };
            new_layer(layer.place.clone(), true, &context(), make).unwrap()
        };
        Self(Image { layers: self.0.layers.iter().map(zstd).collect(), ..self.0.clone() })
    }

    /// Returns the image.
    pub fn image(&self) -> &Image {
        &self.0
    }

    /// Returns what a filter makes of the image.
    pub fn reshaped(&self, filter: &dyn Reshape) -> Result<Image> {
        filter.reshape(&self.0, &context()).map(|made| made.image)
    }

    /// Returns what a chain of filters makes of the image.
    pub fn filtered(&self, filters: &Filters) -> Result<Image> {
        filters.apply(&self.0, Vec::new(), &context())
    }
}

fn context() -> Context {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    Context::new(RUNTIME.get_or_init(|| Runtime::new().unwrap()).handle())
}

/// Returns where filters print results.
pub fn results() -> Results {
    Results::printed(&Progress::hidden())
}

/// Returns the members of each layer.
pub fn layers(image: &Image) -> Vec<Listed> {
    let layer = |layer: &Layer| {
        let mut bytes = Vec::new();
        open_one(layer, &context()).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(Digest::of(&bytes), layer.diff_id);
        read(&bytes).unwrap()
    };
    image.layers.iter().map(layer).collect()
}

/// Returns a regular file, or a directory where the path ends with a slash.
pub fn of(path: &str, content: &str) -> (Member, Vec<u8>) {
    match path.strip_suffix('/') {
        Some(path) => (Member::new(MemberKind::Directory, path), Vec::new()),
        None => file(path.as_bytes(), content.as_bytes()),
    }
}

/// Returns a link.
pub fn link(kind: MemberKind, path: &str, to: &str) -> (Member, Vec<u8>) {
    (Member { link: to.into(), ..Member::new(kind, path) }, Vec::new())
}
