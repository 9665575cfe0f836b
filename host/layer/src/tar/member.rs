//! One member of a layer: what it is called, what it is, and what belongs to it.

use std::collections::BTreeMap;

use super::Sparse;

/// PAX records by keyword; of several with one keyword the last counts (POSIX.1-2001).
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A member, without its content. Names are bytes, as a file system has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is.
    pub kind: MemberKind,
    /// Its name as the layer has it, without the slash at the end of a directory's.
    pub path: Vec<u8>,
    /// Where a link points; empty for all others.
    pub link: Vec<u8>,
    /// Permission bits, with set-user-ID, set-group-ID and sticky (some writers add type bits).
    pub mode: u32,
    /// Owner. Negative numbers come from broken writers only.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Name of the owner; may be empty.
    pub owner: Vec<u8>,
    /// Name of the group; may be empty.
    pub group: Vec<u8>,
    /// When it was modified.
    pub mtime: Time,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Bytes of its content, holes included.
    pub size: u64,
    /// Where the holes of a sparse file are.
    pub sparse: Option<Sparse>,
    /// PAX records that no field above stands for: extended attributes, ACLs, access times, ...
    pub records: Records,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// A regular file, also one that is to be contiguous (`7`).
    File,
    /// Another name of an earlier file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A FIFO.
    Fifo,
    /// Something that only its writer knows, by its type flag; it has content like a file.
    Other(u8),
}

impl MemberKind {
    /// What a type flag stands for.
    #[must_use]
    pub fn from_flag(flag: u8) -> Self {
        match flag {
            // Python and Go read a sparse file of GNU's as the file that it is.
            0 | b'0' | b'7' | b'S' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            other => Self::Other(other),
        }
    }

    /// The type flag in a header.
    #[must_use]
    pub fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::Other(flag) => flag,
        }
    }

    /// Whether content follows. Of all others the size field is noise, as Go and Python read it.
    #[must_use]
    pub fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Other(_))
    }

    /// In one or two words, for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::HardLink => "hardlink",
            Self::Symlink => "symlink",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Directory => "directory",
            Self::Fifo => "fifo",
            Self::Other(_) => "other",
        }
    }
}

/// A time since 1970-01-01T00:00:00Z, possibly before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// What is to be added, 0 to 999,999,999.
    pub nanos: u32,
}

impl Time {
    /// A time without fractions of a second.
    #[must_use]
    pub fn seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }
}

impl Member {
    /// A file of that name, with nothing else known of it.
    #[must_use]
    pub fn new(kind: MemberKind, path: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            path: path.into(),
            link: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            owner: Vec::new(),
            group: Vec::new(),
            mtime: Time::default(),
            device: (0, 0),
            size: 0,
            sparse: None,
            records: Records::new(),
        }
    }

    /// Bytes of content in the tar: without holes.
    #[must_use]
    pub fn stored(&self) -> u64 {
        match &self.sparse {
            Some(sparse) => sparse.stored(),
            None => self.size,
        }
    }

    /// Its name from the root of the image, as engines take it (Go's `filepath.Clean`): without `./` and
    /// slashes in front, without empty and `.` components, and `..` taken with what is before it. One
    /// that leads out of the image stays, in front.
    #[must_use]
    pub fn plain_path(&self) -> Vec<u8> {
        plain(&self.path)
    }
}

/// A name without what does not count in it: see [`Member::plain_path`].
#[must_use]
pub fn plain(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/') {
        if part.is_empty() || part == b"." {
            continue;
        }
        let last = plain.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        if part == b".." && !plain.is_empty() && plain[last..] != *b".." {
            plain.truncate(last.saturating_sub(1));
            continue;
        }
        if !plain.is_empty() {
            plain.push(b'/');
        }
        plain.extend_from_slice(part);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_name_is_taken_as_engines_take_it() {
        for (name, from_root) in [
            ("./usr//lib/./x/", "usr/lib/x"),
            ("/etc/x", "etc/x"),
            ("a/../b", "b"),
            ("d/../../b", "../b"),
            ("../../x/..", "../.."),
            ("a/b/../..", ""),
            ("a/..b/c..", "a/..b/c.."),
            ("..", ".."),
            ("./", ""),
        ] {
            assert_eq!(plain(name.as_bytes()), from_root.as_bytes(), "{name}");
        }
    }
}
