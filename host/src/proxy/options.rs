//! What the user sets for a proxy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::downstream::Downstream;
use super::upstream::Upstreams;
use crate::{Compression, Process};
use occystrap_images::level::Level;
use occystrap_net::uri::Uri;

/// What the user sets for a proxy.
pub struct ProxyOptions {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the numbers of the run can be read.
    pub metrics: Option<SocketAddr>,
    /// Certificate and key, for TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// File of logins of clients.
    pub htpasswd: Option<PathBuf>,
    /// Whether clients of other hosts may connect without TLS.
    pub allow_plain: bool,
    /// Whether clients of other hosts need no login.
    pub allow_anyone: bool,
    /// Where pushed images go.
    pub downstream: Downstream,
    /// Where images come from that clients pull and that are not downstream.
    pub upstreams: Upstreams,
    /// How long a tag of an upstream registry counts as unchanged.
    pub recheck: Duration,
    /// How long a client waits for an image that filters change.
    pub answer_within: Duration,
    /// Whether the stored image is served where the upstream registry fails or lacks it.
    pub serves_stale: bool,
    /// Filters, in their order.
    pub filters: Vec<String>,
    /// How layers are compressed that filters changed.
    pub compression: Option<Compression>,
    /// How much is verified.
    pub level: Level,
    /// Whether an UNCONFIRMED image is a failure.
    pub strict: bool,
    /// Folder for receipts.
    pub receipts: Option<PathBuf>,
    /// File with the layers of earlier runs.
    pub layer_cache: Option<PathBuf>,
    /// Images that are moved at the same time.
    pub concurrency: usize,
    /// Bytes of received blobs on the disk.
    pub spool_size: u64,
    /// How long pushed manifests are remembered.
    pub remember: Duration,
    /// Whether clients may delete.
    pub allow_delete: bool,
    /// How long images are finished after the signal to stop.
    pub grace: Duration,
}

impl ProxyOptions {
    /// Returns the move of an image to a place downstream, with the filters or without them.
    pub fn process(&self, source: &Uri, destination: &Uri, is_filtered: bool) -> Process {
        let mut process = Process::new(source.typed(), destination.typed())
            .verify(self.level)
            .results_on_stderr(true);
        if is_filtered {
            process = self.filters.iter().fold(process, Process::filter);
        }
        match self.compression {
            Some(compression) => process.compression(compression),
            None => process,
        }
    }
}
