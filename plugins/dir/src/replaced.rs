//! Warnings about images that the image being written replaces in the directory.
//!
//! There is no warning if the same image is written again: its config has the same digest.

use occystrap_plugin::log;
use occystrap_plugin::read_to_end;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::catalog::{Entry, Survey};
use crate::layout::{CATALOG, MANIFEST};
use crate::manifest::{self, LONGEST, ListedImage};

/// The number of images that get a warning each. The others are counted in one warning.
const MOST_NAMED: usize = 20;

/// Warns about every image that loses its name or its manifest file. `config` is the path of the new
/// image's config.
pub fn warn_of_replaced(directory: &Directory, entry: Entry, config: &str, survey: &Survey) {
    let Entry { repository, tag, file } = entry;
    let name = format!("{repository}:{tag}");
    let log_warning = |message: String| log::log(log::Level::Warn, &message);
    for other in &survey.displaced {
        log_warning(format!(
            "'{name}' takes the place of '{other}' in '{file}'; ?unique_names=true keeps both"
        ));
    }
    if survey.more_displaced > 0 {
        let more = survey.more_displaced;
        log_warning(format!("'{name}' takes the place of {more} more images in '{file}'"));
    }
    let overwritten = read_images(directory, file);
    let id = manifest::id(config);
    let named = match survey.current_file.as_deref() {
        Some(own) if own == file => find_by_name(&overwritten, &name).cloned(),
        Some(own) => find_by_name(&read_images(directory, own), &name).cloned(),
        None => None,
    };
    if let Some(old) = named.as_ref().filter(|old| old.id() != id) {
        log_warning(format!(
            "'{name}' was another image here: the config is sha256:{id}, it was sha256:{}",
            old.id()
        ));
    }
    let is_named = |image: &ListedImage| {
        // If the file lists only this image, the names from the catalog are all its names.
        Some(image) == named.as_ref()
            || (overwritten.len() == 1 && !survey.displaced.is_empty())
            || (!image.names.is_empty()
                && image.names.iter().all(|name| survey.displaced.contains(name)))
    };
    let lost: Vec<&ListedImage> =
        overwritten.iter().filter(|image| image.id() != id && !is_named(image)).collect();
    for image in lost.iter().take(MOST_NAMED) {
        log_warning(format!(
            "'{name}' takes the place of {} in '{file}', which no catalog lists; a directory of its own \
             keeps it",
            describe(image)
        ));
    }
    if let more @ 1.. = lost.len().saturating_sub(MOST_NAMED) {
        log_warning(format!("'{name}' takes the place of {more} more images in '{file}'"));
    }
    if survey.is_new && file != MANIFEST {
        warn_of_unlisted(directory, entry, id);
    }
}

/// Warns about the images of a `manifest.json` in a directory that had no catalog so far. Readers use the
/// catalog if there is one, so they do not find these images any more.
fn warn_of_unlisted(directory: &Directory, entry: Entry, id: &str) {
    let images = read_images(directory, MANIFEST);
    let others = images.iter().filter(|image| image.id() != id);
    let mut shown: Vec<String> = others.map(describe).collect();
    let more = shown.len().saturating_sub(MOST_NAMED);
    shown.truncate(MOST_NAMED);
    if shown.is_empty() {
        return;
    }
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    let Entry { repository, tag, .. } = entry;
    let message = format!(
        "'{MANIFEST}' here lists {}; from now on dir:// reads '{CATALOG}', which lists only \
         '{repository}:{tag}'; a directory of its own for that keeps all readable",
        shown.join(", ")
    );
    log::log(log::Level::Warn, &message);
}

/// Returns the image with this name. If the list has only one image, returns that one whatever its name.
fn find_by_name<'a>(images: &'a [ListedImage], name: &str) -> Option<&'a ListedImage> {
    match images {
        [only] => Some(only),
        _ => images.iter().find(|image| image.names.iter().any(|known| known == name)),
    }
}

fn describe(image: &ListedImage) -> String {
    let names: Vec<String> = image.names.iter().map(|name| format!("'{name}'")).collect();
    match names.is_empty() {
        true => format!("an image without a name (sha256:{})", image.id()),
        false => names.join(", "),
    }
}

/// Fails if the file system treats the manifest files of this image and of another one as the same file,
/// because their names differ only in upper and lower case.
pub fn refuse_case_conflict(
    directory: &Directory,
    entry: Entry,
    survey: &Survey,
) -> Result<(), Error> {
    let Some((image, other)) = &survey.case_conflict else { return Ok(()) };
    let there = |file: &str| directory.stat(file).map(|stat| stat.is_some());
    // The manifests of two images differ, since they contain the names of the images. Equal digests
    // therefore mean that both paths lead to one file.
    if there(entry.file)?
        && there(other)?
        && directory.digest(entry.file, 0, None)? == directory.digest(other, 0, None)?
    {
        let file = entry.file;
        return Err(Error::Unrepresentable(format!(
            "this file system does not distinguish '{file}' from '{other}', the manifest of '{image}'"
        )));
    }
    Ok(())
}

/// Returns the images that a manifest file lists; none if the file does not exist or is not a manifest, because
/// no image is lost then.
fn read_images(directory: &Directory, file: &str) -> Vec<ListedImage> {
    // The catalog is untrusted, and the host stops a plugin that uses a path outside the directory.
    let is_name = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\0']);
    let read = || read_to_end(directory, Some(file).filter(|_| is_name)?, LONGEST).ok()?;
    read().and_then(|bytes| manifest::parse(&bytes)).unwrap_or_default()
}
