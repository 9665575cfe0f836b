//! Files that another process has replaced since this run has written them.
//!
//! Two runs may write under one name at the same time. The run that commits first then finds the files of the other run:
//! nothing is damaged, and this run is not responsible for them. The commit records which file it gave which name, and
//! keeps the file open, so that no other file can have its inode. A file that was changed in place, or that is missing, is
//! not excused.

use super::steady;
use crate::verdict::flaw::{Hint, Reason};
use crate::verdict::object::CheckedObject;
use occystrap_base::files::identity::FileIdentity;
use occystrap_output::destination::read_access::FolderReader;
use occystrap_output::receipt::Receipt;
use occystrap_output::write::target::Endpoint;
use occystrap_output::write::target::Target;

/// Marks objects as unchecked whose files another process has replaced. A receipt that was read from a file does not say
/// which files the commit made, so that it excuses nothing.
pub fn excuse_replaced(receipt: &Receipt, target: &Target, objects: &mut [CheckedObject]) {
    if receipt.published.is_empty() || objects.iter().all(|object| !object.status.is_bad()) {
        return;
    }
    let (destination, is_file) = match &target.endpoint {
        Endpoint::File(path) => (FolderReader::file(path), true),
        Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => {
            (FolderReader::directory(path), false)
        }
        Endpoint::Repository(..) | Endpoint::Engine(..) | Endpoint::Web(..) => return,
    };
    let Ok(destination) = destination else { return };
    for published in &receipt.published {
        let Some(there) = destination.identity(&published.path) else { continue };
        let Ok(written) = FileIdentity::of(&published.file) else { continue };
        if there.is_same_inode(written) {
            continue;
        }
        let location = destination.display(&published.path);
        let is_it = |object: &&mut CheckedObject| is_file || object.location == location;
        for object in objects.iter_mut().filter(|object| object.status.is_bad()).filter(is_it) {
            let hint = Hint::VerifyNow { destination: target.display.clone() };
            steady::excuse(object, Reason::Replaced, hint);
        }
    }
}
