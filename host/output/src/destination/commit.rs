//! The commit: finished files become visible together, or not at all.
//!
//! | destination | commit point | before it, after a kill |
//! | --- | --- | --- |
//! | an existing directory | the last file gets its name | the next run undoes, by the record |
//! | a missing directory | the directory gets its name | the next run removes what was built beside it |
//! | one file | the file gets its name | the next run removes a temporary name |
//!
//! The order of the files is the plugin's: what makes an image visible comes last.

pub mod content;
pub mod expected;
pub mod folders;
pub mod new_directory;
pub mod publish;
pub mod record;
pub mod recover;
pub mod undo;

use std::path::PathBuf;
use std::sync::Arc;

use cap_std::fs::Dir;

use self::expected::Terms;
use self::new_directory::NewDirectory;
use self::publish::Publication;
use crate::receipt::Published;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::replace;
use occystrap_base::files::unnamed_file::UnnamedFile;

/// Publishes files into a directory that exists. The caller holds its lock.
pub fn into_existing(
    destination: &Destination,
    root: Arc<Dir>,
    files: Vec<(String, UnnamedFile)>,
    terms: &Terms,
    durable: bool,
) -> Result<()> {
    let mut publication = Publication::plan(destination, root, files, durable)?;
    let published = publication.prepare(terms).and_then(|()| publication.publish_last());
    if let Err(error) = published {
        return Err(publication.take_back(error, false));
    }
    terms.reached(publication.published());
    let flushed = if durable { publication.flush() } else { Ok(()) };
    publication.finish();
    flushed
}

/// Builds a directory that is missing below `folder`. The caller holds the lock of the folder.
pub fn into_new(
    destination: &Destination,
    folder: Arc<Dir>,
    missing: PathBuf,
    files: Vec<(String, UnnamedFile)>,
    terms: &Terms,
    durable: bool,
) -> Result<()> {
    let place = destination.folder().display();
    let failed = |cause| Error::io(Kind::Destination, "create the directory", &place, &cause);
    let new = NewDirectory::create(folder, missing).map_err(failed)?;
    let mut publication =
        match Publication::plan(destination, Arc::clone(new.root()), files, durable) {
            Ok(publication) => publication,
            Err(error) => return Err(removed(new, destination, error)),
        };
    let built = publication
        .prepare(terms)
        .and_then(|()| publication.publish_last())
        .and_then(|()| if durable { publication.flush() } else { Ok(()) })
        .and_then(|()| new.appear(durable).map_err(failed));
    if let Err(error) = built {
        let error = publication.take_back(error, true);
        return Err(removed(new, destination, error));
    }
    terms.reached(publication.published());
    // The record goes when the name is on the disk: without it, no run could remove the directory.
    let flushed = if durable { new.flush().map_err(failed) } else { Ok(()) };
    publication.finish();
    flushed
}

/// Removes a directory that did not get its name, and adds what went wrong in that.
fn removed(new: NewDirectory, destination: &Destination, error: Error) -> Error {
    match new.remove() {
        Ok(()) => error,
        Err(_) if error.hint_text().is_some_and(|hint| hint.starts_with("the next run")) => error,
        Err(cause) => {
            let place = destination.folder().display();
            let undo = Error::io(Kind::Destination, "remove what was built for", place, &cause);
            Error::new(error.kind(), format!("{error}; and {undo}"))
                .hint("the next run that creates a directory there removes it")
        }
    }
}

/// Publishes a destination that is one file. What the plugin finished last is the file.
pub fn one_file(
    destination: &Destination,
    name: &str,
    file: UnnamedFile,
    terms: &Terms,
    durable: bool,
) -> Result<()> {
    let failed = |cause: std::io::Error| destination.failure("write", name, &cause);
    if durable {
        file.file().sync_all().map_err(failed)?;
    }
    let folder = destination.dir().map_err(failed)?;
    let published = file.shared();
    replace::publish(file, &folder, name).map_err(failed)?;
    terms.reached(vec![Published { path: name.to_owned(), file: published }]);
    if durable {
        folders::flush(&folder).map_err(|cause| {
            let place = destination.folder().display();
            let error = Error::io(Kind::Destination, "flush", place, &cause);
            Error::new(
                error.kind(),
                format!("{error}; the image is there, a power failure may take it"),
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
