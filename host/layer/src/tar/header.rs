//! A header block: the positions of its fields in each format.

use super::member::{Member, MemberKind, Records, Time};
use super::{BLOCK, number};

/// The block of one header.
pub struct Header<'a>(pub &'a [u8; BLOCK]);

/// Offset and length of the fields (POSIX.1-2001 pax, "ustar Header Block").
pub mod field {
    use std::ops::Range;

    /// Path of the member.
    pub const NAME: Range<usize> = 0..100;
    /// Permission bits.
    pub const MODE: Range<usize> = 100..108;
    /// User number.
    pub const UID: Range<usize> = 108..116;
    /// Group number.
    pub const GID: Range<usize> = 116..124;
    /// Size of the content in bytes.
    pub const SIZE: Range<usize> = 124..136;
    /// Seconds since 1970.
    pub const MTIME: Range<usize> = 136..148;
    /// Sum of the bytes of the header.
    pub const CHECKSUM: Range<usize> = 148..156;
    /// Kind of the member.
    pub const FLAG: usize = 156;
    /// Target of a link.
    pub const LINK: Range<usize> = 157..257;
    /// Magic and version.
    pub const MAGIC: Range<usize> = 257..265;
    /// Name of the user.
    pub const OWNER: Range<usize> = 265..297;
    /// Name of the group.
    pub const GROUP: Range<usize> = 297..329;
    /// Major number of a device.
    pub const MAJOR: Range<usize> = 329..337;
    /// Minor number of a device.
    pub const MINOR: Range<usize> = 337..345;
    /// Folders before the path.
    pub const PREFIX: Range<usize> = 345..500;
    /// Prefix in star's headers. It is shorter, because two times follow.
    pub const STAR_PREFIX: Range<usize> = 345..476;
    /// Mark of star's headers.
    pub const STAR_MARK: Range<usize> = 508..512;
    /// Time of the last access, in GNU headers.
    pub const GNU_ATIME: Range<usize> = 345..357;
    /// Time of the last change of the inode, in GNU headers.
    pub const GNU_CTIME: Range<usize> = 357..369;
    /// Pieces of a sparse file, in GNU headers.
    pub const GNU_PIECES: Range<usize> = 386..482;
    /// Whether blocks with more pieces follow, in GNU headers.
    pub const GNU_CONTINUES: usize = 482;
    /// Size of a sparse file with its holes, in GNU headers.
    pub const GNU_REAL_SIZE: Range<usize> = 483..495;
    /// Pieces in a block that continues a GNU header.
    pub const MORE_PIECES: Range<usize> = 0..504;
    /// Whether another such block follows.
    pub const MORE_CONTINUES: usize = 504;
}

/// The value of `USTAR`'s magic and version.
pub const USTAR: &[u8; 8] = b"ustar\x0000";
const GNU: &[u8; 8] = b"ustar  \0";

/// The format of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarFormat {
    /// The first format, without magic, names of owners and prefix.
    V7,
    /// POSIX, with or without PAX records.
    Ustar,
    /// The format of star, with a shorter prefix.
    Star,
    /// The format of GNU tar, without prefix.
    Gnu,
}

impl Header<'_> {
    /// Returns whether the block is all zeros, which ends the archive.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Returns whether the checksum is right: the sum of all bytes, with spaces in its own field. Some old writers
    /// added signed bytes.
    pub fn is_sound(&self) -> bool {
        let Some(stored) = number::octal(&self.0[field::CHECKSUM]) else { return false };
        let others = || {
            self.0.iter().enumerate().map(|(at, byte)| match field::CHECKSUM.contains(&at) {
                true => b' ',
                false => *byte,
            })
        };
        let unsigned: i64 = others().map(i64::from).sum();
        stored == unsigned || stored == others().map(|byte| i64::from(byte as i8)).sum::<i64>()
    }

    /// Returns the type flag.
    pub fn flag(&self) -> u8 {
        self.0[field::FLAG]
    }

    /// Returns the size field; `None` where it is not a number, or negative.
    pub fn size(&self) -> Option<u64> {
        number::parse(&self.0[field::SIZE])?.try_into().ok()
    }

    /// Returns the member as this block alone describes it. `Err` names the invalid field.
    pub fn member(&self) -> Result<Member, &'static str> {
        let number = |range, what| number::parse(&self.0[range]).ok_or(what);
        let flag = self.flag();
        let kind = MemberKind::from_flag(flag);
        let mode = number(field::MODE, "mode")?;
        let mut member = Member {
            mode: u32::try_from(mode).map_err(|_| "mode")?,
            uid: number(field::UID, "owner's number")?,
            gid: number(field::GID, "group's number")?,
            mtime: Time::seconds(number(field::MTIME, "time")?),
            ..Member::new(kind, text(&self.0[field::NAME]))
        };
        // Like Go, require a number even where no content follows.
        let size = number(field::SIZE, "size")?;
        if kind.has_content() {
            member.size = u64::try_from(size).map_err(|_| "size")?;
        }
        if matches!(kind, MemberKind::HardLink | MemberKind::Symlink) {
            member.link = text(&self.0[field::LINK]).to_vec();
        }
        let format = self.format();
        if format != TarFormat::V7 {
            member.owner = text(&self.0[field::OWNER]).to_vec();
            member.group = text(&self.0[field::GROUP]).to_vec();
            let device = (number(field::MAJOR, "device")?, number(field::MINOR, "device")?);
            if matches!(kind, MemberKind::CharDevice | MemberKind::BlockDevice) {
                member.device = (as_device(device.0)?, as_device(device.1)?);
            }
        }
        let prefix = match format {
            TarFormat::V7 => b"".as_slice(),
            TarFormat::Ustar => text(&self.0[field::PREFIX]),
            TarFormat::Star => text(&self.0[field::STAR_PREFIX]),
            TarFormat::Gnu => match self.gnu_times() {
                Some(times) => {
                    member.records = times;
                    b""
                }
                // Old writers in Go wrote a prefix here, and Go still reads it.
                None => Some(text(&self.0[field::PREFIX]))
                    .filter(|text| text.is_ascii())
                    .ok_or("prefix")?,
            },
        };
        if !prefix.is_empty() {
            member.path = [prefix, b"/", &member.path].concat();
        }
        Ok(member)
    }

    /// Returns the format by the magic, as Go distinguishes them.
    pub fn format(&self) -> TarFormat {
        match &self.0[field::MAGIC] {
            magic if magic == GNU => TarFormat::Gnu,
            magic if !magic.starts_with(b"ustar\0") => TarFormat::V7,
            _ if &self.0[field::STAR_MARK] == b"tar\0" => TarFormat::Star,
            _ => TarFormat::Ustar,
        }
    }

    /// Returns the two additional times of GNU tar's incremental archives as PAX records. `None` where the fields hold
    /// something else.
    fn gnu_times(&self) -> Option<Records> {
        let mut records = Records::new();
        let times =
            [(field::GNU_ATIME, b"atime".as_slice()), (field::GNU_CTIME, b"ctime".as_slice())];
        for (range, keyword) in times {
            let bytes = &self.0[range];
            if bytes[0] != 0 {
                let seconds = number::parse(bytes)?;
                records.insert(keyword.to_vec(), seconds.to_string().into_bytes());
            }
        }
        Some(records)
    }
}

fn as_device(number: i64) -> Result<u32, &'static str> {
    u32::try_from(number).map_err(|_| "device")
}

/// Returns the bytes of a field up to the first NUL.
pub fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}
