//! Layers with everything that a tar can contain, right or wrong.
//!
//!     let layer = layer(&[dir("etc"), file("etc/motd", b"hello").mode(0o666), link("a", "etc/motd")]);

use tar::EntryType;

/// A member, as its header says it.
#[derive(Debug, Clone)]
pub struct Member {
    kind: u8,
    name: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    mtime: i64,
    uid: u64,
    device: (u32, u32),
    content: Vec<u8>,
    records: Vec<(String, Vec<u8>)>,
}

fn member(kind: EntryType, name: impl AsRef<[u8]>) -> Member {
    Member {
        kind: kind.as_byte(),
        name: name.as_ref().to_vec(),
        link: Vec::new(),
        mode: if kind.is_dir() { 0o755 } else { 0o644 },
        mtime: 1_000_000_000,
        uid: 0,
        device: (0, 0),
        content: Vec::new(),
        records: Vec::new(),
    }
}

pub fn file(name: impl AsRef<[u8]>, content: &[u8]) -> Member {
    Member { content: content.to_vec(), ..member(EntryType::Regular, name) }
}

pub fn dir(name: impl AsRef<[u8]>) -> Member {
    member(EntryType::Directory, name)
}

pub fn symlink(name: impl AsRef<[u8]>, to: &str) -> Member {
    Member { link: to.into(), mode: 0o777, ..member(EntryType::Symlink, name) }
}

pub fn hardlink(name: impl AsRef<[u8]>, to: &str) -> Member {
    Member { link: to.into(), ..member(EntryType::Link, name) }
}

pub fn device(name: &str, kind: EntryType, major: u32, minor: u32) -> Member {
    Member { device: (major, minor), ..member(kind, name) }
}

impl Member {
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn mtime(self, mtime: i64) -> Self {
        Self { mtime, ..self }
    }

    pub fn uid(self, uid: u64) -> Self {
        Self { uid, ..self }
    }

    pub fn flag(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// A PAX record.
    pub fn record(mut self, keyword: &str, value: &[u8]) -> Self {
        self.records.push((keyword.to_owned(), value.to_vec()));
        self
    }

    fn write(&self, to: &mut Vec<u8>) {
        let mut records = self.records.clone();
        if self.mtime < 0 {
            records.push(("mtime".to_owned(), self.mtime.to_string().into_bytes()));
        }
        if !records.is_empty() {
            let mut bytes = Vec::new();
            for (keyword, value) in &records {
                bytes.extend(record(keyword, value));
            }
            block(to, b"pax", b'x', 0o644, 0, 0, b"", (0, 0), &bytes);
        }
        let mtime = self.mtime.max(0) as u64;
        block(
            to,
            &self.name,
            self.kind,
            self.mode,
            self.uid,
            mtime,
            &self.link,
            self.device,
            &self.content,
        );
    }
}

/// `LENGTH KEYWORD=VALUE\n`, where the length counts itself.
fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", keyword.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length += 1;
    }
    [length.to_string().as_bytes(), &rest].concat()
}

#[allow(clippy::too_many_arguments)]
fn block(
    to: &mut Vec<u8>,
    name: &[u8],
    kind: u8,
    mode: u32,
    uid: u64,
    mtime: u64,
    link: &[u8],
    device: (u32, u32),
    content: &[u8],
) {
    let mut header = tar::Header::new_ustar();
    assert!(name.len() <= 100 && link.len() <= 100);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.as_old_mut().linkflag = [kind];
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_device_major(device.0).unwrap();
    header.set_device_minor(device.1).unwrap();
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
    to.extend_from_slice(content);
    to.resize(to.len().next_multiple_of(512), 0);
}

/// A tar of these, with its end.
pub fn layer(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    members.iter().for_each(|member| member.write(&mut bytes));
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
