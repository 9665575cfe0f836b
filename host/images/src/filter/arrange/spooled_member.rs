//! What is kept of a member that was written to the spool of its layer: where it is, and what decides its place in the
//! canonical form.

use std::hash::{DefaultHasher, Hash, Hasher};

use occystrap_layer::tar::{Member, MemberKind};

/// Bytes before the tail.
const FIXED: usize = 26;

/// A member in the spool.
pub struct SpooledMember {
    /// Its kind.
    pub kind: MemberKind,
    /// Whether an engine that unpacks the layer has it in the end: no later member replaces it.
    pub is_live: bool,
    /// Start of its headers in the spool.
    pub start: u64,
    /// End of its content, with the zeros after it.
    pub end: u64,
    /// Hash of its metadata: mode, owner, times, extended attributes.
    pub metadata: u64,
    /// Plain target of a hard link, target of a symbolic link, headers of a directory; empty for other kinds.
    pub tail: Vec<u8>,
}

impl SpooledMember {
    /// Returns the value of its record.
    pub fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(FIXED + self.tail.len());
        value.extend([self.kind.flag(), u8::from(self.is_live)]);
        for number in [self.start, self.end, self.metadata] {
            value.extend(number.to_le_bytes());
        }
        value.extend(&self.tail);
        value
    }

    /// Reads the value of a record.
    pub fn of(value: &[u8]) -> Self {
        let number = |at: usize| {
            let bytes = value.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        Self {
            kind: MemberKind::from_flag(value.first().copied().unwrap_or_default()),
            is_live: value.get(1) == Some(&1),
            start: number(2),
            end: number(10),
            metadata: number(18),
            tail: value.get(FIXED..).unwrap_or_default().to_vec(),
        }
    }
}

/// Returns the value of the record of a hidden path: the number of the whiteout, and whether it is opaque.
pub fn hidden(number: u64, is_opaque: bool) -> [u8; 9] {
    let mut value = [u8::from(is_opaque); 9];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

/// Reads the value of the record of a hidden path.
pub fn hidden_parts(value: &[u8]) -> (u64, bool) {
    let number = value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    (number, value.last() == Some(&1) && value.len() == 9)
}

/// Returns a hash of what all names of one file share.
pub fn metadata(member: &Member) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Member { mode, uid, gid, mtime, records, .. } = member;
    (mode, uid, gid, mtime.seconds, mtime.nanos, records).hash(&mut hasher);
    hasher.finish()
}
