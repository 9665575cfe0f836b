//! Load of an image into an engine: an archive as the body of a request, piece by piece.
//!
//! The engine takes pieces as fast as it reads them, and the writer waits for it. The last bytes are held back until
//! [`Load::finish`]: an engine that has seen the end of the archive would load it, although the body goes on. A load
//! must be given up before that.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::engine::{Engine, WORKING};
use super::event::{Event, EventLines};
use super::failure::{explain, one_line, silence, with_depth};
use occystrap_base::error::{Error, Kind, Result};

/// Pieces on their way to the connection. Bytes that wait for the engine are in the socket's buffers.
const PIECES: usize = 2;

/// Bytes that are held back, more than the end of an archive has: two empty blocks, and the rest of a record of 20
/// (POSIX, pax).
const HELD_BACK: usize = 16 * 1024;

/// Names of loaded images that are kept.
const MOST_NAMES: usize = 1_000;

/// Load of an image, in progress.
pub struct Load {
    engine: Engine,
    /// Channel to the body. When it is closed without [`Piece::End`], the connection is cut.
    pieces: mpsc::Sender<Piece>,
    held: VecDeque<Bytes>,
    held_size: usize,
    answer: JoinHandle<Result<Loaded>>,
    /// Result, once the load has ended.
    ended: Option<Result<Loaded>>,
    /// Counter of the pieces of the answer, to distinguish work from silence.
    heard: Arc<AtomicU64>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// Names of the images that an engine has loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Names, or IDs of images without one, as the engine prints them. Podman's names are full.
    pub names: Vec<String>,
}

impl Engine {
    /// Starts to load an image, as `docker load` does. A load that is dropped before its end loads nothing.
    #[must_use]
    pub fn load(&self, runtime: &tokio::runtime::Handle) -> Load {
        Load::start(self.clone(), runtime)
    }
}

impl Load {
    fn start(engine: Engine, runtime: &tokio::runtime::Handle) -> Self {
        let (pieces, body) = mpsc::channel(PIECES);
        let heard = Arc::new(AtomicU64::new(0));
        let answer = runtime.spawn(answer(engine.clone(), body, Arc::clone(&heard)));
        Self { engine, pieces, held: VecDeque::new(), held_size: 0, answer, ended: None, heard }
    }

    /// Appends bytes to the archive. It waits until the engine takes them; cancelling the wait also ends the load.
    /// Errors: the engine's reason for a refusal, [`Kind::Network`] when it takes nothing for too long or the
    /// connection broke, [`Kind::Interrupted`]. The load is over after an error.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.held_size += bytes.len();
        self.held.push_back(bytes);
        while let Some(first) = self.held.front()
            && self.held_size - first.len() >= HELD_BACK
        {
            self.held_size -= first.len();
            if let Some(first) = self.held.pop_front()
                && !self.send(Piece::Bytes(first)).await?
            {
                return match self.answered().await {
                    Err(reason) => Err(reason),
                    Ok(_) => Err(Error::new(
                        Kind::Network,
                        format!("{} ended the load before it had the image", self.engine.place),
                    )),
                };
            }
        }
        Ok(())
    }

    /// Ends the archive, lets the engine load it, and returns the result. Errors: as [`Self::write`], and every error
    /// that the engine reports, with any status.
    pub async fn finish(mut self) -> Result<Loaded> {
        let last = std::mem::take(&mut self.held).into_iter().map(Piece::Bytes);
        for piece in last.chain([Piece::End]) {
            // An engine may stop reading at the end of the archive.
            if !self.send(piece).await? {
                break;
            }
        }
        self.answered().await
    }

    /// Sends a piece. Returns `false` when the pieces are no longer taken: there is an answer.
    async fn send(&mut self, piece: Piece) -> Result<bool> {
        tokio::select! {
            sent = self.pieces.send(piece) => Ok(sent.is_ok()),
            () = tokio::time::sleep(WORKING) => Err(silence(&self.engine.place, WORKING)),
            stop = self.engine.cancel.cancelled() => Err(stop),
        }
    }

    async fn answered(&mut self) -> Result<Loaded> {
        let ended = match self.ended.take() {
            Some(ended) => ended,
            None => self.wait().await?,
        };
        self.ended.insert(ended).clone()
    }

    /// Waits for the answer. The outer error is that of the wait, the inner one that of the load.
    async fn wait(&mut self) -> Result<Result<Loaded>> {
        loop {
            let heard = self.heard.load(Ordering::Relaxed);
            tokio::select! {
                answer = &mut self.answer => return Ok(answer.unwrap_or_else(|_| {
                    let message = format!("the load into {} broke down", self.engine.place);
                    Err(Error::new(Kind::Network, message))
                })),
                () = tokio::time::sleep(WORKING) => {
                    if self.heard.load(Ordering::Relaxed) == heard {
                        return Err(silence(&self.engine.place, WORKING));
                    }
                }
                stop = self.engine.cancel.cancelled() => return Err(stop),
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Cuts the connection in the middle of the body.
        self.answer.abort();
    }
}

/// Makes the call, and reads its answer to the end.
async fn answer(
    engine: Engine,
    pieces: mpsc::Receiver<Piece>,
    heard: Arc<AtomicU64>,
) -> Result<Loaded> {
    let body = stream::unfold(Some(pieces), |pieces| async {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(pieces))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the load was given up")), None)),
        }
    });
    // Not quiet: progress distinguishes work from silence.
    let request = engine.post("images/load", &[("quiet", "0")], Body::wrap_stream(body))?;
    let response = request.send().await.map_err(|error| explain(&error, &engine.place))?;
    tracing::debug!(path = "images/load", status = response.status().as_u16(), "engine answered");
    let mut response = engine.expect(response, "load").await?;
    let mut lines = Lines::default();
    while let Some(piece) =
        response.chunk().await.map_err(|error| explain(&error, &engine.place))?
    {
        heard.fetch_add(1, Ordering::Relaxed);
        lines.push(&piece, &engine.place)?;
    }
    lines.finish(&engine.place)
}

/// Reader of the answer: a line of JSON for each event.
#[derive(Default)]
struct Lines {
    events: EventLines,
    loaded: Loaded,
}

impl Lines {
    fn push(&mut self, piece: &[u8], place: &str) -> Result<()> {
        let Self { events, loaded } = self;
        events.push(piece, "load", place, |line| read_line(line, place, loaded))
    }

    fn finish(self, place: &str) -> Result<Loaded> {
        let Self { events, mut loaded } = self;
        read_line(&events.rest(), place, &mut loaded)?;
        Ok(loaded)
    }
}

/// Reads an event, and notes what was loaded.
fn read_line(line: &[u8], place: &str, loaded: &mut Loaded) -> Result<()> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(());
    }
    let event: Event = serde_json::from_slice(line).map_err(|cause| {
        Error::source(format!(
            "load: {place} sent an answer that the Docker Engine API does not describe: {cause}"
        ))
    })?;
    if let Some(error) = event.error() {
        let message = format!("{place} did not load the image: {}", one_line(error));
        return Err(with_depth(Error::destination(message), error));
    }
    // "Loaded image: a:1", "Loaded image ID: sha256:...", and of Podman before 4 "Loaded
    // image(s): a:1,b:2".
    let said = event.stream.as_deref().and_then(|said| said.strip_prefix("Loaded image"));
    if let Some((_, names)) = said.and_then(|said| said.split_once(": ")) {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let room = MOST_NAMES.saturating_sub(loaded.names.len());
        loaded.names.extend(names.take(room).map(str::to_owned));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Result<Vec<String>> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece.as_bytes(), "unix:///x")?;
        }
        lines.finish("unix:///x").map(|loaded| loaded.names)
    }

    #[test]
    fn the_answer_names_the_loaded_images() {
        let docker = [
            "{\"status\":\"Loading layer\",\"progress\":\"[>  ]\",\"id\":\"1\"}\r\n{\"stream\":\"Loaded im",
            "age: a:1\\n\"}\r\n{\"stream\":\"Loaded image ID: sha256:00\\n\"}\r\n",
        ];
        assert_eq!(read(&docker).unwrap(), ["a:1", "sha256:00"]);
        assert_eq!(read(&["{\"stream\":\"Loaded image(s): a:1, b:2\"}"]).unwrap(), ["a:1", "b:2"]);
        assert!(read(&[]).unwrap().is_empty());
    }

    #[test]
    fn an_error_in_the_answer_is_one() {
        for bad in [
            "{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\n",
            "{\"error\":\"no space\"}",
        ] {
            let error = read(&["{\"status\":\"x\"}\n", bad]).unwrap_err();
            assert!(error.to_string().contains("no space"), "{error}");
        }
        assert!(read(&["<html>"]).is_err());
        assert!(read(&["x".repeat(70_000).as_str()]).is_err());
    }
}
