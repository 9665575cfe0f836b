//! Tars of which every byte is specified: what real writers write, and what no writer should.
//!
//!     let layer = raw_tar::tar(&[Raw::dir("etc"), Raw::file("etc/motd", b"hi").pax("atime", b"1.5")]);
//!
//! The `tar` crate writes neither sparse files nor other people's mistakes, and would share its own with
//! what is tested.

const BLOCK: usize = 512;

/// The modification time of members without another one: 2023-11-14, in seconds.
pub const MTIME: u64 = 1_700_000_000;

/// A member, or part of one.
#[derive(Clone)]
pub struct Raw {
    /// Blocks before the header.
    before: Vec<u8>,
    header: [u8; BLOCK],
    content: Vec<u8>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Raw {
    /// A member of any type. The name is cut where its field ends.
    pub fn new(kind: u8, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let raw = Self {
            before: Vec::new(),
            header: [0; BLOCK],
            content: content.to_vec(),
            records: Vec::new(),
        };
        let name = name.as_ref();
        raw.field(0, &name[..name.len().min(100)])
            .field(156, &[kind])
            .field(257, b"ustar\x0000")
            .field(265, b"root")
            .field(297, b"root")
            .mode(if kind == b'5' { 0o755 } else { 0o644 })
            .owner(0, 0)
            .number(124, 11, content.len() as u64)
            .number(136, 11, MTIME)
            .device(0, 0)
    }

    pub fn file(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self::new(b'0', name, content)
    }

    /// A directory; the slash at its name's end is put there.
    pub fn dir(name: &str) -> Self {
        Self::new(b'5', format!("{name}/"), b"")
    }

    /// Its name in the header.
    pub fn name(&self) -> String {
        let end = self.header[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
        String::from_utf8(self.header[..end].to_vec()).unwrap()
    }

    /// Returns the same member under another name.
    pub fn named(mut self, name: impl AsRef<[u8]>) -> Self {
        self.header[..100].fill(0);
        self.field(0, name.as_ref())
    }

    /// A symbolic (`2`) or hard (`1`) link.
    pub fn link(kind: u8, name: &str, target: impl AsRef<[u8]>) -> Self {
        Self::new(kind, name, b"").field(157, target.as_ref())
    }

    /// A member with its name in a GNU header before it (`././@LongLink`).
    pub fn gnu_long(name: &str, content: &[u8]) -> Self {
        let mut raw = Self::new(b'0', name, content).gnu();
        raw.before =
            Self::new(b'L', "././@LongLink", &[name.as_bytes(), b"\0"].concat()).gnu().bytes();
        raw
    }

    /// GNU's old sparse file: `map` are offsets and sizes, of which the last ends the file.
    pub fn gnu_sparse(name: &str, map: &[(u64, u64)], size: u64, data: &[u8]) -> Self {
        let mut raw = Self::new(b'S', name, data).gnu().number(483, 11, size);
        for (index, (offset, length)) in map.iter().enumerate() {
            raw = raw.number(386 + 24 * index, 11, *offset).number(398 + 24 * index, 11, *length);
        }
        raw
    }

    /// A sparse file as GNU tar writes it by default in PAX archives (version 1.0).
    pub fn pax_sparse(name: &str, map: &[(u64, u64)], size: u64, data: &[u8]) -> Self {
        let mut content = format!("{}\n", map.len());
        for (offset, length) in map {
            content += &format!("{offset}\n{length}\n");
        }
        let mut content = content.into_bytes();
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        content.extend(data);
        Self::file("GNUSparseFile.0/x", &content)
            .pax("GNU.sparse.major", b"1")
            .pax("GNU.sparse.minor", b"0")
            .pax("GNU.sparse.name", name)
            .pax("GNU.sparse.realsize", size.to_string())
    }

    /// GNU's magic, which is not POSIX's.
    pub fn gnu(self) -> Self {
        self.field(257, b"ustar  \0")
    }

    pub fn mode(self, mode: u64) -> Self {
        self.number(100, 7, mode)
    }

    pub fn owner(self, user: u64, group: u64) -> Self {
        self.number(108, 7, user).number(116, 7, group)
    }

    pub fn device(self, major: u64, minor: u64) -> Self {
        self.number(329, 7, major).number(337, 7, minor)
    }

    /// Octal digits and a NUL.
    pub fn number(self, at: usize, digits: usize, number: u64) -> Self {
        self.field(at, format!("{number:0digits$o}\0").as_bytes())
    }

    /// Any bytes of the header.
    pub fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// A PAX record (POSIX.1-2001) in front of it.
    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.records.push((key.into(), value.as_ref().to_vec()));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.before.clone();
        if !self.records.is_empty() {
            let records: Vec<u8> =
                self.records.iter().flat_map(|(key, value)| record(key, value)).collect();
            bytes.extend(Self::new(b'x', "PaxHeaders/x", &records).bytes());
        }
        let mut header = self.header;
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(header);
        bytes.extend(&self.content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

/// Members, and the two blocks that end a tar.
pub fn tar(members: &[Raw]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Raw::bytes).collect();
    bytes.extend([0; 2 * BLOCK]);
    bytes
}
