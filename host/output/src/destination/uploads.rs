//! Writing to a web server: blobs go side by side, and what makes them appear waits for the commit.
//!
//! A web server knows no transactions. What a plugin PUTs is there at once, so it does well to name
//! it after its content; what it asks to be PUT last is sent when the host has accepted the session's
//! receipt, and not at all when it has not.
//!
//! What it refuses: a second write to a place while the first one can still land there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use url::Url;

use super::file_sink::FileSink;
use super::journal::{Pushed, place};
use super::layer_blob::LayerBlob;
use super::site::BlockingSite;
use super::transfers::{self, Transfers};
use occystrap_base::error::{Error, Result};
use occystrap_base::files::scratch;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::files::{Section, hash_range};
use occystrap_base::limits;
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::blob::write_error;
use occystrap_layer::image::Content;
use occystrap_net::context::Context;
use occystrap_net::registry::Body;

/// The writes of one session to one folder.
pub struct Uploads {
    site: BlockingSite,
    context: Context,
    /// Transfers of blobs.
    transfers: Transfers,
    /// In the order in which the plugin gave them.
    last: Vec<Last>,
    /// Small bodies that were sent or will be, by place.
    kept: BTreeMap<String, Bytes>,
    /// The places of the transfers that were not waited for.
    busy: BTreeSet<String>,
}

struct Last {
    place: String,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// A place that one write has for itself.
pub struct Claim {
    /// The key of the place: equal for all URLs that a server may treat as one.
    pub place: String,
    /// Where it is, relative to the folder; `None` for another place.
    pub path: Option<String>,
}

/// The time at which a write is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is sent at once.
    Now,
    /// It is sent in the commit, and replaces an earlier body for the same place.
    Last,
}

/// The error for a write to a place to which another write is in progress.
pub struct Busy;

/// A PUT under way.
pub struct WebPut {
    /// Where it goes.
    pub claim: Claim,
    transfer: transfers::Transfer,
}

impl WebPut {
    /// Waits for its end, and returns where it went.
    pub fn wait(self) -> (Result<Pushed>, Claim) {
        (self.transfer.wait(), self.claim)
    }
}

/// A file that will be PUT when it is whole.
pub struct PutFile {
    /// The file.
    pub file: FileSink,
    /// Where it goes.
    pub url: Url,
    /// With which headers.
    pub headers: HeaderMap,
}

impl Uploads {
    /// Starts to write to a folder.
    #[must_use]
    pub fn new(site: BlockingSite, context: &Context) -> Self {
        let (transfers, context) = (Transfers::new(context), context.clone());
        let (last, kept, busy) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { site, context, transfers, last, kept, busy }
    }

    /// Returns the folder.
    #[must_use]
    pub fn site(&self) -> &BlockingSite {
        &self.site
    }

    /// Starts to PUT a layer.
    pub fn layer(
        &mut self,
        url: Url,
        headers: HeaderMap,
        layer: LayerBlob,
    ) -> Result<WebPut, Busy> {
        let (diff_id, progress) = (layer.diff_id(), layer.progress());
        let content = move || match layer.into_content()? {
            (blob, Content::File(section)) => Ok((blob, Some(Body::File(section)))),
            (blob, Content::Registry(from)) => Ok((blob, Some(Body::Download(from)))),
            // No manifest with its URLs is kept on a web server.
            (_, Content::Elsewhere(_)) => Err(Error::interrupted()),
        };
        self.start(url, headers, content, Some(diff_id), progress)
    }

    /// Starts to PUT a config.
    pub fn config(
        &mut self,
        url: Url,
        headers: HeaderMap,
        blob: Descriptor,
        bytes: Bytes,
    ) -> Result<WebPut, Busy> {
        let content = move || Ok((blob, Some(Body::Bytes(bytes))));
        self.start(url, headers, content, None, LayerProgress::hidden())
    }

    fn start(
        &mut self,
        url: Url,
        headers: HeaderMap,
        content: impl FnOnce() -> Result<(Descriptor, Option<Body>)> + Send + 'static,
        diff_id: Option<Digest>,
        progress: LayerProgress,
    ) -> Result<WebPut, Busy> {
        let claim = self.claim(&url, When::Now)?;
        self.busy.insert(claim.place.clone());
        let client = self.site.client().clone();
        let send = move |blob: Descriptor, body: Body, progress: LayerProgress| async move {
            progress.begin("upload", blob.size);
            client.put(&url, &headers, &blob, &body, |bytes| progress.set(bytes)).await
        };
        Ok(WebPut { claim, transfer: self.transfers.start(content, diff_id, progress, send) })
    }

    /// Returns an empty file that the plugin fills, and that is PUT then.
    pub fn file(&self, url: Url, headers: HeaderMap) -> Result<PutFile> {
        let folder = &self.context.temp_dir;
        let file = scratch::unnamed(folder).map_err(|cause| {
            let kind = occystrap_base::error::Kind::Destination;
            Error::io(kind, "use a temporary file in", folder.display(), &cause)
        })?;
        Ok(PutFile { file: FileSink::new(String::new(), file), url, headers })
    }

    /// Sends a whole file by PUT, and returns its digest.
    pub fn put(
        &mut self,
        url: &Url,
        headers: &HeaderMap,
        file: &UnnamedFile,
        size: u64,
    ) -> Result<Digest> {
        let failed = |cause: &_| write_error(file.file(), cause);
        let digest = hash_range(file.file(), (0, size), &self.context.cancel, failed, |_| ())?;
        let file = file.file().try_clone().map_err(|cause| failed(&cause))?;
        let section = Section::new(Arc::new(file), 0, size);
        let what = Descriptor { media_type: String::new(), digest, size };
        let client = self.site.client();
        self.site.wait(client.put(url, headers, &what, &Body::File(section), |_| {}))?;
        Ok(digest)
    }

    /// Claims the place of a URL for a write, and forgets what was kept of it. Errors where another
    /// write may land there later: a transfer that was not waited for, or a body that waits for the
    /// commit.
    pub fn claim(&mut self, url: &Url, when: When) -> Result<Claim, Busy> {
        let place = place(url);
        let waits = || self.last.iter().any(|last| last.place == place);
        if self.busy.contains(&place) || (when == When::Now && waits()) {
            return Err(Busy);
        }
        self.kept.remove(&place);
        Ok(Claim { place, path: self.site.reader().path_of(url) })
    }

    /// Gives back the place of a transfer that has ended.
    pub fn ended(&mut self, claim: &Claim) {
        self.busy.remove(&claim.place);
    }

    /// Waits for the transfers that the plugin did not wait for, so that nothing lands later.
    pub fn settle(&mut self) {
        let Self { site, transfers, .. } = self;
        site.wait(transfers.settle());
    }

    /// Keeps a small body that was sent.
    pub fn keep(&mut self, place: &str, body: Bytes) {
        let before: usize = self.kept.values().map(Bytes::len).sum();
        if before + body.len() <= limits::HTTP_KEPT {
            self.kept.insert(place.to_owned(), body);
        }
    }

    /// Keeps a small body until the commit, in the place of one that had its place.
    pub fn hold(&mut self, place: String, url: Url, headers: HeaderMap, body: Bytes) {
        self.last.retain(|known| known.place != place);
        self.last.push(Last { place, url, headers, body });
    }

    /// Returns how many bodies are kept until the commit.
    #[must_use]
    pub fn held(&self) -> usize {
        self.last.len()
    }

    /// Returns a small body that was sent, or will be.
    #[must_use]
    pub fn written(&self, path: &str, limit: usize) -> Option<Bytes> {
        let place = place(&self.site.reader().url_of(path)?);
        self.kept.get(&place).filter(|body| body.len() <= limit).cloned()
    }

    /// Sends the bodies that were kept for the commit.
    pub fn commit(self) -> Result<()> {
        for Last { url, headers, body, .. } in self.last {
            let size = body.len() as u64;
            let what = Descriptor { media_type: String::new(), digest: Digest::of(&body), size };
            let client = self.site.client();
            self.site.wait(client.put(&url, &headers, &what, &Body::Bytes(body), |_| {}))?;
        }
        Ok(())
    }
}
