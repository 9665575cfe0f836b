//! Layers in files that the host itself wrote and hashed: nobody needs to read them again.
//!
//! Such a file becomes part of the destination as it is, or the kernel copies it. What it refuses:
//! files that are not all of the layer in the form asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use cap_std::fs::{Dir, MetadataExt as _};
use rustix::io::Errno;

use super::layer_blob::{Form, Ready};
use super::prefetch::PlannedLayer;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::Section;
use occystrap_base::files::unnamed::Unnamed;
use occystrap_base::files::{Hashed, Spooled};
use occystrap_base::oci::Compression;
use occystrap_layer::blob::write_error;
use occystrap_layer::image::Content;

/// How much the kernel copies before it is asked whether the user wants to stop: some tenths of a
/// second on a slow disk.
const COPY: usize = 64 * 1024 * 1024;

/// The file of a layer that is, as the host knows from writing it, all of the layer in the form asked
/// for: plain, and with the digest that the config promised.
fn own(taken: &PlannedLayer) -> Option<(&Section, &Spooled)> {
    let Content::File(section) = &taken.layer.content else { return None };
    let own = section.own.as_deref()?;
    let layer = &taken.layer;
    let plain = layer.media_type == Compression::None.layer_media_type();
    let promised = layer.digest.unwrap_or(layer.diff_id) == layer.diff_id;
    let kept = own.moved() == Hashed { size: section.size, digest: layer.diff_id };
    let form = !matches!(taken.form, Form::Compressed(_));
    (plain && form && promised && kept && section.offset == 0).then_some((section, own))
}

/// Such a file itself, for whoever comes first, to get a name in `directory`: where that is in the
/// same file system.
pub(super) fn adopt_own(taken: &PlannedLayer, directory: &Dir) -> Option<Ready> {
    let (section, own) = own(taken)?;
    let there = directory.dir_metadata().ok()?.dev();
    if section.file.metadata().ok()?.dev() != there {
        return None;
    }
    let file = own.take()?;
    taken.progress.add(section.size);
    Some((file, own.moved()))
}

/// Such a file, copied by the kernel to an offset in another. `None` where the layer is in no such
/// file, or the kernel cannot, between these two file systems.
pub(super) fn copy_own(
    taken: &PlannedLayer,
    to: &Unnamed,
    at: u64,
    cancel: &Cancel,
) -> Result<Option<Hashed>> {
    let Some((section, own)) = own(taken) else { return Ok(None) };
    let moved = own.moved();
    match copy(&section.file, to, at, moved.size, cancel) {
        Ok(()) => {
            taken.progress.add(moved.size);
            Ok(Some(moved))
        }
        Err(CopyError::Cannot) => Ok(None),
        Err(CopyError::Failed(error)) => Err(error),
    }
}

/// Why the kernel did not copy.
pub(super) enum CopyError {
    /// Not between these two; nothing was written.
    Cannot,
    /// It began, and something went wrong.
    Failed(Error),
}

/// Copy a file's first `size` bytes to `at` in another, without bringing them here.
pub(super) fn copy(
    from: &File,
    to: &Unnamed,
    at: u64,
    size: u64,
    cancel: &Cancel,
) -> Result<(), CopyError> {
    let failed = |cause: io::Error| CopyError::Failed(write_error(to.file(), &cause));
    let mut done = 0;
    while done < size {
        cancel.check().map_err(CopyError::Failed)?;
        let (mut here, mut there) = (done, at + done);
        let wanted = usize::try_from(size - done).unwrap_or(COPY).min(COPY);
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut here), to.file(), Some(&mut there), wanted);
        match copied {
            Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(copied) => done += copied as u64,
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) if done == 0 => {
                return Err(CopyError::Cannot);
            }
            Err(cause) => return Err(failed(cause.into())),
        }
    }
    Ok(())
}
