//! A compact list of a layer's members, in order, with what is needed to compute the effect of layers on each other
//! after all have been read.
//!
//! A name is stored as its difference from the name before it. A member of a real image takes some thirty bytes.
//! What it refuses: more members or bytes than a [`MemberBudget`] allows.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Whiteout;
use super::path::leads_out;
use super::whiteout::is_aufs;
use crate::tar::member::plain;
use crate::tar::{Member, MemberKind};

/// Most members in the lists of one image. With the table in which they are compared (`stack.rs`), a million take about
/// 70 MB, so these take less than 300 MB.
pub const MOST_MEMBERS: u64 = 4_000_000;

/// Most bytes in the lists of one image, whatever the names. Four million members usually take some 120 MB.
pub const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// The members and bytes that are left for the lists of all layers of an image.
pub struct MemberBudget {
    members: AtomicU64,
    bytes: AtomicU64,
}

impl Default for MemberBudget {
    fn default() -> Self {
        Self { members: AtomicU64::new(MOST_MEMBERS), bytes: AtomicU64::new(MOST_BYTES) }
    }
}

impl MemberBudget {
    /// Returns a budget.
    #[cfg(test)]
    fn of(members: u64, bytes: u64) -> Self {
        Self { members: AtomicU64::new(members), bytes: AtomicU64::new(bytes) }
    }

    fn take(&self, bytes: u64) -> bool {
        let less = |left: u64, by: u64| left.checked_sub(by);
        let take = |from: &AtomicU64, by| {
            from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| less(left, by)).is_ok()
        };
        take(&self.members, 1) && take(&self.bytes, bytes)
    }
}

/// The change that a member makes to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Adds a directory.
    Directory,
    /// Adds a symbolic link.
    Symlink,
    /// Adds a file, a device or a FIFO.
    File,
    /// Adds another name of a file.
    HardLink,
    /// Deletes a path of the lower layers.
    Delete,
    /// Empties a directory of what lower layers have in it.
    Empty,
    /// Nothing: a file of AUFS itself, which readers ignore.
    Ignored,
}

const ACTS: [Change; 7] = [
    Change::Directory,
    Change::Symlink,
    Change::File,
    Change::HardLink,
    Change::Delete,
    Change::Empty,
    Change::Ignored,
];

/// The members of one layer.
#[derive(Default)]
pub struct MemberList {
    bytes: Vec<u8>,
    /// The last name, from which the next one is abbreviated.
    last: Vec<u8>,
    /// Whether members are missing because the budget was exhausted.
    pub cut: bool,
}

/// A member in a list.
#[derive(Debug, PartialEq, Eq)]
pub struct ListedMember<'a> {
    /// The change that it makes.
    pub act: Change,
    /// The path that is changed: a plain one.
    pub path: &'a [u8],
    /// Bytes of its content, without holes.
    pub size: u64,
    /// The target of a hard link: a plain path. The target of a symbolic link, as it is spelled.
    pub link: &'a [u8],
}

impl MemberList {
    /// Adds a member, and returns whether it is in the list. A member without a place in the image is left out.
    pub fn add(&mut self, member: &Member, room: &MemberBudget) -> bool {
        let path = member.plain_path();
        if self.cut || member.path.is_empty() || leads_out(&path) {
            return false;
        }
        let (act, path) = match Whiteout::of(&path) {
            // It names no path, or one that a whiteout may not hide.
            Some(whiteout) if !whiteout.is_named() => return false,
            Some(Whiteout::Of(hidden)) => (Change::Delete, hidden),
            Some(Whiteout::Opaque(folder)) => (Change::Empty, folder),
            None if path.is_empty() => return false,
            None if is_aufs(&path) => (Change::Ignored, path),
            None => match member.kind {
                MemberKind::Directory => (Change::Directory, path),
                MemberKind::Symlink => (Change::Symlink, path),
                MemberKind::HardLink => (Change::HardLink, path),
                _ => (Change::File, path),
            },
        };
        let link = match act {
            Change::HardLink if member.link.is_empty() || leads_out(&plain(&member.link)) => {
                return false;
            }
            Change::HardLink => plain(&member.link),
            Change::Symlink => member.link.clone(),
            _ => Vec::new(),
        };
        let shared = path.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        let before = self.bytes.len();
        self.bytes.push(act as u8);
        number(&mut self.bytes, shared as u64);
        text(&mut self.bytes, &path[shared..]);
        match act {
            Change::File => number(&mut self.bytes, member.stored()),
            Change::HardLink | Change::Symlink => text(&mut self.bytes, &link),
            _ => {}
        }
        if room.take((self.bytes.len() - before) as u64) {
            self.last = path;
        } else {
            self.bytes.truncate(before);
            self.cut = true;
        }
        !self.cut
    }

    /// Calls `visit` for each member, in order.
    pub fn each(&self, mut visit: impl FnMut(&ListedMember)) {
        let (mut rest, mut path) = (self.bytes.as_slice(), Vec::new());
        while let Some((act, after)) = rest.split_first() {
            rest = after;
            let Some(act) = ACTS.get(usize::from(*act)).copied() else { return };
            path.truncate(read_number(&mut rest) as usize);
            path.extend_from_slice(read_text(&mut rest));
            let size = if act == Change::File { read_number(&mut rest) } else { 0 };
            let link = match act {
                Change::HardLink | Change::Symlink => read_text(&mut rest),
                _ => &[],
            };
            visit(&ListedMember { act, path: &path, size, link });
        }
    }
}

/// Appends a number: seven bits per byte, lowest first. The highest bit of a byte is set if more follow.
fn number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn text(to: &mut Vec<u8>, bytes: &[u8]) {
    number(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Reads what [`number`] wrote.
fn read_number(from: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = from.split_first() else { break };
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn read_text<'a>(from: &mut &'a [u8]) -> &'a [u8] {
    let length = read_number(from) as usize;
    let (text, rest) = from.split_at(length.min(from.len()));
    *from = rest;
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(kind: MemberKind, path: &str, link: &str, size: u64) -> Member {
        Member { link: link.into(), size, ..Member::new(kind, path) }
    }

    fn read(list: &MemberList) -> Vec<(Change, String, u64, String)> {
        let mut read = Vec::new();
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        list.each(|entry| {
            read.push((entry.act, string(entry.path), entry.size, string(entry.link)));
        });
        read
    }

    #[test]
    fn members_come_out_as_they_went_in() {
        let (mut list, room) = (MemberList::default(), MemberBudget::default());
        for member in [
            member(MemberKind::Directory, "./", "", 0),
            member(MemberKind::Directory, "./usr/lib", "", 0),
            member(MemberKind::File, "./usr/lib/a", "", 70_000_000_000),
            member(MemberKind::HardLink, "usr/lib/b", "./usr/lib/a", 0),
            member(MemberKind::Symlink, "usr/l", "lib", 0),
            member(MemberKind::File, "usr/.wh.x", "", 0),
            member(MemberKind::File, ".wh..wh..opq", "", 0),
            member(MemberKind::File, ".wh..wh.plnk", "", 0),
            member(MemberKind::File, "../out", "", 5),
            member(MemberKind::Fifo, "run/f", "", 0),
        ] {
            list.add(&member, &room);
        }
        let entry =
            |act, path: &str, size, link: &str| (act, path.to_owned(), size, link.to_owned());
        assert_eq!(
            read(&list),
            [
                entry(Change::Directory, "usr/lib", 0, ""),
                entry(Change::File, "usr/lib/a", 70_000_000_000, ""),
                entry(Change::HardLink, "usr/lib/b", 0, "usr/lib/a"),
                entry(Change::Symlink, "usr/l", 0, "lib"),
                entry(Change::Delete, "usr/x", 0, ""),
                entry(Change::Empty, "", 0, ""),
                entry(Change::Ignored, ".wh..wh.plnk", 0, ""),
                entry(Change::File, "run/f", 0, ""),
            ]
        );
        assert!(!list.cut);
    }

    #[test]
    fn a_real_member_takes_some_thirty_bytes() {
        let (mut list, room) = (MemberList::default(), MemberBudget::default());
        for folder in 0..100 {
            for file in 0..100 {
                let path =
                    format!("usr/share/doc/package-{folder:03}/examples/file-{file:03}.html");
                list.add(&member(MemberKind::File, &path, "", 12_345), &room);
            }
        }
        assert!(list.bytes.len() < 10_000 * 30, "{}", list.bytes.len());
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        for room in [MemberBudget::of(2, 1_000), MemberBudget::of(1_000, 40)] {
            let mut list = MemberList::default();
            for name in ["a", "a-long-name-of-some-thirty-bytes", "b", "c-long-name-of-some-bytes"]
            {
                list.add(&member(MemberKind::File, name, "", 1), &room);
            }
            assert!(list.cut);
            assert_eq!(read(&list).len(), 2);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_number_is_read_as_it_was_written(value in proptest::num::u64::ANY) {
            let mut bytes = Vec::new();
            number(&mut bytes, value);
            let mut rest = bytes.as_slice();
            proptest::prop_assert_eq!((read_number(&mut rest), rest.len()), (value, 0));
        }
    }
}
