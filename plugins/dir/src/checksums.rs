//! `SHA256SUMS`. It is rewritten line by line: like the catalog, it can have lines for 100,000 images, and
//! only a few kilobytes of it are in memory at a time.
//!
//! Lines for other files are kept unchanged. This module refuses a file above [`LONGEST`], and a line above
//! [`LONGEST_LINE`].

use std::collections::BTreeMap;

use occystrap_plugin::hex;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::catalog::LONGEST;
use crate::json_stream::{Output, Source, StoredFile};
use crate::layout::CHECKSUMS;
use crate::output::Buffered;

/// The longest line that is read, in bytes. A line has a digest and a path, which Linux limits to 4,096
/// bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// The digests as hexadecimal digits, by path.
type Sums<'a> = BTreeMap<&'a [u8], &'a str>;

/// Fails if the existing file is so large that the lines of another image do not fit.
pub fn check(directory: &Directory) -> Result<(), Error> {
    /// The number of bytes that an image may need: 1,000 lines of 140 bytes for layers, and the lines of a
    /// config and a manifest.
    const ROOM: u64 = 256 * 1024;
    match directory.stat(CHECKSUMS)? {
        Some(stat) if stat.size > LONGEST - ROOM => Err(Error::Other(format!(
            "the existing '{CHECKSUMS}' has {} bytes, and occystrap writes at most {LONGEST}; \
             move it away, or write to another directory",
            stat.size
        ))),
        _ => Ok(()),
    }
}

/// Rewrites the file so that it has one line for each of these paths and digests. A new line goes to the
/// position that it has in a sorted file.
pub fn write(directory: &Directory, files: &[(String, String)]) -> Result<(), Error> {
    let sums: Sums = files.iter().map(|(path, digest)| (path.as_bytes(), hex(digest))).collect();
    let mut to = Buffered::create(directory, CHECKSUMS)?;
    let is_there = directory.stat(CHECKSUMS)?.is_some();
    let lines = || match is_there {
        true => Lines::new(StoredFile { directory, path: CHECKSUMS }),
        false => Lines::new(&b""[..]),
    };
    edit(lines, sums, &mut to)?;
    to.finish()
}

fn edit<'a>(
    lines: impl Fn() -> Lines<'a>,
    mut missing: Sums,
    to: &mut dyn Output,
) -> Result<(), Error> {
    let ours = missing.clone();
    // A path that has a line already keeps the position of that line.
    let mut old = lines();
    while let Some(line) = old.next()? {
        if let Some(path) = path(line) {
            missing.remove(path);
        }
    }
    let mut written: BTreeMap<&[u8], ()> = BTreeMap::new();
    let mut old = lines();
    while let Some(line) = old.next()? {
        let Some(path) = path(line) else {
            to.write(line)?;
            to.write(b"\n")?;
            continue;
        };
        while let Some(first) = missing.first_entry().filter(|first| *first.key() < path) {
            let (path, sum) = first.remove_entry();
            write_line(path, sum, to)?;
        }
        match ours.get_key_value(path) {
            None => {
                to.write(line)?;
                to.write(b"\n")?;
            }
            Some((path, sum)) if written.insert(path, ()).is_none() => write_line(path, sum, to)?,
            Some(_) => {}
        }
    }
    for (path, sum) in missing {
        write_line(path, sum, to)?;
    }
    Ok(())
}

fn write_line(path: &[u8], sum: &str, to: &mut dyn Output) -> Result<(), Error> {
    for part in [sum.as_bytes(), b"  ", path, b"\n"] {
        to.write(part)?;
    }
    Ok(())
}

/// Returns the path of a line as `sha256sum` writes it: a digest, a space, a space or an asterisk, the path.
/// `None` for other lines.
fn path(line: &[u8]) -> Option<&[u8]> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    match line.get(space + 1)? {
        b' ' | b'*' => Some(&line[space + 2..]),
        _ => None,
    }
}

/// The lines of a file, read in pieces.
struct Lines<'a> {
    source: Box<dyn Source + 'a>,
    piece: Vec<u8>,
    at: usize,
    next: u64,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn new(source: impl Source + 'a) -> Self {
        Self { source: Box::new(source), piece: Vec::new(), at: 0, next: 0, line: Vec::new() }
    }

    /// Returns the next line without its line feed; `None` at the end.
    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        loop {
            if self.at == self.piece.len() {
                self.piece = self.source.read_at(self.next)?;
                self.at = 0;
                self.next += self.piece.len() as u64;
                if self.piece.is_empty() {
                    return Ok(Some(&self.line[..]).filter(|line| !line.is_empty()));
                }
            }
            let rest = &self.piece[self.at..];
            let length = rest.iter().take_while(|byte| **byte != b'\n').count();
            self.line.extend_from_slice(&rest[..length]);
            if self.line.len() > LONGEST_LINE {
                return Err(Error::Other(format!(
                    "the existing '{CHECKSUMS}' has a line of more than {LONGEST_LINE} bytes; \
                     move it away first"
                )));
            }
            self.at += length;
            if self.at < self.piece.len() {
                self.at += 1;
                return Ok(Some(&self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_stream::tests::Pieces;

    fn edited(old: &str, files: &[(&str, &str)]) -> String {
        let sums: Sums = files.iter().map(|(path, sum)| (path.as_bytes(), *sum)).collect();
        let mut made = Vec::new();
        let lines = || Lines::new(Pieces(old.as_bytes(), 4));
        assert!(edit(lines, sums, &mut made).is_ok());
        String::from_utf8(made).unwrap()
    }

    #[test]
    fn lines_go_where_a_sorted_file_has_them() {
        let files = [("b", "2"), ("d", "4")];
        assert_eq!(edited("", &files), "2  b\n4  d\n");
        assert_eq!(edited("1  a\n3  c\n5  e\n", &files), "1  a\n2  b\n3  c\n4  d\n5  e\n");
        assert_eq!(edited("1  a\n9  b\n9  d", &files), "1  a\n2  b\n4  d\n");
    }

    #[test]
    fn lines_of_others_stay_and_no_path_has_two() {
        let old = "# by hand\n\n7  z\n9 *b\n8  a b\n9  b\n";
        assert_eq!(
            edited(old, &[("b", "2"), ("d", "4")]),
            "# by hand\n\n4  d\n7  z\n2  b\n8  a b\n"
        );
    }
}
