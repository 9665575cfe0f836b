//! What can be wrong with an object, and why an object could not be checked, as data.
//!
//! Code decides from these types. The texts for users are made last, in [`crate::report`].

use occystrap_base::error::{Error, FaultOrigin, Side};
use occystrap_base::oci::{Digest, Platform};
use occystrap_output::plugin::bindings::verifier::Problem;
use serde::Serialize;

/// The state of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is as recorded.
    Ok,
    /// It is not there.
    Missing,
    /// It is there with another size.
    SizeMismatch,
    /// It is there with other content.
    DigestMismatch,
    /// It is there, but it cannot be read or does not have the form that it must have.
    Unreadable,
    /// It could not be checked; the message says why.
    Unchecked,
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Missing => Self::Missing,
            Problem::SizeMismatch => Self::SizeMismatch,
            Problem::DigestMismatch => Self::DigestMismatch,
            Problem::Unreadable => Self::Unreadable,
        }
    }
}

impl Status {
    /// Returns whether something is wrong. An object that could not be checked is not wrong.
    #[must_use]
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::Ok | Self::Unchecked)
    }

    /// Returns the name that the JSON has.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::SizeMismatch => "size-mismatch",
            Self::DigestMismatch => "digest-mismatch",
            Self::Unreadable => "unreadable",
            Self::Unchecked => "unchecked",
        }
    }
}

/// The two sides of a difference: what was expected, and what was found. A side that is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Two digests.
    Digest {
        /// The digest that was promised.
        expected: Option<Digest>,
        /// The digest of the bytes that are there.
        found: Option<Digest>,
    },
    /// Two sizes in bytes.
    Size {
        /// The size that was promised.
        expected: u64,
        /// The size of what is there.
        found: u64,
    },
    /// Two numbers of layers.
    Layers {
        /// The number that was promised.
        expected: usize,
        /// The number that is there.
        found: usize,
    },
    /// Levels of nesting in a JSON document.
    Depth {
        /// The most that clients accept.
        most: usize,
        /// The levels that the document has.
        found: usize,
    },
    /// Two platforms.
    Platform {
        /// The platform under which an index lists the image.
        expected: Platform,
        /// The platform in the config of the image.
        found: Platform,
    },
    /// A media type that clients reject; `None` where there is no media type.
    MediaType {
        /// The media type.
        found: Option<String>,
    },
    /// Two values of an entry or a field.
    Value {
        /// The value that was promised.
        expected: Option<String>,
        /// The value that is there.
        found: Option<String>,
    },
    /// The two sides of an error that has none of these forms.
    OfError(Side, Side),
}

impl Difference {
    /// Returns the difference that an error is about.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        let (expected, found) = error.difference()?;
        Some(match (Digest::of_side(expected), Digest::of_side(found), expected, found) {
            (Some(expected), Some(found), ..) => {
                Self::Digest { expected: Some(expected), found: Some(found) }
            }
            (_, _, Side::Bytes(expected), Side::Bytes(found)) => {
                Self::Size { expected: *expected, found: *found }
            }
            _ => Self::OfError(expected.clone(), found.clone()),
        })
    }

    /// Returns the difference between two digests.
    #[must_use]
    pub fn digests(expected: Digest, found: Digest) -> Self {
        Self::Digest { expected: Some(expected), found: Some(found) }
    }
}

/// What is wrong with an object, or why it could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is nothing of that name.
    NotThere,
    /// A registry does not have the blob.
    NotAtRegistry,
    /// A registry does not have a manifest of that tag or digest.
    NoManifest,
    /// A web server does not have the file.
    NotOnServer,
    /// A container engine has no image of that name.
    NotInEngine {
        /// The address of the engine.
        engine: String,
    },
    /// A container engine has the image and does not export it.
    NotExported,
    /// A JSON file has no entry that leads to the image.
    NoEntry {
        /// The steps to the entry.
        entry: String,
    },
    /// A list leads to a file that is not there or has another size.
    LeadsToMissing {
        /// The path of the file.
        path: String,
    },
    /// An engine's image has fewer layers.
    FewerLayers,

    /// The size is another one.
    OtherSize,
    /// The size is not the one in the journal of the receipt.
    OtherSizeThanJournal,
    /// The archive ends before the part does.
    ArchiveEnds,
    /// A layer that must hold something is empty.
    EmptyLayer,
    /// A tar has a size that is no multiple of its blocks.
    CutOffBlock {
        /// Bytes that are there.
        length: u64,
    },
    /// A tar ends in a member.
    CutOffMember {
        /// Bytes that are there.
        length: u64,
    },

    /// The bytes have another digest.
    OtherContent,
    /// Bytes between the members of an archive are not those in the journal.
    OtherFraming {
        /// How many bytes.
        size: u64,
        /// Where they start in the file.
        offset: u64,
    },
    /// A registry has another manifest under the name.
    OtherManifest,
    /// An engine has another config or layer.
    OtherInEngine,
    /// An engine's image has more layers.
    MoreLayers,
    /// A plain layer has another digest than the config promises.
    OtherPlainLayer,
    /// A manifest and a config disagree about the number of layers.
    OtherNumberOfLayers,
    /// A config and a list in `docker save` form disagree about the number of layers.
    LayersListed {
        /// Layers by the config.
        config: usize,
        /// Layers by the list.
        manifest: usize,
    },
    /// An entry names something else.
    OtherEntry {
        /// The steps to the entry.
        entry: String,
    },
    /// A file has several entries where one is expected.
    SeveralEntries {
        /// The steps to the entry.
        entry: String,
    },
    /// An index has several entries of one tag.
    SeveralOfTag {
        /// How many.
        count: usize,
        /// The tag.
        tag: String,
    },
    /// A catalog has a manifest under the digest of another config.
    OtherConfig {
        /// The path of the manifest.
        manifest: String,
    },
    /// A catalog and a manifest name the image differently.
    OtherName {
        /// The name in the catalog.
        name: String,
        /// The names in the manifest.
        own: Vec<String>,
    },
    /// A manifest does not lead to the image of the receipt.
    LeadsElsewhere(Lead),
    /// An index lists an image for another platform than the config says.
    OtherPlatform,
    /// An index has another `schemaVersion`.
    OtherSchemaVersion,
    /// An OCI layout has a version that readers do not know.
    OtherLayoutVersion,

    /// It is a folder, a link or a device.
    NotRegularFile,
    /// No destination of this kind has such a thing.
    Misplaced,
    /// The file could not be read to its end.
    Incomplete,
    /// Reading failed.
    Unread(Unread),
    /// It is not JSON.
    NotJson,
    /// A JSON document can be read in two ways.
    TwoReadings {
        /// The place in the document.
        why: String,
    },
    /// A document is nested deeper than clients accept.
    TooDeep,
    /// A document has a field of a type that clients reject.
    FieldType {
        /// The name of the field.
        field: String,
    },
    /// A manifest gives its config a media type that clients reject.
    ConfigType(Rejecting),
    /// A config is not that of an image.
    NotImageConfig,
    /// An index is not one.
    NotAnIndex,
    /// Images that an index lists are not verified.
    Listed {
        /// Whether they are wrong, and not only unchecked.
        failed: bool,
        /// How many.
        some: usize,
        /// How many the index lists.
        all: usize,
    },

    /// The user may not read the file.
    Denied,
    /// Another process has changed it during both looks.
    Changed,
    /// Another process has changed it during one look.
    ChangedMeanwhile,
    /// Another process has replaced it since this run wrote it.
    Replaced,
    /// The file is larger than occystrap reads.
    TooLarge,
    /// A document is not UTF-8.
    NotUtf8,
    /// The layer is encrypted.
    Encrypted,
    /// The manifest says that the layer is at another host.
    Elsewhere {
        /// The host.
        host: String,
    },
    /// The whole image could not be read.
    ImageUnread,
    /// A web server does not say the size.
    SizeNotSaid,
    /// A list has no entry.
    Empty,
    /// Only the plugin knows where the listed images are.
    PlacesUnknown,
    /// The config was rewritten by an engine, so that its name promises nothing.
    Rewritten,
    /// The name of a config promises no digest.
    NoDigest,
    /// The config that promises a layer could not be read.
    ContentUnknown,
    /// The size of a layer is recorded nowhere.
    SizeUnknown,
    /// The length of a tar is not known.
    LengthUnknown(Length),
    /// A receipt does not name everything.
    ReceiptSaysLittle {
        /// What is missing.
        missing: String,
    },
    /// The config does not promise anything about a layer.
    LayerUnknown,
    /// A layer is not the one that the config names, or its compression is not known.
    LayerForm,

    /// An operation failed. The location of the object is left out of the text.
    Failed(Error),
    /// A file could not be followed; the text is the whole error.
    Quoted(Error),
    /// A plugin reports a problem.
    OfPlugin {
        /// The name of the plugin.
        plugin: String,
        /// What it says.
        message: String,
    },
}

/// Why a manifest does not lead to the image of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// The manifest lists other things; the text says which.
    Other(String),
    /// The archive cannot be read.
    Archive(String),
    /// The list cannot be followed.
    Unfollowed(Error),
    /// Readers look for the list in another place.
    NotFound,
    /// The list has another number of images than one.
    Images(usize),
    /// The list has other files.
    OtherFiles,
    /// The archive has a file that the list does not name.
    NotListed(String),
    /// The list does not have the name of the image.
    NotNamed(String),
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// The system or a parser says why.
    Because(String),
    /// Indexes are nested too deeply.
    NestedIndexes,
    /// A manifest lists too many layers.
    ManyLayers {
        /// The most.
        most: usize,
    },
}

/// The container engines that reject a media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejecting {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// Docker and Podman.
    Both,
}

/// Why the length of a tar is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A read failed.
    Unread,
    /// A header is damaged.
    DamagedHeader,
    /// The end is missing.
    NoEnd,
}

/// What the user can do about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The hint of an error.
    OfError {
        /// The text.
        text: String,
        /// What is at fault.
        origin: Option<FaultOrigin>,
    },
    /// The image has the flaw at its source.
    AsAtSource,
    /// The registry keeps wrong bytes, which its operator must remove.
    DeleteFirst,
    /// The blob is whole and is not the layer of the config.
    OtherLayer,
    /// Another user may read the file.
    OtherUser,
    /// The command is to be run again when other processes do not write.
    RunAgain,
    /// What is there now can be verified.
    VerifyNow {
        /// The destination.
        destination: String,
    },
}

impl Hint {
    /// Returns the hint of an error.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        let origin = error.origin();
        error.hint_text().map(|text| Self::OfError { text: text.to_owned(), origin })
    }

    /// Returns what is at fault, where an error says that.
    #[must_use]
    pub fn origin(&self) -> Option<FaultOrigin> {
        match self {
            Self::OfError { origin, .. } => *origin,
            _ => None,
        }
    }
}

/// What is wrong with an object, or why it could not be checked, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The status that it gives the object.
    pub status: Status,
    /// The reason.
    pub reason: Reason,
    /// Both sides, where it is about a difference.
    pub difference: Option<Difference>,
    /// What the user can do, where the command that wrote the object does not help.
    pub hint: Option<Hint>,
}

impl Flaw {
    /// Returns a flaw without sides and without a hint.
    #[must_use]
    pub fn new(status: Status, reason: Reason) -> Self {
        Self { status, reason, difference: None, hint: None }
    }

    /// Returns the flaw with both sides.
    #[must_use]
    pub fn between(self, difference: Difference) -> Self {
        Self { difference: Some(difference), ..self }
    }

    /// Returns the flaw with a hint.
    #[must_use]
    pub fn hint(self, hint: Hint) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Returns a difference of content between two digests.
    #[must_use]
    pub fn content(expected: Digest, found: Digest) -> Self {
        Self::new(Status::DigestMismatch, Reason::OtherContent)
            .between(Difference::digests(expected, found))
    }

    /// Returns a difference of size.
    #[must_use]
    pub fn size(expected: u64, found: u64) -> Self {
        Self::new(Status::SizeMismatch, Reason::OtherSize)
            .between(Difference::Size { expected, found })
    }

    /// Returns the flaw that an error describes: *unchecked* where the error says that the object could not be looked
    /// at, *missing* where it says that the object is not there, and otherwise `status`.
    #[must_use]
    pub fn of_error(status: Status, error: &Error) -> Self {
        let status = match error.kind() {
            _ if error.is_unconfirmed() => Status::Unchecked,
            occystrap_base::error::Kind::NotFound => Status::Missing,
            _ => status,
        };
        let (difference, hint) = (Difference::of(error), Hint::of(error));
        Self { status, reason: Reason::Failed(error.clone()), difference, hint }
    }
}
