//! The texts about objects. No code decides from them: what is wrong is data until a report is written.

use std::fmt::{self, Display, Formatter};

use crate::verdict::flaw::{Difference, Hint, Lead, Length, Reason, Rejecting, Unread};
use crate::verdict::object::CheckedObject;
use occystrap_base::error::{Error, printable};
use occystrap_images::source::docker_save::REWRITTEN;
use occystrap_images::steady::{AGAIN, CHANGED};
use occystrap_net::registry::DELETE_FIRST;

/// Returns what is wrong with an object, or why it could not be checked. Empty where it is *ok*.
#[must_use]
pub fn message(object: &CheckedObject) -> String {
    match &object.reason {
        None => String::new(),
        Some(Reason::Failed(error)) => without_place(error, &object.location).to_owned(),
        Some(reason) => reason.to_string(),
    }
}

/// Returns the error for an object that is not as promised.
#[must_use]
pub fn error_of(object: &CheckedObject) -> Error {
    let what = format!("{}: {}", object.location, message(object));
    let error = match sides(object) {
        (Some(expected), Some(found)) => Error::mismatch(what, expected, found),
        _ => Error::destination(what),
    };
    match &object.hint {
        Some(hint) => error.hint(hint.to_string()),
        None => error,
    }
}

/// Returns the message of an error without its sides and without the location of the object, which a finding shows
/// elsewhere. An error about a repository is reported for each of its objects.
fn without_place<'a>(error: &'a Error, location: &str) -> &'a str {
    let text = error.without_sides();
    match text.split_once(": ") {
        Some((place, rest))
            if location
                .strip_prefix(place)
                .is_some_and(|part| part.is_empty() || part.starts_with(['@', ':'])) =>
        {
            rest
        }
        _ => text,
    }
}

/// Returns both sides of the difference of an object: what was expected, and what was found.
#[must_use]
pub fn sides(object: &CheckedObject) -> (Option<String>, Option<String>) {
    let bytes = |size: &u64| Some(format!("{size} bytes"));
    let layers = |count: &usize| Some(format!("{count} layers"));
    match &object.difference {
        None => (None, None),
        Some(Difference::Digest { expected, found }) => {
            (expected.map(|side| side.to_string()), found.map(|side| side.to_string()))
        }
        Some(Difference::Size { expected, found }) => (bytes(expected), bytes(found)),
        Some(Difference::Layers { expected, found }) => (layers(expected), layers(found)),
        Some(Difference::Depth { most, found }) => {
            (Some(format!("at most {most} levels")), Some(format!("{found} levels")))
        }
        Some(Difference::Platform { expected, found }) => {
            (Some(expected.to_string()), Some(found.to_string()))
        }
        Some(Difference::MediaType { found }) => {
            (None, Some(found.clone().unwrap_or_else(|| "none".to_owned())))
        }
        Some(Difference::Value { expected, found }) => (expected.clone(), found.clone()),
        Some(Difference::OfError(expected, found)) => {
            (Some(expected.to_string()), Some(found.to_string()))
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotThere => "is not there",
            Self::NotAtRegistry => "the registry does not have it",
            Self::NoManifest => "the registry has no manifest of that name",
            Self::NotOnServer => "the server does not have it",
            Self::NotInEngine { engine } => return write!(f, "{engine} has no image of that name"),
            Self::NotExported => "cannot be exported",
            Self::NoEntry { entry } => return write!(f, "has no entry '{entry}'"),
            Self::LeadsToMissing { path } => {
                return write!(f, "leads to '{path}', which is not there or has another size");
            }
            Self::FewerLayers => "the image has fewer layers",
            Self::OtherSize => "has another size",
            Self::OtherSizeThanJournal => "has another size than its journal says",
            Self::ArchiveEnds => "the archive ends too early",
            Self::EmptyLayer => "is empty",
            Self::CutOffBlock { length } => {
                let block = occystrap_images::source::tar_headers::BLOCK;
                return write!(
                    f,
                    "is cut off: {length} bytes, which no whole tar has (blocks of {block})"
                );
            }
            Self::CutOffMember { length } => {
                return write!(f, "is cut off: {length} bytes, and a member goes on beyond them");
            }
            Self::OtherContent => "has other content",
            Self::OtherFraming { size, offset } => {
                return write!(
                    f,
                    "between its members, {size} bytes at {offset} have other content"
                );
            }
            Self::OtherManifest => "is another manifest",
            Self::OtherInEngine => "is another one",
            Self::MoreLayers => "has more layers",
            Self::OtherPlainLayer => {
                "is not compressed, and has another digest than the image's config names"
            }
            Self::OtherNumberOfLayers => {
                "the manifest lists another number of layers than the config"
            }
            Self::LayersListed { config, manifest } => {
                return write!(f, "lists {config} layers, the manifest {manifest}");
            }
            Self::OtherEntry { entry } => {
                return write!(f, "the entry '{entry}' names something else");
            }
            Self::SeveralEntries { entry } => return write!(f, "has several entries '{entry}'"),
            Self::SeveralOfTag { count, tag } => {
                return write!(f, "has {count} entries of the tag '{tag}'");
            }
            Self::OtherConfig { manifest } => {
                return write!(f, "has '{manifest}' under the digest of another config");
            }
            Self::OtherName { name, own } => {
                let own: Vec<String> = own.iter().map(|own| format!("'{own}'")).collect();
                let own = if own.is_empty() { "nothing".to_owned() } else { own.join(", ") };
                return write!(f, "names the image '{name}'; its manifest names it {own}");
            }
            Self::LeadsElsewhere(lead) => return lead.fmt(f),
            Self::OtherPlatform => "is for another platform than the index says",
            Self::OtherSchemaVersion => "is of another 'schemaVersion'",
            Self::OtherLayoutVersion => "is not of the version that readers know",
            Self::NotRegularFile => "is not a regular file",
            Self::Misplaced => "no destination of this kind has such an object",
            Self::Incomplete => "cannot be read to its end",
            Self::Unread(why) => return write!(f, "cannot be read: {why}"),
            Self::NotJson => "is not valid JSON",
            Self::TwoReadings { why } => return write!(f, "can be read in two ways: {why}"),
            Self::TooDeep => "is nested deeper than Docker, Podman and skopeo accept",
            Self::FieldType { field } => {
                return write!(f, "has a field '{field}' of a type that clients reject");
            }
            Self::ConfigType(Rejecting::Docker) => {
                "gives its config a media type that Docker rejects"
            }
            Self::ConfigType(Rejecting::Podman) => {
                "gives its config a media type that Podman rejects"
            }
            Self::ConfigType(Rejecting::Both) => {
                "gives its config a media type that Docker and Podman reject"
            }
            Self::NotImageConfig => "is not the config of an image",
            Self::NotAnIndex => "is not an index of images",
            Self::Listed { failed, some, all } => {
                let outcome = if *failed { "FAILED" } else { "UNCONFIRMED" };
                return write!(f, "{some} of the {all} that it lists: {outcome}");
            }
            Self::Denied => "cannot be read: permission denied",
            Self::Changed => CHANGED,
            Self::ChangedMeanwhile => "changed during the verification",
            Self::Replaced => "another process has replaced it since this run wrote it",
            Self::TooLarge => "is too large to be read",
            Self::NotUtf8 => {
                "is not UTF-8: Docker, Podman and skopeo replace such bytes; other readers reject them"
            }
            Self::Encrypted => "is encrypted: only its key can show its content",
            Self::Elsewhere { host } => return write!(f, "stored elsewhere ({host})"),
            Self::ImageUnread => "the image could not be read",
            Self::SizeNotSaid => "the server does not say its size",
            Self::Empty => "lists no image",
            Self::PlacesUnknown => "only the plugin knows where the images that it lists are",
            Self::Rewritten => REWRITTEN,
            Self::NoDigest => "its name contains no digest",
            Self::ContentUnknown => "what it must hold is not known: the config cannot be read",
            Self::SizeUnknown => "its size is not recorded; a full verification reads it",
            Self::LengthUnknown(Length::Unread) => "its length is not known: it cannot be read",
            Self::LengthUnknown(Length::DamagedHeader) => {
                "its length is not known: a header is damaged"
            }
            Self::LengthUnknown(Length::NoEnd) => "its length is not known: its tar has no end",
            Self::ReceiptSaysLittle { missing } => {
                return write!(f, "the receipt does not say enough: {missing}");
            }
            Self::LayerUnknown => "the config does not say what this layer is",
            Self::LayerForm => {
                "is not the layer that the config names, or compressed where the host cannot tell"
            }
            Self::Failed(error) => error.without_sides(),
            Self::Quoted(error) => return error.fmt(f),
            Self::OfPlugin { plugin, message } => {
                let text = printable(&format!("plugin '{plugin}' reports: {message}"));
                return f.write_str(&text);
            }
        };
        f.write_str(text)
    }
}

impl Display for Lead {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(what) => write!(f, "is {what}"),
            Self::Archive(why) => f.write_str(why),
            Self::Unfollowed(error) => write!(f, "cannot be followed: {error}"),
            Self::NotFound => f.write_str("is not where readers find it"),
            Self::Images(count) => write!(f, "lists {count} images"),
            Self::OtherFiles => f.write_str("lists other files than those of the image"),
            Self::NotListed(file) => write!(f, "does not list '{file}', which is in the archive"),
            Self::NotNamed(name) => write!(f, "does not name '{name}'"),
        }
    }
}

impl Display for Unread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Because(why) => f.write_str(why),
            Self::NestedIndexes => f.write_str("its indexes are nested too deeply"),
            Self::ManyLayers { most } => write!(f, "lists more than {most} layers"),
        }
    }
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::OfError { text, .. } => text,
            Self::AsAtSource => {
                "the image has this flaw at its source, so that moving it again does not help: build the image again; 'occystrap check' shows more"
            }
            Self::DeleteFirst => DELETE_FIRST,
            Self::OtherLayer => {
                "the bytes are those of the digest, and not what the config promises: with --layer-cache, push the image again without it; otherwise check the source with 'occystrap check'"
            }
            Self::OtherUser => "run the command as a user who may read the file",
            Self::RunAgain => AGAIN,
            Self::VerifyNow { destination } => {
                return write!(f, "verify what is there now: occystrap verify '{destination}'");
            }
        };
        f.write_str(text)
    }
}
