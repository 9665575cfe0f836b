//! `dir://`: a directory that the output `dir`, or occystrap 0.4, wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::docker_save;
use super::members::Members;
use crate::destination::{Destination, check_path};
use crate::error::{Error, Kind, Result};
use crate::image::saved::{CATALOG, LIST};
use crate::image::{Image, ImageName, Section};

/// A catalog of 100,000 images is a tenth of this.
const LARGEST_CATALOG: u64 = 64 * 1024 * 1024;

/// The files of a directory, read without leaving it.
pub struct Directory {
    destination: Destination,
    place: String,
}

impl Members for Directory {
    fn section(&self, name: &str) -> Result<Option<Section>> {
        if check_path(name, None).is_err() {
            return Err(Error::source(format!(
                "{}: '{name}' leads out of the directory",
                self.place
            )));
        }
        match self.destination.open(name) {
            Ok(file) => {
                let size = file.metadata().map_err(|cause| self.unreadable(name, &cause))?.len();
                Ok(Some(Section::new(Arc::new(file), 0, size)))
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.unreadable(name, &cause)),
        }
    }

    fn place(&self) -> &str {
        &self.place
    }
}

impl Directory {
    /// A directory that exists.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::of(Destination::directory(path)?))
    }

    /// One that is open.
    #[must_use]
    pub fn of(destination: Destination) -> Self {
        let place = format!("'{}'", destination.folder().display());
        Self { destination, place }
    }

    fn unreadable(&self, name: &str, cause: &std::io::Error) -> Error {
        Error::io(Kind::Source, "read", self.destination.display(name), cause)
    }

    /// Which images there are: name and manifest file. Without a catalog, what `manifest.json`
    /// says of itself.
    pub fn catalog(&self) -> Result<Vec<(Option<ImageName>, String)>> {
        let Some(bytes) = self.read(CATALOG, LARGEST_CATALOG)? else {
            return Ok(vec![(None, LIST.to_owned())]);
        };
        let catalog: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(&bytes)
            .map_err(|cause| {
                Error::source(format!(
                    "{}: {CATALOG} is not a catalog of images: {cause}",
                    self.place
                ))
            })?;
        let entries = catalog.into_iter().flat_map(|(repository, tags)| {
            tags.into_iter().map(move |(tag, manifest)| {
                // An image known by its digest alone is catalogued under that.
                let tag = Some(tag).filter(|tag| !tag.contains(':'));
                (Some(ImageName { repository: repository.clone(), tag }), manifest)
            })
        });
        Ok(entries.collect())
    }
}

/// All images of a directory.
pub fn open(path: &Path) -> Result<Vec<Image>> {
    let directory = Directory::open(path)?;
    if directory.section(CATALOG)?.is_none() && directory.section(LIST)?.is_none() {
        let message = format!("'{}': holds neither {CATALOG} nor {LIST}", path.display());
        return Err(Error::source(message).hint(format!(
            "dir:// reads what the output dir wrote; an OCI image layout is oci-layout://{}",
            path.display()
        )));
    }
    let mut images = Vec::new();
    for (name, manifest) in directory.catalog()? {
        let entries = docker_save::read(&directory, &manifest)?;
        let place = directory.place();
        for entry in docker_save::of_catalog(entries, name.as_ref(), &manifest, place)? {
            match &name {
                Some(name) => images.push(docker_save::image(&directory, &entry, name.clone())?),
                None => images.extend(docker_save::images(&directory, &entry)?),
            }
        }
    }
    if images.is_empty() {
        return Err(Error::source(format!("'{}': its catalog lists no image", path.display())));
    }
    Ok(images)
}
