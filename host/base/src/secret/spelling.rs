//! Spellings of a secret that no decoder undoes: Base64 and hexadecimal.
//!
//! Escapes (percent, JSON, HTML) are undone in the text instead ([`super::view`]): programs differ in the characters
//! that they escape.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::{SHORTEST, SHORTEST_ANYWHERE};

/// Bytes of the longest secret that is searched for as a whole. Of a longer one, both ends are searched for, so that
/// the table stays small, and so that a secret that was cut off is still found.
const LONGEST: usize = 64;

/// Bytes of each end of a longer secret. A JSON web token begins with a header of about this length, which all tokens
/// of a service share: their first ends are one pattern.
const END: usize = 40;

/// Text to search for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    pub(super) bytes: Vec<u8>,
    pub(super) extent: Extent,
}

/// Extent of the text that is masked where a pattern is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Extent {
    /// The pattern itself, where no letter or digit is next to it.
    Word,
    /// The pattern itself.
    Anywhere,
    /// All characters of Base64 and tokens around the pattern.
    Run,
}

/// Returns all patterns for a secret; none for a secret that is too short.
pub(super) fn of(secret: &str) -> Vec<Pattern> {
    let mut patterns = plain(secret.as_bytes());
    // Text that was broken over lines is searched without white space.
    if secret.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let squeezed: String = secret.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        patterns.extend(plain(squeezed.as_bytes()));
    }
    if secret.len() < SHORTEST_ANYWHERE {
        return patterns;
    }
    let start = &secret.as_bytes()[..secret.len().min(END)];
    let hexadecimal: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
    let cores = (0..3).flat_map(|before| base64_cores(start, before));
    for text in std::iter::once(hexadecimal).chain(cores) {
        let pattern = Pattern { bytes: canonical(text.as_bytes()), extent: Extent::Run };
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    patterns
}

/// Returns the patterns for a signature, which is searched for as it is. Every redirect brings some, and each signs
/// only one request.
pub(super) fn of_signature(signature: &str) -> Vec<Pattern> {
    plain(signature.as_bytes())
}

fn plain(secret: &[u8]) -> Vec<Pattern> {
    let bytes = canonical(secret);
    let pattern = |bytes: &[u8], extent| Pattern { bytes: bytes.to_vec(), extent };
    match bytes.len() {
        0..SHORTEST => Vec::new(),
        SHORTEST..SHORTEST_ANYWHERE => vec![pattern(&bytes, Extent::Word)],
        SHORTEST_ANYWHERE..=LONGEST => vec![pattern(&bytes, Extent::Anywhere)],
        length => {
            vec![pattern(&bytes[..END], Extent::Run), pattern(&bytes[length - END..], Extent::Run)]
        }
    }
}

/// Returns the digits of Base64 that depend on a secret alone where `before` bytes (modulo 3) precede it, in both
/// alphabets (RFC 4648).
fn base64_cores(secret: &[u8], before: usize) -> [String; 2] {
    let bytes = [&[0; 2][..before], secret].concat();
    // A digit has six bits: digits that share bits with the text before or after the secret are left out.
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    let core = |digits: String| digits[first..end].to_owned();
    [core(STANDARD_NO_PAD.encode(&bytes)), core(URL_SAFE_NO_PAD.encode(&bytes))]
}

/// Returns text in the form in which it is compared. A space is a plus sign, as in forms, and a character that is not
/// printable is the question mark that messages show for it.
pub(super) fn canonical(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| canonical_byte(*byte)).collect()
}

pub(super) fn canonical_byte(byte: u8) -> u8 {
    match byte {
        b' ' => b'+',
        byte if byte.is_ascii_control() => b'?',
        byte => byte,
    }
}
