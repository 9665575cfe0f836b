//! What is in a tar archive and where, without reading its content.
//!
//! The headers are parsed with the `tar` crate; the walk is our own, because the crate's reader
//! holds long names in memory whatever their size and follows sizes that lead out of the file.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tar::{EntryType, Header, PaxExtensions};

use super::members::Members;
use crate::error::{Error, Kind, Result};
use crate::image::Section;

const BLOCK: u64 = 512;

/// An image archive has some hundreds of members.
const MOST_MEMBERS: usize = 100_000;

/// A long name or PAX header of an image archive has some hundred bytes.
const LONGEST_EXTENSION: u64 = 64 * 1024;

/// `docker save` links a repeated layer to its first occurrence; a chain is an attack.
const MOST_LINKS: usize = 4;

/// An indexed archive.
pub struct TarIndex {
    file: Arc<File>,
    place: String,
    members: HashMap<String, Member>,
}

enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

impl TarIndex {
    /// Walk the headers of an archive. Errors when it is truncated, has a damaged header, or
    /// repeats a file.
    pub fn read(file: Arc<File>, place: String) -> Result<Self> {
        let length =
            file.metadata().map_err(|cause| Error::io(Kind::Source, "read", &place, &cause))?.len();
        let mut index = Self { file, place, members: HashMap::new() };
        index.walk(length)?;
        Ok(index)
    }

    fn walk(&mut self, length: u64) -> Result<()> {
        let mut at = 0;
        let mut long_name = None;
        let mut long_link = None;
        let mut pax = Pax::default();
        while at < length {
            let mut block = [0; BLOCK as usize];
            self.read_at(&mut block, at, length)?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let header = Header::from_byte_slice(&block);
            self.check_header(header, at)?;
            let kind = header.entry_type();
            let size = pax
                .size
                .take()
                .map_or_else(|| header.entry_size(), Ok)
                .map_err(|_| self.damaged(at, "its size is not a number"))?;
            let content = at + BLOCK;
            // Links carry no content, whatever their size field says.
            let size = if kind.is_symlink() || kind.is_hard_link() { 0 } else { size };
            let end = content.checked_add(size).filter(|end| *end <= length).ok_or_else(|| {
                let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
                Error::mismatch(
                    format!("{}: '{name}' at offset {at}: end of the member", self.place),
                    format!("at most {length} (the archive's size)"),
                    content.saturating_add(size),
                )
                .hint("the archive is truncated; fetch or save it again")
            })?;
            match kind {
                EntryType::GNULongName => long_name = Some(self.extension(content, size, length)?),
                EntryType::GNULongLink => long_link = Some(self.extension(content, size, length)?),
                EntryType::XHeader => pax = Pax::parse(&self.extension(content, size, length)?),
                EntryType::XGlobalHeader => {}
                _ => {
                    let name = pax
                        .path
                        .take()
                        .or_else(|| long_name.take().map(trim))
                        .unwrap_or_else(|| header.path_bytes().into_owned());
                    let link = pax
                        .link
                        .take()
                        .or_else(|| long_link.take().map(trim))
                        .or_else(|| header.link_name_bytes().map(Into::into));
                    self.add(kind, &name, link.as_deref(), content, size)?;
                    (long_name, long_link, pax) = (None, None, Pax::default());
                }
            }
            at = end.div_ceil(BLOCK) * BLOCK;
        }
        Ok(())
    }

    fn add(
        &mut self,
        kind: EntryType,
        name: &[u8],
        link: Option<&[u8]>,
        offset: u64,
        size: u64,
    ) -> Result<()> {
        let name = String::from_utf8_lossy(name);
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let target = || String::from_utf8_lossy(link.unwrap_or_default()).into_owned();
        let member = match kind {
            EntryType::Regular | EntryType::Continuous => Member::File { offset, size },
            EntryType::Symlink => Member::Link(beside(&name, &target())),
            EntryType::Link => Member::Link(target()),
            // Directories; what else there may be is nothing that a manifest can name.
            _ => return Ok(()),
        };
        if self.members.len() >= MOST_MEMBERS {
            return Err(Error::source(format!(
                "{}: has more than {MOST_MEMBERS} members",
                self.place
            )));
        }
        if self.members.insert(name.clone(), member).is_some() {
            return Err(Error::source(format!("{}: has two members named '{name}'", self.place))
                .hint("which of them is meant cannot be told; save the image again"));
        }
        Ok(())
    }

    fn check_header(&self, header: &Header, at: u64) -> Result<()> {
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

    fn extension(&self, at: u64, size: u64, length: u64) -> Result<Vec<u8>> {
        if size > LONGEST_EXTENSION {
            let what = format!("{}: size of a long name at offset {at}", self.place);
            return Err(Error::mismatch(what, format!("at most {LONGEST_EXTENSION} bytes"), size));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.read_at(&mut bytes, at, length)?;
        Ok(bytes)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64, length: u64) -> Result<()> {
        self.file.read_exact_at(bytes, at).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::source(format!(
                "{}: ends in the middle of a header, at {length} bytes",
                self.place
            ))
            .hint("the archive is truncated; fetch or save it again"),
            _ => Error::io(Kind::Source, "read", &self.place, &cause),
        })
    }

    /// Whether there is a member of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }
}

impl Members for TarIndex {
    fn section(&self, name: &str) -> Result<Option<Section>> {
        let mut name = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..=MOST_LINKS {
            match self.members.get(name) {
                None => return Ok(None),
                Some(Member::File { offset, size }) => {
                    let file = Arc::clone(&self.file);
                    return Ok(Some(Section { file, offset: *offset, size: *size }));
                }
                Some(Member::Link(target)) => name = target,
            }
        }
        Err(Error::source(format!("{}: '{name}' is a chain of links", self.place)))
    }

    fn place(&self) -> &str {
        &self.place
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

/// The member that a relative symlink names; one that leads out names nothing.
fn beside(name: &str, target: &str) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn index(bytes: &[u8]) -> Result<TarIndex> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        TarIndex::read(Arc::new(file), "'x.tar'".into())
    }

    fn archive(names: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in names {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn long_names_are_found() {
        let long = "d/".repeat(90) + "file";
        let index = index(&archive(&[("a", b"1"), (&long, b"22")])).unwrap();
        assert_eq!(index.section(&long).unwrap().unwrap().size, 2);
        assert!(index.section("b").unwrap().is_none());
    }

    #[test]
    fn a_size_that_leads_out_of_the_file_is_refused() {
        let mut bytes = archive(&[("a", b"1")]);
        let mut header = Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_size(1 << 60);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        let error = index(&bytes).err().unwrap().to_string();
        assert!(error.contains("1152921504606847488"), "{error}");
    }

    #[test]
    fn repeated_members_and_damaged_headers_are_refused() {
        assert!(index(&archive(&[("a", b"1"), ("./a", b"2")])).is_err());
        let mut bytes = archive(&[("a", b"1"), ("b", b"2")]);
        bytes[1024] ^= 1;
        assert!(index(&bytes).err().unwrap().to_string().contains("checksum"));
        assert!(index(b"not a tar, but long enough").is_err());
    }

    #[test]
    fn links_are_followed_a_little() {
        assert_eq!(beside("abc/layer.tar", "../def/layer.tar"), "def/layer.tar");
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "a/l", "../a/l").unwrap();
        let index = index(&builder.into_inner().unwrap()).unwrap();
        assert!(index.section("a/l").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_archive_makes_it_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2048), flip in 0_usize..1024) {
            let _ = index(&bytes);
            bytes = archive(&[("a", b"1"), ("manifest.json", b"[]")]);
            let at = flip % bytes.len();
            bytes[at] ^= 0x55;
            let _ = index(&bytes);
        }
    }
}
