//! USTAR headers (POSIX.1-1988), with only the fields that an archive of blobs needs.
//!
//! A crate could do this as well. These 40 lines keep the component small, and so its first compilation short.

/// The size of a tar block, in bytes.
pub const BLOCK: u64 = 512;

/// The largest size that fits into eleven octal digits. Larger sizes are written in GNU's base-256 form, which
/// Go, GNU tar and libarchive read.
const LARGEST_OCTAL: u64 = 0o77_777_777_777;

/// Returns the header of a regular file. Mode 0644, owner 0 and time 0 ensure that the same image gives the same
/// bytes. The names are hexadecimal digests and fixed words, so they fit into the 100 bytes of the field.
pub fn render(name: &str, size: u64) -> [u8; BLOCK as usize] {
    let mut block = [0; BLOCK as usize];
    let name = name.as_bytes();
    let length = name.len().min(100);
    block[..length].copy_from_slice(&name[..length]);
    octal(&mut block[100..108], 0o644);
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    if size <= LARGEST_OCTAL {
        octal(&mut block[124..136], size);
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    octal(&mut block[136..148], 0);
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    octal(&mut block[148..155], sum);
    block
}

/// Returns the name and the size in a header block; `None` for a block of zeros, a damaged header, or a member
/// that is not a regular file.
pub fn parse(block: &[u8]) -> Option<(String, u64)> {
    if block.len() != BLOCK as usize || block[156] != b'0' || &block[257..262] != b"ustar" {
        return None;
    }
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    let stored: u64 = block[148..156].iter().copied().map(u64::from).sum();
    if number(&block[148..155])? != sum - stored + 8 * u64::from(b' ') {
        return None;
    }
    let name = block[..100].split(|byte| *byte == 0).next()?;
    let size = if block[124] == 0x80 {
        u64::from_be_bytes(block[128..136].try_into().ok()?)
    } else {
        number(&block[124..136])?
    };
    Some((String::from_utf8(name.to_vec()).ok()?, size))
}

/// Writes a number as octal digits with leading zeros and a final NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    for place in field[..digits].iter_mut().rev() {
        *place = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// Reads a number that is written as octal digits.
fn number(field: &[u8]) -> Option<u64> {
    let digits = field.split(|byte| matches!(byte, 0 | b' ')).next()?;
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        for size in [0, 1, LARGEST_OCTAL, LARGEST_OCTAL + 1, 1 << 40] {
            assert_eq!(parse(&render("abc/layer.tar", size)), Some(("abc/layer.tar".into(), size)));
        }
        let mut damaged = render("abc", 1);
        damaged[0] ^= 1;
        assert_eq!(parse(&damaged), None);
    }
}
