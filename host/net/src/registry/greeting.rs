//! What a registry says at `/v2/`, where it tells how to log in (distribution specification, "Determining
//! Support").

use reqwest::StatusCode;
use tokio::sync::OnceCell;
use url::Url;

use super::challenge::{Challenge, challenges};
use crate::http::retry::Budget;
use crate::http::wire::{Call, Wire};
use occystrap_base::error::{Kind, Result};

/// The answer of one registry, asked for once.
#[derive(Default)]
pub(super) struct Greeting(OnceCell<Vec<Challenge>>);

impl Greeting {
    /// Returns the challenges of a registry; none where it asks for no login, or cannot be asked. Errors on a
    /// cancelled run.
    pub(super) async fn challenges(&self, wire: &Wire, endpoint: &Url) -> Result<&[Challenge]> {
        let asked = self.0.get_or_try_init(|| async {
            let mut url = endpoint.clone();
            url.set_path("/v2/");
            let call = Call::get(url);
            match wire.exchange(&call, None, &mut Budget::new(&wire.settings)).await {
                // A challenge of another host is none for the login of this one.
                Ok(answer) if answer.elsewhere || answer.status() != StatusCode::UNAUTHORIZED => {
                    Ok(Vec::new())
                }
                // A scope here is an example (ghcr.io sends `repository:user/image:pull`).
                Ok(answer) => Ok(without_scopes(challenges(answer.headers()))),
                Err(error) if error.kind() == Kind::Interrupted => Err(error),
                Err(error) => {
                    tracing::debug!(%error, "/v2/ cannot be asked");
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
