//! Where items and blobs of the ledger are: their repositories, with the options that FILE gives their host.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::services::Services;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_mirror::ledger::holding::{BlobState, ItemFilter};
use occystrap_mirror::ledger::record::{LedgerItem, Verdict};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{LONGEST_PAGE, Ledger, each_item};
use occystrap_net::registry::{Reference, Repository};
use occystrap_net::uri::Uri;

/// An image at a registry.
pub struct ImagePlace {
    /// The URI, with its options.
    pub uri: Uri,
    /// The tag, or the digest of an image without a tag.
    pub target: String,
}

impl ImagePlace {
    /// Parses the name of a destination (`MirrorDestination::name`). Returns `None` where it is in no registry.
    pub fn parse(name: &str) -> Result<Option<Self>> {
        if !name.starts_with("registry://") {
            return Ok(None);
        }
        // An image without a tag has its digest behind the whole URI.
        let parts = name
            .rsplit_once('@')
            .and_then(|(uri, digest)| Some((uri, digest.parse::<Digest>().ok()?.to_string())));
        let (text, digest) = parts.map_or((name, None), |(uri, digest)| (uri, Some(digest)));
        let uri = Uri::parse(text)?;
        let target = match digest {
            Some(digest) => digest,
            None => Reference::parse(&uri.rest)?.target(),
        };
        Ok(Some(Self { uri, target }))
    }
}

/// Repositories by host and name.
pub struct Places<'a, L> {
    ledger: &'a L,
    services: &'a Services<'a>,
    /// Options of URIs, by host: `?insecure=true`, or nothing.
    options: Mutex<HashMap<String, String>>,
}

impl<'a, L: Ledger> Places<'a, L> {
    /// Creates it for one run.
    pub fn new(ledger: &'a L, services: &'a Services<'a>) -> Self {
        Self { ledger, services, options: Mutex::default() }
    }

    /// Returns the URI of a repository. Its options are those of an image there.
    pub fn uri(&self, host: &str, repo: &str) -> Result<Uri> {
        let known = {
            let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
            options.get(host).cloned()
        };
        let options = match known {
            Some(options) => options,
            None => self.find_options(host, repo)?,
        };
        Uri::parse(&format!("registry://{host}/{repo}{options}"))
    }

    fn find_options(&self, host: &str, repo: &str) -> Result<String> {
        let filter = ItemFilter { repo: Some((host, repo)), ..ItemFilter::default() };
        let Some(item) = self.ledger.items(&filter, None, 1)?.into_iter().next() else {
            return Ok(String::new());
        };
        let (uri, _) = match item.destination.rsplit_once("@sha256:") {
            Some((uri, hex)) => (uri, hex),
            None => (item.destination.as_str(), ""),
        };
        let options = uri.split_once('?').map_or(String::new(), |(_, text)| format!("?{text}"));
        let mut known = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(host.to_owned()).or_insert(options).clone())
    }

    /// Returns a repository to read from.
    pub fn repository(&self, host: &str, repo: &str) -> Result<Repository> {
        self.services.repository(&self.uri(host, repo)?)
    }

    /// Returns all repositories of a host that have a blob.
    pub fn of_blob(&self, host: &str, digest: &Digest) -> Result<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().cloned().unwrap_or_default();
            let page = self.ledger.repos(host, digest, &after, LONGEST_PAGE)?;
            let is_last = page.len() < LONGEST_PAGE;
            found.extend(page);
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Returns whether an image that FILE names, and that was at its destination, has a blob in a repository. An image
    /// without a receipt may have it. What an image needs that has not arrived yet is sent when it is moved.
    pub fn is_used(&self, host: &str, repo: &str, digest: &Digest) -> Result<bool> {
        let filter = ItemFilter { repo: Some((host, repo)), ..ItemFilter::default() };
        let (hex, mut is_used) = (digest.hex(), false);
        each_item(self.ledger, &filter, |item| {
            if item.state == State::Done || item.verdict == Some(Verdict::Failed) {
                let receipt = self.ledger.receipt(item.id)?;
                is_used = receipt.is_none_or(|receipt| receipt.contains(&hex));
            }
            Ok::<_, Error>(match is_used {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        Ok(is_used)
    }

    /// Calls a function with each image in a repository whose receipt has a blob, until it breaks off. `states` are those
    /// of the images; none for all.
    pub fn each_user(
        &self,
        (host, repo): (&str, &str),
        digest: &Digest,
        states: &[State],
        mut act: impl FnMut(LedgerItem) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let filter = ItemFilter { repo: Some((host, repo)), states, ..ItemFilter::default() };
        let hex = digest.hex();
        each_item(self.ledger, &filter, |item| {
            match self.ledger.receipt(item.id)?.is_some_and(|receipt| receipt.contains(&hex)) {
                true => act(item),
                false => Ok(ControlFlow::Continue(())),
            }
        })
    }

    /// Returns the first of these blobs that is recorded as bad at a host, and what was found of it.
    pub fn bad_one_of(
        &self,
        host: &str,
        blobs: &[(Digest, u64)],
    ) -> Result<Option<(Digest, String)>> {
        for (digest, _) in blobs {
            let known = self.ledger.blob(host, digest)?;
            if let Some(bad) = known.filter(|known| known.state == BlobState::Bad) {
                return Ok(Some((*digest, bad.found.unwrap_or_default())));
            }
        }
        Ok(None)
    }

    /// Returns the repository from which a blob is read in full: the first that has it.
    pub fn first_of_blob(&self, host: &str, digest: &Digest) -> Result<Repository> {
        match self.ledger.repos(host, digest, "", 1)?.first() {
            Some(repo) => self.repository(host, repo),
            None => {
                let message = format!("{host}: the ledger knows no repository with {digest}");
                Err(Error::new(Kind::NotFound, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_tag_or_behind_the_options_by_its_digest() {
        let target = |name: &str| ImagePlace::parse(name).unwrap().map(|place| place.target);
        assert_eq!(target("registry://h:5000/a/b:1.0?insecure=true").as_deref(), Some("1.0"));
        let digest = Digest::of(b"a").to_string();
        let name = format!("registry://h:5000/a/b?insecure=true@{digest}");
        assert_eq!(target(&name), Some(digest));
        assert_eq!(target("oci-layout:///srv/x:1.0"), None);
    }
}
