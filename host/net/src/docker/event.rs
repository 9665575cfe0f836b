//! Events in the answer to a load or a push: a line of JSON for each (Docker Engine API, "Load images", "Push an image").

use bytes::BytesMut;
use serde::Deserialize;

use occystrap_base::error::{Error, Result};

/// Bytes of the longest line of progress. An ordinary line has about a hundred.
const LONGEST_LINE: usize = 64 * 1024;

/// An event: the needed fields.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    /// What the engine says of its work.
    pub(super) stream: Option<String>,
    error: Option<String>,
    error_detail: Option<Detail>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Detail {
    message: Option<String>,
}

impl Event {
    /// Returns why the work failed, where the event says that: the status of the answer was one of success before.
    pub(super) fn error(&self) -> Option<&str> {
        let detail = self.error_detail.as_ref().and_then(|detail| detail.message.as_deref());
        detail.or(self.error.as_deref())
    }
}

/// Splitter of an answer into its lines.
#[derive(Default)]
pub(super) struct EventLines(BytesMut);

impl EventLines {
    /// Takes a piece of the answer, and gives each line that it completes to `each`. Errors as `each`, and for a line
    /// without an end, with the name of the call (`what`) and of the engine.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        what: &str,
        place: &str,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.0.extend_from_slice(piece);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            each(&self.0.split_to(end + 1))?;
        }
        match self.0.len() > LONGEST_LINE {
            true => Err(Error::source(format!(
                "{what}: {place} answered a line of more than {LONGEST_LINE} bytes"
            ))),
            false => Ok(()),
        }
    }

    /// Returns the last line, which may have no end.
    pub(super) fn rest(self) -> BytesMut {
        self.0
    }
}
