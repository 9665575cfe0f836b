//! Uploads that have begun (distribution specification, "Pushing blobs"): their ids, the bytes so far, and their bodies.
//!
//! What it refuses: chunks out of order, two chunks of one upload at the same time, an upload of another repository, and
//! bodies that hardly move.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc};

use occystrap_base::minimum_rate::MinimumRate;

use crate::limits::{
    LEAST_RATE, MOST_LARGE_MANIFESTS, MOST_UPLOADS, MOST_UPLOADS_OF_ADDRESS, RATE_WINDOW,
    SMALL_MANIFEST, UPLOAD_IDLE, UPLOAD_KEPT,
};
use crate::range::Part;
use crate::received::{ArrivingBlob, ReceivedBlobs};
use crate::refusal::{Code, Refusal};

/// Pieces of a body that wait for the disk.
const PIECES: usize = 16;

/// All uploads that have begun.
pub struct Uploads {
    table: Mutex<HashMap<String, Upload>>,
    /// Places of large manifests.
    large: Arc<Semaphore>,
}

/// A manifest in memory. A large one has its place until the last copy of its bytes is dropped.
struct HeldManifest {
    bytes: Vec<u8>,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for HeldManifest {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Upload {
    repository: String,
    address: IpAddr,
    used: Instant,
    blob: Arc<AsyncMutex<Option<ArrivingBlob>>>,
}

/// An upload during one of its requests. No other request has it at the same time.
pub struct Turn {
    /// Its id.
    pub id: String,
    blob: OwnedMutexGuard<Option<ArrivingBlob>>,
}

/// Returns a name that no other process can guess: 128 random bits, in hexadecimal digits. Errors where the system has no random
/// numbers.
pub fn random_name() -> Result<String, Refusal> {
    let mut bits = [0_u8; 16];
    SystemRandom::new().fill(&mut bits).map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, "no random numbers")
    })?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Default for Uploads {
    fn default() -> Self {
        let large = Arc::new(Semaphore::new(MOST_LARGE_MANIFESTS));
        Self { table: Mutex::default(), large }
    }
}

impl Uploads {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an upload and returns its id, which no other client can guess. Errors with
    /// 429 when too many have begun, and with 503 when no file can be created.
    pub fn begin(
        &self,
        blobs: &ReceivedBlobs,
        repository: &str,
        address: IpAddr,
    ) -> Result<String, Refusal> {
        let id = random_name()?;
        let blob = blobs.begin()?;
        let mut table = self.table();
        let of_address = table.values().filter(|upload| upload.address == address).count();
        if table.len() >= MOST_UPLOADS || of_address >= MOST_UPLOADS_OF_ADDRESS {
            let of = (of_address >= MOST_UPLOADS_OF_ADDRESS).then_some(address);
            if !drop_idle(&mut table, of) {
                return Err(Refusal::later(
                    StatusCode::TOO_MANY_REQUESTS,
                    format!(
                        "too many uploads at the same time: {MOST_UPLOADS}, or {MOST_UPLOADS_OF_ADDRESS} of one address"
                    ),
                    Duration::from_secs(5),
                ));
            }
        }
        let blob = Arc::new(AsyncMutex::new(Some(blob)));
        let upload =
            Upload { repository: repository.to_owned(), address, used: Instant::now(), blob };
        table.insert(id.clone(), upload);
        Ok(id)
    }

    /// Returns an upload for one request. Errors with 404 when the repository has none of that id, and with 416 when
    /// another request has it.
    pub fn turn(&self, repository: &str, id: &str) -> Result<Turn, Refusal> {
        let mut table = self.table();
        let upload = table
            .get_mut(id)
            .filter(|upload| upload.repository == repository)
            .ok_or_else(unknown)?;
        upload.used = Instant::now();
        match Arc::clone(&upload.blob).try_lock_owned() {
            Ok(blob) if blob.is_some() => Ok(Turn { id: id.to_owned(), blob }),
            Ok(_) => Err(unknown()),
            Err(_) => Err(Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                Code::BlobUploadInvalid,
                "another request of this upload has not ended: chunks are sent one after the other",
            )),
        }
    }

    /// Ends an upload, and returns what has arrived.
    pub fn end(&self, mut turn: Turn) -> Option<ArrivingBlob> {
        self.table().remove(&turn.id);
        turn.blob.take()
    }

    /// Notes that an upload is in use.
    fn touch(&self, id: &str) {
        if let Some(upload) = self.table().get_mut(id) {
            upload.used = Instant::now();
        }
    }

    /// Drops the uploads that no request has used for [`UPLOAD_KEPT`].
    pub fn sweep(&self) {
        let now = Instant::now();
        self.table().retain(|_, upload| {
            // One that is locked has a request.
            upload.blob.try_lock().is_err() || now.duration_since(upload.used) < UPLOAD_KEPT
        });
    }

    /// Receives the body of a request into an upload. `part` is where the client says that the bytes belong. Returns the
    /// turn with what has arrived, also after an error: the client may continue. Errors with 416 when the part does not
    /// follow the bytes so far, with 400 when the body has another size, and with 408 when it hardly moves.
    pub async fn receive(
        &self,
        mut turn: Turn,
        part: Option<Part>,
        body: Incoming,
    ) -> (Turn, Result<(), Refusal>) {
        let Some(blob) = turn.blob.take() else { return (turn, Err(unknown())) };
        let before = blob.size();
        let exact = body.size_hint().exact();
        let fits = match part {
            Some(Part { start, .. }) if start != before => Err(out_of_order(before)),
            Some(Part { size, .. }) if exact.is_some_and(|exact| exact != size) => {
                Err(size_differs())
            }
            _ => Ok(()),
        };
        if fits.is_err() {
            turn.blob.replace(blob);
            return (turn, fits);
        }
        let (blob, received) = written(blob, body).await;
        let arrived = blob.as_ref().map_or(0, |blob| blob.size() - before);
        *turn.blob = blob;
        self.touch(&turn.id);
        let whole = match part {
            Some(Part { size, .. }) if received.is_ok() && arrived != size => Err(size_differs()),
            _ => received,
        };
        (turn, whole)
    }

    /// Reads the body of a manifest into memory. Errors with 413 when it has more than `limit` bytes, with 429 when too
    /// many large ones are there, and as bodies of uploads do.
    pub async fn read_manifest(&self, mut body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
        let too_large = || {
            let message = format!("the manifest is larger than the limit of {limit} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ManifestInvalid, message)
        };
        if body.size_hint().exact().is_some_and(|size| size > limit as u64) {
            return Err(too_large());
        }
        let (mut bytes, mut place, mut refused) = (Vec::new(), None, None);
        read_body(&mut body, RATE_WINDOW, |piece| {
            let size = bytes.len() + piece.len();
            if size > limit {
                refused = Some(too_large());
            } else if size > SMALL_MANIFEST && place.is_none() {
                match Arc::clone(&self.large).try_acquire_owned() {
                    // Once, and no more than it may need.
                    Ok(free) => {
                        place = Some(free);
                        bytes.reserve_exact(limit - bytes.len());
                    }
                    Err(_) => refused = Some(too_many_manifests()),
                }
            }
            if refused.is_some() {
                return std::future::ready(Err(()));
            }
            bytes.extend_from_slice(&piece);
            std::future::ready(Ok(()))
        })
        .await?;
        match refused {
            Some(refused) => Err(refused),
            None => Ok(Bytes::from_owner(HeldManifest { bytes, _place: place })),
        }
    }
}

impl Turn {
    /// Returns how many bytes have arrived.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blob.as_ref().map_or(0, ArrivingBlob::size)
    }
}

/// Drops the upload that no request has used for the longest time, of an address where one is named. Returns whether
/// there was one that is idle.
fn drop_idle(table: &mut HashMap<String, Upload>, address: Option<IpAddr>) -> bool {
    let now = Instant::now();
    let idle = |upload: &Upload| {
        address.is_none_or(|address| upload.address == address)
            && upload.blob.try_lock().is_ok()
            && now.duration_since(upload.used) >= UPLOAD_IDLE
    };
    let oldest =
        table.iter().filter(|(_, upload)| idle(upload)).min_by_key(|(_, upload)| upload.used);
    match oldest.map(|(id, _)| id.clone()) {
        Some(id) => table.remove(&id).is_some(),
        None => false,
    }
}

/// Writes a body to the end of a blob, on a thread that may wait for the disk. Returns the blob with what has arrived.
async fn written(
    mut blob: ArrivingBlob,
    mut body: Incoming,
) -> (Option<ArrivingBlob>, Result<(), Refusal>) {
    let (send, mut pieces) = mpsc::channel::<Bytes>(PIECES);
    let writer = tokio::task::spawn_blocking(move || {
        let mut written = Ok(());
        while let Some(piece) = pieces.blocking_recv() {
            written = blob.write(&piece);
            if written.is_err() {
                break;
            }
        }
        (blob, written)
    });
    let sent = read_body(&mut body, RATE_WINDOW, |piece| send.send(piece)).await;
    drop(send);
    match writer.await {
        // The failure of the disk is the cause of what the reader saw.
        Ok((blob, written)) => (Some(blob), written.and(sent)),
        Err(_) => (
            None,
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, "the write failed")),
        ),
    }
}

/// Reads a body to its end, and gives each piece to `take`, which may refuse. Errors with 408 when it hardly moves over
/// `window`, and with 400 when it ends too early.
async fn read_body<E, F: Future<Output = Result<(), E>>>(
    body: &mut (impl hyper::body::Body<Data = Bytes> + Unpin),
    window: Duration,
    mut take: impl FnMut(Bytes) -> F,
) -> Result<(), Refusal> {
    let mut rate = MinimumRate::default();
    loop {
        let asked = Instant::now();
        let next = std::future::poll_fn(|task| std::pin::Pin::new(&mut *body).poll_frame(task));
        let frame = tokio::time::timeout(window, next).await.map_err(|_| too_slow())?;
        let wait = asked.elapsed();
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|_| {
            Refusal::bad(
                Code::BlobUploadInvalid,
                "the body ended before the end that its headers promise",
            )
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        if rate.is_below(piece.len(), wait, window) {
            return Err(too_slow());
        }
        // The writer has stopped, and says why.
        if take(piece).await.is_err() {
            return Ok(());
        }
    }
}

fn too_many_manifests() -> Refusal {
    let message = format!(
        "too many manifests of more than {SMALL_MANIFEST} bytes at the same time: {MOST_LARGE_MANIFESTS}"
    );
    Refusal::later(StatusCode::TOO_MANY_REQUESTS, message, Duration::from_secs(5))
}

fn unknown() -> Refusal {
    Refusal::not_found(
        Code::BlobUploadUnknown,
        "the repository has no such upload, or it has ended",
    )
}

fn out_of_order(expected: u64) -> Refusal {
    let message = format!("the chunk is out of order: expected one that starts at byte {expected}");
    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message)
        .with(header::RANGE, received_range(expected))
}

fn size_differs() -> Refusal {
    Refusal::bad(
        Code::SizeInvalid,
        "the body of the chunk has another size than its Content-Range says",
    )
}

fn too_slow() -> Refusal {
    let seconds = RATE_WINDOW.as_secs();
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        Code::BlobUploadInvalid,
        format!("the body is slower than {LEAST_RATE} bytes a second over {seconds} s"),
    )
    .with(header::CONNECTION, HeaderValue::from_static("close"))
}

/// Returns the `Range` of an upload: its first and last byte. One without bytes has the same range as one with a single
/// byte, as in docker-registry.
#[must_use]
pub fn received_range(size: u64) -> HeaderValue {
    let text = format!("0-{}", size.saturating_sub(1));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0-0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Body;

    const WINDOW: Duration = Duration::from_millis(100);

    /// Reads a body of `count` pieces, with a pause before each. Returns the bytes that arrived, and the status of the
    /// refusal.
    async fn read(count: usize, piece: &'static [u8], pause: Duration) -> (usize, Option<u16>) {
        let (send, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..count {
                tokio::time::sleep(pause).await;
                if send.send(Ok(Bytes::from_static(piece))).await.is_err() {
                    return;
                }
            }
        });
        let (mut body, mut arrived) = (Body::stream((count * piece.len()) as u64, pieces), 0);
        let ended = read_body(&mut body, WINDOW, |piece| {
            arrived += piece.len();
            std::future::ready(Ok::<(), ()>(()))
        });
        let ended = ended.await;
        (arrived, ended.err().map(|refusal| refusal.status.as_u16()))
    }

    #[tokio::test]
    async fn a_body_that_hardly_moves_is_refused() {
        // Silence, and a byte now and then.
        let (arrived, refused) = read(1, b"1", 10 * WINDOW).await;
        assert_eq!((arrived, refused), (0, Some(408)));
        let (arrived, refused) = read(1_000, b"1", WINDOW / 10).await;
        assert!(arrived < 1_000);
        assert_eq!(refused, Some(408));
        // Slow, and fast enough.
        assert_eq!(read(20, &[7; 1_000], WINDOW / 10).await, (20_000, None));
        assert_eq!(read(1_000, &[7; 1_000], Duration::ZERO).await, (1_000_000, None));
    }

    #[tokio::test]
    async fn a_body_that_ends_too_early_is_refused() {
        let (send, pieces) = mpsc::channel(1);
        send.send(Ok(Bytes::from_static(b"12345"))).await.unwrap();
        drop(send);
        let mut body = Body::stream(6, pieces);
        let refused = read_body(&mut body, WINDOW, |_| std::future::ready(Ok::<(), ()>(())))
            .await
            .unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (400, Code::BlobUploadInvalid));
    }
}
