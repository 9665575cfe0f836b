//! Times and sizes, as users type them in options.

/// Parses an age: a number with s, m, h, d or w. Returns seconds.
pub fn age(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected an age such as 12h, 30d or 4w, found '{text}'");
    let (number, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        Some((at, 'w')) => (&text[..at], 604_800),
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).ok_or_else(wrong)
}

/// Parses a number of bytes: with k, M, G or T (thousands, as storage is sold), or Ki, Mi, Gi or Ti.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a size such as 500G or 64Gi, found '{text}'");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!((age("90s"), age("12h"), age("30d")), (Ok(90), Ok(43_200), Ok(2_592_000)));
        for wrong in ["", "d", "30", "-1d", "1y", "99999999999999999w"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_and_wrong_ones_refused() {
        assert_eq!(
            (bytes("500G"), bytes("64Ki"), bytes("7")),
            (Ok(500_000_000_000), Ok(65_536), Ok(7))
        );
        for wrong in ["", "G", "1.5G", "-1", "5g", "99999999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
