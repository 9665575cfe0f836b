//! What must be found at a destination for a write to have happened: kept as JSON for a check
//! later, and accepted from a plugin only where the host's own journal agrees.

pub mod bundle;
pub mod identity;
mod leak;
pub mod listed;
pub mod repeat_command;
pub mod step;

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use bundle::{Bundle, RECEIPT};
pub use repeat_command::RepeatCommand;
pub use step::Step;

use crate::destination::WrittenFile;
use crate::plugin::bindings::writer;
use identity::PluginIdentity;
use occystrap_base::oci::{Digest, ImageName, Part, layout};

/// The version of the JSON. A reader refuses others.
pub const VERSION: u32 = 1;

/// The version of the WIT package that receipts of this version speak.
pub const WIT_VERSION: &str = "0.1.0";

/// A receipt of a thousand layers has some 400 KB.
pub(crate) const LARGEST: u64 = 64 * 1024 * 1024;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`VERSION`].
    pub occystrap_receipt: u32,
    /// Who wrote.
    pub plugin: PluginIdentity,
    /// From where, without secrets.
    pub source: String,
    /// To where, without secrets.
    pub destination: String,
    /// What.
    pub image: ImageIdentity,
    /// What it went through, as the user typed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// What it takes to do it again; early ones do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<RepeatCommand>,
    /// What must be found.
    pub expectations: Vec<Expectation>,
    /// What the host saw being written.
    pub journal: Vec<WrittenFile>,
    /// For the plugin's own check, in hexadecimal.
    #[serde(with = "hexadecimal", default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<u8>,
    /// Whether this run made it. One that was read from a file may have been cut.
    #[serde(skip)]
    pub is_fresh: bool,
    /// The files that the commit of this run made visible, until the image is verified.
    #[serde(skip)]
    pub published: Vec<Published>,
}

/// A file that a commit has given its name.
#[derive(Debug, Clone)]
pub struct Published {
    /// Relative to the destination.
    pub path: String,
    /// Which file. It is open: a file system gives the inode of a removed file to the next new one, and no
    /// other file must pass for this one.
    pub file: Arc<File>,
}

impl PartialEq for Published {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Published {}

/// Which image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIdentity {
    /// Its repository's familiar name.
    pub name: String,
    /// Its tag.
    pub tag: Option<String>,
    /// Digest of its config; of an index, its own.
    pub id: Digest,
    /// Which part of a multi-platform image.
    #[serde(default, skip_serializing_if = "Part::is_whole")]
    pub part: Part,
    /// Whether it is an artifact with a name of its own. One that an index lists is known by its manifest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub artifact: bool,
}

impl ImageIdentity {
    /// What it is called.
    #[must_use]
    pub fn image_name(&self) -> ImageName {
        ImageName { repository: self.name.clone(), tag: self.tag.clone() }
    }
}

/// What a thing is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The image config.
    Config,
    /// A layer, with its index.
    Layer(u32),
    /// What ties config and layers together.
    Manifest,
    /// What says which images there are.
    Catalog,
    /// The output as a whole.
    Image,
}

impl Role {
    /// Whether it is a layer's, whichever.
    #[must_use]
    pub fn is_layer(self) -> bool {
        matches!(self, Self::Layer(_))
    }

    /// Whether it is that of one of these layers, by their index.
    #[must_use]
    pub fn is_layer_of(self, indexes: &BTreeSet<u32>) -> bool {
        matches!(self, Self::Layer(index) if indexes.contains(&index))
    }
}

/// Where a thing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A whole file.
    File {
        /// Relative to the destination.
        path: String,
    },
    /// Part of a file.
    Part {
        /// Relative to the destination.
        path: String,
        /// The member's name.
        member: String,
        /// In bytes.
        offset: u64,
    },
    /// One string in a JSON file.
    Entry {
        /// Relative to the destination.
        path: String,
        /// Outermost first.
        steps: Vec<Step>,
        /// The string.
        value: String,
    },
    /// A blob of a repository.
    Blob {
        /// Its digest.
        digest: Digest,
    },
    /// A manifest of a repository.
    Manifest {
        /// Its tag or its digest.
        reference: String,
    },
    /// An image in an engine.
    Image {
        /// Its name.
        name: String,
    },
    /// A layer of an image in an engine.
    ImageLayer {
        /// The image's name.
        image: String,
        /// Lowest is 0.
        index: u32,
    },
}

impl Place {
    /// The file that the thing is in, where it is in one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File { path } | Self::Part { path, .. } | Self::Entry { path, .. } => Some(path),
            _ => None,
        }
    }

    /// How findings name it, relative to the destination.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Part { path, member, .. } => format!("{path}:{member}"),
            Self::File { path } | Self::Entry { path, .. } => path.clone(),
            Self::Blob { digest } => digest.to_string(),
            Self::Manifest { reference } => reference.clone(),
            Self::Image { name } => name.clone(),
            Self::ImageLayer { image, index } => format!("{image} layer {}", u64::from(*index) + 1),
        }
    }
}

/// One thing that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// What it is for.
    pub role: Role,
    /// Where it is.
    pub place: Place,
    /// In bytes; `None` for an entry, or where nothing but the digest is known.
    pub size: Option<u64>,
    /// `None` for an entry, and for a file whose pieces are in the journal.
    pub digest: Option<Digest>,
}

impl Receipt {
    /// Bytes of config and layers that it covers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let counted = |one: &&Expectation| matches!(one.role, Role::Config | Role::Layer(_));
        let sizes = self.expectations.iter().filter(counted).filter_map(|one| one.size);
        // A receipt may come from anywhere.
        sizes.fold(0, u64::saturating_add)
    }

    /// The digest by which the image is known at its destination: of its manifest or index, where that
    /// is kept by its digest.
    #[must_use]
    pub fn manifest_digest(&self) -> Option<Digest> {
        let manifests = self.expectations.iter().filter(|one| one.role == Role::Manifest);
        let mut digests = manifests.filter_map(|one| match &one.place {
            Place::Manifest { .. } => one.digest,
            Place::File { path } => one.digest.filter(|digest| *path == layout::blob(*digest)),
            _ => None,
        });
        digests.next()
    }

    /// The manifests by which an index lists it.
    pub fn listed_manifests(&self) -> impl Iterator<Item = Digest> {
        let is_listed = self.image.part.is_listed();
        let all =
            self.expectations.iter().filter(move |one| is_listed && one.role == Role::Manifest);
        all.filter_map(|one| one.digest)
    }

    /// Expectations and state as the plugin's `verify` takes them.
    #[must_use]
    pub fn for_guest(&self) -> writer::Receipt {
        let expectations = self.expectations.iter().map(|expectation| writer::Expectation {
            role: match expectation.role {
                Role::Config => writer::Role::Config,
                Role::Layer(index) => writer::Role::Layer(index),
                Role::Manifest => writer::Role::Manifest,
                Role::Catalog => writer::Role::Catalog,
                Role::Image => writer::Role::Image,
            },
            place: match expectation.place.clone() {
                Place::File { path } => writer::Place::File(path),
                Place::Part { path, member, offset } => {
                    writer::Place::Part(writer::Part { path, member, offset })
                }
                Place::Entry { path, steps, value } => {
                    let steps = steps.into_iter().map(Step::into_guest).collect();
                    writer::Place::Entry(writer::Entry { path, steps, value })
                }
                Place::Blob { digest } => writer::Place::Blob(digest.to_string()),
                Place::Manifest { reference } => writer::Place::Manifest(reference),
                Place::Image { name } => writer::Place::Image(name),
                Place::ImageLayer { image, index } => {
                    writer::Place::ImageLayer(writer::ImageLayer { image, index })
                }
            },
            size: expectation.size,
            digest: expectation.digest.map(|digest| digest.to_string()),
        });
        writer::Receipt { expectations: expectations.collect(), state: self.state.clone() }
    }
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.as_bytes();
        let pairs = digits.chunks(2).map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        });
        pairs
            .collect::<Option<_>>()
            .ok_or_else(|| serde::de::Error::custom("state is not hexadecimal"))
    }
}
