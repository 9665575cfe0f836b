//! The list of digests of an export, in the format that `sha256sum -c` reads.

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;

use super::SUMS;

/// Largest list, in bytes: a million files.
pub const LARGEST: u64 = 128 * 1024 * 1024;

/// Length of a digest in hexadecimal.
const HEX: usize = 64;

/// A file, and what its bytes must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Its digest.
    pub digest: Digest,
    /// Its path in the export.
    pub path: String,
}

impl Sum {
    /// Returns its line.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}  {}\n", self.digest.hex(), self.path)
    }
}

/// Returns whether a name can be in the list. `sha256sum` escapes other names.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && !name.contains(|c: char| c.is_control() || c == '\\' || c == '/')
}

/// Parses a list. `place` names the export in errors. Errors for a line that `sha256sum` does not write, and for a path that
/// is listed twice.
pub fn parse(text: &str, place: &str) -> Result<Vec<Sum>> {
    let mut sums: Vec<Sum> = Vec::new();
    for (number, line) in text.split_terminator('\n').enumerate() {
        let wrong = || {
            let message =
                format!("{place}: line {} of '{SUMS}' is not a digest and a path", number + 1);
            Error::source(message).hint("copy the export again")
        };
        let (hex, path) = line.split_once("  ").ok_or_else(wrong)?;
        let is_lower = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if hex.len() != HEX || !hex.chars().all(is_lower) || !path.split('/').all(is_plain) {
            return Err(wrong());
        }
        let digest = Digest::from_hex(hex).map_err(|_| wrong())?;
        sums.push(Sum { digest, path: path.to_owned() });
    }
    let mut paths: Vec<&str> = sums.iter().map(|sum| &*sum.path).collect();
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::source(format!("{place}: '{SUMS}' lists '{}' twice", pair[0]))
            .hint("copy the export again")),
        None => Ok(sums),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(
            files in prop::collection::btree_map("[a-z0-9][a-z0-9. -]{0,8}(/[a-z0-9-][a-z0-9.-]{0,8}){0,2}", any::<u64>(), 0..20)
        ) {
            let sum = |(path, seed): (&String, &u64)| Sum { digest: Digest::of(&seed.to_be_bytes()), path: path.clone() };
            let sums: Vec<Sum> = files.iter().map(sum).collect();
            let text: String = sums.iter().map(Sum::line).collect();
            prop_assert_eq!(parse(&text, "'DIR'").unwrap(), sums);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = parse(&text, "'DIR'");
        }
    }

    #[test]
    fn what_sha256sum_does_not_write_is_refused() {
        let hex = "ab".repeat(32);
        let bad = [
            format!("{hex} *a"),
            format!("{hex}  "),
            format!("{}  a", hex.to_uppercase()),
            format!("{}  a", &hex[1..]),
            format!("{hex}  a//b"),
            format!("{hex}  /a"),
            format!("{hex}  ../a"),
            format!("\\{hex}  a\\n"),
            format!("{hex}  a\n{hex}  a"),
            "\n".to_owned(),
        ];
        for text in bad {
            assert!(parse(&text, "'DIR'").is_err(), "{text}");
        }
        assert_eq!(parse("", "'DIR'").unwrap(), []);
    }
}
