//! Rules about the extended attributes of a member: those that Linux refuses to store, so that engines refuse to unpack
//! the member.
//!
//! Each rule is one of the kernel (xattr(7), capabilities(7), acl(5)). Engines ignore an attribute that the file system
//! does not support; they refuse the layer for one that the kernel calls invalid.

use super::finding::Finding;
use occystrap_layer::tar::{Member, MemberKind};

/// Prefix of the PAX records that hold extended attributes (star, GNU tar, Go).
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The longest name of an attribute that Linux allows, in bytes (`XATTR_NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// The largest value of an attribute that Linux allows, in bytes (`XATTR_SIZE_MAX`).
const LARGEST: usize = 64 * 1024;

/// The most bytes that ext4 stores of all attributes of a file outside of its inode: one block, without its header.
const MOST_ON_EXT4: usize = 4096 - 36;

/// Checks the attributes of a member. Passes findings to `report`.
pub fn check(member: &Member, report: &mut dyn FnMut(Finding)) {
    let mut stored = 0;
    for (key, value) in &member.records {
        let Some(name) = key.strip_prefix(XATTR) else { continue };
        let shown = String::from_utf8_lossy(name);
        stored += on_ext4(name, value);
        let error = if value.len() > LARGEST {
            let found = value.len();
            Some(format!("has an attribute '{shown}' of {found} bytes; Linux allows {LARGEST}"))
        } else if name.len() > LONGEST_NAME {
            let found = name.len();
            Some(format!(
                "has an attribute with a name of {found} bytes; Linux allows {LONGEST_NAME}"
            ))
        } else {
            wrong(member.kind, name, value).map(|why| format!("has the attribute '{shown}', {why}"))
        };
        if let Some(message) = error {
            report(Finding::error("tar-attribute", message));
        }
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            let message = format!(
                "has the attribute '{shown}' of overlayfs, which does not belong in an image"
            );
            report(Finding::warning("overlay-attribute", message));
        }
    }
    if stored > MOST_ON_EXT4 {
        let message = format!(
            "has attributes of {stored} bytes in all: engines whose storage is on ext4 refuse the layer"
        );
        report(
            Finding::warning("tar-attribute", message)
                .sides(format!("at most {MOST_ON_EXT4}"), stored),
        );
    }
}

/// Returns the bytes that an attribute takes in a block of ext4; 0 for one that ext4 does not store.
fn on_ext4(name: &[u8], value: &[u8]) -> usize {
    let rest =
        [&b"user."[..], b"trusted.", b"security."].iter().find_map(|of| name.strip_prefix(*of));
    let rest = match rest {
        Some(rest) => rest,
        None if name.starts_with(b"system.posix_acl_") => b"",
        None => return 0,
    };
    16 + rest.len().next_multiple_of(4) + value.len().next_multiple_of(4)
}

/// Returns why engines refuse an attribute; `None` if they accept or ignore it.
fn wrong(kind: MemberKind, name: &[u8], value: &[u8]) -> Option<&'static str> {
    match name {
        b"" => return Some("which has no name: engines refuse it"),
        // Go's archive/tar takes an empty value for no attribute.
        _ if value.is_empty() => return None,
        b"user." | b"trusted." | b"security." => {
            return Some("whose name ends after the namespace: engines refuse it");
        }
        b"security.capability" if !is_capability(value) => {
            return Some("which is not a file capability: engines refuse it");
        }
        b"system.posix_acl_access" | b"system.posix_acl_default" => {
            let is_default = name.ends_with(b"default");
            let entries = match acl(value) {
                Acl::Invalid => return Some("which is not a valid ACL: engines refuse it"),
                Acl::OfAnotherVersion => return None,
                Acl::Entries(entries) => entries,
            };
            if is_default && entries > 0 && !has_default_acl(kind) {
                return Some("a default ACL, which only directories have: engines refuse it");
            }
            return None;
        }
        _ => {}
    }
    let is_special = matches!(
        kind,
        MemberKind::Symlink | MemberKind::Fifo | MemberKind::CharDevice | MemberKind::BlockDevice
    );
    (is_special && name.starts_with(b"user."))
        .then_some("which only files and directories may have: Podman and umoci refuse it")
}

/// Returns whether a value is one that Linux accepts for `security.capability`: version 2 with 20 bytes, or version 3
/// with 24 (`validheader` in security/commoncap.c).
fn is_capability(value: &[u8]) -> bool {
    /// The flag *effective*, beside the version.
    const EFFECTIVE: u32 = 1;
    let Some(magic) = value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) & !EFFECTIVE)
    else {
        return false;
    };
    matches!((magic, value.len()), (0x0200_0000, 20) | (0x0300_0000, 24))
}

/// Returns whether Linux accepts or ignores a default ACL on a member. For a symbolic link no file system supports any,
/// and the engines ignore that.
fn has_default_acl(kind: MemberKind) -> bool {
    matches!(kind, MemberKind::Directory | MemberKind::Symlink)
}

/// An ACL in the form of its attribute.
#[derive(Debug, PartialEq, Eq)]
enum Acl {
    /// The kernel refuses it.
    Invalid,
    /// The kernel does not support it, which engines ignore.
    OfAnotherVersion,
    /// A valid one, with the number of its entries.
    Entries(usize),
}

/// Reads an ACL as Linux does (`posix_acl_from_xattr` and `posix_acl_valid` in fs/posix_acl.c).
fn acl(value: &[u8]) -> Acl {
    let Some((version, entries)) = value.split_first_chunk::<4>() else { return Acl::Invalid };
    if u32::from_le_bytes(*version) != 2 {
        return Acl::OfAnotherVersion;
    }
    if entries.len() % 8 != 0 {
        return Acl::Invalid;
    }
    // What must come next, and whether an entry for one user or group asks for a mask.
    let (mut next, mut needs_mask) = (Next::Owner, false);
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let is_named = entry[4..] != [0xff; 4];
        if permissions > 7 {
            return Acl::Invalid;
        }
        next = match (tag, next) {
            (0x01, Next::Owner) => Next::User,
            (0x02, Next::User) if is_named => {
                needs_mask = true;
                Next::User
            }
            (0x04, Next::User) => Next::Group,
            (0x08, Next::Group) if is_named => {
                needs_mask = true;
                Next::Group
            }
            (0x10, Next::Group) => Next::Other,
            (0x20, Next::Other) => Next::End,
            (0x20, Next::Group) if !needs_mask => Next::End,
            _ => return Acl::Invalid,
        };
    }
    match (entries.len() / 8, next) {
        (0, _) => Acl::Entries(0),
        (count, Next::End) => Acl::Entries(count),
        _ => Acl::Invalid,
    }
}

/// The entry of an ACL that must come next.
#[derive(Clone, Copy)]
enum Next {
    /// The entry of the file's owner.
    Owner,
    /// The entry of a named user, or that of the file's group.
    User,
    /// The entry of a named group, the mask, or the entry of all others.
    Group,
    /// The entry of all others.
    Other,
    /// No entry.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(magic: u32, length: usize) -> Vec<u8> {
        let mut value = magic.to_le_bytes().to_vec();
        value.resize(length, 0);
        value
    }

    #[test]
    fn a_capability_has_one_length_for_each_version() {
        for (magic, length) in [(0x0200_0000, 20), (0x0200_0001, 20), (0x0300_0001, 24)] {
            assert!(is_capability(&capability(magic, length)), "{magic:#x} {length}");
        }
        for (magic, length) in [
            (0x0200_0001, 16),
            (0x0200_0001, 24),
            (0x0100_0001, 12),
            (0x0300_0001, 20),
            (0x0400_0000, 24),
            (0x0200_0003, 20),
            (0, 20),
        ] {
            assert!(!is_capability(&capability(magic, length)), "{magic:#x} {length}");
        }
        assert!(!is_capability(b"cap"));
    }

    /// An ACL of (tag, permissions, ID).
    fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    const ANY: u32 = u32::MAX;
    const OWNER: (u16, u16, u32) = (1, 6, ANY);
    const GROUP: (u16, u16, u32) = (4, 4, ANY);
    const MASK: (u16, u16, u32) = (16, 4, ANY);
    const OTHER: (u16, u16, u32) = (32, 4, ANY);
    const USER: (u16, u16, u32) = (2, 4, 1_000);
    const TEAM: (u16, u16, u32) = (8, 4, 1_000);

    #[test]
    fn an_acl_has_the_order_of_the_kernel() {
        for good in [
            &[][..],
            &[OWNER, GROUP, OTHER],
            &[OWNER, USER, USER, GROUP, MASK, OTHER],
            &[OWNER, GROUP, TEAM, MASK, OTHER],
            &[OWNER, GROUP, MASK, OTHER],
        ] {
            assert_eq!(acl(&value(good)), Acl::Entries(good.len()), "{good:?}");
        }
        for bad in [
            &[OWNER][..],
            &[GROUP, OTHER],
            &[GROUP, OWNER, OTHER],
            &[OWNER, USER, GROUP, OTHER],
            &[OWNER, GROUP, USER, MASK, OTHER],
            &[OWNER, (2, 4, ANY), GROUP, MASK, OTHER],
            &[OWNER, GROUP, OTHER, OTHER],
            &[(1, 8, ANY), GROUP, OTHER],
            &[(3, 4, ANY), GROUP, OTHER],
        ] {
            assert_eq!(acl(&value(bad)), Acl::Invalid, "{bad:?}");
        }
        let whole = value(&[OWNER, GROUP, OTHER]);
        assert_eq!(acl(&whole[..whole.len() - 1]), Acl::Invalid);
        assert_eq!(acl(&whole[..3]), Acl::Invalid);
        assert_eq!(acl(b"user::rw-"), Acl::OfAnotherVersion);
    }

    #[test]
    fn attributes_are_judged_by_the_kind_of_member() {
        let full = value(&[OWNER, GROUP, OTHER]);
        let default = b"system.posix_acl_default";
        assert!(wrong(MemberKind::File, default, &full).is_some());
        assert!(wrong(MemberKind::File, default, &value(&[])).is_none());
        assert!(wrong(MemberKind::Directory, default, &full).is_none());
        assert!(wrong(MemberKind::Symlink, default, &full).is_none());
        for kind in [MemberKind::Symlink, MemberKind::Fifo, MemberKind::CharDevice] {
            assert!(wrong(kind, b"user.x", b"1").is_some());
            assert!(wrong(kind, b"user.x", b"").is_none());
            assert!(wrong(kind, b"trusted.x", b"1").is_none());
        }
        assert!(wrong(MemberKind::File, b"user.x", b"1").is_none());
        assert!(wrong(MemberKind::File, b"user.", b"1").is_some());
        assert!(wrong(MemberKind::File, b"", b"").is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_value_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            for name in [&b"security.capability"[..], b"system.posix_acl_access", b"user.x"] {
                let _ = wrong(MemberKind::File, name, &bytes);
            }
        }
    }
}
