//! Warnings about images that lose their place in the directory to the one that is being written.
//!
//! The same image written again replaces nothing: its config has the same digest.

use occystrap_plugin::log;
use occystrap_plugin::read_to_end;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::catalog::{Entry, Survey};
use crate::layout::{CATALOG, MANIFEST};
use crate::manifest::{self, LONGEST, ListedImage};

/// Images that warnings name one by one.
const MOST_NAMED: usize = 20;

/// Warns about every image that loses its name or its manifest file. `config` is the new image's file.
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
        // The catalog's names of the only image of a file are all its names.
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

/// Warns about images of a `manifest.json` without a catalog: where there is a catalog, readers follow that.
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

/// Returns the image of a name. The only image of a list needs none.
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

/// Errors where the file system takes this image's manifest file and another one's for one file.
pub fn refuse_case_conflict(
    directory: &Directory,
    entry: Entry,
    survey: &Survey,
) -> Result<(), Error> {
    let Some((image, other)) = &survey.case_conflict else { return Ok(()) };
    let there = |file: &str| directory.stat(file).map(|stat| stat.is_some());
    // The manifests of two images differ in their names.
    if there(entry.file)?
        && there(other)?
        && directory.digest(entry.file, 0, None)? == directory.digest(other, 0, None)?
    {
        let file = entry.file;
        return Err(Error::Unrepresentable(format!(
            "this file system takes '{file}' for '{other}', the manifest of '{image}'"
        )));
    }
    Ok(())
}

/// Returns the images that a manifest file lists. A file that is not there, or that is no manifest, has no
/// image that could be lost.
fn read_images(directory: &Directory, file: &str) -> Vec<ListedImage> {
    // The catalog may say anything; the host stops a plugin that names a path outside.
    let is_name = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\0']);
    let read = || read_to_end(directory, Some(file).filter(|_| is_name)?, LONGEST).ok()?;
    read().and_then(|bytes| manifest::parse(&bytes)).unwrap_or_default()
}
