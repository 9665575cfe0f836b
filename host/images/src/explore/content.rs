//! The content of one file of a layer.

use std::fs::File;
use std::io::{self, BufRead, Seek as _, SeekFrom, Write as _};

use crate::check::as_layer;
use crate::source::view::View;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_layer::blob::{from_io, open_one, read_lenient};
use occystrap_layer::tar::{Member, MemberKind, TarReader};
use occystrap_net::context::Context;

/// Writes the content of the file that layer `index` (from 0) has at `path`, a plain path, to an empty file. Holes of a
/// sparse file become holes. Returns its size in bytes. Errors when the layer has no regular file there, and when it
/// does not match its digests; what was written is then worth nothing.
pub fn write_content(
    view: &View,
    index: usize,
    path: &[u8],
    to: &File,
    context: &Context,
) -> Result<u64> {
    let number = index + 1;
    let gone = || Error::new(Kind::NotFound, format!("layer {number} is not in the source"));
    let kept = view.layers.get(index).ok_or_else(gone)?;
    let mut layer = as_layer(kept).ok_or_else(gone)?;
    // `check` compares the digest of an uncompressed layer afterwards; here it must fit.
    layer.digest = kept.promised.digest;
    let stored = open_one(&layer, context).ok_or_else(gone)?;
    let progress = context.progress.layer(&format!("layer {number}"), layer.size);
    let mut found: Result<Option<u64>> = Ok(None);
    let (plain, outcome) = read_lenient(&layer, stored.showing(&progress), |plain| {
        found = copy(TarReader::new(plain, layer.place.clone()), path, to);
    });
    progress.finish();
    outcome?;
    let expected = view.config.diff_ids().get(index).copied().flatten();
    if let (Some(expected), Some(plain)) = (expected, plain)
        && expected != plain.digest
    {
        let what = format!("layer {number}: digest of its uncompressed content");
        return Err(Error::mismatch(what, expected, plain.digest));
    }
    found?.ok_or_else(|| {
        let shown = String::from_utf8_lossy(path);
        Error::new(Kind::NotFound, format!("layer {number} has no regular file '{shown}'"))
    })
}

/// Copies the content of the last member at `path`: of several, clients keep the last.
fn copy(mut reader: TarReader<impl BufRead>, path: &[u8], mut to: &File) -> Result<Option<u64>> {
    let mut size = None;
    while let Some(member) = reader.next_member()? {
        if member.kind != MemberKind::File || member.plain_path() != path {
            continue;
        }
        to.set_len(0).and_then(|()| to.rewind()).map_err(|cause| not_written(&cause))?;
        copy_one(&mut reader, &member, to)?;
        size = Some(member.size);
    }
    Ok(size)
}

/// Copies the content of the member that was read last.
fn copy_one(reader: &mut TarReader<impl BufRead>, member: &Member, mut to: &File) -> Result<()> {
    let whole = [(0, member.size)];
    let pieces = member.sparse.as_ref().map_or(&whole[..], |sparse| sparse.pieces());
    let place = reader.place().to_owned();
    let mut content = reader.content();
    for (offset, length) in pieces {
        to.seek(SeekFrom::Start(*offset)).map_err(|cause| not_written(&cause))?;
        let mut left = *length;
        while left > 0 {
            let bytes = content.fill_buf().map_err(|cause| from_io(cause, &place))?;
            let amount = (bytes.len() as u64).min(left) as usize;
            if amount == 0 {
                return Err(Error::source(format!("{place}: ends in the middle of a file")));
            }
            to.write_all(&bytes[..amount]).map_err(|cause| not_written(&cause))?;
            content.consume(amount);
            left -= amount as u64;
        }
    }
    to.set_len(member.size).map_err(|cause| not_written(&cause))
}

fn not_written(cause: &io::Error) -> Error {
    Error::io(Kind::Destination, "write", "the exported file", cause)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Writes a member with its content.
    fn member(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append_data(&mut header, path, content).unwrap();
    }

    fn copied(archive: &[u8], path: &str) -> (Option<u64>, Vec<u8>) {
        let mut file = tempfile::tempfile().unwrap();
        let size = copy(TarReader::new(archive, "layer"), path.as_bytes(), &file).unwrap();
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        (size, content)
    }

    #[test]
    fn the_last_member_of_a_name_counts() {
        let mut archive = tar::Builder::new(Vec::new());
        member(&mut archive, "./etc/motd", b"the first, which is longer");
        member(&mut archive, "etc/motd2", b"another");
        member(&mut archive, "etc/motd", b"the last");
        let archive = archive.into_inner().unwrap();
        assert_eq!(copied(&archive, "etc/motd"), (Some(8), b"the last".to_vec()));
        assert_eq!(copied(&archive, "etc"), (None, Vec::new()));
    }
}
