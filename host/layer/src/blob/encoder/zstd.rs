//! Zstandard (RFC 8878), one frame with a checksum, on libzstd's own threads.

use std::io::{self, Read, Write};

use zstd::stream::write::Encoder;
use zstd::zstd_safe::CParameter;

use crate::blob::io::{Failure, into_io};
use crate::blob::pump::pump;
use crate::blob::written::Written;
use occystrap_base::error::Error;

/// libzstd's default level, which podman and buildkit use for images.
const LEVEL: i32 = 3;

/// Bytes that a thread compresses at once. With libzstd's default of 8 MiB two threads take 55 MiB of memory, with
/// this value 10 MiB.
const JOB: u32 = 1024 * 1024;

/// How much of the previous job a thread refers back to: half a window (1 MiB), which makes up for the smaller
/// jobs (docs/performance.md).
const OVERLAP: u32 = 8;

/// Compresses a stream. `plain` hashes the input, `to` gets the output.
///
/// There is always at least one worker: libzstd gives the same bytes for one worker as for many, but other bytes
/// for none (its single-threaded mode).
pub(super) fn encode(
    from: &mut dyn Read,
    threads: usize,
    plain: &mut Written<'_>,
    to: &mut Written<'_>,
) -> Result<(), Failure> {
    let mut encoder = encoder(threads, to).map_err(|cause| Failure::Write(failed(cause)))?;
    pump(from, &mut |piece| {
        plain.put(piece)?;
        encoder.write_all(piece).map_err(failed)
    })?;
    encoder.finish().map_err(|cause| Failure::Write(failed(cause)))?;
    Ok(())
}

fn encoder<'a, 'b>(
    threads: usize,
    to: &'a mut Written<'b>,
) -> io::Result<Encoder<'static, Out<'a, 'b>>> {
    let mut encoder = Encoder::new(Out(to), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.multithread(u32::try_from(threads.max(1)).unwrap_or(u32::MAX))?;
    encoder.set_parameter(CParameter::JobSize(JOB))?;
    encoder.set_parameter(CParameter::OverlapSizeLog(OVERLAP))?;
    Ok(encoder)
}

/// Returns the error that [`Out`] wrapped, or describes the one of libzstd.
fn failed(cause: io::Error) -> Error {
    let foreign = |cause| Error::destination(format!("cannot compress a layer: {cause}"));
    cause.downcast::<Error>().unwrap_or_else(foreign)
}

/// The destination of libzstd's output.
struct Out<'a, 'b>(&'a mut Written<'b>);

impl Write for Out<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes).map_err(into_io)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
