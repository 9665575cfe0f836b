//! Rules about one member of a layer, by itself.

use super::finding::Finding;
use occystrap_layer::overlay::path::{has_parent, leads_out};
use occystrap_layer::tar::member::plain;
use occystrap_layer::tar::{Member, MemberKind};

/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const ALL_WRITE: u32 = 0o002;

/// The largest user and group that Linux has.
const LARGEST_OWNER: i64 = u32::MAX as i64 - 1;

/// Bytes of a name in a folder that Linux takes (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// Bytes of a path, or of what a link leads to, that Linux takes (`PATH_MAX`, less its NUL).
const LONGEST_PATH: usize = 4095;

/// Bytes of an extended attribute's value that Linux takes (`XATTR_SIZE_MAX`).
const LARGEST_XATTR: usize = 64 * 1024;

/// Extended attributes are PAX records of this prefix (star, GNU tar, Go).
const XATTR: &[u8] = b"SCHILY.xattr.";

/// All rules of a member, and of the type flag that its header has. `say` gets what is found.
pub fn check(member: &Member, flag: u8, say: &mut dyn FnMut(Finding)) {
    let mut say = |finding: Finding| say(finding.path(&member.path));
    name(member, &mut say);
    link(member, &mut say);
    times(member, &mut say);
    permissions(member, &mut say);
    kind(member, flag, &mut say);
    attributes(member, &mut say);
}

/// Where a name leads, read part by part: `None` above the root, else how deep it is.
fn depth(path: &[u8], from: usize) -> Option<usize> {
    path.split(|byte| *byte == b'/').try_fold(from, |depth, part| match part {
        b"" | b"." => Some(depth),
        b".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    })
}

fn name(member: &Member, say: &mut dyn FnMut(Finding)) {
    let path = &member.path;
    if path.is_empty() {
        say(Finding::error("tar-path", "has no name"));
    } else if depth(path, 0).is_none() {
        say(Finding::error("tar-path", "leads out of the image"));
    } else if has_parent(path) {
        say(Finding::warning("tar-path", "has '..' in its name, which some readers refuse"));
    }
    if plain(path).is_empty() && !path.is_empty() && member.kind != MemberKind::Directory {
        say(Finding::error("tar-path", "is the image's root, and no directory"));
    }
    let longest = path.split(|byte| *byte == b'/').map(<[u8]>::len).max().unwrap_or_default();
    for (what, found, most) in [("name", longest, LONGEST_NAME), ("path", path.len(), LONGEST_PATH)]
    {
        if found > most {
            let message = format!("has a {what} of {found} bytes, of which Linux takes {most}");
            say(Finding::error("tar-path", message));
        }
    }
    if path.starts_with(b"/") && path.as_slice() != b"/" {
        say(Finding::warning("tar-path", "begins at the root of whoever unpacks it"));
    }
    match std::str::from_utf8(path) {
        Ok(text) if text.chars().any(char::is_control) => {
            say(Finding::warning("tar-name", "has control characters in its name"));
        }
        Ok(_) => {}
        Err(_) => say(Finding::info("tar-name", "has a name that is not UTF-8")),
    }
}

fn link(member: &Member, say: &mut dyn FnMut(Finding)) {
    match member.kind {
        MemberKind::HardLink if member.link.is_empty() || leads_out(&plain(&member.link)) => {
            let target = String::from_utf8_lossy(&member.link);
            let message = format!("is a hard link to '{target}', which leads out of the image");
            say(Finding::error("tar-link", message));
        }
        MemberKind::Symlink if member.link.is_empty() => {
            say(Finding::error("tar-link", "is a symbolic link to nothing"));
        }
        MemberKind::Symlink if member.link.len() > LONGEST_PATH => {
            let found = member.link.len();
            let message =
                format!("is a symbolic link of {found} bytes, of which Linux takes {LONGEST_PATH}");
            say(Finding::error("tar-link", message));
        }
        MemberKind::Symlink if !member.link.starts_with(b"/") => {
            // A relative one starts in the folder of the link.
            let own = depth(&member.path, 0).unwrap_or_default().saturating_sub(1);
            if depth(&member.link, own).is_none() {
                let target = String::from_utf8_lossy(&member.link);
                let message = format!(
                    "is a symbolic link to '{target}', above the image's root: it means something else wherever the image is unpacked"
                );
                say(Finding::warning("tar-link", message));
            }
        }
        _ => {}
    }
}

fn times(member: &Member, say: &mut dyn FnMut(Finding)) {
    if member.mtime.seconds < 0 {
        let message = format!("was modified before 1970: {}", member.mtime.seconds);
        say(Finding::error("tar-timestamp", message));
    }
}

fn permissions(member: &Member, say: &mut dyn FnMut(Finding)) {
    let mode = member.mode & 0o7777;
    let open = mode & ALL_WRITE != 0;
    let (file, folder) = (member.kind == MemberKind::File, member.kind == MemberKind::Directory);
    if mode & SET_ID != 0 && open {
        let message = format!(
            "is set-user-ID or set-group-ID, and everybody may write to it (mode {mode:04o})"
        );
        say(Finding::warning("tar-permissions", message));
    } else if open && (file || folder && mode & STICKY == 0) {
        let message = format!("everybody may write to it (mode {mode:04o})");
        say(Finding::warning("world-writable", message));
    }
    if file && mode & SET_ID != 0 {
        say(Finding::info("setuid", format!("runs as its owner or group (mode {mode:04o})")));
    }
    let odd = |id: i64| !(0..=LARGEST_OWNER).contains(&id);
    if odd(member.uid) || odd(member.gid) {
        let message = format!("is owned by {}:{}, whom no system has", member.uid, member.gid);
        say(Finding::warning("tar-owner", message));
    }
}

fn kind(member: &Member, flag: u8, say: &mut dyn FnMut(Finding)) {
    // Docker and Podman make files of '0' alone, whatever else means one.
    let refused = match flag {
        b'7' => Some("a contiguous file"),
        b'S' => Some("a sparse file in GNU's old form"),
        _ => None,
    };
    if let Some(what) = refused {
        let message = format!("is {what} (type '{}'), which engines refuse", flag.escape_ascii());
        say(Finding::error("tar-type", message));
    }
    match member.kind {
        MemberKind::Other(flag) => {
            let message = format!("is of type '{}', which engines refuse", flag.escape_ascii());
            say(Finding::error("tar-type", message));
        }
        MemberKind::CharDevice if member.device == (0, 0) => {
            let message = "is overlayfs's mark for a deleted file, and none of an image";
            say(Finding::warning("whiteout", message));
        }
        MemberKind::CharDevice | MemberKind::BlockDevice => {
            let (major, minor) = member.device;
            let message =
                format!("is a {} ({major}:{minor}), which only root can make", member.kind.name());
            say(Finding::info("device", message));
        }
        _ => {}
    }
}

fn attributes(member: &Member, say: &mut dyn FnMut(Finding)) {
    for (key, value) in &member.records {
        let Some(name) = key.strip_prefix(XATTR) else { continue };
        if value.len() > LARGEST_XATTR || name.len() > LONGEST_NAME {
            let (name, found) = (String::from_utf8_lossy(name), value.len());
            let message = match found > LARGEST_XATTR {
                true => format!(
                    "has an attribute '{name}' of {found} bytes, of which Linux takes {LARGEST_XATTR}"
                ),
                false => format!(
                    "has an attribute with a name of {} bytes, of which Linux takes {LONGEST_NAME}",
                    name.len()
                ),
            };
            say(Finding::error("tar-attribute", message));
        }
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            let name = String::from_utf8_lossy(name);
            let message = format!("has overlayfs's own attribute '{name}', and none of an image");
            say(Finding::warning("overlay-attribute", message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_followed_part_by_part() {
        assert_eq!(depth(b"a/b", 0), Some(2));
        assert_eq!(depth(b"./a/../b/", 0), Some(1));
        assert_eq!(depth(b"a/../../b", 0), None);
        assert_eq!(depth(b"../x", 1), Some(1));
        assert_eq!(depth(b"..", 0), None);
    }
}
