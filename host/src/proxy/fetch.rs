//! Blobs that are fetched from an upstream registry: each once, for all clients that want it at the same time.
//!
//! The bytes go to a file, which clients read while it grows. The last byte is given to no client before all bytes were
//! compared with the digest. A client that leaves ends nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_net::registry::Repository;
use occystrap_serve::backend::RemoteBlob;
use occystrap_serve::received::{ArrivingBlob, ReceivedBlobs};

/// Bytes that are read from the growing file at a time.
const PIECE: u64 = 256 * 1024;

/// Pieces that wait for one client.
const PIECES: usize = 2;

/// All fetches that have not ended.
#[derive(Default)]
pub struct Fetches {
    running: Mutex<HashMap<(String, Digest), Arc<Fetch>>>,
}

/// One fetch.
pub struct Fetch {
    file: Arc<File>,
    size: u64,
    progress: watch::Receiver<Progress>,
}

/// How far a fetch is.
#[derive(Clone)]
enum Progress {
    /// So many bytes are in the file.
    At(u64),
    /// All bytes are in the file, and are right.
    Done,
    /// It ended before that.
    Failed(Error),
}

impl Fetches {
    fn running(&self) -> MutexGuard<'_, HashMap<(String, Digest), Arc<Fetch>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fetch of a blob that has not ended.
    #[must_use]
    pub fn find(&self, key: &str, digest: Digest) -> Option<Arc<Fetch>> {
        self.running().get(&(key.to_owned(), digest)).cloned()
    }

    /// Starts to fetch a blob, or joins the fetch that has begun. When it ends, the blob is in `blobs` under `key`. `failed`
    /// gets the error of a fetch that fails. Errors when no file can be created.
    pub fn start(
        self: &Arc<Self>,
        key: &str,
        what: &Descriptor,
        from: &Repository,
        blobs: &Arc<ReceivedBlobs>,
        failed: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<Arc<Fetch>> {
        let id = (key.to_owned(), what.digest);
        let mut running = self.running();
        if let Some(fetch) = running.get(&id) {
            return Ok(Arc::clone(fetch));
        }
        let arriving = blobs.begin().map_err(|refusal| Error::destination(refusal.message))?;
        let (tell, progress) = watch::channel(Progress::At(0));
        let fetch = Arc::new(Fetch { file: arriving.file(), size: what.size, progress });
        running.insert(id.clone(), Arc::clone(&fetch));
        drop(running);
        let (fetches, blobs, from, what) =
            (Arc::clone(self), Arc::clone(blobs), from.clone(), what.clone());
        tokio::spawn(async move {
            let arrived = download(arriving, &from, &what, &tell).await;
            let kept = arrived.and_then(|arrived| {
                let kept = blobs.keep(arrived, &id.0, what.digest);
                kept.map_err(|refusal| Error::source(refusal.message))
            });
            // Who comes now finds the blob, or starts again.
            fetches.running().remove(&id);
            let end = match kept {
                Ok(()) => Progress::Done,
                Err(error) => {
                    failed(&error);
                    Progress::Failed(error)
                }
            };
            let _ = tell.send(end);
        });
        Ok(fetch)
    }
}

/// Downloads a blob into its file, and compares it with its digest.
async fn download(
    mut arriving: ArrivingBlob,
    from: &Repository,
    what: &Descriptor,
    tell: &watch::Sender<Progress>,
) -> Result<ArrivingBlob> {
    let mut download = from.blob(what);
    while let Some(piece) = download.next().await? {
        let written = tokio::task::block_in_place(|| arriving.write(&piece));
        written.map_err(|refusal| Error::destination(refusal.message))?;
        let _ = tell.send(Progress::At(arriving.size()));
    }
    Ok(arriving)
}

impl Fetch {
    /// Waits until the blob is there, and right.
    pub async fn end(&self) -> Result<()> {
        let mut progress = self.progress.clone();
        let ended = |now: &Progress| !matches!(now, Progress::At(_));
        let end = progress.wait_for(ended).await.map(|end| end.clone());
        match end {
            Ok(Progress::Failed(error)) => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::interrupted()),
        }
    }

    /// Returns the bytes for one client, from the first one on.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> RemoteBlob {
        let (send, pieces) = mpsc::channel(PIECES);
        let fetch = Arc::clone(self);
        tokio::spawn(async move {
            let mut progress = fetch.progress.clone();
            let mut at = 0;
            while at < fetch.size {
                let more = progress.wait_for(|now| match now {
                    Progress::At(written) => held_back(*written, fetch.size) > at,
                    Progress::Done | Progress::Failed(_) => true,
                });
                let now = more.await.map(|now| now.clone());
                let until = match now {
                    Ok(Progress::At(written)) => held_back(written, fetch.size),
                    Ok(Progress::Done) => fetch.size,
                    Ok(Progress::Failed(error)) => {
                        let _ = send.send(Err(io::Error::other(error))).await;
                        return;
                    }
                    Err(_) => return,
                };
                let size = (until - at).min(PIECE);
                let piece = read(&fetch.file, at, size).await;
                at += size;
                if send.send(piece).await.is_err() {
                    return;
                }
            }
        });
        RemoteBlob { size: self.size, pieces }
    }
}

/// Returns how many of the bytes that are in the file a client may get: not the last one of the blob.
fn held_back(written: u64, size: u64) -> u64 {
    written.min(size.saturating_sub(1))
}

async fn read(file: &Arc<File>, at: u64, size: u64) -> io::Result<Bytes> {
    let file = Arc::clone(file);
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; size as usize];
        file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
    });
    read.await.unwrap_or_else(|cause| Err(io::Error::other(cause)))
}
