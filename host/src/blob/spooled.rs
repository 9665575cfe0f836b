//! A file that the host itself wrote while it hashed it, and that never had a name: nobody else can
//! have changed it since, so that what the hash says of it still holds.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Moved;
use crate::image::Section;
use crate::unnamed::Unnamed;

/// Such a file, and what is in it.
pub struct Spooled {
    moved: Moved,
    /// Until somebody takes it to give it a name.
    file: Mutex<Option<Unnamed>>,
}

impl Spooled {
    /// All of a file, as a section that knows its digest. Errors when no second handle can be had.
    pub fn section(file: Unnamed, moved: Moved) -> io::Result<Section> {
        let handle: File = file.file().try_clone()?;
        let own = Self { moved, file: Mutex::new(Some(file)) };
        Ok(Section {
            file: Arc::new(handle),
            offset: 0,
            size: moved.size,
            own: Some(Arc::new(own)),
        })
    }

    /// Size and digest of the file.
    #[must_use]
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// The file, for whoever comes first: two names of one file would change together.
    #[must_use]
    pub fn take(&self) -> Option<Unnamed> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spooled({})", self.moved.digest)
    }
}
