//! `tar://`: an image archive, compressed as a whole or not: of `docker save`, or an OCI image layout.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use super::members::{ArchiveMembers, compression};
use super::oci_layout;
use super::tar_index::TarIndex;
use super::two_lists;
use super::{Choice, docker_save};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::files::regular;
use occystrap_base::files::scratch;
use occystrap_base::oci::layout::INDEX;
use occystrap_base::oci::layout::LIST;
use occystrap_base::oci::{Compression, Platform};
use occystrap_layer::blob::{Decoder, from_io, transfer};
use occystrap_layer::image::{Image, Whole};
use occystrap_net::context::Context;

/// Reads all images of an archive that are wanted.
pub fn open(
    path: &Path,
    platform: &Platform,
    wanted: Choice,
    context: &Context,
) -> Result<Vec<Image>> {
    images(&index(path, context)?, platform, wanted)
}

/// Returns all images that are wanted of an archive whose members are known.
pub fn images(index: &TarIndex, platform: &Platform, wanted: Choice) -> Result<Vec<Image>> {
    if index.contains(LIST) {
        let entries = docker_save::read(index, LIST)?;
        let images = docker_save::wanted(index, &entries, wanted)?;
        for image in &images {
            two_lists::agree(index, &image.name, image.id)?;
        }
        return Ok(images);
    }
    if index.contains(INDEX) {
        return oci_layout::images(index, None, platform, wanted);
    }
    Err(no_image(index))
}

/// Returns the error for an archive that holds no image.
#[must_use]
pub fn no_image(index: &TarIndex) -> Error {
    let error =
        Error::source(format!("{}: holds neither manifest.json nor index.json", index.place()));
    if index.contains("repositories") {
        error.hint("docker before 1.10 wrote it; 'docker load' it and 'docker save' it again")
    } else {
        error.hint("is it an image? 'docker save' and 'skopeo copy' write archives that are")
    }
}

/// Reads all images of an archive that are wanted, with every platform where it is an OCI image layout. Docker's
/// own list has one platform per image.
pub fn open_wholes(path: &Path, wanted: Choice, context: &Context) -> Result<Vec<Whole>> {
    let index = index(path, context)?;
    if is_layout(&index)? {
        return oci_layout::wholes(&index, None, wanted);
    }
    let images = images(&index, &Platform::default(), wanted)?;
    Ok(images.into_iter().map(|image| Whole::Image(Box::new(image))).collect())
}

/// Returns whether an archive is an OCI image layout whose list leads to images. Where that list is empty,
/// `manifest.json` is the list.
pub fn is_layout(index: &TarIndex) -> Result<bool> {
    Ok(index.contains(INDEX) && !(index.contains(LIST) && oci_layout::is_empty(index)?))
}

/// Reads the index of an archive. An archive that is compressed as a whole is decompressed to a temporary file first,
/// because its members have no positions otherwise.
pub fn index(path: &Path, context: &Context) -> Result<TarIndex> {
    let place = format!("'{}'", path.display());
    let fail = |cause: &std::io::Error| Error::io(Kind::Source, "open", path.display(), cause);
    let file = regular::open(path).map_err(|cause| fail(&cause))?;
    let metadata = file.metadata().map_err(|cause| fail(&cause))?;
    if metadata.len() == 0 {
        return Err(Error::source(format!("{place} is empty")));
    }
    let whole = Section::new(Arc::new(file), 0, metadata.len());
    let file = match compression(&whole, &place)? {
        Compression::None => whole.file,
        compressed => Arc::new(decompress(&whole.file, compressed, &place, context)?),
    };
    TarIndex::read(file, place)
}

fn decompress(
    file: &Arc<File>,
    compression: Compression,
    place: &str,
    context: &Context,
) -> Result<File> {
    let to = scratch::create(&context.temp_dir)?;
    let from = BufReader::with_capacity(256 * 1024, &**file);
    let mut decoder = Decoder::new(compression, from).map_err(|cause| from_io(cause, place))?;
    transfer::copy(&mut decoder, Some(&to), place, &context.cancel).map_err(|error| match error
        .kind()
    {
        Kind::Destination => error.hint("choose another folder with --temp-dir"),
        _ => error,
    })?;
    Ok(to)
}
