//! Deleting blobs, manifests and tags (distribution specification, "Content Management").
//!
//! What this module refuses: to count a refusal as an error. Many registries allow no deletion, and the caller decides
//! what that means.

use reqwest::{Method, StatusCode};

use super::error_body::ErrorBody;
use super::push::empty;
use super::repository::{Repository, named, unexpected};
use super::scope;
use crate::http::retry::RetryBudget;
use crate::http::wire::Call;
use occystrap_base::error::Result;
use occystrap_base::oci::Digest;

/// What became of a request to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The registry said that it deleted it.
    Removed,
    /// The registry does not have it.
    Absent,
    /// The registry does not allow it: its status, and its error message.
    Refused(String),
}

impl Repository {
    /// Deletes the link of this repository to a blob. Whether the bytes go as well is the registry's choice:
    /// docker-registry keeps them until its garbage collection. Errors: [`Kind::Network`] after all retries.
    ///
    /// [`Kind::Network`]: occystrap_base::error::Kind::Network
    pub async fn delete_blob(&self, digest: Digest) -> Result<Removal> {
        self.forget_blob(digest);
        let place = format!("{}@{digest}", self.place());
        self.delete(&format!("blobs/{digest}"), &place).await
    }

    /// Deletes a tag, or a manifest by its digest with all its tags. Errors as [`Self::delete_blob`].
    pub async fn delete_manifest(&self, target: &str) -> Result<Removal> {
        self.delete(&format!("manifests/{target}"), &self.place_of(target)).await
    }

    async fn delete(&self, path: &str, place: &str) -> Result<Removal> {
        let repository = self.widened(&scope::delete(self.name()));
        let call = Call::new(Method::DELETE, self.url(path), empty());
        let mut budget = RetryBudget::new(&self.wire().settings);
        let mut answer =
            repository.ask(&call, &mut budget).await.map_err(|error| named(error, place))?;
        let status = answer.status();
        tracing::debug!(place, status = status.as_u16(), "delete");
        match status {
            _ if status.is_success() => Ok(Removal::Removed),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Removal::Absent),
            _ if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED => {
                let body = ErrorBody::read(&mut answer).await;
                Ok(Removal::Refused(format!("{status}{}", body.tail())))
            }
            _ => Err(unexpected(place, &answer, status)),
        }
    }
}
