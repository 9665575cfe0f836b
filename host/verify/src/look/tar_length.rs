//! Whether a plain layer is all there, from the headers of its tar alone: each says how long what
//! follows it is, and none of that is read.
//!
//! Without a receipt nothing else says how large a layer is. What it cannot say: whether the content
//! is right, or what a reader of every header would say of them.

use std::io;
use std::os::unix::fs::FileExt as _;

use crate::verdict::object::Status;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;
use occystrap_base::files::Section;
use occystrap_images::source::tar_headers::{BLOCK, Headers, Step};

/// The offset in an extension block of GNU's sparse files that says whether one more follows.
const SPARSE_GOES_ON: usize = 504;

/// What is wrong with the length of a layer, or not known of it. Errors when it is interrupted.
pub fn doubt(layer: &Section, cancel: &Cancel) -> Result<Option<(Status, String)>> {
    let length = layer.size;
    if !length.is_multiple_of(BLOCK) {
        let why = format!("is cut off: {length} bytes, which no whole tar has (blocks of {BLOCK})");
        return Ok(Some((Status::SizeMismatch, why)));
    }
    let (mut headers, mut at) = (Headers::new(String::new()), 0);
    let unread =
        |why: &str| Ok(Some((Status::Unchecked, format!("its length is not known: {why}"))));
    while at < length {
        cancel.check()?;
        let Ok(mut block) = block(layer, at) else { return unread("it cannot be read") };
        let Ok(step) = headers.read(&block, at) else { return unread("a header is damaged") };
        at += BLOCK;
        let size = match step {
            Step::End => return Ok(None),
            Step::Extension(extension, size) => {
                // No longer than what headers may announce.
                let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
                if at.saturating_add(size) <= length {
                    let read = layer.file.read_exact_at(&mut bytes, layer.offset + at);
                    if read.is_err() {
                        return unread("it cannot be read");
                    }
                }
                if headers.extend(extension, bytes, at).is_err() {
                    return unread("a header is damaged");
                }
                size
            }
            Step::Member(entry) => {
                let header = tar::Header::from_byte_slice(&block);
                let mut goes_on = entry.kind == tar::EntryType::GNUSparse
                    && header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
                while goes_on && at < length {
                    match self::block(layer, at) {
                        Ok(extension) => block = extension,
                        Err(_) => return unread("it cannot be read"),
                    }
                    goes_on = block[SPARSE_GOES_ON] == 1;
                    at += BLOCK;
                }
                entry.size
            }
        };
        let end = size.checked_next_multiple_of(BLOCK).and_then(|size| at.checked_add(size));
        match end.filter(|end| *end <= length) {
            Some(end) => at = end,
            None => {
                let why = format!("is cut off: {length} bytes, and a member goes on beyond them");
                return Ok(Some((Status::SizeMismatch, why)));
            }
        }
    }
    unread("its tar has no end")
}

fn block(layer: &Section, at: u64) -> io::Result<[u8; BLOCK as usize]> {
    let mut block = [0; BLOCK as usize];
    layer.file.read_exact_at(&mut block, layer.offset + at)?;
    Ok(block)
}
