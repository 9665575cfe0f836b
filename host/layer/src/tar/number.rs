//! Numbers in tar headers: octal digits, or GNU's base 256.

/// Parses a number in a header field; `None` where it is invalid or does not fit. An empty field is zero.
pub fn parse(field: &[u8]) -> Option<i64> {
    match field.first()? {
        0x80.. => base_256(field),
        _ => octal(field),
    }
}

/// Parses octal digits, up to the first NUL after them. Leading NULs and spaces are skipped, as in Go and GNU tar; for
/// other readers, a field that begins with NUL is zero. Engines unpack with Go.
pub fn octal(field: &[u8]) -> Option<i64> {
    let is_fill = |byte: &u8| matches!(byte, 0 | b' ');
    let Some(first) = field.iter().position(|byte| !is_fill(byte)) else { return Some(0) };
    let last = field.iter().rposition(|byte| !is_fill(byte))?;
    let digits = field[first..=last].split(|byte| *byte == 0).next()?;
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Parses a number in two's complement, big-endian, whose highest bit is always set.
fn base_256(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let negative = first & 0x40 != 0;
    let first = if negative { *first } else { first & 0x7f };
    let start = if negative { i128::from(first) - 256 } else { i128::from(first) };
    let value = rest.iter().try_fold(start, |value, byte| {
        // Twelve bytes are 95 bits, which fit an i128; numbers that do not fit an i64 are refused below.
        value.checked_mul(256)?.checked_add(i128::from(*byte))
    })?;
    value.try_into().ok()
}

/// Writes a number as octal digits and a NUL. Returns `false` and writes nothing where it does not fit.
pub fn write_octal(field: &mut [u8], value: i64) -> bool {
    let digits = field.len() - 1;
    if value < 0 || (digits < 21 && value >> (3 * digits) != 0) {
        return false;
    }
    let mut rest = value;
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field[digits] = 0;
    true
}

/// Writes a number in base 256, as GNU tar, Go and Python read it.
pub fn write_base_256(field: &mut [u8], value: i64) {
    let bytes = i128::from(value).to_be_bytes();
    let start = bytes.len() - field.len();
    field.copy_from_slice(&bytes[start..]);
    field[0] |= 0x80;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_end_where_they_end() {
        for (field, value) in [
            (b"0000644\0".as_slice(), Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\x00\x00\x00644\0\0", Some(0o644)),
            (b"\x00 644\0 \0", Some(0o644)),
            (b"12\0 9\0 9", Some(0o12)),
            (b"12 \0 9\0 ", None),
            (b"1 2\0\0\0\0\0", None),
            (b"00006448", None),
            (b"77777777", Some(0o7777_7777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"-1\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\x01", Some(1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\0\0\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(parse(field), value, "{field:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn written_values_are_read_again(value in proptest::num::i64::ANY) {
            let mut field = [0; 12];
            write_base_256(&mut field, value);
            proptest::prop_assert_eq!(parse(&field), Some(value));
            if write_octal(&mut field, value) {
                proptest::prop_assert_eq!(parse(&field), Some(value));
            } else {
                proptest::prop_assert!(!(0..1 << 33).contains(&value));
            }
        }

        #[test]
        fn no_field_makes_it_panic(field in proptest::collection::vec(proptest::num::u8::ANY, 0..13)) {
            let _ = parse(&field);
        }
    }
}
