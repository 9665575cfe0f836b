//! Reading the headers of a tar, block by block, from a file or a stream.
//!
//! The `tar` crate parses each header. The loop over the headers is our own, because the crate's reader holds long
//! names in memory whatever their size, and follows sizes that lead out of the file.

use tar::{EntryType, Header};

use occystrap_base::error::{Error, Result};
use occystrap_layer::tar::header::field;
use occystrap_layer::tar::number;
use occystrap_layer::tar::pax::parse_each;

/// The unit of a tar, in bytes.
pub const BLOCK: u64 = 512;

/// Largest long name or PAX header, in bytes. Those of image archives have some hundred bytes.
const LONGEST_EXTENSION: u64 = 64 * 1024;

/// Largest global PAX header, in bytes: a comment may be long. Go's parser, and so every engine, accepts no more.
const LONGEST_GLOBAL: u64 = 1024 * 1024;

/// State between blocks: long names and PAX records belong to the member that follows.
pub struct Headers {
    place: String,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
    /// Whether the member that follows has two extensions of one kind.
    twice: bool,
    /// PAX records for all members that follow. Docker, Podman and skopeo (Go's parser) do not apply them; GNU tar and
    /// Python do.
    global: Pax,
}

/// The meaning of a header block.
pub enum HeaderStep {
    /// The archive ends here.
    End,
    /// An extension with so many bytes of content, which must be passed to [`Headers::extend`].
    Extension(Extension, u64),
    /// A member, whose content follows.
    Member(TarEntry),
}

/// A kind of extension, which belongs to the next member.
#[derive(Clone, Copy)]
pub enum Extension {
    /// GNU long name.
    Name,
    /// GNU long link target.
    Link,
    /// PAX records (POSIX.1-2001).
    Pax,
    /// PAX records for all members that follow.
    Global,
}

/// A member. Only its size was checked to be a number.
pub struct TarEntry {
    /// Regular file, link, directory, ...
    pub kind: EntryType,
    /// Its name.
    pub name: Vec<u8>,
    /// Target of a link.
    pub link: Option<Vec<u8>>,
    /// Size of its content in bytes.
    pub size: u64,
    /// Reason why readers may find another name or other content.
    pub oddity: Option<&'static str>,
}

impl Headers {
    /// Returns the state before the first block. `place` names the archive in errors.
    #[must_use]
    pub fn new(place: String) -> Self {
        Self {
            place,
            long_name: None,
            long_link: None,
            pax: None,
            twice: false,
            global: Pax::default(),
        }
    }

    /// Returns the name of the archive for errors.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Reads the header block at offset `at`. Errors when it is damaged, or announces an extension that is too long.
    pub fn read(&mut self, block: &[u8; BLOCK as usize], at: u64) -> Result<HeaderStep> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(HeaderStep::End);
        }
        let header = Header::from_byte_slice(block);
        self.check(header, at)?;
        let kind = header.entry_type();
        // Where the crate and Go read different sizes, engines find other members.
        let as_go_reads = number::parse(&block[field::SIZE]).and_then(|size| size.try_into().ok());
        let size = as_go_reads
            .filter(|size| header.entry_size().is_ok_and(|read| read == *size))
            .ok_or_else(|| self.damaged(at, "its size is not a number"))?;
        let extension = match kind {
            EntryType::GNULongName => Extension::Name,
            EntryType::GNULongLink => Extension::Link,
            EntryType::XHeader => Extension::Pax,
            EntryType::XGlobalHeader => Extension::Global,
            _ => return Ok(HeaderStep::Member(self.member(header, size))),
        };
        let longest = match extension {
            Extension::Global => LONGEST_GLOBAL,
            Extension::Name | Extension::Link | Extension::Pax => LONGEST_EXTENSION,
        };
        if size > longest {
            let what = format!("{}: size of a long name at offset {at}", self.place);
            return Err(Error::mismatch(what, format!("at most {longest} bytes"), size));
        }
        Ok(HeaderStep::Extension(extension, size))
    }

    /// Adds the content of an extension whose header is at offset `at`. Errors when PAX records are damaged.
    pub fn extend(&mut self, extension: Extension, bytes: Vec<u8>, at: u64) -> Result<()> {
        let pax = |bytes: &[u8]| {
            let why = "its PAX records cannot be read";
            Pax::parse(bytes).ok_or_else(|| self.damaged(at, why))
        };
        let before = match extension {
            Extension::Name => self.long_name.replace(text(bytes)).is_some(),
            Extension::Link => self.long_link.replace(text(bytes)).is_some(),
            Extension::Pax => self.pax.replace(pax(&bytes)?).is_some(),
            Extension::Global => {
                // Readers may take a size that is not a number for any size.
                let more = match Pax::read(&bytes) {
                    Some((more, true)) => more,
                    Some((more, false)) => Pax { size: Some(u64::MAX), ..more },
                    None => return Err(self.damaged(at, "its PAX records cannot be read")),
                };
                self.global.add(more);
                false
            }
        };
        self.twice |= before;
        Ok(())
    }

    fn member(&mut self, header: &Header, size: u64) -> TarEntry {
        let kind = header.entry_type();
        let pax = self.pax.take().unwrap_or_default();
        let (long_name, long_link) = (self.long_name.take(), self.long_link.take());
        let twice = std::mem::take(&mut self.twice)
            || (pax.path.is_some() && long_name.is_some())
            || (pax.link.is_some() && long_link.is_some());
        let (has_own_name, has_own_size) = (pax.path.is_some(), pax.size.is_some());
        let name = pax.path.or(long_name).unwrap_or_else(|| header.path_bytes().into_owned());
        // All readers ignore the size in these headers.
        let is_header = matches!(
            kind,
            EntryType::Link
                | EntryType::Symlink
                | EntryType::Directory
                | EntryType::Char
                | EntryType::Block
                | EntryType::Fifo
        );
        let size = if is_header { 0 } else { pax.size.unwrap_or(size) };
        // V7 had no type for directories.
        let is_folder = kind.is_file() && name.ends_with(b"/");
        let kind = if is_folder { EntryType::Directory } else { kind };
        let is_link = matches!(kind, EntryType::Link | EntryType::Symlink);
        let is_told = self.global.sparse
            || (self.global.path.is_some() && !has_own_name)
            || (self.global.link.is_some() && is_link && pax.link.is_none())
            || self.global.size.is_some_and(|said| !is_header && !has_own_size && said != size);
        let oddity = match header {
            _ if is_told => Some("a global header speaks of it"),
            _ if twice => Some("its headers say something twice"),
            _ if pax.sparse || kind == EntryType::GNUSparse => Some("it is sparse"),
            _ if has_other_prefix(header) => Some("its name goes on where it may not"),
            _ if is_folder && size > 0 => Some("it is a file and a folder"),
            _ => None,
        };
        let link = pax.link.or(long_link).or_else(|| header.link_name_bytes().map(Into::into));
        TarEntry { kind, name, link, size, oddity }
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

    /// Returns the error for an archive that ends in the middle of a header.
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
    sparse: bool,
}

impl Pax {
    /// Parses records. `None` where a record is malformed, or the size is not a number.
    fn parse(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes).filter(|(_, is_right)| *is_right).map(|(pax, _)| pax)
    }

    /// Parses records, and returns whether the size is a number. `None` where a record is malformed.
    fn read(bytes: &[u8]) -> Option<(Self, bool)> {
        let mut pax = Self::default();
        let mut is_right = true;
        parse_each(bytes, |key, value| {
            // An empty value removes a record.
            let value = Some(value).filter(|value| !value.is_empty());
            match key {
                b"path" => pax.path = value.map(<[u8]>::to_vec),
                b"linkpath" => pax.link = value.map(<[u8]>::to_vec),
                b"size" => {
                    pax.size =
                        value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
                    is_right &= pax.size.is_some() == value.is_some();
                }
                _ => pax.sparse |= key.starts_with(b"GNU.sparse."),
            }
        })?;
        Some((pax, is_right))
    }

    /// Adds the records of a later header.
    fn add(&mut self, more: Self) {
        self.path = more.path.or(self.path.take());
        self.link = more.link.or(self.link.take());
        self.size = more.size.or(self.size);
        self.sparse |= more.sparse;
    }
}

/// Returns whether some readers take bytes after the fields of a header for a part of the name: Python reads `prefix`
/// whatever the format, and star's prefix is shorter than that of POSIX.
fn has_other_prefix(header: &Header) -> bool {
    let block = header.as_bytes();
    let is_set = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
    match header.as_ustar() {
        Some(_) => &block[508..] == b"tar\0" && is_set(&block[345 + 131..345 + 155]),
        None => is_set(&block[345..500]),
    }
}

/// Returns a GNU long name up to its NUL; the bytes after it are ignored.
fn text(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}
