//! What was really written and read in a session, as the host saw it.
//!
//! The receipt that a plugin returns is believed only where this journal agrees.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::archive::Contents;
use super::commit::expected::{Expected, HashedFile};
use crate::receipt::WrittenFile;
use occystrap_base::oci::{Descriptor, Digest, Manifest};

/// A blob that the registry has, or that stays elsewhere.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Its descriptor at the registry.
    pub blob: Descriptor,
    /// Of a layer, the digest of what it holds.
    pub diff_id: Option<Digest>,
}

/// The journal of one session: everything that the host saw.
#[derive(Debug, Default)]
pub struct Journal {
    /// By path. A path written twice is what was written last.
    written: BTreeMap<String, WrittenFile>,
    /// Of a web server: the path at which each place was last written ([`place`]).
    spelled: BTreeMap<String, String>,
    /// Whole files that the host hashed for the plugin: path to size and digest.
    hashed: BTreeMap<String, HashedFile>,
    /// Digests of layers as they were written, to what they hold: their diff-ids.
    layers: BTreeMap<Digest, Digest>,
    /// What a registry has.
    blobs: BTreeMap<Digest, Descriptor>,
    /// Manifests that will be pushed, by reference.
    manifests: BTreeMap<String, Manifest>,
    /// What an engine will load.
    loaded: Option<Contents>,
}

impl Journal {
    /// Notes that a sink was completed.
    pub fn record_written(&mut self, file: WrittenFile) {
        self.written.insert(file.path.clone(), file);
    }

    /// Forgets what was written at a place of a web server, in whichever spelling: a request that may
    /// change it begins. `path` is where the place is in the destination.
    pub fn forget(&mut self, place: &str, path: Option<&str>) {
        if let Some(other) = self.spelled.remove(place) {
            self.written.remove(&other);
        }
        if let Some(path) = path {
            self.spelled.insert(place.to_owned(), path.to_owned());
        }
    }

    /// Returns whether a whole file is known to have been read and hashed.
    #[must_use]
    pub fn has_hashed(&self, path: &str) -> bool {
        self.hashed.contains_key(path)
    }

    /// Notes that a whole file was read and hashed.
    pub fn record_hashed(&mut self, path: &str, hashed: HashedFile) {
        self.hashed.insert(path.to_owned(), hashed);
    }

    /// Notes that a layer was written in a form that has this digest.
    pub fn record_layer(&mut self, digest: Digest, diff_id: Digest) {
        self.layers.insert(digest, diff_id);
    }

    /// Notes that a blob was pushed.
    pub fn record_pushed(&mut self, pushed: Pushed) {
        if let Some(diff_id) = pushed.diff_id {
            self.record_layer(pushed.blob.digest, diff_id);
        }
        self.blobs.insert(pushed.blob.digest, pushed.blob);
    }

    /// Notes that a manifest is to be pushed.
    pub fn record_manifest(&mut self, reference: String, manifest: Manifest) {
        self.manifests.insert(reference, manifest);
    }

    /// Notes that an archive for an engine is whole.
    pub fn record_loaded(&mut self, contents: Contents) {
        self.loaded = Some(contents);
    }

    /// Returns what an engine will load under a name.
    #[must_use]
    pub fn loaded(&self, name: &str) -> Option<&Contents> {
        self.loaded.as_ref().filter(|contents| contents.name == name)
    }

    /// Returns what an engine will load.
    #[must_use]
    pub fn contents(&self) -> Option<&Contents> {
        self.loaded.as_ref()
    }

    /// Returns the diff-id of a layer that was written in a form that has this digest.
    #[must_use]
    pub fn diff_id(&self, digest: Digest) -> Option<Digest> {
        self.layers.get(&digest).copied()
    }

    /// Returns a blob that the registry has.
    #[must_use]
    pub fn blob(&self, digest: Digest) -> Option<&Descriptor> {
        self.blobs.get(&digest)
    }

    /// Returns the names of all manifests that will be pushed.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.manifests.keys().map(String::as_str)
    }

    /// Returns a manifest that will be pushed.
    #[must_use]
    pub fn manifest(&self, reference: &str) -> Option<&Manifest> {
        self.manifests.get(reference)
    }

    /// Returns a file that was written.
    #[must_use]
    pub fn written(&self, path: &str) -> Option<&WrittenFile> {
        self.written.get(path)
    }

    /// Returns size and digest of a whole file that is there: written, or found and hashed.
    #[must_use]
    pub fn whole(&self, path: &str) -> Option<(u64, Option<Digest>)> {
        match self.written.get(path) {
            Some(file) => Some((file.size, file.digest())),
            None => self.hashed.get(path).map(|hashed| (hashed.size, Some(hashed.digest))),
        }
    }

    /// Returns these files, as the host saw them.
    #[must_use]
    pub fn expected(&self, paths: &BTreeSet<&str>) -> Vec<Expected> {
        let expected = |path: &str| {
            let hashed = self.hashed.get(path).filter(|_| !self.written.contains_key(path));
            Expected { path: path.to_owned(), hashed: hashed.copied() }
        };
        paths.iter().map(|path| expected(path)).collect()
    }

    /// Returns all files that were written, by path.
    pub fn into_written(self) -> Vec<WrittenFile> {
        self.written.into_values().collect()
    }
}

/// Returns the place that a URL names. URLs that a server may take for one file are one place: some
/// servers fold case, join slashes, ignore a query, or ignore a slash at the end.
#[must_use]
pub fn place(url: &Url) -> String {
    let path = occystrap_net::uri::decode(url.path()).to_lowercase();
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    format!("{}/{}", url.origin().ascii_serialization(), names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_web_server_in_another_spelling_is_the_same_path() {
        let written = |path: &str| WrittenFile { path: path.to_owned(), size: 0, extents: vec![] };
        let at = |path: &str| place(&Url::parse(&format!("http://host/App/{path}")).unwrap());
        for other in ["LAYER/%C3%A9", "layer/%c3%89", "%6Cayer/%C3%A9"] {
            let mut journal = Journal::default();
            journal.forget(&at("layer/%C3%A9"), Some("layer/%C3%A9"));
            journal.record_written(written("layer/%C3%A9"));
            journal.forget(&at("other"), Some("other"));
            assert!(journal.written("layer/%C3%A9").is_some());
            journal.forget(&at(other), Some(other));
            journal.record_written(written(other));
            assert!(journal.written("layer/%C3%A9").is_none(), "{other}");
            assert!(journal.written(other).is_some());
        }
    }

    #[test]
    fn a_url_that_is_not_the_path_of_a_file_may_change_one() {
        let written = |path: &str| WrittenFile { path: path.to_owned(), size: 0, extents: vec![] };
        for url in ["app/layer?x", "app//layer", "app/layer/", "APP/layer", "app/layer?"] {
            let mut journal = Journal::default();
            journal.forget("http://host/app/layer", Some("layer"));
            journal.record_written(written("layer"));
            journal.forget(&place(&Url::parse(&format!("http://host/{url}")).unwrap()), None);
            assert!(journal.written("layer").is_none(), "{url}");
        }
    }
}
