//! USTAR headers (POSIX.1-1988), as few fields as an archive of digests needs. A crate would do
//! this as well; the 40 lines keep the component, and so its first compilation, small.

/// What a tar is made of.
pub const BLOCK: u64 = 512;

/// The largest size that eleven octal digits hold; above it, GNU's base-256 form is used, which
/// Go, GNU tar and libarchive read.
const LARGEST_OCTAL: u64 = 0o77_777_777_777;

/// The header of a regular file: mode 0644, owner 0, time 0, so that the same image gives the same
/// bytes. Names here are hexadecimal digests and fixed words, which fit the 100 bytes.
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

/// Name and size of a header block; `None` for zeros or anything that is not a regular file.
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

/// Zero-padded octal digits and a NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    for place in field[..digits].iter_mut().rev() {
        *place = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

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
