//! The places of the members of one layer in the image: plain paths, with the symbolic links of the layer itself
//! followed.
//!
//! What it refuses: a member that leads out of the image, a root that is not a directory, and a whiteout below a symbolic
//! link of its layer.

use super::path::{folders, leads_out};
use super::whiteout::is_aufs;
use super::{Symlinks, Whiteout};
use crate::tar::member::plain;
use crate::tar::{Member, MemberKind};

/// What a member is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacedMember {
    /// Nothing: one of AUFS's own files, or a whiteout that names no path.
    Nothing,
    /// The root of the image.
    Root,
    /// A path in the image. The number counts such members of the layer, from 0, as [`MemberList`] lists them.
    ///
    /// [`MemberList`]: super::MemberList
    At(u32),
}

/// The members of a layer so far.
#[derive(Default)]
pub struct Placer {
    symlinks: Symlinks,
    count: u32,
}

impl Placer {
    /// Takes the next member of the layer, and replaces its path and the target of a hard link by the plain paths to
    /// which they lead. Errors say what is wrong with the member.
    pub fn place(&mut self, member: &mut Member) -> Result<PlacedMember, String> {
        if member.path.is_empty() {
            return Err("a member has no name".to_owned());
        }
        let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let written = member.plain_path();
        let path = self.real(written.clone());
        if leads_out(&path) {
            return Err(format!("'{}' leads out of the image", shown(&member.path)));
        }
        if path.is_empty() {
            return match member.kind {
                MemberKind::Directory => Ok(PlacedMember::Root),
                _ => Err("the root is not a directory".to_owned()),
            };
        }
        match Whiteout::of(&path) {
            Some(whiteout) if !whiteout.is_named() => return Ok(PlacedMember::Nothing),
            Some(_) if path != written => {
                return Err(format!(
                    "the whiteout '{}' is below a symbolic link, which some engines follow and \
                     others replace",
                    shown(&member.path)
                ));
            }
            None if is_aufs(&path) => return Ok(PlacedMember::Nothing),
            _ => {}
        }
        if member.kind == MemberKind::HardLink {
            let target = self.real(plain(&member.link));
            if target.is_empty() || leads_out(&target) {
                let (link, to) = (shown(&member.path), shown(&member.link));
                return Err(format!("the hard link '{link}' leads to '{to}', out of the image"));
            }
            member.link = target;
        }
        member.path = path;
        let seen = self.symlinks.see(&member.path, member);
        seen.ok_or("the names of its symbolic links are too long to be kept")?;
        self.count += 1;
        Ok(PlacedMember::At(self.count - 1))
    }

    /// Returns the path to which a plain path leads.
    fn real(&self, path: Vec<u8>) -> Vec<u8> {
        match !self.symlinks.is_empty() && folders(&path).any(|folder| self.symlinks.has(folder)) {
            true => self.symlinks.follow(&path),
            false => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_where_the_links_of_its_layer_lead() {
        let mut placer = Placer::default();
        let mut place = |kind, path: &str, link: &str| {
            let mut member = Member { link: link.into(), ..Member::new(kind, path) };
            let placed = placer.place(&mut member)?;
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            Ok::<_, String>((placed, text(member.path), text(member.link)))
        };
        use MemberKind::{Directory, File, HardLink, Symlink};
        let at = |number, path: &str, link: &str| {
            (PlacedMember::At(number), path.to_owned(), link.to_owned())
        };
        assert_eq!(place(Directory, "./", "").unwrap().0, PlacedMember::Root);
        assert_eq!(place(Symlink, "./bin", "usr/bin").unwrap(), at(0, "bin", "usr/bin"));
        assert_eq!(place(File, "bin//sh", "").unwrap(), at(1, "usr/bin/sh", ""));
        assert_eq!(place(HardLink, "sh", "bin/sh").unwrap(), at(2, "sh", "usr/bin/sh"));
        assert_eq!(place(File, "usr/.wh.old", "").unwrap(), at(3, "usr/.wh.old", ""));
        assert_eq!(place(File, "a/.wh..wh.plnk", "").unwrap().0, PlacedMember::Nothing);
        assert_eq!(place(File, "a/.wh.", "").unwrap().0, PlacedMember::Nothing);
        for (kind, path, link, why) in [
            (File, "", "", "a member has no name"),
            (File, "../x", "", "'../x' leads out of the image"),
            (
                File,
                "bin/.wh.x",
                "",
                "the whiteout 'bin/.wh.x' is below a symbolic link, which some engines follow and \
                 others replace",
            ),
            (File, ".", "", "the root is not a directory"),
            (HardLink, "x", "../y", "the hard link 'x' leads to '../y', out of the image"),
            (HardLink, "x", "", "the hard link 'x' leads to '', out of the image"),
        ] {
            assert_eq!(place(kind, path, link).unwrap_err(), why);
        }
        assert_eq!(place(File, "z", "").unwrap(), at(4, "z", ""));
    }
}
