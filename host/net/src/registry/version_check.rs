//! The request for `/v2/`, whose answer has the registry's authentication challenges (distribution specification,
//! "Determining Support"; Docker calls it the API version check).

use reqwest::StatusCode;
use tokio::sync::OnceCell;
use url::Url;

use super::challenge::{Challenge, challenges};
use crate::http::retry::RetryBudget;
use crate::http::wire::{Call, Wire};
use occystrap_base::error::{Kind, Result};

/// The challenges in a registry's answer at `/v2/`. They are requested once.
#[derive(Default)]
pub(super) struct VersionCheck(OnceCell<Vec<Challenge>>);

impl VersionCheck {
    /// Returns the challenges of a registry. There are none when it asks for no login, or the request fails. Errors
    /// when the run is cancelled.
    pub(super) async fn challenges(&self, wire: &Wire, endpoint: &Url) -> Result<&[Challenge]> {
        let asked = self.0.get_or_try_init(|| async {
            let mut url = endpoint.clone();
            url.set_path("/v2/");
            let call = Call::get(url);
            match wire.exchange(&call, None, &mut RetryBudget::new(&wire.settings)).await {
                // A challenge of another host does not concern the login at this one.
                Ok(answer) if answer.elsewhere || answer.status() != StatusCode::UNAUTHORIZED => {
                    Ok(Vec::new())
                }
                // A scope at this URL is only an example: ghcr.io sends `repository:user/image:pull`.
                Ok(answer) => Ok(without_scopes(challenges(answer.headers()))),
                Err(error) if error.kind() == Kind::Interrupted => Err(error),
                Err(error) => {
                    tracing::debug!(%error, "the request for /v2/ failed");
                    Ok(Vec::new())
                }
            }
        });
        asked.await.map(Vec::as_slice)
    }
}

fn without_scopes(challenges: Vec<Challenge>) -> Vec<Challenge> {
    challenges.into_iter().map(Challenge::without_scope).collect()
}
