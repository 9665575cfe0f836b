//! SHA-256 digests, and descriptors that carry one. What it refuses: other algorithms, upper case, a wrong length.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use crate::error::{Error, Side};
use crate::sha256::Sha256;

/// SHA-256 digest in the form of the OCI image specification ("Digests": `sha256:` and 64 lower-case hexadecimal
/// digits). Registries use no other algorithm for images.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes bytes that are in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Parses 64 hexadecimal digits, without the algorithm. Errors when the text has another form.
    pub fn from_hex(hex: &str) -> Result<Self, Error> {
        let malformed = || {
            Error::source(format!(
                "'{hex}' is not a SHA-256 digest: 64 lower-case hexadecimal digits are expected"
            ))
        };
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(malformed());
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let high = nibble(pair[0]).ok_or_else(malformed)?;
            let low = nibble(pair[1]).ok_or_else(malformed)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }

    /// Returns the 64 hexadecimal digits, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the algorithm and the first 12 digits, for messages where space is short.
    #[must_use]
    pub fn short(&self) -> String {
        format!("sha256:{}", &self.hex()[..12])
    }
}

fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Self::from_hex(hex),
            Some((algorithm, _)) => Err(Error::source(format!(
                "digest algorithm '{algorithm}' is not supported: only sha256 is"
            ))),
            None => Err(Error::source(format!(
                "'{text}' is not a digest: sha256:<64 hexadecimal digits> is expected"
            ))),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hasher of bytes that are read or written.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds bytes to two hashers, faster than to one after the other.
    pub fn update_both(both: [&mut Self; 2], bytes: [&[u8]; 2]) {
        Sha256::update_both(both.map(|hasher| &mut hasher.0), bytes);
    }

    /// Returns the digest of all bytes.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finish())
    }
}

impl From<Digest> for Side {
    fn from(digest: Digest) -> Self {
        Self::Sha256(digest.0)
    }
}

impl From<&Digest> for Side {
    fn from(digest: &Digest) -> Self {
        Self::Sha256(digest.0)
    }
}

impl Digest {
    /// Returns one side of a difference, where it is a digest.
    #[must_use]
    pub fn of_side(side: &Side) -> Option<Self> {
        match side {
            Side::Sha256(bytes) => Some(Self(*bytes)),
            _ => None,
        }
    }
}

/// Description of a blob, known before the blob is read (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type, such as `application/vnd.oci.image.layer.v1.tar+gzip`.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_parses() {
        let digest = Digest::of(b"");
        let text = digest.to_string();
        assert_eq!(text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        for bad in [
            "",
            "sha256:",
            "sha256:E3B0",
            "md5:0",
            &text.to_uppercase(),
            &text[..70],
            &format!("{text}0"),
            "sha256:é",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
