//! The docker-save archive that is being written.

use occystrap_plugin::FileWriter;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::{Blob, Expectation, Part, Place, Role};

use occystrap_docker_save::header::{self, BLOCK};

/// The archive that is being written.
pub struct Archive {
    file: FileWriter,
    path: String,
}

/// A member of the archive that was written.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    offset: u64,
    size: u64,
    digest: Option<String>,
    path: String,
}

impl Member {
    /// Returns the expectation for this member.
    pub fn expect(&self, role: Role) -> Expectation {
        let part = Part { path: self.path.clone(), member: self.name.clone(), offset: self.offset };
        Expectation {
            role,
            place: Place::Part(part),
            size: Some(self.size),
            digest: self.digest.clone(),
        }
    }
}

impl Archive {
    pub fn create(directory: &Directory, path: &str) -> Result<Self, ErrorCode> {
        Ok(Self { file: FileWriter::create(directory, path)?, path: path.to_owned() })
    }

    /// Appends a member with the content of a blob. The size is known only after the content was written, so the
    /// header is filled in afterwards.
    pub fn append(&mut self, name: &str, digest: &str, blob: &Blob) -> Result<Member, ErrorCode> {
        let at = self.file.reserve(BLOCK as u32)?;
        let offset = self.file.position();
        let size = self.file.splice(blob)?;
        self.file.fill(at, &header::render(name, size))?;
        self.file.pad_to(BLOCK)?;
        Ok(self.member(name, offset, size, Some(digest)))
    }

    /// Appends a member with bytes of the plugin's own.
    pub fn append_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<Member, ErrorCode> {
        let size = bytes.len() as u64;
        // The header is written into a gap, so that the content is a separate piece in the host's journal.
        let at = self.file.reserve(BLOCK as u32)?;
        self.file.fill(at, &header::render(name, size))?;
        let offset = self.file.position();
        self.file.write(bytes)?;
        self.file.pad_to(BLOCK)?;
        Ok(self.member(name, offset, size, None))
    }

    /// Writes the end of the archive, two blocks of zeros, and returns the size of the archive.
    pub fn finish(mut self) -> Result<u64, ErrorCode> {
        self.file.write(&[0; 2 * BLOCK as usize])?;
        Ok(self.file.finish()?.size)
    }

    fn member(&self, name: &str, offset: u64, size: u64, digest: Option<&str>) -> Member {
        Member {
            name: name.to_owned(),
            offset,
            size,
            digest: digest.map(str::to_owned),
            path: self.path.clone(),
        }
    }
}
