//! The platform an image is for, and which of several fits the one asked for.

use std::fmt;

/// An operating system, an architecture and a variant of it, in Go's spelling (OCI image
/// specification, "Image Index": `platform`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`; `None` where none is named.
    pub variant: Option<String>,
}

impl Platform {
    /// What an entry of an index says that it is for.
    #[must_use]
    pub fn promised(raw: &oci_spec::image::Platform) -> Self {
        Self {
            os: raw.os().to_string(),
            architecture: raw.architecture().to_string(),
            variant: raw.variant().clone().filter(|variant| !variant.is_empty()),
        }
    }

    /// Whether both say what they are for, and it is not the same. Variants are spelled in several ways,
    /// and left out; attestations are for `unknown/unknown`.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        let differ = |mine: &str, theirs: &str| {
            let says = |word: &str| !matches!(word, "" | "unknown");
            says(mine) && says(theirs) && mine != theirs
        };
        differ(&self.os, &other.os) || differ(&self.architecture, &other.architecture)
    }

    /// How well this platform answers a request; `None` when it does not. A request without a
    /// variant takes any, the architecture's usual one first: arm64 is v8 and arm is v7 unless
    /// somebody says otherwise (containerd's `platforms` package normalises the same way).
    #[must_use]
    pub fn fit(&self, wanted: &Platform) -> Option<u8> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let usual = usual_variant(&self.architecture);
        let mine = self.variant.as_deref().or(usual);
        match &wanted.variant {
            Some(variant) if mine == Some(variant) => Some(3),
            Some(_) => None,
            None if mine == usual => Some(2),
            None => Some(1),
        }
    }
}

fn usual_variant(architecture: &str) -> Option<&'static str> {
    match architecture {
        "arm64" => Some("v8"),
        "arm" => Some("v7"),
        _ => None,
    }
}

impl Default for Platform {
    /// What 0.4.17 asked for when nobody said anything: linux/amd64.
    fn default() -> Self {
        Self { os: "linux".into(), architecture: "amd64".into(), variant: None }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        Platform {
            os: parts.next().unwrap(),
            architecture: parts.next().unwrap(),
            variant: parts.next(),
        }
    }

    #[test]
    fn a_request_without_variant_takes_the_usual_one_first() {
        let wanted = platform("linux/arm64");
        assert!(platform("linux/arm64/v8").fit(&wanted) > platform("linux/arm64/v9").fit(&wanted));
        assert_eq!(platform("linux/arm64").fit(&wanted), platform("linux/arm64/v8").fit(&wanted));
        assert!(
            platform("linux/arm/v7").fit(&platform("linux/arm"))
                > platform("linux/arm/v6").fit(&platform("linux/arm"))
        );
    }

    #[test]
    fn another_variant_os_or_architecture_does_not_fit() {
        assert_eq!(platform("linux/arm/v6").fit(&platform("linux/arm/v7")), None);
        assert_eq!(platform("windows/amd64").fit(&platform("linux/amd64")), None);
        assert!(platform("linux/arm64").fit(&platform("linux/arm64/v8")).is_some());
    }
}
