//! Damage to a destination after a write: one object is damaged, verified and repaired.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_output::receipt::{Place, Receipt};
use occystrap_output::write::target::Endpoint as Destination;
use occystrap_output::write::target::Target;

/// Kind of damage to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The object is removed.
    Missing,
    /// Its last byte is removed.
    Cut,
    /// A byte is added.
    Grown,
    /// A folder replaces it.
    Folder,
    /// A byte in its middle is changed.
    Changed,
    /// A JSON file that several images share becomes an empty list.
    Emptied,
}

impl Damage {
    /// Returns the description, which precedes the name of the object.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Cut => "cut",
            Self::Grown => "grown",
            Self::Folder => "a folder",
            Self::Changed => "changed",
            Self::Emptied => "without entries",
        }
    }
}

/// Object that a receipt names.
pub struct Thing {
    path: PathBuf,
    /// Name of the file in findings.
    file: String,
    /// Name of the object in findings.
    subject: String,
    /// Offset in its file and length: the bytes that a digest covers.
    covered: Option<(u64, u64)>,
    /// Whether it is its whole file.
    whole: bool,
    /// Whether it is the whole destination: a plugin is not asked about a folder in its place.
    named: bool,
    entry: bool,
}

/// Returns everything that a receipt names in files, each file and part once. `folder` holds the files of the
/// destination.
pub fn things(receipt: &Receipt, target: &Target, folder: &Path) -> Result<Vec<Thing>> {
    let mut things = BTreeMap::new();
    for expectation in &receipt.expectations {
        let Some(file) = expectation.place.path() else { continue };
        let digest = expectation.digest.is_some();
        let size = expectation.size.unwrap_or_default();
        let subject = expectation.place.subject();
        let (offset, whole, entry) = match &expectation.place {
            Place::Part { offset, .. } => (*offset, false, false),
            Place::Entry { .. } => (0, false, true),
            _ => (0, true, false),
        };
        let thing = Thing {
            path: folder.join(file),
            file: file.to_owned(),
            covered: (digest && size > 0).then_some((offset, size)),
            whole,
            named: matches!(target.endpoint, Destination::File(_)),
            entry,
            subject: subject.clone(),
        };
        things.insert((subject, entry), thing);
    }
    if things.is_empty() {
        return Err(Error::new(Kind::Plugin, "its receipt names nothing that could be looked at"));
    }
    Ok(things.into_values().collect())
}

impl Thing {
    /// Returns its name in findings.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns whether a finding is about it: about the object, its file, or a part of its file.
    pub fn is_meant(&self, subject: &str) -> bool {
        subject == self.subject
            || subject == self.file
            || subject.strip_prefix(&self.file).is_some_and(|rest| rest.starts_with(':'))
    }

    /// Returns whether this damage can be done to it, and the plugin can see it.
    pub fn can_have(&self, damage: Damage) -> bool {
        match damage {
            Damage::Missing => self.whole || self.entry,
            Damage::Folder => (self.whole || self.entry) && !self.named,
            Damage::Cut => self.whole && self.path.metadata().is_ok_and(|known| known.len() > 0),
            Damage::Grown => self.whole,
            Damage::Changed => self.covered.is_some(),
            Damage::Emptied => self.entry,
        }
    }

    /// Damages it. The returned guard repairs it when it is dropped.
    pub fn damage(&self, damage: Damage) -> Result<Mend> {
        let broken =
            |cause: io::Error| Error::io(Kind::Destination, "damage", self.path.display(), &cause);
        let before = match std::fs::read(&self.path) {
            Ok(bytes) => Some(bytes),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(broken(cause)),
        };
        let mend = Mend { path: self.path.clone(), before: before.clone() };
        let Some(mut bytes) = before else { return Ok(mend) };
        let done = match damage {
            Damage::Missing => std::fs::remove_file(&self.path),
            Damage::Folder => {
                std::fs::remove_file(&self.path).and_then(|()| std::fs::create_dir(&self.path))
            }
            Damage::Cut => {
                bytes.pop();
                std::fs::write(&self.path, bytes)
            }
            Damage::Grown => {
                bytes.push(b'\n');
                std::fs::write(&self.path, bytes)
            }
            Damage::Changed => {
                let (offset, size) = self.covered.unwrap_or_default();
                if let Some(byte) =
                    usize::try_from(offset + size / 2).ok().and_then(|middle| bytes.get_mut(middle))
                {
                    *byte ^= 1;
                }
                std::fs::write(&self.path, bytes)
            }
            Damage::Emptied => {
                let list =
                    serde_json::from_slice::<Value>(&bytes).is_ok_and(|json| json.is_array());
                std::fs::write(&self.path, if list { "[]" } else { "{}" })
            }
        };
        done.map_err(broken).map(|()| mend)
    }
}

/// Guard that restores what was damaged.
pub struct Mend {
    path: PathBuf,
    before: Option<Vec<u8>>,
}

impl Drop for Mend {
    fn drop(&mut self) {
        let Some(bytes) = &self.before else { return };
        if self.path.is_dir() {
            let _ = std::fs::remove_dir(&self.path);
        }
        // The folder belongs to the test: if the repair fails, the next verification fails.
        let _ = std::fs::write(&self.path, bytes);
    }
}
