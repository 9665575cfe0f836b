//! Paths in an image, as bytes: plain ones, from the root and without `.` or empty components
//! ([`Member::plain_path`]).
//!
//! [`Member::plain_path`]: crate::tar::Member::plain_path

use std::convert::Infallible;

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

/// The longest file name that Linux allows, in bytes (`NAME_MAX`).
pub const LONGEST_NAME: usize = 255;

/// The longest path or link target that Linux allows, in bytes (`PATH_MAX` without its NUL).
pub const LONGEST_PATH: usize = 4095;

/// A path, or a name in it, that is longer than Linux allows: no file system has room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// `name` or `path`.
    pub what: &'static str,
    /// Its length in bytes.
    pub found: usize,
    /// The most bytes that Linux allows.
    pub most: usize,
}

/// Returns what of a path is too long: its longest name, the whole path, both or nothing.
pub fn too_long(path: &[u8]) -> impl Iterator<Item = TooLong> {
    let longest = path.split(|byte| *byte == b'/').map(<[u8]>::len).max().unwrap_or_default();
    let name = TooLong { what: "name", found: longest, most: LONGEST_NAME };
    let whole = TooLong { what: "path", found: path.len(), most: LONGEST_PATH };
    [name, whole].into_iter().filter(|one| one.found > one.most)
}

/// Most symbolic links that are followed for one path, as in Linux (path_resolution(7)).
pub const MOST_LINKS: usize = 40;

/// The part of a path that has been reached while the path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Whether it is the last part.
    pub is_last: bool,
    /// How many symbolic links were followed so far.
    pub links: usize,
}

/// Follows the symbolic links of a path, and returns the plain path to which it leads. `target` is asked about the plain
/// path up to each part, and returns the target of a link that is to be followed. It must stop at some number of links, such
/// as [`MOST_LINKS`]: links may lead in a circle. `..` does not lead above the root, as in a changed root. Errors as
/// `target` does.
pub fn follow<'a, E>(
    path: &'a [u8],
    mut target: impl FnMut(&[u8], Reached) -> Result<Option<&'a [u8]>, E>,
) -> Result<Vec<u8>, E> {
    let mut done = Vec::new();
    // The parts that are left, the next one last.
    let mut parts: Vec<&[u8]> = components(path).rev().collect();
    let mut links = 0;
    while let Some(part) = parts.pop() {
        if part == b".." {
            done.truncate(split(&done).0.len());
            continue;
        }
        let folder = done.len();
        if folder > 0 {
            done.push(b'/');
        }
        done.extend_from_slice(part);
        if let Some(to) = target(&done, Reached { is_last: parts.is_empty(), links })? {
            links += 1;
            done.truncate(if to.starts_with(b"/") { 0 } else { folder });
            parts.extend(components(to).rev());
        }
    }
    Ok(done)
}

/// Follows the symbolic links in the folders of a path, but not a link in its last part, and returns the plain path to
/// which it leads. `target` returns the target of the link at a plain path, if there is one. Following stops after
/// [`MOST_LINKS`] links.
pub fn follow_folders<'a>(
    path: &'a [u8],
    mut target: impl FnMut(&[u8]) -> Option<&'a [u8]>,
) -> Vec<u8> {
    let Ok(led) = follow(path, |at, reached| {
        Ok::<_, Infallible>(match reached.is_last || reached.links == MOST_LINKS {
            true => None,
            false => target(at),
        })
    });
    led
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
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

    #[test]
    fn a_path_is_followed_part_by_part_until_it_must_stop() {
        let link = |at: &[u8]| match at {
            b"bin" => Some(&b"usr/./bin/"[..]),
            b"usr/abs" => Some(&b"/opt"[..]),
            b"round" => Some(&b"round"[..]),
            _ => None,
        };
        let all = |path: &'static str| {
            follow(path.as_bytes(), |at, reached| match reached.links == MOST_LINKS {
                true => Err(at.to_vec()),
                false => Ok(link(at)),
            })
        };
        for (path, to) in
            [("bin", "usr/bin"), ("bin/../abs/x", "opt/x"), ("../..//a/.", "a"), ("", "")]
        {
            assert_eq!(all(path), Ok(to.as_bytes().to_vec()), "{path}");
        }
        assert_eq!(all("round/x"), Err(b"round".to_vec()));
        assert_eq!(follow_folders(b"bin/bin", link), b"usr/bin/bin");
        assert_eq!(follow_folders(b"bin", link), b"bin");
        assert_eq!(follow_folders(b"round/x", link), b"round/x");
    }
}
