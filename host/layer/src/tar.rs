//! Reading and writing the tar archive of a layer as a stream, member by member.
//!
//! All formats of a member (V7, USTAR, PAX, GNU, star, three forms of sparse files) are read into one [`Member`], and
//! [`Writer`] writes each member in one format. The crate `tar` cannot be used for that: it splits PAX records at
//! newlines, which file capabilities may contain, and does not support PAX sparse files.
//!
//! Headers are read as Go's `archive/tar` reads them, with which engines unpack layers. A filter that saw another file
//! than the engine would not remove what it should.
//!
//! What it refuses: headers with a wrong checksum, invalid numbers, extensions and sparse maps beyond their limits,
//! headers on which readers differ, content that ends early. Names are those of the layer; they are never used as paths
//! of the host.

mod extension;
pub mod header;
pub mod member;
pub mod number;
pub mod pax;
pub mod reader;
mod sparse;
pub mod writer;

pub use member::{Member, MemberKind, Time};
pub use reader::TarReader;
pub use sparse::{Expanded, Sparse};
pub use writer::Writer;

/// The unit of a tar, in bytes (POSIX.1-2001 pax, "ustar Interchange Format").
pub const BLOCK: usize = 512;

/// Returns the number of zeros that follow content of `size` bytes, up to the next block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

#[cfg(test)]
pub(crate) mod tests;
