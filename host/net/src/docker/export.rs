//! An image on its way out of an engine: a docker-save archive, as a stream.

use bytes::Bytes;
use reqwest::Response;
use serde::Deserialize;

use super::engine::{Engine, WORKING};
use super::failure::{damaged, is_damage};
use occystrap_base::error::{Error, Kind, Result};

/// The bytes of an archive, in order. The engine stops when this is dropped.
pub struct Export {
    response: Response,
    engine: Engine,
    /// What came last: where an engine fails in the middle, its reason is in there.
    last: Bytes,
}

impl Export {
    pub(super) fn new(response: Response, engine: Engine) -> Self {
        Self { response, engine, last: Bytes::new() }
    }

    /// The next bytes; nothing at the end of the answer, which need not be the archive's. Errors:
    /// [`Kind::Network`] when the connection broke or fell silent.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = self.engine.patiently(WORKING, self.response.chunk()).await?;
        if let Some(piece) = &piece {
            self.last = piece.clone();
        }
        Ok(piece)
    }

    /// Why the engine stopped in the middle, when it said so: Docker puts a line of JSON behind
    /// what it has sent so far, and ends well.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        #[derive(Deserialize)]
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
