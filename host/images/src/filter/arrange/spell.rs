//! One spelling of each member, whatever built the layer.

use occystrap_base::error::{Error, Result};
use occystrap_layer::overlay::Symlinks;
use occystrap_layer::overlay::whiteout::{Whiteout, is_aufs};
use occystrap_layer::tar::member::{Records, plain};
use occystrap_layer::tar::{Member, MemberKind};

/// Bits of a mode that a file system has: permissions, set-user-ID, set-group-ID, sticky.
const MODE_BITS: u32 = 0o7777;

/// Mode of a symbolic link in Linux. Engines ignore what a layer says (there is no `lchmod`).
pub const SYMLINK_MODE: u32 = 0o777;

/// PAX records of times besides the modification time: two of POSIX, one of libarchive.
pub const TIME_RECORDS: [&[u8]; 3] = [b"atime", b"ctime", b"LIBARCHIVE.creationtime"];

/// PAX records about the machine on which a layer was built (star, bsdtar), besides times.
const OF_THE_MACHINE: [&[u8]; 5] =
    [b"comment", b"SCHILY.dev", b"SCHILY.ino", b"SCHILY.nlink", b"SCHILY.filetype"];

/// Spells the members of one layer.
#[derive(Default)]
pub struct Spelling {
    symlinks: Symlinks,
}

impl Spelling {
    /// Changes a member to the one spelling. Returns its plain path. Errors above the limit of [`Symlinks`].
    pub fn spell(&mut self, member: &mut Member) -> Result<Vec<u8>> {
        let plain_path = member.plain_path();
        // Engines follow the symbolic links that the layer had so far.
        let path = match self.symlinks.is_empty() {
            true => plain_path,
            false => self.symlinks.follow(&plain_path),
        };
        self.symlinks.see(&path, member).ok_or_else(|| {
            Error::source("canonical: a layer has more symbolic links than any image needs")
        })?;
        member.path = if path.is_empty() { b".".to_vec() } else { path.clone() };
        member.owner.clear();
        member.group.clear();
        member.mode &= MODE_BITS;
        for record in OF_THE_MACHINE.into_iter().chain(TIME_RECORDS) {
            member.records.remove(record);
        }
        if !matches!(member.kind, MemberKind::CharDevice | MemberKind::BlockDevice) {
            member.device = (0, 0);
        }
        match member.kind {
            MemberKind::Symlink => member.mode = SYMLINK_MODE,
            MemberKind::HardLink => {
                let target = plain(&member.link);
                member.link = match self.symlinks.is_empty() {
                    true => target,
                    false => self.symlinks.follow(&target),
                };
            }
            _ => member.link.clear(),
        }
        if Whiteout::of(&path).is_some() && !is_aufs(&path) {
            // Engines read nothing but the name. Its content is left out together with its size.
            let path = std::mem::take(&mut member.path);
            *member = Member::new(MemberKind::File, path);
        }
        Ok(path)
    }
}

/// Returns whether a root says what engines do without it.
pub fn is_usual_root(root: &Member) -> bool {
    let Member { mode, uid, gid, records, .. } = root;
    root.kind == MemberKind::Directory
        && (*mode, *uid, *gid) == (0o755, 0, 0)
        && *records == Records::new()
}
