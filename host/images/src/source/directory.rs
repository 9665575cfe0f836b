//! `dir://`: a directory that the output `dir` of this version or of occystrap 0.4 wrote.

use std::path::Path;
use std::sync::Arc;

use super::catalog::{self, Catalogued};
use super::members::ArchiveMembers;
use super::{Choice, choose, docker_save};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::files::destination::{Destination, check_path};
use occystrap_base::oci::ImageName;
use occystrap_base::oci::layout::{CATALOG, LARGEST_CATALOG, LIST};
use occystrap_layer::image::Image;

/// The files of a directory. Reading never leaves the directory.
pub struct Directory {
    destination: Destination,
    place: String,
}

impl ArchiveMembers for Directory {
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
    /// Opens a directory.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::of(Destination::directory(path)?))
    }

    /// Returns the files of a directory that is open already.
    #[must_use]
    pub fn of(destination: Destination) -> Self {
        let place = format!("'{}'", destination.folder().display());
        Self { destination, place }
    }

    fn unreadable(&self, name: &str, cause: &std::io::Error) -> Error {
        Error::io(Kind::Source, "read", self.destination.display(name), cause)
    }

    /// Returns the images that the catalog lists. `None` without a catalog: then `manifest.json` lists the images.
    pub fn catalog(&self) -> Result<Option<Vec<Catalogued>>> {
        let Some(section) = self.section(CATALOG)? else { return Ok(None) };
        if section.size > LARGEST_CATALOG {
            let what = format!("{}: size of '{CATALOG}'", self.place);
            let most = format!("at most {LARGEST_CATALOG} bytes");
            return Err(Error::mismatch(what, most, section.size));
        }
        let images = catalog::read(&*section.file).map_err(|cause| {
            let place = &self.place;
            Error::source(format!("{place}: {CATALOG} is not a catalog of images: {cause}"))
        })?;
        Ok(Some(images))
    }

    /// Returns name and manifest file of each image, or only of the `wanted` one, so that no other manifest is read.
    /// Errors when the catalog does not list it.
    pub fn listed(&self, wanted: Option<&ImageName>) -> Result<Vec<(Option<ImageName>, String)>> {
        let Some(all) = self.catalog()? else { return Ok(vec![(None, LIST.to_owned())]) };
        let listed = match wanted {
            None => all,
            Some(_) => {
                choose(all, wanted, &format!("dir://{}", self.destination.folder().display()))?
            }
        };
        Ok(listed.into_iter().map(|image| (Some(image.name), image.manifest)).collect())
    }
}

/// Reads all images of a directory that are wanted.
pub fn open(path: &Path, wanted: Choice) -> Result<Vec<Image>> {
    let directory = Directory::open(path)?;
    if directory.section(CATALOG)?.is_none() && directory.section(LIST)?.is_none() {
        let message = format!("'{}': holds neither {CATALOG} nor {LIST}", path.display());
        return Err(Error::source(message).hint(format!(
            "dir:// reads what the output dir wrote; an OCI image layout is oci-layout://{}",
            path.display()
        )));
    }
    let mut images = Vec::new();
    for (name, manifest) in directory.listed(wanted.image)? {
        let entries = docker_save::read(&directory, &manifest)?;
        let place = directory.place();
        let entries = docker_save::of_catalog(entries, name.as_ref(), &manifest, place)?;
        let Some(name) = name else {
            images.extend(docker_save::wanted(&directory, &entries, wanted)?);
            continue;
        };
        for entry in entries {
            images.push(docker_save::image(&directory, &entry, name.clone())?);
        }
    }
    if images.is_empty() {
        return Err(Error::source(format!("'{}': its catalog lists no image", path.display())));
    }
    Ok(images)
}
