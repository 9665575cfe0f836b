//! What stands at a destination before an image is written there.
//!
//! What it refuses: the root directory, whatever the user says; and, unless the user says `--force`,
//! a file that is no image archive, and a directory that holds other things than the output's
//! format. The formats are those of the built-in outputs. The host does not know the format of another
//! plugin: its file destination must be missing or empty, its directory may hold anything.

mod archive;
mod directory;

use std::path::Path;

pub use self::archive::ReplacedImages;
use super::target::{Endpoint, Target};
use crate::plugin::embedded::EMBEDDED;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Digest, ImageName};

/// What to type where a destination is refused.
pub const FORCE: &str = "--force";

/// Errors where an image must not be written to this destination.
pub fn check(target: &Target) -> Result<()> {
    match &target.endpoint {
        Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => {
            refuse_root(path)?;
            let form = form_of(target);
            match is_built_in(target) && !target.force {
                true => form.check(path),
                false => Ok(()),
            }
        }
        Endpoint::File(path) if !target.force => match is_built_in(target) {
            true => archive::check(path),
            false => check_unknown(path, &target.plugin.description().name),
        },
        Endpoint::File(_) | Endpoint::Repository(..) | Endpoint::Engine(..) | Endpoint::Web(..) => {
            Ok(())
        }
    }
}

/// Errors where an image would be added to a list of images that readers reject.
pub fn check_list(target: &Target) -> Result<()> {
    match &target.endpoint {
        Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) if is_built_in(target) => {
            form_of(target).check_entries(path)
        }
        _ => Ok(()),
    }
}

fn form_of(target: &Target) -> directory::DirectoryForm {
    match &target.endpoint {
        Endpoint::Directory(_) => directory::DirectoryForm::Images,
        _ => directory::DirectoryForm::Layout,
    }
}

/// Returns the images that an archive loses when another one takes its place; `None` where there are none, or
/// where the host does not know the format.
#[must_use]
pub fn replaced(target: &Target, id: Digest) -> Option<ReplacedImages> {
    match &target.endpoint {
        Endpoint::File(path) if is_built_in(target) => archive::replaced(path, id),
        _ => None,
    }
}

/// Returns whether the destination is a file whose format only its plugin knows. The user decides each time whether
/// that file may be replaced.
#[must_use]
pub fn is_unknown_file(target: &Target) -> bool {
    matches!(target.endpoint, Endpoint::File(_)) && !is_built_in(target)
}

/// Returns the warning for an archive whose images are replaced.
#[must_use]
pub fn warning(target: &Target, name: &ImageName, id: Digest, replaced: &ReplacedImages) -> String {
    let place = match &target.endpoint {
        Endpoint::File(path) => path.display().to_string(),
        _ => target.display.clone(),
    };
    format!("'{name}' ({}) takes the place of {replaced} in '{place}'", id.short())
}

fn is_built_in(target: &Target) -> bool {
    let name = &target.plugin.description().name;
    EMBEDDED.iter().any(|embedded| embedded.name == name)
}

fn refuse_root(path: &Path) -> Result<()> {
    match path.canonicalize() {
        Ok(real) if real == Path::new("/") => {
            let message = format!("'{}' is the root directory", path.display());
            Err(Error::usage(message).hint("name a directory below it"))
        }
        _ => Ok(()),
    }
}

/// Errors where a file is there that has content.
fn check_unknown(path: &Path, plugin: &str) -> Result<()> {
    match path.metadata() {
        Ok(there) if there.is_file() && there.len() > 0 => {
            let message = format!(
                "'{}' is there, and what plugin '{plugin}' would replace is not known",
                path.display()
            );
            Err(Error::destination(message)
                .hint(format!("name another file, or add {FORCE} to replace it")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_plugin_is_replaced_only_when_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.bin");
        check_unknown(&path, "mine").unwrap();
        std::fs::write(&path, "").unwrap();
        check_unknown(&path, "mine").unwrap();
        std::fs::write(&path, "content").unwrap();
        let error = check_unknown(&path, "mine").unwrap_err();
        assert!(error.to_string().contains("what plugin 'mine' would replace is not known"));
        assert_eq!(error.hint_text(), Some("name another file, or add --force to replace it"));
    }
}
