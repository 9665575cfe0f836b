//! `occystrap export`: the merged file system of an image as one tar, as a container sees it.
//!
//! All layers are read once, checked against their digests, and kept uncompressed in files without names; then each member
//! that is in the image is written, sorted by path: a folder before what is in it. The bytes depend on the merged file
//! system only, not on the layers that it comes from. A few megabytes of content are in memory, and about 150 bytes for
//! each member.
//!
//! What it refuses: members that engines refuse (they lead out of the image, have an unknown type, lie below a file), hard
//! links that lead nowhere, and more members than a [`MemberBudget`] allows.
//!
//! [`MemberBudget`]: occystrap_layer::overlay::MemberBudget

mod merged;
mod spool;
mod window;

use std::io::{self, Write};

use self::merged::MergedFileSystem;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Digest, Hasher};
use occystrap_layer::blob::{from_io, into_io};
use occystrap_layer::image::Image;
use occystrap_layer::tar::Writer;
use occystrap_net::context::Context;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Number of members.
    pub members: u64,
    /// Bytes of the tar.
    pub size: u64,
    /// Digest of the tar.
    pub digest: Digest,
}

/// Writes the merged file system of an image to `to`, which `place` names in errors. Errors when a layer differs from its
/// digests or has what engines refuse, and as `to` does.
pub fn write(image: &Image, to: impl Write, place: &str, context: &Context) -> Result<Exported> {
    let layers = spool::read(image, context)?;
    let mut merged = MergedFileSystem::of(image, layers)?;
    let output = Output { to, place: place.to_owned(), hasher: Hasher::default(), size: 0 };
    let mut writer = Writer::new(output);
    let mut members = 0;
    while let Some(entry) = merged.next_entry()? {
        context.cancel.check()?;
        entry.append(&mut writer)?;
        members += 1;
    }
    let output = writer.finish().and_then(Output::flushed);
    let output = output.map_err(|cause| from_io(cause, place))?;
    Ok(Exported { members, size: output.size, digest: output.hasher.finish() })
}

/// The output, which is counted and hashed. Its errors say that they are about the output.
struct Output<W> {
    to: W,
    place: String,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Output<W> {
    fn failed(&self, cause: io::Error) -> io::Error {
        match cause.kind() {
            // The caller knows what it means that the reader is gone.
            io::ErrorKind::BrokenPipe => cause,
            _ => into_io(Error::io(Kind::Destination, "write to", &self.place, &cause)),
        }
    }

    fn flushed(mut self) -> io::Result<Self> {
        self.to.flush().map_err(|cause| self.failed(cause))?;
        Ok(self)
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes).map_err(|cause| self.failed(cause))?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|cause| self.failed(cause))
    }
}
