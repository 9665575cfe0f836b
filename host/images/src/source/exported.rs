//! Images of an export of a mirror: an OCI image layout in which images are named by their digest.
//!
//! An export that builds on an earlier one has no layers that the earlier one carried. The caller of [`ExportedLayout::new`]
//! says where they are instead: at the destination, which got them from the earlier export.
//!
//! What it refuses: files that are not of an export.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;

use super::archive;
use super::content_store::{ContentStore, StoredManifest};
use super::directory::Directory;
use super::members::ArchiveMembers;
use super::oci_layout::LayoutStore;
use occystrap_base::error::Result;
use occystrap_base::oci::layout::blob;
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_layer::image::Content;
use occystrap_net::context::Context;

/// Files of an export: those of a directory, or the members of an archive.
pub type ExportFiles = Box<dyn ArchiveMembers + Send + Sync>;

/// Opens the files of an export: a directory, or an archive. An archive is not unpacked.
pub fn open_files(path: &Path, context: &Context) -> Result<ExportFiles> {
    if path.is_dir() {
        return Ok(Box::new(Directory::open(path)?));
    }
    Ok(Box::new(archive::index(path, context)?))
}

/// The layout of an export.
pub struct ExportedLayout {
    files: ExportFiles,
    /// Layers that the layout does not have, and where they are.
    absent: HashMap<Digest, Content>,
}

impl ExportedLayout {
    /// Returns the layout of an export. `absent` says where the layers are that an earlier export carried.
    #[must_use]
    pub fn new(files: ExportFiles, absent: HashMap<Digest, Content>) -> Self {
        Self { files, absent }
    }
}

impl ContentStore for ExportedLayout {
    fn place(&self) -> &str {
        self.files.place()
    }

    fn fetch(&self, what: &Descriptor) -> Result<StoredManifest> {
        LayoutStore(&*self.files).fetch(what)
    }

    fn stored_blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes> {
        LayoutStore(&*self.files).stored_blob(what, called, limit)
    }

    fn content(&self, digest: Digest) -> Result<Content> {
        match self.absent.get(&digest) {
            Some(content) => Ok(content.clone()),
            None => self.files.require(&blob(digest), "layer").map(Content::File),
        }
    }

    fn has(&self, what: &Descriptor) -> Result<bool> {
        Ok(self.absent.contains_key(&what.digest)
            || self.files.section(&blob(what.digest))?.is_some())
    }
}
