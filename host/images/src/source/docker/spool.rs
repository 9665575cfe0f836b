//! An image archive that arrives as one stream. It is split into its members and hashed on the way.
//!
//! Where the manifest is in such a stream, and which files it names, is known only at the end of the stream. Small
//! documents stay in memory. Every other member is written once, to a file without a name that an output can use as its
//! own. If only the digest of a member is needed, the member is hashed and not written. What this module refuses: the
//! same as the index of a file, see [`super::super::member_table`] and [`super::super::tar_headers`].

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::source::member_table::MemberTable;
use crate::source::members::ArchiveMembers;
use crate::source::tar_headers::{BLOCK, HeaderStep, Headers, TarEntry};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::files::Spooled;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::{Compression, Digest, MOST_LAYERS};
use occystrap_layer::blob::{Decoder, Stored, from_io, transfer};

/// Bytes of documents that are kept in memory: the largest allowed config, and many small documents. Later documents
/// go to files.
const MOST_IN_MEMORY: u64 = 16 * 1024 * 1024;

/// Largest member that is always kept in memory, in bytes. An uncompressed tar has at least two blocks; shorter members
/// (`VERSION` files, layers without bytes) are not worth a file.
const TINY: u64 = 2 * BLOCK;

/// Files that are open at the same time. Engines export all platforms of an image that they have.
const MOST_FILES: usize = 2 * MOST_LAYERS;

/// Bytes after the end of an archive that are read and ignored: the rest of a tar record.
const TRAILER: u64 = 64 * 1024;

/// The members of an archive that arrived as a stream.
pub struct Spool {
    members: MemberTable<SpooledContent>,
    keep: Keep,
}

enum SpooledContent {
    Memory(Bytes),
    File(Section),
    /// Digest of the uncompressed content.
    Hashed(Digest),
}

/// Storage for content that is not a document.
struct Keep {
    /// Folder for files. Without one, content is only hashed.
    folder: Option<Folder>,
    files: usize,
    in_memory: u64,
}

/// The folder of the files.
struct Folder {
    directory: Arc<Dir>,
    path: PathBuf,
}

impl Spool {
    /// Reads an archive to its end. Files go to `folder`; `place` is named in errors. Errors when the archive is
    /// damaged or ends too early, and as `from` does.
    pub fn read(from: &mut dyn Read, place: &str, folder: &Path, cancel: &Cancel) -> Result<Self> {
        let directory = Dir::open_ambient_dir(folder, ambient_authority()).map_err(|cause| {
            Error::io(Kind::Destination, "open the folder", folder.display(), &cause)
        })?;
        let folder = Folder { directory: Arc::new(directory), path: folder.to_owned() };
        Self::taken(from, place, Some(folder), cancel)
    }

    /// Reads an archive to its end, and keeps only documents and digests.
    pub fn hash(from: &mut dyn Read, place: &str, cancel: &Cancel) -> Result<Self> {
        Self::taken(from, place, None, cancel)
    }

    fn taken(
        from: &mut dyn Read,
        place: &str,
        folder: Option<Folder>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let keep = Keep { folder, files: 0, in_memory: 0 };
        let mut spool = Self { members: MemberTable::new(place.to_owned()), keep };
        spool.walk(from, cancel)?;
        Ok(spool)
    }

    /// Returns the digest of an uncompressed layer. Errors when there is no member of that name.
    pub fn diff_id(&self, name: &str) -> Result<Digest> {
        let place = self.place();
        match self.members.find(name)? {
            Some(SpooledContent::Hashed(digest)) => Ok(*digest),
            Some(SpooledContent::File(section)) => {
                let section =
                    Stored::section(section.clone(), place.to_owned(), &Cancel::default());
                hash(&mut BufReader::new(section), place, &Cancel::default())
            }
            Some(SpooledContent::Memory(bytes)) => {
                hash(&mut bytes.as_ref(), place, &Cancel::default())
            }
            None => {
                let message = format!("{place}: lists the layer '{name}', which is not there");
                Err(Error::source(message))
            }
        }
    }

    fn walk(&mut self, from: &mut dyn Read, cancel: &Cancel) -> Result<()> {
        let place = self.place().to_owned();
        let mut headers = Headers::new(place.clone());
        let mut at: u64 = 0;
        loop {
            let mut block = [0; BLOCK as usize];
            match fill(from, &mut block, &place)? {
                0 => return Ok(()),
                filled if filled < block.len() => return Err(headers.cut(at + filled as u64)),
                _ => {}
            }
            let size = match headers.read(&block, at)? {
                HeaderStep::End => {
                    // Then the sender can finish, and the connection can be used again.
                    let _ = io::copy(&mut from.take(TRAILER), &mut io::sink());
                    return Ok(());
                }
                HeaderStep::Extension(extension, size) => {
                    headers.extend(extension, bytes(from, size, &place)?.into(), at)?;
                    size
                }
                HeaderStep::Member(entry) => {
                    let mut taken = 0;
                    let keep = &mut self.keep;
                    self.members.add(&entry, |_| {
                        taken = entry.size;
                        keep.take(&entry, from, &place, cancel)
                    })?;
                    skip(from, entry.size - taken, &place)?;
                    entry.size
                }
            };
            let padding = size.wrapping_neg() % BLOCK;
            skip(from, padding, &place)?;
            at = at.saturating_add(BLOCK).saturating_add(size).saturating_add(padding);
        }
    }

    /// Returns whether there is a member of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains(name)
    }
}

impl ArchiveMembers for Spool {
    fn section(&self, name: &str) -> Result<Option<Section>> {
        match self.members.find(name)? {
            None => Ok(None),
            Some(SpooledContent::File(section)) => Ok(Some(section.clone())),
            // A layer that looks like a document, or is very small.
            Some(SpooledContent::Memory(bytes)) => match &self.keep.folder {
                Some(folder) => {
                    let from = &mut bytes.as_ref();
                    folder.file(from, self.place(), &Cancel::default()).map(Some)
                }
                None => Ok(None),
            },
            Some(SpooledContent::Hashed(_)) => Ok(None),
        }
    }

    fn place(&self) -> &str {
        self.members.place()
    }

    fn document(&self, name: &str) -> Result<Option<Bytes>> {
        Ok(match self.members.find(name)? {
            Some(SpooledContent::Memory(bytes)) => Some(bytes.clone()),
            _ => None,
        })
    }
}

impl Keep {
    /// Reads the content of a file: to memory, to a file without a name, or only through the hash.
    fn take(
        &mut self,
        entry: &TarEntry,
        from: &mut dyn Read,
        place: &str,
        cancel: &Cancel,
    ) -> Result<SpooledContent> {
        let size = entry.size;
        let room = MOST_IN_MEMORY - self.in_memory;
        if size < TINY.min(room) {
            self.in_memory += size;
            return bytes(from, size, place).map(SpooledContent::Memory);
        }
        let first = bytes(from, BLOCK.min(size), place)?;
        let rest = size - first.len() as u64;
        let text = first.trim_ascii_start().first();
        if matches!(text, Some(b'{' | b'[')) && size <= LARGEST_CONFIG.min(room) {
            self.in_memory += size;
            let rest = bytes(from, rest, place)?;
            return Ok(SpooledContent::Memory([first, rest].concat().into()));
        }
        self.files += 1;
        if self.files > MOST_FILES {
            let what = format!("{place}: number of members that are not documents");
            return Err(Error::mismatch(what, format!("at most {MOST_FILES}"), "more"));
        }
        let mut content = first.as_ref().chain(from.take(rest));
        let Some(folder) = &self.folder else {
            let digest = hash(&mut BufReader::new(&mut content), place, cancel)?;
            let (_, rest) = content.into_inner();
            let missing = rest.limit();
            if missing > 0 {
                let name = String::from_utf8_lossy(&entry.name);
                return Err(cut(&format!("{place}: '{name}'"), size, size - missing));
            }
            return Ok(SpooledContent::Hashed(digest));
        };
        let section = folder.file(&mut content, place, cancel)?;
        if section.size < size {
            let name = String::from_utf8_lossy(&entry.name);
            return Err(cut(&format!("{place}: '{name}'"), size, section.size));
        }
        Ok(SpooledContent::File(section))
    }
}

impl Folder {
    fn file(&self, from: &mut dyn Read, place: &str, cancel: &Cancel) -> Result<Section> {
        let file = UnnamedFile::create(&self.directory).map_err(|cause| {
            Error::io(Kind::Destination, "create a file in", self.path.display(), &cause)
        })?;
        let moved = transfer::copy(from, Some(file.file()), place, cancel)?;
        Spooled::section(file, moved).map_err(|cause| {
            Error::io(Kind::Destination, "keep a file open in", self.path.display(), &cause)
        })
    }
}

/// Reads a stream to its end, and returns the digest of its uncompressed content.
fn hash(from: &mut dyn BufRead, place: &str, cancel: &Cancel) -> Result<Digest> {
    let fail = |cause| from_io(cause, place);
    let compression = Compression::detect(from.fill_buf().map_err(fail)?);
    let mut decoder = Decoder::new(compression, &mut *from).map_err(fail)?;
    let moved = transfer::copy(&mut decoder, None, place, cancel)?;
    drop(decoder);
    io::copy(from, &mut io::sink()).map_err(fail)?;
    Ok(moved.digest)
}

/// Reads exactly `size` bytes. No more memory is allocated than bytes have arrived.
fn bytes(from: &mut dyn Read, size: u64, place: &str) -> Result<Bytes> {
    let mut bytes = Vec::new();
    from.take(size).read_to_end(&mut bytes).map_err(|cause| from_io(cause, place))?;
    match bytes.len() as u64 {
        found if found < size => Err(cut(place, size, found)),
        _ => Ok(bytes.into()),
    }
}

fn skip(from: &mut dyn Read, size: u64, place: &str) -> Result<()> {
    let skipped = io::copy(&mut from.take(size), &mut io::sink());
    match skipped.map_err(|cause| from_io(cause, place))? {
        found if found < size => Err(cut(place, size, found)),
        _ => Ok(()),
    }
}

fn fill(from: &mut dyn Read, block: &mut [u8], place: &str) -> Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]).map_err(|cause| from_io(cause, place))? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn cut(place: &str, expected: u64, found: u64) -> Error {
    Error::mismatch(format!("{place}: ends in the middle of a member, in bytes"), expected, found)
        .hint("the archive is truncated; fetch or save it again")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::source::tar_index::TarIndex;

    fn spool(bytes: &[u8]) -> Result<Spool> {
        Spool::read(&mut &*bytes, "'x'", &std::env::temp_dir(), &Cancel::default())
    }

    fn index(bytes: &[u8]) -> Result<TarIndex> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        TarIndex::read(Arc::new(file), "'x'".into())
    }

    const NAMES: [&str; 6] = ["manifest.json", "a/VERSION", "a/layer.tar", "b/layer.tar", "c", "d"];

    /// Returns an archive of a document, a very small member, a layer, a link to it, and a member after a long name.
    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        let long = "long/".repeat(40) + "file";
        for (name, content) in [
            (NAMES[0], b" [{}]".repeat(300)),
            (NAMES[1], b"1.0".to_vec()),
            (NAMES[2], vec![7; 3_000]),
            (&long, b"22".to_vec()),
            (NAMES[4], vec![0; 1_024]),
            (NAMES[5], Vec::new()),
        ] {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, NAMES[3], "../a/layer.tar").unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn where_nothing_is_kept_layers_are_hashed_as_they_are_uncompressed() {
        let plain = vec![7; 3_000];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &plain).unwrap();
        let noise: Vec<u8> = (0..4_000_u32).map(|n| n.wrapping_mul(2_654_435_761) as u8).collect();
        let mut builder = tar::Builder::new(Vec::new());
        let members =
            [("plain", plain.clone()), ("gzip", gzip.finish().unwrap()), ("noise", noise)];
        for (name, content) in &members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let hash = |bytes: &[u8]| Spool::hash(&mut &*bytes, "'x'", &Cancel::default());
        let spool = hash(&bytes).unwrap();
        for (name, content) in [("plain", &plain), ("gzip", &plain), ("noise", &members[2].1)] {
            assert_eq!(spool.diff_id(name).unwrap(), Digest::of(content), "{name}");
        }
        assert!(spool.diff_id("other").is_err());
        assert!(hash(&bytes[..bytes.len() - 2_000]).is_err());
    }

    fn content(members: &dyn ArchiveMembers, name: &str) -> Option<Vec<u8>> {
        let section = members.section(name).ok()??;
        let mut bytes = vec![0; section.size as usize];
        section.file.read_exact_at(&mut bytes, section.offset).unwrap();
        let own = section.own.map(|own| own.moved());
        if let Some(moved) = own {
            assert_eq!(moved.digest, occystrap_base::oci::Digest::of(&bytes));
        }
        Some(bytes)
    }

    #[test]
    fn a_stream_has_what_a_file_has() {
        let (spool, index) = (spool(&archive()).unwrap(), index(&archive()).unwrap());
        for name in NAMES {
            let found = content(&spool, name);
            assert!(found.is_some() && found == content(&index, name), "{name}");
        }
        // Small documents and very small members stay in memory.
        assert_eq!(spool.keep.files, 2);
        assert!(spool.document("manifest.json").unwrap().is_some());
        assert!(spool.document("a/layer.tar").unwrap().is_none());
    }

    #[test]
    fn memory_has_an_end() {
        let document = [b"{".as_slice(), &[b' '; 6 * 1024 * 1024]].concat();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        for name in NAMES {
            header.set_size(document.len() as u64);
            builder.append_data(&mut header, name, document.as_slice()).unwrap();
        }
        let spool = spool(&builder.into_inner().unwrap()).unwrap();
        assert_eq!((spool.keep.files, spool.keep.in_memory), (4, 2 * document.len() as u64));
        assert!(spool.read("d", LARGEST_CONFIG).unwrap().unwrap() == document);
        assert!(spool.read("manifest.json", 100).is_err());
    }

    #[test]
    fn a_size_that_nobody_can_send_takes_no_memory() {
        let mut bytes = archive();
        let mut header = tar::Header::new_gnu();
        header.set_path("manifest.json").unwrap();
        for size in [1 << 60, u64::MAX >> 1] {
            header.set_size(size);
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
            let error = spool(&bytes).err().unwrap().to_string();
            assert!(error.contains(&size.to_string()), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_stream_is_no_other_than_a_damaged_file(at in 0_usize..10_000, flip in 1_u8..) {
            let mut bytes = archive();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            match (spool(&bytes), index(&bytes)) {
                (Ok(spool), Ok(index)) => {
                    for name in NAMES {
                        proptest::prop_assert_eq!(content(&spool, name), content(&index, name));
                    }
                }
                (spool, index) => proptest::prop_assert_eq!(spool.is_ok(), index.is_ok()),
            }
        }

        #[test]
        fn no_stream_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2048)) {
            let _ = spool(&bytes);
        }
    }
}
