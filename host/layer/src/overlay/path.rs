//! Paths in an image, as bytes: plain ones, from the root and without `.` or empty components
//! ([`Member::plain_path`]).
//!
//! [`Member::plain_path`]: crate::tar::Member::plain_path

/// Returns the folders of a path, the uppermost first, without the root.
pub fn folders(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}

/// Returns the folder and the last component of a path. The root folder is empty.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Returns whether `..` is a component of a path.
#[must_use]
pub fn has_parent(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// Returns whether a plain path leads out of the image.
#[must_use]
pub fn leads_out(path: &[u8]) -> bool {
    path == b".." || path.starts_with(b"../")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_names() {
        assert_eq!(folders(b"usr/lib/x").collect::<Vec<_>>(), [&b"usr"[..], b"usr/lib"]);
        assert_eq!(folders(b"usr").count() + folders(b"").count(), 0);
        assert_eq!(split(b"usr/lib/x"), (&b"usr/lib"[..], &b"x"[..]));
        assert_eq!(split(b"usr"), (&b""[..], &b"usr"[..]));
    }

    #[test]
    fn only_a_whole_component_leads_up() {
        assert!(has_parent(b"a/..") && has_parent(b"../b"));
        assert!(leads_out(b"..") && leads_out(b"../a") && !leads_out(b"..a") && !leads_out(b""));
    }
}
