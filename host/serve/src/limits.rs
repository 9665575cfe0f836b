//! The limits of the endpoint. A client that exceeds one gets an error that names it.

use std::time::Duration;

/// Most bytes of a request line and its headers. Repository names have up to 255 characters, and the longest header of
/// real clients, the `Accept` of containerd, has some 200.
pub const LARGEST_HEAD: usize = 32 * 1024;

/// Most headers of a request. Real clients send some ten.
pub const MOST_HEADERS: usize = 100;

/// Time in which the headers of a request must arrive. An idle connection ends after this time: the HTTP library has one
/// time for both, and a client that finds its connection closed each time it has hashed a layer would be slow.
pub const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Time for the handshake of TLS.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Largest blob, in bytes. The largest layers of published images, those with models, have some ten GiB.
pub const LARGEST_BLOB: u64 = 64 * 1024 * 1024 * 1024;

/// Bytes of received blobs on the disk, where the user sets no other number.
pub const ROOM: u64 = 100 * 1024 * 1024 * 1024;

/// Part of a file system that stays free for others, in percent.
pub const ROOM_FOR_OTHERS: u64 = 5;

/// Most connections at the same time.
pub const MOST_CONNECTIONS: usize = 256;

/// The same of one address, so that one host does not keep out all others.
pub const MOST_CONNECTIONS_OF_ADDRESS: usize = 192;

/// Most uploads that have begun and not ended.
pub const MOST_UPLOADS: usize = 64;

/// The same of one address. Docker uploads 5 layers at the same time, skopeo 6; several of them may run on one host.
pub const MOST_UPLOADS_OF_ADDRESS: usize = 32;

/// Time after which an upload without a request makes room for another one.
pub const UPLOAD_IDLE: Duration = Duration::from_secs(60);

/// Time after which an upload without a request is dropped.
pub const UPLOAD_KEPT: Duration = Duration::from_secs(3600);

/// Time after which a received blob that no request used is dropped.
pub const BLOB_KEPT: Duration = Duration::from_secs(3600);

/// Bytes of a manifest for which there is always memory. Most manifests have some kilobytes.
pub const SMALL_MANIFEST: usize = 64 * 1024;

/// Most manifests that are larger and arrive or are in work at the same time: they are in memory, with up to 4 MiB each.
pub const MOST_LARGE_MANIFESTS: usize = 16;

/// Slowest rate of the body of a request, in bytes for each second.
pub use occystrap_base::minimum_rate::LEAST_RATE;

/// Time over which the rate is measured, and the longest pause in a body.
pub const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Most entries of one page of tags.
pub const MOST_TAGS: usize = 10_000;
