//! Files that another process has replaced since this run has written them.
//!
//! Two runs may write under one name at the same time. The one that commits first then finds the files of
//! the other one: nothing is damaged, and what is there is not what this run has to vouch for. The commit
//! says which file it has given which name, and keeps it open until then, so that its inode is no other
//! file's. A file that was changed in place, or that is missing, is not excused.

use std::os::fd::AsFd as _;

use super::steady;
use crate::verdict::object::CheckedObject;
use occystrap_base::files::destination::Destination;
use occystrap_base::files::identity::{FileIdentity, entry_info};
use occystrap_output::receipt::Receipt;
use occystrap_output::write::target::Endpoint;
use occystrap_output::write::target::Target;

/// What is said of such a file.
const REPLACED: &str = "another process has replaced it since this run wrote it";

/// Makes what is wrong with a file that another process has replaced something that could not be looked at.
/// A receipt that was read from a file does not say which files the commit made.
pub fn judge(receipt: &Receipt, target: &Target, objects: &mut [CheckedObject]) {
    if receipt.published.is_empty() || objects.iter().all(|object| !object.status.is_bad()) {
        return;
    }
    let (destination, is_file) = match &target.endpoint {
        Endpoint::File(path) => (Destination::file(path), true),
        Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => {
            (Destination::directory(path), false)
        }
        Endpoint::Repository(..) | Endpoint::Engine(..) | Endpoint::Web(..) => return,
    };
    let Ok(destination) = destination else { return };
    let Ok(folder) = destination.dir() else { return };
    for published in &receipt.published {
        let (above, name) = published.path.rsplit_once('/').unwrap_or((".", &published.path));
        let there = folder.open_dir(above).and_then(|folder| entry_info(folder.as_fd(), name));
        let Ok(Some(there)) = there else { continue };
        let Ok(written) = FileIdentity::of(&published.file) else { continue };
        if there.identity.is_same_inode(written) {
            continue;
        }
        let location = destination.display(&published.path);
        let is_it = |object: &&mut CheckedObject| is_file || object.location == location;
        for object in objects.iter_mut().filter(|object| object.status.is_bad()).filter(is_it) {
            let look = format!("look at what is there now: occystrap verify '{}'", target.display);
            steady::doubt(object, REPLACED, &look);
        }
    }
}
