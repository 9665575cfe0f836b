//! Whether a plain layer is complete, from the headers of its tar alone: each header gives the length of the content
//! behind it, which is not read.
//!
//! Without a receipt nothing else says how large a layer is. This check cannot say whether the content is right, or
//! whether a strict reader accepts every header.

use std::io;
use std::os::unix::fs::FileExt as _;

use crate::verdict::flaw::{Flaw, Length, Reason, Status};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;
use occystrap_base::files::Section;
use occystrap_images::source::tar_headers::{BLOCK, HeaderStep, Headers};

/// The offset of the byte in an extension block of GNU's sparse files that says whether one more block follows.
const SPARSE_GOES_ON: usize = 504;

/// Returns what is wrong with the length of a layer, or why its length is not known. Errors when the user interrupts.
pub fn check(layer: &Section, cancel: &Cancel) -> Result<Option<Flaw>> {
    let length = layer.size;
    if !length.is_multiple_of(BLOCK) {
        return Ok(Some(Flaw::new(Status::SizeMismatch, Reason::CutOffBlock { length })));
    }
    let (mut headers, mut at) = (Headers::new(String::new()), 0);
    let unread = |why| Ok(Some(Flaw::new(Status::Unchecked, Reason::LengthUnknown(why))));
    while at < length {
        cancel.check()?;
        let Ok(mut block) = block(layer, at) else { return unread(Length::Unread) };
        let Ok(step) = headers.read(&block, at) else { return unread(Length::DamagedHeader) };
        at += BLOCK;
        let size = match step {
            HeaderStep::End => return Ok(None),
            HeaderStep::Extension(extension, size) => {
                // No longer than what headers may announce.
                let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
                if at.saturating_add(size) <= length {
                    let read = layer.file.read_exact_at(&mut bytes, layer.offset + at);
                    if read.is_err() {
                        return unread(Length::Unread);
                    }
                }
                if headers.extend(extension, bytes, at).is_err() {
                    return unread(Length::DamagedHeader);
                }
                size
            }
            HeaderStep::Member(entry) => {
                let header = tar::Header::from_byte_slice(&block);
                let mut goes_on = entry.kind == tar::EntryType::GNUSparse
                    && header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
                while goes_on && at < length {
                    match self::block(layer, at) {
                        Ok(extension) => block = extension,
                        Err(_) => return unread(Length::Unread),
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
                return Ok(Some(Flaw::new(Status::SizeMismatch, Reason::CutOffMember { length })));
            }
        }
    }
    unread(Length::NoEnd)
}

fn block(layer: &Section, at: u64) -> io::Result<[u8; BLOCK as usize]> {
    let mut block = [0; BLOCK as usize];
    layer.file.read_exact_at(&mut block, layer.offset + at)?;
    Ok(block)
}
