//! Appending members to the archive.

use occystrap_plugin::FileWriter;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::{Blob, Expectation, Part, Place, Role};

use occystrap_docker_save::header::{self, BLOCK};

/// The archive being written.
pub struct Archive {
    file: FileWriter,
    path: String,
}

/// A member that was written.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    offset: u64,
    size: u64,
    digest: Option<String>,
    path: String,
}

impl Member {
    /// What must be found of this member.
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

    /// A member with the content of a blob. Its size is known when it has passed, so its header is
    /// filled in afterwards.
    pub fn append(&mut self, name: &str, digest: &str, blob: &Blob) -> Result<Member, ErrorCode> {
        let at = self.file.reserve(BLOCK as u32)?;
        let offset = self.file.position();
        let size = self.file.splice(blob)?;
        self.file.fill(at, &header::render(name, size))?;
        self.file.pad_to(BLOCK)?;
        Ok(self.member(name, offset, size, Some(digest)))
    }

    /// A member with bytes of our own.
    pub fn append_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<Member, ErrorCode> {
        let size = bytes.len() as u64;
        // A gap for the header, so that the content is a piece of its own in the host's journal.
        let at = self.file.reserve(BLOCK as u32)?;
        self.file.fill(at, &header::render(name, size))?;
        let offset = self.file.position();
        self.file.write(bytes)?;
        self.file.pad_to(BLOCK)?;
        Ok(self.member(name, offset, size, None))
    }

    /// The end-of-archive mark: two zero blocks. Returns the size of the whole.
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
