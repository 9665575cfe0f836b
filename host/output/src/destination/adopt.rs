//! Bringing a layer into a file: by taking the file that has it, by a copy that the kernel makes, or by reading it.
//!
//! A file that the host itself wrote and hashed is not read again: it becomes part of the destination as it is, or
//! the kernel copies it. What it refuses: such files that are not all of the layer in the form asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use cap_std::fs::{Dir, MetadataExt as _};
use rustix::io::Errno;

use super::planned_layer::{LayerFile, PlannedLayer, RequestedForm};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::Section;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::files::{Hashed, Spooled};
use occystrap_base::oci::Compression;
use occystrap_layer::blob::{Stored, as_stored, encoded, uncompressed, write_error};
use occystrap_layer::image::Content;
use occystrap_net::context::Context;

/// Bytes that the kernel copies between two checks for an interruption: this takes some tenths of a second on a slow
/// disk.
const COPY: usize = 64 * 1024 * 1024;

/// Returns the file of a layer if the host wrote it, and it holds the whole layer in the requested form: uncompressed,
/// with the digest that the config promises.
fn own(planned: &PlannedLayer) -> Option<(&Section, &Spooled)> {
    let Content::File(section) = &planned.layer.content else { return None };
    let own = section.own.as_deref()?;
    let layer = &planned.layer;
    let plain = layer.media_type == Compression::None.layer_media_type();
    let promised = layer.digest.unwrap_or(layer.diff_id) == layer.diff_id;
    let kept = own.moved() == Hashed { size: section.size, digest: layer.diff_id };
    let form = !matches!(planned.form, RequestedForm::Compressed(_));
    (plain && form && promised && kept && section.offset == 0).then_some((section, own))
}

/// Returns the file that `own` finds, to be named in `directory`. `None` if `directory` is in another file system, or
/// if another image of this run has taken the file.
pub(super) fn adopt_own(planned: &PlannedLayer, directory: &Dir) -> Option<LayerFile> {
    let (section, own) = own(planned)?;
    let there = directory.dir_metadata().ok()?.dev();
    if section.file.metadata().ok()?.dev() != there {
        return None;
    }
    let file = own.take()?;
    planned.progress.add(section.size);
    Some((file, own.moved()))
}

/// Lets the kernel copy the file that `own` finds into another file. `None` if there is no such file, or if the kernel
/// cannot copy between these two file systems.
pub(super) fn copy_own(
    planned: &PlannedLayer,
    to: &UnnamedFile,
    at: u64,
    cancel: &Cancel,
) -> Result<Option<Hashed>> {
    let Some((section, own)) = own(planned) else { return Ok(None) };
    let moved = own.moved();
    match copy(&section.file, to, at, moved.size, cancel) {
        Ok(()) => {
            planned.progress.add(moved.size);
            Ok(Some(moved))
        }
        Err(CopyError::Cannot) => Ok(None),
        Err(CopyError::Failed(error)) => Err(error),
    }
}

/// Moves a layer to an offset in a file, in the form asked for.
pub(super) fn move_layer(
    planned: &PlannedLayer,
    stored: Stored,
    file: &UnnamedFile,
    at: u64,
    context: &Context,
) -> Result<Hashed> {
    let PlannedLayer { layer, form, progress, .. } = planned;
    if let Some(moved) = copy_own(planned, file, at, &context.cancel)? {
        return Ok(moved);
    }
    let stored = stored.showing(progress);
    match form {
        RequestedForm::Uncompressed => uncompressed(layer, stored, file.file(), at),
        RequestedForm::Stored => as_stored(layer, stored, file.file(), at, &context.cancel),
        RequestedForm::Compressed(how) => {
            encoded(layer, stored, file.file(), at, *how, context.cores())
        }
    }
}

/// Why the kernel did not copy.
pub(super) enum CopyError {
    /// The kernel cannot copy between these two file systems; nothing was written.
    Cannot,
    /// The copy has begun, and failed.
    Failed(Error),
}

/// Lets the kernel copy a file's first `size` bytes to `at` in another.
pub(super) fn copy(
    from: &File,
    to: &UnnamedFile,
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
