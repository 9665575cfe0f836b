//! What source and destination of an item have now: the cheap question before an image is moved.

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::record::Proof;
use occystrap_net::registry::Repository;
use occystrap_net::uri::Uri;

use super::services::Services;

/// What source and destination have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Digest of the source; `None` where it was not asked, because the image is moved in any case.
    pub source: Option<Digest>,
    /// Digest of the destination; `None` where it has no such image, or where this output is not asked.
    pub destination: Option<Digest>,
    /// Whether both are as they were proved, so that the image is moved only if its referrers have changed.
    pub is_proved: bool,
}

/// The questions about one item.
pub struct Question {
    /// `None` where the source is not asked.
    source: Option<Repository>,
    tag: String,
    destination: Place,
    /// What an earlier run proved at the tag of the destination.
    proved: Option<Digest>,
}

/// Where the destination is asked.
enum Place {
    /// A tag of a repository.
    Registry(Repository, String),
    /// What is there was found out already, or cannot be asked for.
    Known(Option<Digest>),
}

impl Question {
    /// Prepares the questions about an item. `is_new` says that the destination has no repository of that name,
    /// so that the image is moved in any case.
    pub fn about(item: &MirrorItem<'_>, is_new: bool, services: &Services<'_>) -> Result<Self> {
        let uri = Uri::parse(&item.destination.uri)?;
        let destination = match uri.scheme.as_str() {
            _ if is_new => Place::Known(None),
            "registry" => {
                let reference = occystrap_net::registry::Reference::parse(&uri.rest)?;
                let target = match item.destination.digest {
                    Some(digest) => digest.to_string(),
                    None => reference.target(),
                };
                Place::Registry(services.repository(&uri)?, target)
            }
            "oci-layout" => Place::Known(services.layouts.digest(&uri.rest)?),
            _ => Place::Known(None),
        };
        let source = (!is_new).then(|| services.source(&item.source)).transpose()?;
        let tag = item.source.target();
        Ok(Self { source, tag, destination, proved: None })
    }

    /// Lets the answer of the destination count for other tags of its repository, where it is what an earlier run proved.
    pub fn after(self, proof: Option<Proof>) -> Self {
        Self { proved: proof.map(|proof| proof.digest), ..self }
    }

    /// Asks both ends. Errors with the error of the source first: without a source there is nothing to do.
    pub async fn ask(self) -> Result<Seen> {
        let Self { source, tag, destination, proved } = self;
        let of_source = async {
            match tag.parse::<Digest>() {
                // A digest cannot change.
                Ok(digest) => Ok(Some(digest)),
                Err(_) => match source {
                    None => Ok(None),
                    Some(source) => match source.digest_of(&tag).await? {
                        Some(digest) => Ok(Some(digest)),
                        None => {
                            let message = format!("{}:{tag}: image not found", source.place());
                            Err(Error::new(Kind::NotFound, message)
                            .hint("the tag was removed, or a private repository hides it: docker login HOST"))
                        }
                    },
                },
            }
        };
        let of_destination = async {
            match destination {
                Place::Registry(repository, target) => {
                    let found = repository.digest_of(&target).await?;
                    if found.is_some() && found == proved && target.parse::<Digest>().is_err() {
                        repository.note_agreement();
                    }
                    Ok(found)
                }
                Place::Known(digest) => Ok(digest),
            }
        };
        let (source, destination) = tokio::join!(of_source, of_destination);
        Ok(Seen { source: source?, destination: destination?, is_proved: false })
    }
}
