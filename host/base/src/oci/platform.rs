//! Platforms of images, and the choice of the image that fits a requested platform.

use std::fmt;

/// Operating system, architecture and variant of the architecture, in Go's spelling (OCI image specification, "Image
/// Index": `platform`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Such as `linux`; empty where it is unknown.
    pub os: String,
    /// Such as `amd64`; empty where it is unknown.
    pub architecture: String,
    /// Such as `v8`; `None` where there is none.
    pub variant: Option<String>,
}

impl Platform {
    /// Returns the platform that a document names, of which any part may be absent.
    #[must_use]
    pub fn from_parts(
        os: Option<String>,
        architecture: Option<String>,
        variant: Option<String>,
    ) -> Self {
        Self {
            os: os.unwrap_or_default(),
            architecture: architecture.unwrap_or_default(),
            variant: variant.filter(|variant| !variant.is_empty()),
        }
    }

    /// Returns an unknown platform.
    #[must_use]
    pub fn unknown() -> Self {
        Self::from_parts(None, None, None)
    }

    /// Returns whether system and architecture are both unknown.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }

    /// Returns whether system and architecture are both known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.os.is_empty() && !self.architecture.is_empty()
    }

    /// Returns the platform as text; `None` where system or architecture is unknown.
    #[must_use]
    pub fn stated(&self) -> Option<String> {
        self.is_whole().then(|| self.to_string())
    }

    /// Returns the note for an image that lacks a part of its platform and was accepted all the same.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let what = match (self.os.is_empty(), self.architecture.is_empty()) {
            (false, false) => return None,
            (true, false) => "operating system",
            (false, true) => "architecture",
            (true, true) => "platform",
        };
        Some(format!("does not name its {what}"))
    }

    /// Returns this platform, with its unknown parts taken from `other`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let or =
            |mine: String, theirs: &String| if mine.is_empty() { theirs.clone() } else { mine };
        Self {
            os: or(self.os, &other.os),
            architecture: or(self.architecture, &other.architecture),
            variant: self.variant.or_else(|| other.variant.clone()),
        }
    }

    /// Returns whether both platforms are known and differ. Variants are not compared: they are spelled in several
    /// ways, and left out. Attestations are for `unknown/unknown`, which does not differ from any platform.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        let differ = |mine: &str, theirs: &str| {
            let says = |word: &str| !matches!(word, "" | "unknown");
            says(mine) && says(theirs) && mine != theirs
        };
        differ(&self.os, &other.os) || differ(&self.architecture, &other.architecture)
    }

    /// Returns how well this platform fits a request, higher is better; `None` when it does not fit. A request without
    /// a variant accepts any, the architecture's usual one first: v8 for arm64 and v7 for arm (containerd's `platforms`
    /// package has the same rule).
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
    /// Returns linux/amd64, the default of 0.4.17.
    fn default() -> Self {
        Self { os: "linux".into(), architecture: "amd64".into(), variant: None }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said =
            |word: &str| if word.is_empty() { "unknown".to_owned() } else { word.to_owned() };
        write!(f, "{}/{}", said(&self.os), said(&self.architecture))?;
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
