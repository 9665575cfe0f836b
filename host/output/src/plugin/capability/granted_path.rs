//! What confines a plugin that reads or writes files: the check of each path that it names.
//!
//! The form of the path is checked before any system call (`files/destination.rs` of the base crate). The system then
//! resolves it beneath the granted directory, so that no symbolic link leads out of it.

use crate::destination::read_access::FolderReader;
use crate::plugin::state::GuestState;
use occystrap_base::files::destination::{BadPath, check_path};

impl GuestState {
    /// Returns the destination, for a path that a plugin may name. A path that cannot be inside it ends the
    /// session: a correct plugin never names one.
    pub(super) fn granted(&self, path: &str) -> wasmtime::Result<FolderReader> {
        let Some(destination) = self.destination() else {
            return Err(self.violation("it named a path although no directory was granted"));
        };
        match check_path(path, destination.file_name()) {
            Ok(()) => Ok(destination.clone()),
            Err(BadPath::Malformed) => Err(self.violation("it named a path of impossible form")),
            Err(BadPath::Escapes) => {
                Err(self.violation(format!("it named '{path}', which leaves the destination")))
            }
            Err(BadPath::NotGranted) => {
                Err(self.violation(format!("it named '{path}', which was not granted")))
            }
        }
    }
}
