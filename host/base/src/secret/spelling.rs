//! The spellings of a secret that no decoder undoes: Base64 and hexadecimal.
//!
//! Escapes (percent, JSON, HTML) are undone in the text instead ([`super::view`]): which characters
//! are escaped differs from program to program.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::{SHORTEST, SHORTEST_ANYWHERE};

/// Bytes of a secret that is searched for as a whole. Of a longer one its two ends are, so that the
/// table stays small, and so that one that was cut off is still found.
const LONGEST: usize = 64;

/// Bytes of each end of a longer one. A JSON web token begins with a header of about this length,
/// which all tokens of a service share: their first ends are one pattern.
const END: usize = 40;

/// A text to look for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    pub(super) bytes: Vec<u8>,
    pub(super) extent: Extent,
}

/// How much of the text a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Extent {
    /// Itself, where no letter or digit is beside it.
    Word,
    /// Itself.
    Anywhere,
    /// All characters of Base64 and tokens around it.
    Run,
}

/// All that a secret is looked for as. Nothing for one that is too short.
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

/// What a signature is looked for as: as it is. Every redirect brings some, and what they sign is one
/// request.
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

/// The digits of Base64 that depend on a secret alone where so many bytes (modulo 3) stand before it,
/// in both alphabets (RFC 4648).
fn base64_cores(secret: &[u8], before: usize) -> [String; 2] {
    let bytes = [&[0; 2][..before], secret].concat();
    // A digit has six bits: those that share some with what stands before or after it are left out.
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    let core = |digits: String| digits[first..end].to_owned();
    [core(STANDARD_NO_PAD.encode(&bytes)), core(URL_SAFE_NO_PAD.encode(&bytes))]
}

/// Text as it is compared: a space is a plus sign, as in forms, and what is not printable is the
/// question mark that messages show for it.
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
