//! The download of a layer that is stored at URLs of its manifest.
//!
//! The author of the image chose the URLs, so they are not trusted. What this module refuses: to send a login other
//! than that in the URL itself; to connect to an address that is not public unless the user allowed it, which is
//! checked when a name is resolved, and for every redirect; and to end without an error when the bytes are not those of
//! the manifest.

use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use super::access::Access;
use super::download::UrlDownload;
use super::elsewhere::Elsewhere;
use super::netrc::basic;
use crate::http::Counters;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Descriptor;
use occystrap_base::secret::Secret;

/// The download of a layer from the first of its URLs that works.
pub struct ForeignLayerDownload {
    access: Access,
    counters: Arc<Counters>,
    cancel: Cancel,
    what: Descriptor,
    /// The name of the layer in errors.
    place: String,
    /// The URLs that were not tried yet, in reverse order.
    left: Vec<Url>,
    download: Option<UrlDownload>,
    /// Whether bytes were returned. Another URL cannot continue the download then.
    has_begun: bool,
}

impl ForeignLayerDownload {
    /// Returns the download of a layer. Nothing is requested before the first call of [`Self::next`].
    #[must_use]
    pub fn new(
        elsewhere: &Elsewhere,
        what: Descriptor,
        place: String,
        access: &Access,
        counters: Arc<Counters>,
        cancel: Cancel,
    ) -> Self {
        let left = elsewhere.urls().iter().rev().cloned().collect();
        let (access, download, has_begun) = (access.clone(), None, false);
        Self { access, counters, cancel, what, place, left, download, has_begun }
    }

    /// Returns the next bytes, and `None` at the end: all bytes were received, and have the promised size and digest.
    /// Errors are those of the last URL.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let download = match &mut self.download {
                Some(download) => download,
                none => {
                    let Some(url) = self.left.pop() else {
                        let message = format!("{}: it has no URL", self.place);
                        return Err(Error::new(Kind::NotFound, message));
                    };
                    none.insert(self.access.download_layer(
                        url,
                        &self.what,
                        self.counters.clone(),
                        self.cancel.clone(),
                    )?)
                }
            };
            match download.next().await {
                Ok(piece) => {
                    self.has_begun |= piece.is_some();
                    return Ok(piece);
                }
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) if self.has_begun || self.left.is_empty() => {
                    return Err(error.within(&self.place));
                }
                Err(error) => {
                    tracing::info!("{}: {error}; the next URL is tried", self.place);
                    self.download = None;
                }
            }
        }
    }
}

impl Access {
    /// Starts to download a layer from a URL that its manifest names.
    fn download_layer(
        &self,
        mut url: Url,
        what: &Descriptor,
        counters: Arc<Counters>,
        cancel: Cancel,
    ) -> Result<UrlDownload> {
        // The login in the URL is sent to the server of the URL only.
        let login =
            url.password().map(|password| (url.username().to_owned(), Secret::new(password)));
        let login = login.and_then(|(name, password)| basic(&name, &password));
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let login = login.map(|header| (url.clone(), header));
        let client = self.client_for_layers(login, counters, cancel)?;
        Ok(client.download(&url, Some((what.size, what.digest))))
    }
}
