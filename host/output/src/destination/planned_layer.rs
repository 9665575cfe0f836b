//! A layer that a plugin takes, and the form in which it takes the layer: what [`super::prefetch`] is given.

use occystrap_base::files::Hashed;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::oci::Compression;
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::image::Layer;

/// The form in which the plugin asked for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedForm {
    /// As the source has it.
    Stored,
    /// A plain tar.
    Uncompressed,
    /// Compressed by the host.
    Compressed(Compression),
}

/// A file that holds one layer in the form asked for, and the size and digest of what was written into it.
pub type LayerFile = (UnnamedFile, Hashed);

/// A layer that the plugin takes.
#[derive(Clone)]
pub struct PlannedLayer {
    /// Its index in the image; the lowest layer is 0.
    pub index: usize,
    /// The layer as the source has it, or as the filters left it.
    pub layer: Layer,
    /// The form in which the plugin takes it.
    pub form: RequestedForm,
    /// Whether it is stored at a URL of its manifest, and stays there unless the plugin asks for its bytes.
    pub stays: bool,
    /// Its progress bar.
    pub progress: LayerProgress,
}
