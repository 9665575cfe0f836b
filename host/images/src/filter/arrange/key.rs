//! The order of the canonical form: folders before what is in them, and names by their bytes, as a walk of the file system
//! gives them. In each folder, the opaque whiteout comes first and other whiteouts come next (OCI image specification,
//! "Opaque Whiteout": before siblings), because an engine that applies a whiteout later would delete what the same layer
//! adds.

use occystrap_layer::overlay::whiteout::{Whiteout, is_aufs};

/// What ends the name in a key. No part of a name begins with NUL, so that a folder comes before what is in it.
const END: [u8; 2] = [0, 0];

/// Returns the key of a plain path, in the order of the canonical form. The root is empty.
pub fn of(path: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(path.len() + 8);
    if path.is_empty() {
        return key;
    }
    let last = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let is_whiteout = Whiteout::of(path).is_some() && !is_aufs(path);
    let mut at = 0;
    for part in path.split(|byte| *byte == b'/') {
        if at > 0 {
            key.push(0);
        }
        let first = if at == last && is_whiteout { 1 } else { 2 };
        key.push(first);
        key.extend_from_slice(part);
        at += part.len() + 1;
    }
    key
}

/// Returns the plain path of a key.
pub fn path(key: &[u8]) -> Vec<u8> {
    let parts = key.split(|byte| *byte == 0).map(|part| part.get(1..).unwrap_or_default());
    parts.collect::<Vec<_>>().join(&b'/')
}

/// Returns whether a key is that of a whiteout.
pub fn is_whiteout(key: &[u8]) -> bool {
    let last = key.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
    key.get(last) == Some(&1)
}

/// Returns the key of the whiteout that hides the path of a key, or, if it is opaque, everything in it.
pub fn of_whiteout(hidden: &[u8], is_opaque: bool) -> Vec<u8> {
    let mut key = hidden.to_vec();
    if is_opaque {
        key.extend(if hidden.is_empty() { [1].as_slice() } else { [0, 1].as_slice() });
        return key;
    }
    let last = key.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
    if let Some(first) = key.get_mut(last) {
        *first = 1;
    }
    key
}

/// Returns a key with the number of a member, for several members of one name.
pub fn numbered(key: &[u8], number: u64) -> Vec<u8> {
    [key, &END, &number.to_be_bytes()].concat()
}

/// Takes a numbered key apart.
pub fn parts(numbered: &[u8]) -> (&[u8], u64) {
    let (rest, number) = numbered.split_last_chunk::<8>().unwrap_or((&[], &[0; 8]));
    (rest.strip_suffix(&END).unwrap_or(rest), u64::from_be_bytes(*number))
}

/// Returns whether a key is that of a folder above another one. The root is above all.
pub fn is_above(folder: &[u8], key: &[u8]) -> bool {
    match key.strip_prefix(folder) {
        Some([0, ..]) => true,
        Some([_, ..]) => folder.is_empty(),
        _ => false,
    }
}

/// Returns the keys of the folders above a key, the uppermost first, without the root.
pub fn above(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = key.iter().enumerate().filter(|(_, byte)| **byte == 0);
    ends.map(|(at, _)| &key[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_a_walk_with_whiteouts_first() {
        let names: [&[u8]; 11] = [
            b"",
            b".wh..wh..opq",
            b".wh.z",
            b"-",
            b".wh..wh.plnk",
            b"a",
            b"a/.wh.-x",
            b"a/-x",
            b"a/b",
            b"a-b",
            b"a.b",
        ];
        let mut keys: Vec<_> = names.iter().map(|name| numbered(&of(name), 7)).collect();
        keys.reverse();
        keys.sort();
        let sorted: Vec<_> = keys.iter().map(|key| path(parts(key).0)).collect();
        assert_eq!(sorted, names);
        assert_eq!(parts(&keys[3]), (of(b"-").as_slice(), 7));
    }

    #[test]
    fn folders_are_above_what_is_in_them() {
        let above_of = |path: &[u8]| above(&of(path)).map(super::path).collect::<Vec<_>>();
        assert_eq!(above_of(b"a/b/c"), [b"a".to_vec(), b"a/b".to_vec()]);
        assert!(is_above(&of(b"a"), &of(b"a/b")) && is_above(b"", &of(b"a")));
        assert!(!is_above(&of(b"a"), &of(b"ab")) && !is_above(&of(b"a"), &of(b"a")));
    }
}
