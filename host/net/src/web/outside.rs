//! A layer that its manifest says is stored elsewhere, on its way from there.
//!
//! The URLs are the image's word, so that anyone may have chosen them. What it refuses: to send a login
//! other than that of the URL itself, to connect to an address that is not public unless the user
//! named it - after names are resolved, and after every redirect -, and to end well with other bytes than
//! the manifest promised.

use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use super::Elsewhere;
use super::access::Access;
use super::fetch::Fetch;
use super::netrc::basic;
use crate::http::Counters;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Descriptor;
use occystrap_base::secret::Secret;

/// What becomes of layers that are stored elsewhere (`--foreign-layers`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForeignLayers {
    /// They stay there where the output keeps the image's manifest, and are fetched where it does not.
    #[default]
    KeepOrFetch,
    /// They stay there. Outputs that cannot say so refuse the image.
    Keep,
    /// They are fetched from there.
    Fetch,
    /// An image that has one is refused.
    Fail,
}

/// The bytes of a layer from the first of its URLs that gives some.
pub struct Outside {
    access: Access,
    counters: Arc<Counters>,
    cancel: Cancel,
    what: Descriptor,
    /// How errors call the layer.
    place: String,
    /// URLs that were not tried yet, the next one last.
    left: Vec<Url>,
    fetch: Option<Fetch>,
    /// Bytes were handed out: another URL cannot go on from there.
    has_begun: bool,
}

impl Outside {
    /// A layer that is not asked for yet.
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
        let (access, fetch, has_begun) = (access.clone(), None, false);
        Self { access, counters, cancel, what, place, left, fetch, has_begun }
    }

    /// Returns the next bytes; nothing once all came and have the promised size and digest. Errors are
    /// those of the last URL.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let fetch = match &mut self.fetch {
                Some(fetch) => fetch,
                none => {
                    let Some(url) = self.left.pop() else {
                        let message = format!("{}: it has no URL", self.place);
                        return Err(Error::new(Kind::NotFound, message));
                    };
                    none.insert(self.access.outside(
                        url,
                        &self.what,
                        self.counters.clone(),
                        self.cancel.clone(),
                    )?)
                }
            };
            match fetch.next().await {
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
                    self.fetch = None;
                }
            }
        }
    }
}

impl Access {
    /// Starts to download a layer from a URL that its manifest names.
    fn outside(
        &self,
        mut url: Url,
        what: &Descriptor,
        counters: Arc<Counters>,
        cancel: Cancel,
    ) -> Result<Fetch> {
        // Sent as the URL's own server expects it, and to no other.
        let login =
            url.password().map(|password| (url.username().to_owned(), Secret::new(password)));
        let login = login.and_then(|(name, password)| basic(&name, &password));
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let login = login.map(|header| (url.clone(), header));
        let client = self.client_for_layers(login, counters, cancel)?;
        Ok(client.fetch(&url, Some((what.size, what.digest))))
    }
}
