//! How a blob comes into a repository: it is there, it can be mounted, or it is sent. A write and a dry run decide here.

use occystrap_base::error::{Kind, Result};
use occystrap_base::oci::Descriptor;
use occystrap_net::registry::Repository;

/// Size of a blob, in bytes, up to which it is sent without a question where the run knows what the repository has. The
/// answer would take as long as sending it: 20 milliseconds at 100 Mbit a second.
const SMALL: u64 = 256 * 1024;

/// How a blob comes into a repository.
pub enum Delivery {
    /// The repository has it.
    Present,
    /// Another repository of the same registry, of this name, has it: the registry may mount it, and is sent it
    /// otherwise.
    Mountable(String),
    /// It is sent.
    Sent,
}

/// Returns how a blob comes into a repository, without changing anything. `source` is the repository that the blob
/// comes from, where it comes from one.
pub async fn delivery(
    to: &Repository,
    blob: &Descriptor,
    source: Option<&Repository>,
) -> Result<Delivery> {
    let known = to.known_blob(blob.digest);
    if known.as_ref().is_some_and(|known| known.size == blob.size) {
        return Ok(Delivery::Present);
    }
    let is_suspect = to.is_suspect(blob.digest);
    let is_sent_unasked = to.is_new() || is_suspect || (to.is_recorded() && blob.size <= SMALL);
    if !(known.is_none() && is_sent_unasked) && has(to, blob).await? {
        return Ok(Delivery::Present);
    }
    if is_suspect {
        return Ok(Delivery::Sent);
    }
    let source = source.filter(|source| to.same_registry(source) && source.name() != to.name());
    let other = match source {
        Some(source) => Some(source.name().to_owned()),
        // An image of this run that landed before has it.
        None => to.other_with_blob(blob.digest),
    };
    Ok(other.map_or(Delivery::Sent, Delivery::Mountable))
}

/// Asks a registry whether it has a blob, so that it is not sent. What is there with another size, or ends too early, is
/// damaged there: it is sent again.
async fn has(at: &Repository, blob: &Descriptor) -> Result<bool> {
    match at.stat_blob(blob.digest).await {
        Ok(found) => Ok(found == Some(blob.size)),
        Err(error) if error.kind() == Kind::Source => {
            tracing::debug!(reason = %error, "damaged at the destination: it is sent again");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
