//! Parts of a blob that a client requests (RFC 9110, 14), and the places of chunks in an upload.

/// Part of a blob: its first byte and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes.
    pub size: u64,
}

/// What the `Range` of a request means for a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// Everything: there is no range, or one that servers ignore (another unit, several parts, a malformed range).
    All,
    /// One part.
    Part(Part),
    /// A part of which the blob has no byte.
    Unsatisfiable,
}

/// Reads the `Range` of a request for a blob of `size` bytes.
#[must_use]
pub fn requested(range: Option<&str>, size: u64) -> Requested {
    let Some((first, last)) =
        range.and_then(|text| text.trim().strip_prefix("bytes=")?.split_once('-'))
    else {
        return Requested::All;
    };
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number beyond 64 bits is beyond every blob.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(last)) if last < start => return Requested::All,
        (Some(start), Some(last)) => (start, last.saturating_add(1).min(size)),
        (Some(start), None) if last.trim().is_empty() => (start, size),
        (None, Some(suffix)) if first.trim().is_empty() => (size - suffix.min(size), size),
        _ => return Requested::All,
    };
    match start < end {
        true => Requested::Part(Part { start, size: end - start }),
        false => Requested::Unsatisfiable,
    }
}

/// Reads the `Content-Range` of a chunk: `FIRST-LAST` (distribution specification, "Pushing a blob in chunks"), or the
/// same with the unit and the size of RFC 9110. Returns `None` for anything else.
#[must_use]
pub fn chunk(text: &str) -> Option<Part> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let text = text.split('/').next()?;
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (start, last) = (number(first)?, number(last)?);
    let size = last.checked_sub(start)?.checked_add(1)?;
    Some(Part { start, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |start, size| Requested::Part(Part { start, size });
        for (range, expected) in [
            ("bytes=0-4", part(0, 5)),
            ("bytes=5-", part(5, 5)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-30", part(0, 10)),
            ("bytes=9-99999999999999999999999", part(9, 1)),
            ("bytes=10-", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("bytes=4-1", Requested::All),
            ("bytes=0-1,3-4", Requested::All),
            ("items=0-1", Requested::All),
            ("bytes=x-1", Requested::All),
            ("bytes=+1-2", Requested::All),
        ] {
            assert_eq!(requested(Some(range), 10), expected, "{range}");
        }
        assert_eq!(requested(None, 10), Requested::All);
        assert_eq!(requested(Some("bytes=0-"), 0), Requested::Unsatisfiable);
    }

    #[test]
    fn chunks_have_a_first_and_a_last_byte() {
        assert_eq!(chunk("0-4"), Some(Part { start: 0, size: 5 }));
        assert_eq!(chunk("bytes 5-9/10"), Some(Part { start: 5, size: 5 }));
        for wrong in ["", "4-1", "-4", "0-", "0-x", "0-18446744073709551615"] {
            assert_eq!(chunk(wrong), None, "{wrong}");
        }
    }
}
