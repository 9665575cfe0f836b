//! Reading the headers of a tar, block by block, from a file or a stream.
//!
//! The headers are parsed with the `tar` crate; the walk is our own, because the crate's reader
//! holds long names in memory whatever their size and follows sizes that lead out of the file.

use tar::{EntryType, Header, PaxExtensions};

use crate::error::{Error, Result};

/// The unit of a tar, in bytes.
pub const BLOCK: u64 = 512;

/// A long name or PAX header of an image archive has some hundred bytes.
const LONGEST_EXTENSION: u64 = 64 * 1024;

/// What is known between blocks: long names and PAX records are about the member that follows.
pub struct Headers {
    place: String,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Pax,
}

/// What a header block says.
pub enum Step {
    /// The archive ends here.
    End,
    /// Content of so many bytes is to be given to [`Headers::extend`].
    Extension(Extension, u64),
    /// Content of so many bytes is of no interest.
    Skip(u64),
    /// A member, whose content follows.
    Member(Entry),
}

/// What is told about the next member.
#[derive(Clone, Copy)]
pub enum Extension {
    /// GNU's long name.
    Name,
    /// GNU's long link.
    Link,
    /// PAX records (POSIX.1-2001).
    Pax,
}

/// A member. Nothing in it was checked but that the size is a number.
pub struct Entry {
    /// Regular file, link, directory, ...
    pub kind: EntryType,
    /// Its name.
    pub name: Vec<u8>,
    /// Where it points, for links.
    pub link: Option<Vec<u8>>,
    /// Size of its content in bytes.
    pub size: u64,
}

impl Headers {
    /// `place` is the archive, for errors.
    #[must_use]
    pub fn new(place: String) -> Self {
        Self { place, long_name: None, long_link: None, pax: Pax::default() }
    }

    /// How errors call the archive.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Read a header block, which stands at offset `at`. Errors when it is damaged, or announces an
    /// extension that is too long.
    pub fn read(&mut self, block: &[u8; BLOCK as usize], at: u64) -> Result<Step> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Step::End);
        }
        let header = Header::from_byte_slice(block);
        self.check(header, at)?;
        let kind = header.entry_type();
        let size = self
            .pax
            .size
            .take()
            .map_or_else(|| header.entry_size(), Ok)
            .map_err(|_| self.damaged(at, "its size is not a number"))?;
        let extension = match kind {
            EntryType::GNULongName => Extension::Name,
            EntryType::GNULongLink => Extension::Link,
            EntryType::XHeader => Extension::Pax,
            EntryType::XGlobalHeader => return Ok(Step::Skip(size)),
            _ => return Ok(Step::Member(self.member(header, size))),
        };
        if size > LONGEST_EXTENSION {
            let what = format!("{}: size of a long name at offset {at}", self.place);
            return Err(Error::mismatch(what, format!("at most {LONGEST_EXTENSION} bytes"), size));
        }
        Ok(Step::Extension(extension, size))
    }

    /// The content of an extension.
    pub fn extend(&mut self, extension: Extension, bytes: Vec<u8>) {
        match extension {
            Extension::Name => self.long_name = Some(trim(bytes)),
            Extension::Link => self.long_link = Some(trim(bytes)),
            Extension::Pax => self.pax = Pax::parse(&bytes),
        }
    }

    fn member(&mut self, header: &Header, size: u64) -> Entry {
        let kind = header.entry_type();
        let pax = std::mem::take(&mut self.pax);
        let (long_name, long_link) = (self.long_name.take(), self.long_link.take());
        Entry {
            kind,
            name: pax.path.or(long_name).unwrap_or_else(|| header.path_bytes().into_owned()),
            link: pax.link.or(long_link).or_else(|| header.link_name_bytes().map(Into::into)),
            // Links carry no content, whatever their size field says.
            size: if kind.is_symlink() || kind.is_hard_link() { 0 } else { size },
        }
    }

    fn check(&self, header: &Header, at: u64) -> Result<()> {
        let block = header.as_bytes();
        let sum =
            block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>()
                + 8 * u32::from(b' ');
        match header.cksum() {
            Ok(stored) if stored == sum => Ok(()),
            _ if at == 0 => Err(Error::source(format!("{}: is not a tar archive", self.place))),
            _ => Err(self.damaged(at, "its checksum is wrong")),
        }
    }

    fn damaged(&self, at: u64, why: &str) -> Error {
        Error::source(format!("{}: the header at offset {at} is damaged: {why}", self.place))
    }

    /// The error for an archive that ends in the middle of a header.
    #[must_use]
    pub fn cut(&self, at: u64) -> Error {
        Error::source(format!("{}: ends in the middle of a header, at {at} bytes", self.place))
            .hint("the archive is truncated; fetch or save it again")
    }
}

#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Pax {
    fn parse(bytes: &[u8]) -> Self {
        let mut pax = Self::default();
        for record in PaxExtensions::new(bytes).flatten() {
            let value = record.value_bytes().to_vec();
            match record.key_bytes() {
                b"path" => pax.path = Some(value),
                b"linkpath" => pax.link = Some(value),
                b"size" => pax.size = record.value().ok().and_then(|text| text.parse().ok()),
                _ => {}
            }
        }
        pax
    }
}

/// GNU long names end with a NUL.
fn trim(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}
