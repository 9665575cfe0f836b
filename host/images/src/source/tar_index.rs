//! The members of a tar archive and their positions in the file. Content is not read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::member_table::MemberTable;
use super::members::ArchiveMembers;
use super::tar_headers::{BLOCK, HeaderStep, Headers};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;

/// An archive with its index.
pub struct TarIndex {
    file: Arc<File>,
    /// Offset and size of each member.
    members: MemberTable<(u64, u64)>,
}

impl TarIndex {
    /// Reads all headers of an archive. Errors when it is truncated, has a damaged header, or repeats a file with other
    /// content.
    pub fn read(file: Arc<File>, place: String) -> Result<Self> {
        let length =
            file.metadata().map_err(|cause| Error::io(Kind::Source, "read", &place, &cause))?.len();
        let mut index = Self { file, members: MemberTable::new(place) };
        index.walk(length)?;
        Ok(index)
    }

    fn walk(&mut self, length: u64) -> Result<()> {
        let mut headers = Headers::new(self.place().to_owned());
        let mut at = 0;
        while at < length {
            let mut block = [0; BLOCK as usize];
            self.read_at(&headers, &mut block, at, length)?;
            let content = at + BLOCK;
            let size = match headers.read(&block, at)? {
                HeaderStep::End => return Ok(()),
                HeaderStep::Extension(extension, size) => {
                    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
                    self.read_at(&headers, &mut bytes, content, length)?;
                    headers.extend(extension, bytes, at)?;
                    size
                }
                HeaderStep::Member(entry) => {
                    // A repeated member can only be compared if all of its content is there.
                    self.check_end(&block, at, entry.size, length)?;
                    let file = Arc::clone(&self.file);
                    let place = self.place().to_owned();
                    self.members.add_or_compare(
                        &entry,
                        |_| Ok((content, entry.size)),
                        |first, second| {
                            has_same_bytes(&file, *first, *second)
                                .map_err(|cause| Error::io(Kind::Source, "read", &place, &cause))
                        },
                    )?;
                    entry.size
                }
            };
            at = self.check_end(&block, at, size, length)?.div_ceil(BLOCK) * BLOCK;
        }
        Ok(())
    }

    /// Returns the end of the content after a header at `at`. Errors where that is after the end of the file.
    fn check_end(
        &self,
        block: &[u8; BLOCK as usize],
        at: u64,
        size: u64,
        length: u64,
    ) -> Result<u64> {
        let content = at + BLOCK;
        content.checked_add(size).filter(|end| *end <= length).ok_or_else(|| {
            let header = tar::Header::from_byte_slice(block);
            let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            Error::mismatch(
                format!("{}: '{name}' at offset {at}: end of the member", self.place()),
                format!("at most {length} (the archive's size)"),
                content.saturating_add(size),
            )
            .hint("the archive is truncated; fetch or save it again")
        })
    }

    fn read_at(&self, headers: &Headers, bytes: &mut [u8], at: u64, length: u64) -> Result<()> {
        self.file.read_exact_at(bytes, at).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::UnexpectedEof => headers.cut(length),
            _ => Error::io(Kind::Source, "read", self.place(), &cause),
        })
    }

    /// Returns the names of all files and links.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.names()
    }

    /// Returns the file of the archive; the decompressed one, where it was compressed.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns whether there is a member of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains(name)
    }
}

/// Bytes that are compared at a time.
const PIECE: usize = 64 * 1024;

/// Returns whether two parts of a file, by offset and size, have the same bytes.
fn has_same_bytes(file: &File, first: (u64, u64), second: (u64, u64)) -> io::Result<bool> {
    if first.1 != second.1 {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let mut done = 0;
    while done < first.1 {
        let length = usize::try_from(first.1 - done).unwrap_or(PIECE).min(PIECE);
        file.read_exact_at(&mut one[..length], first.0 + done)?;
        file.read_exact_at(&mut other[..length], second.0 + done)?;
        if one[..length] != other[..length] {
            return Ok(false);
        }
        done += length as u64;
    }
    Ok(true)
}

impl ArchiveMembers for TarIndex {
    fn section(&self, name: &str) -> Result<Option<Section>> {
        let found = self.members.find(name)?;
        Ok(found.map(|(offset, size)| Section::new(Arc::clone(&self.file), *offset, *size)))
    }

    fn place(&self) -> &str {
        self.members.place()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tar::{EntryType, Header};

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
