//! The form of times, as RFC 3339 specifies it.

/// Returns whether a text is a time of RFC 3339, 5.6. `None` is valid, because times are optional.
pub fn is_rfc_3339(text: Option<&str>) -> bool {
    let Some(text) = text else { return true };
    let digits = |range: std::ops::Range<usize>, most: u32| {
        let number = text.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        number.and_then(|part| part.parse::<u32>().ok()).is_some_and(|number| number <= most)
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let marked = |(at, mark): &(usize, &str)| {
        text.get(*at..*at + 1).is_some_and(|found| found.eq_ignore_ascii_case(mark))
    };
    let date = digits(0..4, 9_999) && digits(5..7, 12) && digits(8..10, 31);
    let time = digits(11..13, 23) && digits(14..16, 59) && digits(17..19, 60);
    if !date || !time || !marks.iter().all(marked) {
        return false;
    }
    let rest = &text[19..];
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let hours = |text: &str| {
        let (hours, minutes) = text.split_once(':').unwrap_or_default();
        let is =
            |part: &str, most: u8| part.len() == 2 && part.parse::<u8>().is_ok_and(|n| n <= most);
        is(hours, 23) && is(minutes, 59)
    };
    zone.eq_ignore_ascii_case("z") || zone.strip_prefix(['+', '-']).is_some_and(hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_other_texts() {
        for good in [
            "2026-01-02T03:04:05Z",
            "2018-12-28T20:44:23.030424642Z",
            "2025-01-26T22:54:00.500849935+01:00",
            "0001-01-01t00:00:00-23:59",
        ] {
            assert!(is_rfc_3339(Some(good)), "{good}");
        }
        for bad in [
            "",
            "yesterday",
            "2026-01-02",
            "2026-13-02T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05+1:00",
            "2026-01-02T03:04:05Z ",
            "äöü6-01-02T03:04:05Z",
        ] {
            assert!(!is_rfc_3339(Some(bad)), "{bad}");
        }
        assert!(is_rfc_3339(None));
    }
}
