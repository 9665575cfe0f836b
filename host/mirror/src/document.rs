//! The file of a mirror: what should be where, and how.
//!
//! [`Document::parse`] reads it and reports all errors at once, each with `FILE:LINE:COLUMN`. What this module refuses:
//! unknown and duplicate keys, empty rules, logins, and files beyond the limits.

mod entry;
mod hosts;
pub mod pattern;
mod position;
mod read;
mod tags;
pub mod template;
pub mod yaml;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::PlatformRequest;
use occystrap_layer::glob::Globs;
use occystrap_net::registry::Reference;

pub use self::position::FilePosition;
pub use self::read::shortened;
pub use self::template::{MirrorDestination, Template};
pub use self::yaml::Mark;

use self::read::Reader;
use crate::rules::Rules;

/// Largest file, in bytes. The entries of 100,000 images, each by itself, need 10 MiB; lists are files of their own.
pub const LARGEST_FILE: usize = 16 * 1024 * 1024;

/// The version of the format that this program reads.
const VERSION: &str = "1";

/// Keys of the file.
const KEYS: [&str; 5] = ["version", "hosts", "defaults", "images", "prune"];

/// File of a mirror.
#[derive(Debug, Clone)]
pub struct Document {
    /// Limits for hosts, in the order of the file.
    pub hosts: Vec<HostLimits>,
    /// Entries of `images`, in the order of the file; at least one.
    pub entries: Vec<Entry>,
    /// What happens to images at the destination that no rule names.
    pub prune: Prune,
}

/// Limits for one host, for all workers together.
#[derive(Debug, Clone)]
pub struct HostLimits {
    /// Host with its port, as references spell it; `docker.io` for all names of Docker Hub.
    pub host: String,
    /// Requests a second, above 0.
    pub requests_per_second: Option<f64>,
    /// Connections at the same time.
    pub connections: Option<NonZeroU32>,
    /// How many pulls are left untouched: below this number of `RateLimit-Remaining`, pulls wait.
    pub pulls_left: Option<u32>,
    /// Where the file says so.
    pub place: FilePosition,
}

/// Entry of `images`: sources, where they go, and how. Values of `defaults` are in it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where the entry begins.
    pub place: FilePosition,
    /// Which images.
    pub origin: Origin,
    /// Where they go.
    pub to: Template,
    /// Where `to` stands: in the entry, or in `defaults`.
    pub to_place: FilePosition,
    /// How they are moved.
    pub settings: EntrySettings,
}

/// Sources of an entry.
#[derive(Debug, Clone)]
pub enum Origin {
    /// `from` with rules: tags of one or several repositories.
    Repositories {
        /// Repositories, without tag and digest.
        repositories: Vec<Reference>,
        /// Which tags of each.
        rules: Arc<Rules>,
        /// Where `from` stands.
        place: FilePosition,
    },
    /// `from` with a tag or digest in each of its names.
    Images {
        /// Images.
        images: Vec<Reference>,
        /// Where `from` stands.
        place: FilePosition,
    },
    /// `list`: a file with a reference a line.
    List {
        /// Path as it was written. A relative one begins at the folder of the file.
        path: String,
        /// Where `list` stands.
        place: FilePosition,
    },
}

/// How the images of an entry are moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntrySettings {
    /// Which platforms.
    pub platforms: Platforms,
    /// What becomes of an index of which not all platforms are moved.
    pub index: IndexMode,
    /// Filters in their order, as `--filter` takes them.
    pub filters: Vec<FilterText>,
    /// Which referrers are moved with an image.
    pub referrers: Referrers,
    /// How the destination is verified.
    pub verify: VerifyMode,
    /// Tags that never change once they are done and verified.
    pub immutable: TagPatterns,
    /// What happens where the destination has another digest.
    pub on_conflict: OnConflict,
}

/// Platforms of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Platforms {
    /// `all`, the default.
    #[default]
    All,
    /// These, at least one, in the order of the file.
    Listed(Vec<PlatformRequest>),
}

/// What becomes of an index of which not all platforms are moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IndexMode {
    /// It stays byte for byte, and keeps its digest; images that it names are absent (the default).
    #[default]
    Keep,
    /// A new index names what is there.
    Rewrite,
}

/// Which referrers (signatures, SBOMs, attestations) are moved with an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Referrers {
    /// None (the default).
    #[default]
    Without,
    /// All.
    All,
    /// Those with one of these artifact types, at least one.
    OfTypes(Vec<String>),
}

/// How a destination is verified after the write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// Documents are read, and of each blob its last byte (the default).
    #[default]
    Fast,
    /// Every byte is read.
    Full,
    /// Nothing is read back.
    None,
}

impl VerifyMode {
    /// Returns its value in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Full => "full",
            Self::None => "none",
        }
    }
}

/// What happens where the destination has another digest than the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is replaced (the default).
    #[default]
    Replace,
    /// It stays, and counts as done.
    Keep,
    /// It stays, and is an error.
    Error,
}

impl OnConflict {
    /// Returns its value in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Error => "error",
        }
    }
}

/// Filter with its place. [`Document::check_filters`] checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterText {
    /// As `--filter` takes it.
    pub text: String,
    /// Where it stands.
    pub place: FilePosition,
}

/// Patterns for tags, as `search` and filters have them: `*`, `?`, `[0-9]`, `{a,b}`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct TagPatterns(Arc<PatternSet>);

/// Patterns, compiled when they are needed first.
#[derive(Default)]
struct PatternSet {
    texts: Vec<String>,
    globs: OnceLock<Option<Globs>>,
}

/// What happens to images at the destination that no rule names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prune {
    /// What `mirror prune` does with them.
    pub extra: Extra,
}

/// What `mirror prune` does with an image that no rule names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extra {
    /// It lists the image (the default).
    #[default]
    Report,
    /// It deletes the image with `--yes`.
    Delete,
}

impl Document {
    /// Parses the text of a file. `name` names the file in errors. Errors with everything that is wrong, at least one
    /// error; the kind is [`occystrap_base::error::Kind::Usage`].
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Error>> {
        let mut reader = Reader::new(name);
        Self::parse_with(&mut reader, text).ok_or_else(|| reader.into_errors())
    }

    /// Returns the first thing that is wrong with a text, without its place; `None` where nothing is.
    pub(crate) fn first_fault(text: &str) -> Option<Error> {
        let mut reader = Reader::new("");
        let parsed = Self::parse_with(&mut reader, text);
        reader.into_faults().into_iter().next().map(|(_, error)| error).filter(|_| parsed.is_none())
    }

    /// Parses a text. Where this returns `None`, the reader has an error.
    fn parse_with(reader: &mut Reader, text: &str) -> Option<Self> {
        let start = Mark { line: 1, column: 1 };
        if text.len() > LARGEST_FILE {
            let message =
                format!("the file has {} bytes: at most {LARGEST_FILE} are read", text.len());
            reader.report(
                start,
                message,
                "put references in a text file, one a line, and name it with 'list'",
            );
            return None;
        }
        match yaml::parse(text) {
            Ok(Some(root)) => Self::read(reader, &root).filter(|_| !reader.has_errors()),
            Ok(None) => {
                reader.report(start, "the file is empty", "begin with 'version: 1' and 'images:'");
                None
            }
            Err(faults) => {
                faults.iter().for_each(|fault| reader.report_fault(fault));
                None
            }
        }
    }

    fn read(reader: &mut Reader, root: &yaml::Node) -> Option<Self> {
        // Keys that begin with `x-` hold parts that the file repeats by aliases, as in Compose files.
        if !reader.known_keys(root, "the file", &KEYS, |key| key.starts_with("x-")) {
            return None;
        }
        match root.get("version") {
            None => {
                reader.report(root.mark, "the file has no 'version'", "begin it with 'version: 1'")
            }
            Some(version) if version.text() == Some(VERSION) => {}
            Some(version) => {
                reader.unexpected(
                    version,
                    "'version'",
                    VERSION,
                    "this occystrap reads version 1 of the format",
                );
            }
        }
        let hosts = root.get("hosts").map(|node| hosts::read(reader, node)).unwrap_or_default();
        let prune =
            root.get("prune").map(|node| hosts::read_prune(reader, node)).unwrap_or_default();
        let defaults =
            root.get("defaults").map(|node| entry::defaults(reader, node)).unwrap_or_default();
        let Some(images) = root.get("images") else {
            reader.report(
                root.mark,
                "the file has no 'images'",
                "add 'images:' and, below it, '- from: ...' with 'to: ...'",
            );
            return None;
        };
        let hint = "an entry is '- from: docker.io/library/busybox:1.36' with 'to: mirror.example.com/busybox' below it";
        let items = reader.items(images, "'images'", hint)?;
        let mut alternatives = 0;
        let entries: Vec<Entry> = items
            .iter()
            .filter_map(|item| entry::read(reader, item, &defaults, &mut alternatives))
            .collect();
        Some(Self { hosts, entries, prune })
    }

    /// Checks every filter with a function that parses one, and returns the errors, each with the place of its filter.
    /// Equal filters are checked once.
    pub fn check_filters(&self, check: &mut dyn FnMut(&str) -> Result<()>) -> Vec<Error> {
        let mut seen = std::collections::HashSet::new();
        let filters = self.entries.iter().flat_map(|entry| &entry.settings.filters);
        let mut errors = Vec::new();
        for filter in filters.filter(|filter| seen.insert(filter.text.as_str())) {
            errors.extend(check(&filter.text).map_err(|error| error.within(&filter.place)).err());
        }
        errors
    }

    /// Returns the limits for a host, as references spell it.
    #[must_use]
    pub fn limits_of(&self, host: &str) -> Option<&HostLimits> {
        self.hosts.iter().find(|limits| limits.host == host)
    }
}

impl EntrySettings {
    /// Returns whether an image has the digest of its source at the destination.
    #[must_use]
    pub fn keeps_digest(&self) -> bool {
        self.filters.is_empty()
            && match &self.platforms {
                Platforms::All => true,
                Platforms::Listed(listed) => listed.len() > 1 && self.index == IndexMode::Keep,
            }
    }
}

impl TagPatterns {
    /// Creates patterns that were checked.
    fn new(texts: Vec<String>) -> Self {
        Self(Arc::new(PatternSet { texts, globs: OnceLock::new() }))
    }

    /// Returns the patterns as they were written.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.0.texts
    }

    /// Returns whether one of the patterns matches the whole tag.
    #[must_use]
    pub fn match_tag(&self, tag: &str) -> bool {
        let Self(set) = self;
        let compile = || Globs::new(set.texts.iter().map(String::as_str)).ok();
        let globs =
            (!set.texts.is_empty()).then(|| set.globs.get_or_init(compile).as_ref()).flatten();
        globs.is_some_and(|globs| !globs.matches(tag.as_bytes()).is_empty())
    }
}

impl PartialEq for TagPatterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts() == other.texts()
    }
}

impl Eq for TagPatterns {}

impl std::fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.texts.fmt(f)
    }
}

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
