//! Writing large amounts to files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a file that are written at once, from one multiple to the next. Linux's page cache takes
/// memory in pieces as large as what is written: of large ones a virtual machine soon has none but
/// those that it gave back to its host, and fetching them made a pull a third slower. Small ones are
/// at hand, and cost no more (docs/performance.md).
const AT_ONCE: u64 = 64 * 1024;

/// Write all bytes to a file from `at` on.
pub(super) fn put(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let room = AT_ONCE - at % AT_ONCE;
        let (now, rest) = bytes.split_at(bytes.len().min(room as usize));
        file.write_all_at(now, at)?;
        at += now.len() as u64;
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn all_is_written_where_it_belongs() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        for (at, size) in [(0, 0), (0, 65_536), (7, 65_536), (65_535, 2), (512, bytes.len())] {
            let mut file = tempfile::tempfile().unwrap();
            put(&file, &bytes[..size], at).unwrap();
            let mut found = Vec::new();
            file.read_to_end(&mut found).unwrap();
            let before = if size == 0 { 0 } else { at as usize };
            assert_eq!(found.len(), before + size);
            assert!(
                found[before..] == bytes[..size] && found[..before].iter().all(|byte| *byte == 0)
            );
        }
    }
}
