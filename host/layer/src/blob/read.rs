//! Looking into a layer: its uncompressed bytes go to a function, and the whole layer is compared with what was
//! promised of it.

use super::io::Failure;
use super::pieces::Pieces;
use super::plain_reader::PlainReader;
use super::pump::exchange;
use super::transfer::{check_diff_id, decode};
use super::{Decoder, Stored};
use crate::image::Layer;
use occystrap_base::error::{Kind, Result};
use occystrap_base::files::Hashed;

/// Lets `visit` read the uncompressed bytes of a layer, on a thread of its own where the layer is read ahead.
/// The bytes that `visit` leaves are read as well, so that no result is returned for a layer that differs from
/// its digests. Errors when it differs, also where `visit` failed on the same bytes, and as `visit` does.
pub fn read_checked<T: Send>(
    layer: &Layer,
    stored: Stored,
    visit: impl FnOnce(&mut PlainReader) -> Result<T> + Send,
) -> Result<T> {
    let walked = decode(layer, stored, |decoded| {
        read(decoded, |pieces| {
            let mut plain = PlainReader::new(pieces);
            let seen = visit(&mut plain);
            match &seen {
                // Only at the end is it known whether the bytes are wrong.
                Err(error) if error.kind() != Kind::Source => return Err(error.clone()),
                _ => plain.read_rest(&layer.place)?,
            };
            Ok((seen, plain.finish()))
        })
    });
    let (seen, moved) = walked.map_err(|why| why.of(layer))?;
    check_diff_id(layer, moved)?;
    seen
}

/// Lets `visit` read the uncompressed bytes of a layer, and returns size and digest of all of them, for code that
/// reports everything that is wrong with a layer. The second value is an error where the layer could not be
/// decoded to its end, or its stored form is not what was promised; only then may the first be missing. The
/// diff-id is not compared.
pub fn read_lenient(
    layer: &Layer,
    stored: Stored,
    visit: impl FnOnce(&mut PlainReader) + Send,
) -> (Option<Hashed>, Result<()>) {
    let mut seen = None;
    let looked = decode(layer, stored, |decoded| {
        seen = Some(read(decoded, |pieces| {
            let mut plain = PlainReader::new(pieces);
            visit(&mut plain);
            plain.read_rest(&layer.place)?;
            Ok(plain.finish())
        })?);
        Ok(())
    });
    (seen, looked.map_err(|why| why.of(layer)))
}

fn read<T: Send>(
    decoded: &mut Decoder<Stored>,
    consume: impl FnOnce(Pieces) -> Result<T> + Send,
) -> Result<T, Failure> {
    match decoded.is_read_ahead() {
        true => exchange(decoded, consume),
        false => Pieces::read_here(decoded, consume),
    }
}
