//! Rules about one member of a layer by itself, whiteouts included (OCI image specification, "Whiteouts"). Its extended
//! attributes are in `attributes.rs`.

use super::attributes;
use super::finding::Finding;
use occystrap_layer::overlay::path::{LONGEST_PATH, TooLong, has_parent, leads_out, too_long};
use occystrap_layer::overlay::whiteout::{is_aufs, target};
use occystrap_layer::tar::member::plain;
use occystrap_layer::tar::{Member, MemberKind};

/// The permission bits set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
const ALL_WRITE: u32 = 0o002;

/// The largest user or group ID that Linux has.
const LARGEST_OWNER: i64 = u32::MAX as i64 - 1;

/// Checks a member, and the type flag of its header. Passes findings to `report`.
pub fn check(member: &Member, flag: u8, report: &mut dyn FnMut(Finding)) {
    let mut report = |finding: Finding| report(finding.path(&member.path));
    name(member, &mut report);
    link(member, &mut report);
    times(member, &mut report);
    permissions(member, &mut report);
    kind(member, flag, &mut report);
    // Engines read no attribute of a whiteout.
    if target(&member.plain_path()).is_none() {
        attributes::check(member, &mut report);
    }
    whiteout(member, &mut report);
}

/// Follows a path part by part from the depth `from` and returns the depth where it ends; `None` if it leads above the
/// root.
fn depth(path: &[u8], from: usize) -> Option<usize> {
    path.split(|byte| *byte == b'/').try_fold(from, |depth, part| match part {
        b"" | b"." => Some(depth),
        b".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    })
}

/// Checks the path of a member.
fn name(member: &Member, report: &mut dyn FnMut(Finding)) {
    let path = &member.path;
    if path.is_empty() {
        report(Finding::error("tar-path", "has no name"));
    } else if depth(path, 0).is_none() {
        report(Finding::error("tar-path", "leads out of the image"));
    } else if has_parent(path) {
        report(Finding::warning("tar-path", "has '..' in its name, which some readers refuse"));
    }
    if plain(path).is_empty() && !path.is_empty() && member.kind != MemberKind::Directory {
        report(Finding::error("tar-path", "is the image's root, but not a directory"));
    }
    for long in too_long(path) {
        let TooLong { what, found, most } = long;
        let message = format!("has a {what} of {found} bytes; Linux allows {most}");
        report(Finding::error("tar-path", message));
    }
    if path.starts_with(b"/") && path.as_slice() != b"/" {
        report(Finding::warning("tar-path", "begins with a slash"));
    }
    match std::str::from_utf8(path) {
        Ok(text) if text.chars().any(char::is_control) => {
            report(Finding::warning("tar-name", "has control characters in its name"));
        }
        Ok(_) => {}
        Err(_) => report(Finding::info("tar-name", "has a name that is not UTF-8")),
    }
}

/// Checks the target of a link.
fn link(member: &Member, report: &mut dyn FnMut(Finding)) {
    match member.kind {
        MemberKind::HardLink if member.link.is_empty() || leads_out(&plain(&member.link)) => {
            let target = String::from_utf8_lossy(&member.link);
            let message = format!("is a hard link to '{target}', which leads out of the image");
            report(Finding::error("tar-link", message));
        }
        MemberKind::Symlink if member.link.is_empty() => {
            report(Finding::error("tar-link", "is a symbolic link to nothing"));
        }
        MemberKind::Symlink if member.link.len() > LONGEST_PATH => {
            let found = member.link.len();
            let message =
                format!("is a symbolic link of {found} bytes; Linux allows {LONGEST_PATH}");
            report(Finding::error("tar-link", message));
        }
        MemberKind::Symlink if !member.link.starts_with(b"/") => {
            // A relative target starts in the folder of the link.
            let own = depth(&member.path, 0).unwrap_or_default().saturating_sub(1);
            if depth(&member.link, own).is_none() {
                let target = String::from_utf8_lossy(&member.link);
                let message = format!(
                    "is a symbolic link to '{target}', above the image's root: where it leads depends on where the image is unpacked"
                );
                report(Finding::warning("tar-link", message));
            }
        }
        _ => {}
    }
}

/// Checks the modification time.
fn times(member: &Member, report: &mut dyn FnMut(Finding)) {
    if member.mtime.seconds < 0 {
        let message = format!(
            "was modified before 1970 ({}): engines accept it, some other readers do not",
            member.mtime.seconds
        );
        report(Finding::warning("tar-timestamp", message));
    }
}

/// Checks permission bits and owner.
fn permissions(member: &Member, report: &mut dyn FnMut(Finding)) {
    let mode = member.mode & 0o7777;
    let open = mode & ALL_WRITE != 0;
    let (file, folder) = (member.kind == MemberKind::File, member.kind == MemberKind::Directory);
    if mode & SET_ID != 0 && open {
        let message = format!(
            "is set-user-ID or set-group-ID, and every user may write to it (mode {mode:04o})"
        );
        report(Finding::warning("tar-permissions", message));
    } else if open && (file || folder && mode & STICKY == 0) {
        let message = format!("every user may write to it (mode {mode:04o})");
        report(Finding::warning("world-writable", message));
    }
    if file && mode & SET_ID != 0 {
        report(Finding::info("setuid", format!("runs as its owner or group (mode {mode:04o})")));
    }
    let odd = |id: i64| !(0..=LARGEST_OWNER).contains(&id);
    if odd(member.uid) || odd(member.gid) {
        let message =
            format!("is owned by {}:{}, an ID that no system has", member.uid, member.gid);
        report(Finding::warning("tar-owner", message));
    }
}

/// Checks the type of a member.
fn kind(member: &Member, flag: u8, report: &mut dyn FnMut(Finding)) {
    // Docker and Podman create files only for the flag '0', although other flags mean a file as well.
    let refused = match flag {
        b'7' => Some("a contiguous file"),
        b'S' => Some("a sparse file in GNU's old form"),
        _ => None,
    };
    if let Some(what) = refused {
        let message = format!("is {what} (type '{}'), which engines refuse", flag.escape_ascii());
        report(Finding::error("tar-type", message));
    }
    match member.kind {
        MemberKind::Other(flag) => {
            let message = format!("is of type '{}', which engines refuse", flag.escape_ascii());
            report(Finding::error("tar-type", message));
        }
        MemberKind::CharDevice if member.device == (0, 0) => {
            let message =
                "is overlayfs's mark for a deleted file, which does not belong in an image";
            report(Finding::warning("whiteout", message));
        }
        MemberKind::CharDevice | MemberKind::BlockDevice => {
            let (major, minor) = member.device;
            let message =
                format!("is a {} ({major}:{minor}), which only root can make", member.kind.name());
            report(Finding::info("device", message));
        }
        _ => {}
    }
}

/// Checks a whiteout: a file that stands for a deletion. Reports nothing for other members.
fn whiteout(member: &Member, report: &mut dyn FnMut(Finding)) {
    let path = member.plain_path();
    let Some(target) = target(&path) else { return };
    match target {
        b"" => report(Finding::error("whiteout", "deletes nothing: no name follows '.wh.'")),
        b"." | b".." => {
            report(Finding::error(
                "whiteout",
                "deletes the folder that it is in, or the one above",
            ));
        }
        _ if is_aufs(&path) => {
            report(Finding::info("whiteout", "is a file of AUFS itself, which readers ignore"));
            return;
        }
        _ => {}
    }
    if member.kind != MemberKind::File {
        let message = format!("is a {}, but a whiteout must be a file", member.kind.name());
        report(Finding::warning("whiteout", message));
    } else if member.size > 0 {
        let message = format!("has {} bytes, but a whiteout must be empty", member.size);
        report(Finding::warning("whiteout-size", message));
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
