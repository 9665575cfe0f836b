//! The tar inside a layer, member by member, as a stream: reading it, and writing it again.
//!
//! All spellings of a member (V7, USTAR, PAX, GNU, star, three forms of sparse files) are read into
//! one [`Member`]; [`Writer`] has one spelling for each. The crate `tar` has no place for that: it
//! splits PAX records at newlines, which file capabilities may hold, and knows no PAX sparse files.
//!
//! What a header means is what Go's `archive/tar` reads, with which engines unpack layers: a filter
//! that saw another file than the engine would leave in what it was to take out.
//!
//! What it refuses: headers with a wrong checksum, numbers that are none, extensions and sparse maps
//! beyond their limits, what readers differ on, content that ends early. Names are what the layer
//! says: nothing here is ever a path of the host.

mod extension;
pub mod header;
pub mod member;
pub mod number;
pub mod pax;
pub mod reader;
mod sparse;
pub mod writer;

pub use member::{Member, MemberKind, Time};
pub use reader::Reader;
pub use sparse::{Expanded, Sparse};
pub use writer::Writer;

/// The unit of a tar, in bytes (POSIX.1-2001 pax, "ustar Interchange Format").
pub const BLOCK: usize = 512;

/// Bytes of zeros that follow content of `size` bytes, to the next block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

#[cfg(test)]
pub(crate) mod tests;
