//! PAX records: `length keyword=value\n`. The value may contain any bytes (POSIX.1-2001 pax, "pax Extended Header").
//!
//! What it refuses: malformed records, and NULs in names and keywords.

use super::member::{Records, Time};

/// Parses records into `records`; `None` where they are damaged.
#[cfg(test)]
fn parse(bytes: &[u8], records: &mut Records) -> Option<()> {
    parse_each(bytes, |keyword, value| set(records, keyword, value))
}

/// Calls `take` for each record, in order. `None` where the records are damaged.
pub fn parse_each(mut bytes: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Option<()> {
    // Some writers include the zeros up to the end of the block.
    while let Some(first) = bytes.first().filter(|first| **first != 0) {
        if !first.is_ascii_digit() {
            return None;
        }
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (keyword, value) = (&record[..equals], &record[equals + 1..]);
        if !is_sound(keyword, value) {
            return None;
        }
        take(keyword, value);
        bytes = &bytes[length..];
    }
    bytes.iter().all(|byte| *byte == 0).then_some(())
}

/// Returns whether a record is valid, by Go's rules: no NUL in names and keywords, and no empty keyword.
fn is_sound(keyword: &[u8], value: &[u8]) -> bool {
    let is_name = matches!(keyword, b"path" | b"linkpath" | b"uname" | b"gname");
    let is_keyword = !keyword.is_empty() && !keyword.contains(&0);
    is_keyword && (!is_name || !value.contains(&0))
}

/// Sets a record. An empty value removes it, except for extended attributes, which may be empty.
pub fn set(records: &mut Records, keyword: &[u8], value: &[u8]) {
    if value.is_empty() && !keyword.starts_with(b"SCHILY.xattr.") {
        records.remove(keyword);
    } else {
        records.insert(keyword.to_vec(), value.to_vec());
    }
}

/// Appends a record.
pub fn write(into: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + digits(length) != length {
        length = rest + digits(length);
    }
    into.extend_from_slice(length.to_string().as_bytes());
    into.push(b' ');
    into.extend_from_slice(keyword);
    into.push(b'=');
    into.extend_from_slice(value);
    into.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Parses a decimal number.
pub fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Parses seconds with a fraction, possibly negative. Digits below a nanosecond are cut off, as no file system stores
/// them.
pub fn time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some(Time { seconds: seconds.checked_sub(1)?, nanos: 1_000_000_000 - nanos });
    }
    Some(Time { seconds, nanos })
}

/// Formats a time as seconds with a fraction.
pub fn time_text(time: Time) -> String {
    if time.nanos == 0 {
        return time.seconds.to_string();
    }
    let (sign, seconds, nanos) = match time.seconds {
        ..0 => ("-", -(i128::from(time.seconds) + 1), 1_000_000_000 - time.nanos),
        seconds => ("", i128::from(seconds), time.nanos),
    };
    let fraction = format!("{nanos:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_their_own_digits() {
        for (value, length) in [(1, 6), (3, 8), (4, 9), (5, 11), (93, 99), (94, 101)] {
            let mut bytes = Vec::new();
            write(&mut bytes, b"a", &vec![b'x'; value]);
            assert_eq!(bytes.len(), length);
            assert!(bytes.starts_with(format!("{length} a=x").as_bytes()));
        }
    }

    #[test]
    fn a_value_may_hold_anything() {
        let mut records = Records::new();
        let mut bytes = Vec::new();
        let capability = b"\x01\0\0\x02\n=\n\0\xff".as_slice();
        write(&mut bytes, b"SCHILY.xattr.security.capability", capability);
        write(&mut bytes, b"mtime", b"1.5");
        parse(&bytes, &mut records).unwrap();
        assert_eq!(records[b"SCHILY.xattr.security.capability".as_slice()], capability);
        write(&mut bytes, b"mtime", b"");
        parse(&bytes, &mut records).unwrap();
        assert_eq!(records.len(), 1);
        for bad in [
            "x",
            "5 a=",
            "3 a",
            "99999999999999999999 a=b\n",
            "6 abc\n",
            "6 a=bc\n",
            "5 =b\n",
            "9 path=\0\n",
            "7 a\0=b\n",
            "6 a=b\n\0x",
        ] {
            assert_eq!(parse(bad.as_bytes(), &mut records), None, "{bad}");
        }
    }

    #[test]
    fn times_before_1970_have_fractions_too() {
        for (text, seconds, nanos) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-1.5", -2, 500_000_000),
            ("-0.25", -1, 750_000_000),
            ("12.000000001", 12, 1),
        ] {
            let time = Time { seconds, nanos };
            assert_eq!(super::time(text.as_bytes()), Some(time), "{text}");
            assert_eq!(time_text(time), text);
        }
        assert_eq!(time(b"1.1234567899"), Some(Time { seconds: 1, nanos: 123_456_789 }));
        for bad in ["", ".", "1.-5", "x", "1e3", "-9223372036854775808.5"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_time_is_read_as_it_was_written(seconds in proptest::num::i64::ANY, nanos in 0..1_000_000_000_u32) {
            proptest::prop_assume!(seconds > i64::MIN);
            let known = Time { seconds, nanos };
            proptest::prop_assert_eq!(time(time_text(known).as_bytes()), Some(known));
        }

        #[test]
        fn no_records_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes, &mut Records::new());
        }
    }
}
