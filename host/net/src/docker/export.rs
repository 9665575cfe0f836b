//! Export of an image from an engine: a `docker save` archive, as a stream.

use bytes::Bytes;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::engine::{Engine, WORKING, check_name};
use super::failure::{damaged, is_damage};
use occystrap_base::error::{Error, Kind, Result};

/// Stream of the bytes of an archive. The engine stops when it is dropped.
pub struct Export {
    response: Response,
    engine: Engine,
    /// Last bytes: where an engine fails in the middle, they contain its reason.
    last: Bytes,
}

impl Engine {
    /// Starts to export an image, as `docker save` does. Errors: as [`Engine::inspect`], and [`Kind::NotFound`].
    pub async fn export(&self, image: &str) -> Result<Export> {
        check_name(image)?;
        let response = self.call(Method::GET, &format!("images/{image}/get"), &[], WORKING).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.absent(image));
        }
        let response = self.expect(response, &format!("export of '{image}'")).await?;
        Ok(Export { response, engine: self.clone(), last: Bytes::new() })
    }
}

impl Export {
    /// Returns the next bytes; `None` at the end of the answer, which may be before the end of the archive. Errors:
    /// [`Kind::Network`] when the connection broke or the engine was silent for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = self.engine.patiently(WORKING, self.response.chunk()).await?;
        if let Some(piece) = &piece {
            self.last = piece.clone();
        }
        Ok(piece)
    }

    /// Returns the reason why the engine stopped in the middle, where it gave one. Docker puts a line of JSON after the
    /// bytes that it has sent, and ends the answer normally.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        #[derive(Deserialize)]
        #[serde(expecting = "an object")]
        struct Line {
            error: String,
        }
        const MARK: &[u8] = b"{\"errorDetail\":";
        let at = self.last.windows(MARK.len()).rposition(|window| window == MARK)?;
        let line: Line = serde_json::from_slice(&self.last[at..]).ok()?;
        let message = format!("{} gave up the export: {}", self.engine.place, line.error);
        Some(match is_damage(&line.error) {
            true => damaged(&message),
            false => Error::new(Kind::Network, message),
        })
    }
}
