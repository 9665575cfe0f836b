//! Platform that a user asks for.

use super::Platform;

/// Platform that a user asks for, in whole or in part. Where the user leaves out a part, several images are reduced by
/// the default for it, and a single image may have any value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformRequest {
    /// Such as `linux`.
    pub os: Option<String>,
    /// Such as `amd64`, in Go's spelling.
    pub architecture: Option<String>,
    /// Such as `v8`.
    pub variant: Option<String>,
}

impl PlatformRequest {
    /// Creates a request from three words; an empty word counts as absent. The kernel's names of architectures (`uname
    /// -m`) are accepted in place of Go's.
    #[must_use]
    pub fn new(os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> Self {
        let said = |word: Option<&str>| word.filter(|word| !word.is_empty()).map(str::to_owned);
        Self { os: said(os), architecture: said(architecture.map(in_go)), variant: said(variant) }
    }

    /// Parses `OS/ARCHITECTURE[/VARIANT]`. Errors with the expected form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            _ if parts.iter().any(|part| part.is_empty()) => {}
            [os, architecture] => return Ok(Self::new(Some(os), Some(architecture), None)),
            [os, architecture, variant] => {
                return Ok(Self::new(Some(os), Some(architecture), Some(variant)));
            }
            _ => {}
        }
        Err("expected OS/ARCHITECTURE[/VARIANT], such as linux/arm64".to_owned())
    }

    /// Returns this request, with its absent parts taken from `other`.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            os: self.os.or_else(|| other.os.clone()),
            architecture: self.architecture.or_else(|| other.architecture.clone()),
            variant: self.variant.or_else(|| other.variant.clone()),
        }
    }

    /// Returns the platform to choose from several: linux/amd64, as in 0.4.17, for absent parts.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.instead_of(&Platform::default())
    }

    /// Returns the requested parts, and system and architecture of `found` where they are absent.
    #[must_use]
    pub fn instead_of(&self, found: &Platform) -> Platform {
        let Self { os, architecture, variant } = self.clone();
        Platform {
            os: os.unwrap_or_else(|| found.os.clone()),
            architecture: architecture.unwrap_or_else(|| found.architecture.clone()),
            variant,
        }
    }

    /// Returns whether a single image meets the request. An image that does not name its platform does: there is no
    /// other.
    #[must_use]
    pub fn is_met_by(&self, found: &Platform) -> bool {
        let wanted = self.instead_of(found);
        if found.architecture.is_empty() {
            return found.os.is_empty() || found.os == wanted.os;
        }
        let os = if found.os.is_empty() { wanted.os.clone() } else { found.os.clone() };
        Platform { os, ..found.clone() }.fit(&wanted).is_some()
    }

    /// Returns whether the user asks for no platform.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Returns Go's name of an architecture (containerd's `platforms` package accepts the same aliases).
fn in_go(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> PlatformRequest {
        PlatformRequest::parse(text).unwrap()
    }

    #[test]
    fn a_platform_has_two_or_three_words() {
        assert_eq!(wanted("linux/aarch64"), wanted("linux/arm64"));
        assert_eq!(wanted("linux/arm/v6").platform().to_string(), "linux/arm/v6");
        assert_eq!(PlatformRequest::default().platform().to_string(), "linux/amd64");
        for bad in ["", "arm64", "linux/", "/arm64", "linux/arm/v7/x", "linux//v7"] {
            assert!(PlatformRequest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_was_said_must_be_met() {
        let found = Platform { os: "linux".into(), architecture: "arm64".into(), variant: None };
        for (of, is_met) in [
            (PlatformRequest::default(), true),
            (PlatformRequest::new(Some("linux"), None, None), true),
            (PlatformRequest::new(None, Some("aarch64"), Some("v8")), true),
            (PlatformRequest::new(None, Some(""), None), true),
            (PlatformRequest::new(None, Some("amd64"), None), false),
            (PlatformRequest::new(Some("windows"), None, None), false),
            (PlatformRequest::new(None, None, Some("v9")), false),
        ] {
            assert_eq!(of.is_met_by(&found), is_met, "{of:?}");
        }
        let of = wanted("windows/arm64/v9");
        assert!(of.is_met_by(&Platform::unknown()));
        let system = |os: &str| Platform { os: os.into(), ..Platform::unknown() };
        assert!(of.is_met_by(&system("windows")) && !of.is_met_by(&system("linux")));
    }
}
