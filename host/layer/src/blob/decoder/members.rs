//! Concatenated compressed members, as gzip and bzip2 allow them.
//!
//! The decoders' own crates read them as well, but take whatever follows a member for the beginning of the next one:
//! a few other bytes would then be reported as a truncated stream.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

/// The decoder of one member.
pub trait JoinedMember: Read {
    /// The stream below.
    type Stored: BufRead;
    /// The first bytes of a member.
    const MAGIC: &'static [u8];
    /// The name of the compression in errors.
    const NAME: &'static str;
    /// Begins a member.
    fn begin(stored: Self::Stored) -> Self;
    /// Returns the stream below, after the bytes that were read.
    fn into_stored(self) -> Self::Stored;
}

/// RFC 1952, 2.3.1.
impl<R: BufRead> JoinedMember for GzDecoder<R> {
    type Stored = R;
    const MAGIC: &'static [u8] = &[0x1f, 0x8b];
    const NAME: &'static str = "gzip";
    fn begin(stored: R) -> Self {
        Self::new(stored)
    }
    fn into_stored(self) -> R {
        self.into_inner()
    }
}

impl<R: BufRead> JoinedMember for BzDecoder<R> {
    type Stored = R;
    const MAGIC: &'static [u8] = b"BZh";
    const NAME: &'static str = "bzip2";
    fn begin(stored: R) -> Self {
        Self::new(stored)
    }
    fn into_stored(self) -> R {
        self.into_inner()
    }
}

/// The uncompressed bytes of all members.
pub enum JoinedMembers<M: JoinedMember> {
    /// In a member.
    Member(Box<M>),
    /// After the last member, or where no other one begins.
    End(M::Stored),
    /// Between two members, while the next decoder is made.
    Between,
}

impl<M: JoinedMember> JoinedMembers<M> {
    /// Begins with the first member.
    pub(super) fn of(stored: M::Stored) -> Self {
        Self::Member(Box::new(M::begin(stored)))
    }

    /// Returns the stream below.
    pub(super) fn into_inner(self) -> Option<M::Stored> {
        match self {
            Self::Member(decoder) => Some(decoder.into_stored()),
            Self::End(stored) => Some(stored),
            Self::Between => None,
        }
    }

    /// Goes on to the next member. Returns `false` when there is none.
    fn next(&mut self) -> io::Result<bool> {
        let Some(mut stored) = std::mem::replace(self, Self::Between).into_inner() else {
            return Ok(false);
        };
        let next = peek(&mut stored, M::MAGIC);
        *self = match next {
            Ok((false, true)) => Self::of(stored),
            _ => Self::End(stored),
        };
        match next? {
            (false, false) => {
                let message = format!("something that is no {} follows its end", M::NAME);
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            (is_end, _) => Ok(!is_end),
        }
    }
}

/// Returns whether a stream is at its end, and whether a member may begin here. Only the bytes that are buffered are
/// compared, which may be fewer than `magic`.
fn peek(stored: &mut impl BufRead, magic: &[u8]) -> io::Result<(bool, bool)> {
    loop {
        match stored.fill_buf() {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
            Ok(rest) => {
                let begins = rest.iter().zip(magic).all(|(byte, magic)| byte == magic);
                return Ok((rest.is_empty(), begins));
            }
        }
    }
}

impl<M: JoinedMember> Read for JoinedMembers<M> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Self::Member(decoder) = self else { return Ok(0) };
            let read = decoder.read(into)?;
            if read > 0 || into.is_empty() || !self.next()? {
                return Ok(read);
            }
        }
    }
}
