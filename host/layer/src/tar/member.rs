//! One member of a layer: its name, its kind and its metadata.

use std::collections::BTreeMap;

use super::Sparse;

/// PAX records by keyword. Of several with the same keyword, the last counts (POSIX.1-2001).
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A member, without its content. Names are bytes, as in a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The kind.
    pub kind: MemberKind,
    /// The name in the layer, without the slash at the end of a directory's name.
    pub path: Vec<u8>,
    /// Target of a link; empty for other kinds.
    pub link: Vec<u8>,
    /// Permission bits, with set-user-ID, set-group-ID and sticky (some writers add type bits).
    pub mode: u32,
    /// Number of the owner. Only broken writers use negative numbers.
    pub uid: i64,
    /// Number of the group.
    pub gid: i64,
    /// Name of the owner; may be empty.
    pub owner: Vec<u8>,
    /// Name of the group; may be empty.
    pub group: Vec<u8>,
    /// Time of the last modification.
    pub mtime: Time,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Bytes of its content, holes included.
    pub size: u64,
    /// Positions of the content of a sparse file.
    pub sparse: Option<Sparse>,
    /// PAX records without a field above: extended attributes, ACLs, access times, ...
    pub records: Records,
}

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// A regular file, also a contiguous one (`7`).
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
    /// An unknown type flag. The member has content like a file.
    Other(u8),
}

impl MemberKind {
    /// Returns the kind of a type flag.
    #[must_use]
    pub fn from_flag(flag: u8) -> Self {
        match flag {
            // Python and Go, too, read a GNU sparse file as a file.
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

    /// Returns the type flag for a header.
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

    /// Returns whether content follows. For other kinds, Go and Python ignore the size field.
    #[must_use]
    pub fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Other(_))
    }

    /// Returns the name of the kind, for users and for JSON.
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
    /// Nanoseconds to add, 0 to 999,999,999.
    pub nanos: u32,
}

impl Time {
    /// Returns a time in whole seconds.
    #[must_use]
    pub fn seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }
}

impl Member {
    /// Returns a member with this kind and name; all other fields are empty or zero.
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

    /// Returns the bytes of content in the tar, without holes.
    #[must_use]
    pub fn stored(&self) -> u64 {
        match &self.sparse {
            Some(sparse) => sparse.stored(),
            None => self.size,
        }
    }

    /// Returns the name from the root of the image, as engines clean it (Go's `filepath.Clean`): without leading `./`
    /// and slashes, without empty and `.` components, and with `..` resolved. A `..` that leads out of the image stays
    /// at the beginning.
    #[must_use]
    pub fn plain_path(&self) -> Vec<u8> {
        plain(&self.path)
    }
}

/// Returns a cleaned name: see [`Member::plain_path`].
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
