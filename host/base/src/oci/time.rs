//! Times in image configs, as clients read them.
//!
//! Docker, Podman and skopeo parse `created` with Go's `time.Time`, and reject the whole config where that fails. This
//! module rejects exactly what Go rejects; Go accepts a few texts that RFC 3339 does not.

/// Returns whether Go's parser accepts a text as a time (`time.Parse` of `time.RFC3339`, as in Go 1.19).
#[must_use]
pub fn is_readable(text: &str) -> bool {
    read(text.as_bytes()).is_some()
}

fn read(text: &[u8]) -> Option<()> {
    let (year, text) = number(text, 4, 4)?;
    let (month, text) = number(text.strip_prefix(b"-")?, 2, 2)?;
    let (day, text) = number(text.strip_prefix(b"-")?, 2, 2)?;
    // Go accepts an hour of one digit.
    let (hour, text) = number(text.strip_prefix(b"T")?, 1, 2)?;
    let (minute, text) = number(text.strip_prefix(b":")?, 2, 2)?;
    let (second, text) = number(text.strip_prefix(b":")?, 2, 2)?;
    let in_range = (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let zone = match text {
        [b'.' | b',', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => {
            &rest[rest.iter().take_while(|byte| byte.is_ascii_digit()).count()..]
        }
        _ => text,
    };
    let is_zone = match zone {
        b"Z" => true,
        // Go checks the form of an offset, and not its size.
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit),
        _ => false,
    };
    (in_range && is_zone).then_some(())
}

/// Reads a number of `least` to `most` digits.
fn number(text: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let length = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    let value = digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    (length >= least).then_some((value, rest))
}

fn days(year: u32, month: u32) -> u32 {
    let leaps = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leaps => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Each of these was given to `docker load` 20.10, `podman load` 4.3 and `skopeo copy` 1.9.
    #[test]
    fn times_are_read_as_docker_podman_and_skopeo_read_them() {
        for good in [
            "1970-01-01T00:00:00Z",
            "2018-12-28T20:44:23.030424642Z",
            "2020-02-03T03:04:05.1234567890123Z",
            "2020-02-03T03:04:05,5Z",
            "2020-02-03T3:04:05Z",
            "2020-02-03T03:04:05+24:00",
            "2020-02-03T03:04:05-23:60",
            "2024-02-29T23:59:59+01:00",
        ] {
            assert!(is_readable(good), "{good}");
        }
        for bad in [
            "",
            "yesterday",
            "2026-01-02",
            "2020-01-02t03:04:05z",
            "2020-01-02T03:04:05",
            "2020-01-02T03:04:60Z",
            "2020-02-30T03:04:05Z",
            "2023-02-29T03:04:05Z",
            "2020-00-03T03:04:05Z",
            "2020-13-03T03:04:05Z",
            "2020-01-02T24:04:05Z",
            "2020-01-02 03:04:05Z",
            "2020-01-02T03:04:05.Z",
            "2020-01-02T03:04:05Z ",
            "2020-01-02T03:04:05+1:00",
            "äöü6-01-02T03:04:05Z",
        ] {
            assert!(!is_readable(bad), "{bad}");
        }
    }
}
