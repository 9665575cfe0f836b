//! One spelling of each member, whatever built the layer.

use occystrap_base::error::{Error, Result};
use occystrap_layer::overlay::Symlinks;
use occystrap_layer::overlay::path::folders;
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

/// Extended attributes in the spelling of libarchive. bsdtar writes each of them as `SCHILY.xattr.` as well, and engines read
/// only those.
const OF_LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";

/// Spells the members of one layer.
#[derive(Default)]
pub struct Spelling {
    symlinks: Symlinks,
}

impl Spelling {
    /// Changes a member to the one spelling. Returns its plain path. Errors above the limit of [`Symlinks`], and
    /// when symbolic links lead round for ever.
    pub fn spell(&mut self, member: &mut Member) -> Result<Vec<u8>> {
        let plain_path = member.plain_path();
        let is_whiteout = Whiteout::of(&plain_path).is_some() && !is_aufs(&plain_path);
        // Engines follow the symbolic links that the layer had so far. For whiteouts, not all of them do.
        let path = if is_whiteout { plain_path } else { self.follow(plain_path)? };
        if member.kind == MemberKind::HardLink {
            member.link = self.follow(plain(&member.link))?;
        }
        // Another name of a symbolic link is one as well.
        let linked =
            self.symlinks.target(&member.link).filter(|_| member.kind == MemberKind::HardLink);
        let seen = match linked.map(<[u8]>::to_vec) {
            Some(to) => {
                let link = Member { link: to, ..Member::new(MemberKind::Symlink, path.as_slice()) };
                self.symlinks.see(&path, &link)
            }
            None => self.symlinks.see(&path, member),
        };
        seen.ok_or_else(|| {
            Error::source("canonical: a layer has more symbolic links than any image needs")
        })?;
        member.path = if path.is_empty() { b".".to_vec() } else { path.clone() };
        member.owner.clear();
        member.group.clear();
        member.mode &= MODE_BITS;
        for record in OF_THE_MACHINE.into_iter().chain(TIME_RECORDS) {
            member.records.remove(record);
        }
        member.records.retain(|keyword, _| !keyword.starts_with(OF_LIBARCHIVE));
        if !matches!(member.kind, MemberKind::CharDevice | MemberKind::BlockDevice) {
            member.device = (0, 0);
        }
        match member.kind {
            MemberKind::Symlink => member.mode = SYMLINK_MODE,
            MemberKind::HardLink => {}
            _ => member.link.clear(),
        }
        if is_whiteout {
            // Engines read nothing but the name. Its content is left out together with its size.
            let path = std::mem::take(&mut member.path);
            *member = Member::new(MemberKind::File, path);
        }
        Ok(path)
    }

    /// Follows the symbolic links of the layer. Errors when they lead round for ever: no engine can unpack that.
    fn follow(&self, path: Vec<u8>) -> Result<Vec<u8>> {
        if self.symlinks.is_empty() {
            return Ok(path);
        }
        let followed = self.symlinks.follow(&path);
        if !folders(&followed).any(|folder| self.symlinks.target(folder).is_some()) {
            return Ok(followed);
        }
        let path = String::from_utf8_lossy(&path).into_owned();
        Err(Error::source(format!(
            "canonical: '{path}' leads through symbolic links that lead to each other"
        ))
        .hint("no engine can unpack that: build the image again"))
    }
}

/// Returns whether a root says what engines do without it.
pub fn is_usual_root(root: &Member) -> bool {
    let Member { mode, uid, gid, records, .. } = root;
    root.kind == MemberKind::Directory
        && (*mode, *uid, *gid) == (0o755, 0, 0)
        && *records == Records::new()
}
