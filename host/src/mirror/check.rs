//! The check of one object at a registry: all bytes of a blob, or the link of a repository to a blob.
//!
//! What this module refuses: to count as damage what could not be asked, unless the registry answers everything else.

use std::future::Future;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_net::registry::Repository;

/// A tag that no repository has. A registry that answers for it works.
const ABSENT: &str = "occystrap-asks-whether-this-registry-answers";

/// What was found of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It is right.
    Good,
    /// It is missing or wrong; the text says what was found.
    Bad(String),
    /// It could not be checked, and why.
    Unchecked(Error),
}

impl Check {
    /// Judges an answer: `Ok(None)` is right, `Ok(Some(_))` says what was found. Errors when the user interrupts.
    fn of(answer: Result<Option<String>>) -> Result<Self> {
        match answer {
            Ok(None) => Ok(Self::Good),
            Ok(Some(found)) => Ok(Self::Bad(found)),
            Err(error) => match error.kind() {
                Kind::Interrupted => Err(error),
                Kind::Source | Kind::NotFound | Kind::Destination => {
                    Ok(Self::Bad(error.to_string()))
                }
                _ => Ok(Self::Unchecked(error)),
            },
        }
    }
}

/// Asks, and asks once more before a bad answer counts: a cache on the way may have cut or mixed up the first one. A
/// registry that answers a question about nothing and twice fails at this object has a damaged object. Errors when the user
/// interrupts.
pub async fn judge<F>(repository: &Repository, ask: impl Fn() -> F) -> Result<Check>
where
    F: Future<Output = Result<Option<String>>>,
{
    match Check::of(ask().await)? {
        Check::Good => Ok(Check::Good),
        Check::Bad(_) => Check::of(ask().await),
        Check::Unchecked(error) if error.kind() == Kind::Network => {
            match repository.digest_of(ABSENT).await {
                Ok(None) => {}
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                _ => return Ok(Check::Unchecked(error)),
            }
            match Check::of(ask().await)? {
                Check::Unchecked(error) if error.kind() == Kind::Network => {
                    Ok(Check::Bad(error.to_string()))
                }
                check => Ok(check),
            }
        }
        check => Ok(check),
    }
}

/// Reads all bytes of a blob.
pub async fn blob(repository: &Repository, digest: Digest, size: u64) -> Result<Check> {
    let strict = repository.strict();
    let what = Descriptor { media_type: String::new(), digest, size };
    judge(repository, || async {
        let mut download = strict.blob(&what);
        while download.next().await?.is_some() {}
        Ok(None)
    })
    .await
}

/// Reads the last byte of a blob in a repository.
pub async fn link(repository: &Repository, digest: Digest, size: u64) -> Result<Check> {
    let place = repository.place();
    judge(repository, || async {
        Ok(match repository.find_blob(digest, Some(size)).await? {
            Some(found) if found == size => None,
            Some(found) => {
                Some(format!("{place}@{digest}: wrong size: expected {size} bytes, found {found}"))
            }
            None => Some(format!("{place}@{digest}: blob not found")),
        })
    })
    .await
}
