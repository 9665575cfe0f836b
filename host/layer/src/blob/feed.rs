//! A bounded buffer between a download and its reader.
//!
//! Up to `WINDOW` bytes wait in memory; then the download pauses. Layers that are written one after the other are
//! different: their downloads run in parallel, and if the network turns out to be the bottleneck, the downloads
//! whose turn has not come go on into a temporary file without a name, so that no connection is idle.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

use super::layer_download::LayerDownload;
use super::written::put;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::scratch;

/// Bytes of a download that wait in memory. A fast registry delivers them in a millisecond, so that the reader never
/// waits; with `-j 4` they are a small part of the memory of the process.
const WINDOW: usize = 1024 * 1024;

/// Bytes that are read back from the temporary file at once.
const PIECE: usize = 256 * 1024;

/// Time that either side sleeps before it checks whether the user has cancelled, the other side is gone, or the
/// network is the bottleneck.
const PATIENCE: Duration = Duration::from_millis(50);

/// Total time that readers may wait before the network counts as the bottleneck. It is far above the pauses of a fast
/// network, and far below what a user notices.
const STARVED: Duration = Duration::from_millis(100);

/// State that the feeds of one image share. They are read one after the other.
pub struct FeedTurns {
    folder: PathBuf,
    /// Microseconds that readers have waited.
    waited: AtomicU64,
}

impl FeedTurns {
    /// Returns the state for feeds whose temporary files go to `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self { folder, waited: AtomicU64::new(0) })
    }

    fn starved(&self) -> bool {
        self.waited.load(Ordering::Relaxed) > STARVED.as_micros() as u64
    }
}

/// A buffer between a download and its reader.
pub struct Feed {
    state: Mutex<State>,
    arrived: Condvar,
    room: Notify,
    turns: Arc<FeedTurns>,
}

#[derive(Default)]
struct State {
    /// The oldest bytes.
    waiting: VecDeque<Bytes>,
    /// Bytes in `waiting`.
    size: usize,
    /// The temporary file with the bytes that follow `waiting`, and how many were written to it.
    spilled: Option<(File, u64)>,
    /// How many of them were read back.
    read_back: u64,
    /// The reader has begun.
    reading: bool,
    /// The reader is gone.
    abandoned: bool,
    ended: Option<Result<()>>,
}

impl State {
    fn spilled_unread(&self) -> u64 {
        self.spilled.as_ref().map_or(0, |(_, written)| written - self.read_back)
    }
}

impl Feed {
    /// Returns an empty feed.
    #[must_use]
    pub fn new(turns: Arc<FeedTurns>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            room: Notify::new(),
            turns,
        })
    }

    /// Takes bytes from a download until it ends, fails, or the reader is gone.
    pub(super) async fn fill(&self, mut download: LayerDownload) {
        let ended = loop {
            match download.next().await {
                Ok(Some(piece)) => match self.accept(piece).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => break Err(error),
                },
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.state().ended = Some(ended);
        self.arrived.notify_all();
    }

    /// Takes a piece as soon as there is room. Returns `false` when the reader is gone.
    async fn accept(&self, piece: Bytes) -> Result<bool> {
        loop {
            {
                let mut state = self.state();
                if state.abandoned {
                    return Ok(false);
                }
                // Spilled bytes are younger than those that wait in memory, so the next piece must go to the file too.
                let spilling = state.spilled_unread() > 0;
                if !spilling && state.size < WINDOW {
                    state.size += piece.len();
                    state.waiting.push_back(piece);
                    drop(state);
                    self.arrived.notify_all();
                    return Ok(true);
                }
                if spilling || (!state.reading && self.turns.starved()) {
                    spill(&mut state, &piece, &self.turns)?;
                    drop(state);
                    self.arrived.notify_all();
                    return Ok(true);
                }
            }
            let _ = tokio::time::timeout(PATIENCE, self.room.notified()).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next bytes and returns them; none at the end.
    fn next(&self, cancel: &Cancel) -> Result<Bytes> {
        let mut state = self.state();
        state.reading = true;
        loop {
            cancel.check()?;
            if let Some(piece) = state.waiting.pop_front() {
                state.size -= piece.len();
                drop(state);
                self.room.notify_one();
                return Ok(piece);
            }
            if state.spilled_unread() > 0 {
                return read_back(&mut state);
            }
            match &state.ended {
                Some(Ok(())) => return Ok(Bytes::new()),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            let began = Instant::now();
            let waited = self.arrived.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.turns.waited.fetch_add(began.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
    }
}

fn spill(state: &mut State, piece: &Bytes, turns: &FeedTurns) -> Result<()> {
    let (file, written) = match &mut state.spilled {
        Some(spilled) => spilled,
        none => none.insert((scratch::create(&turns.folder)?, 0)),
    };
    put(file, piece, *written).map_err(|cause| scratch::failed("write", &turns.folder, &cause))?;
    *written += piece.len() as u64;
    Ok(())
}

fn read_back(state: &mut State) -> Result<Bytes> {
    let len = state.spilled_unread().min(PIECE as u64) as usize;
    let mut piece = vec![0; len];
    if let Some((file, _)) = &state.spilled {
        file.read_exact_at(&mut piece, state.read_back).map_err(|cause| {
            Error::io(Kind::Destination, "read back", "a temporary file", &cause)
        })?;
    }
    state.read_back += len as u64;
    Ok(piece.into())
}

/// Reads a [`Feed`]. The download ends when it is dropped.
pub struct FeedReader {
    feed: Arc<Feed>,
    piece: Bytes,
}

impl FeedReader {
    /// Returns the reader of a feed. A feed has one reader.
    #[must_use]
    pub fn new(feed: Arc<Feed>) -> Self {
        Self { feed, piece: Bytes::new() }
    }

    /// Returns the bytes that are available, and waits for some; none at the end.
    pub fn fill_buf(&mut self, cancel: &Cancel) -> Result<&[u8]> {
        if self.piece.is_empty() {
            self.piece = self.feed.next(cancel)?;
        }
        Ok(&self.piece)
    }

    /// Returns the bytes that are available, and waits until there are `least` of them or the end is reached: a server
    /// may send its first bytes one by one.
    pub fn peek(&mut self, least: usize, cancel: &Cancel) -> Result<&[u8]> {
        while self.piece.len() < least {
            let more = self.feed.next(cancel)?;
            match (self.piece.is_empty(), more.is_empty()) {
                (_, true) => break,
                (true, false) => self.piece = more,
                (false, false) => self.piece = [&self.piece[..], &more].concat().into(),
            }
        }
        Ok(&self.piece)
    }

    /// Returns the bytes that are available and were not marked as read. Does not wait.
    #[must_use]
    pub fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// Marks bytes as read.
    pub fn consume(&mut self, amount: usize) {
        self.piece.advance(amount);
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        let mut state = self.feed.state();
        state.abandoned = true;
        state.waiting.clear();
        drop(state);
        self.feed.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_come_one_by_one_are_looked_at_together_and_not_lost() {
        let feed = Feed::new(FeedTurns::new(std::env::temp_dir()));
        let content = b"BZh91AY&SY and more";
        {
            let mut state = feed.state();
            state.waiting = content.chunks(1).map(Bytes::copy_from_slice).collect();
            state.size = content.len();
            state.ended = Some(Ok(()));
        }
        let cancel = Cancel::default();
        let mut reader = FeedReader::new(feed);
        assert_eq!(reader.peek(10, &cancel).unwrap(), &content[..10]);
        let mut read = Vec::new();
        loop {
            let piece = reader.fill_buf(&cancel).unwrap().to_vec();
            if piece.is_empty() {
                break;
            }
            reader.consume(piece.len());
            read.extend(piece);
        }
        assert_eq!(read, content);
        assert!(reader.peek(10, &cancel).unwrap().is_empty(), "there is no more");
    }
}
