//! The part of the registry for tests that accepts uploads: blobs in one request or in parts, mounts, manifests. It is as
//! strict as servers are: parts must follow each other, digests must be right, and a manifest's blobs must be in its
//! repository.
//!
//!     registry.set_locations(Location::Relative);
//!     ... push to registry.url_host() ...
//!     assert_eq!(registry.blob("a/b", digest).unwrap(), bytes);
//!     registry.set_blob("a/b", digest, b"something else");         // bit rot

use std::collections::HashMap;

use bytes::Bytes;
use occystrap_base::oci::digest::Digest;

use super::registry::{Registry, Request, State};
use super::registry_answer::Plan;

/// The form in which a registry gives the location of an upload.
#[derive(Debug, Clone, Default)]
pub enum Location {
    /// A path.
    Relative,
    /// A URL.
    #[default]
    Absolute,
    /// A path with a query, without which the upload is unknown.
    Query,
    /// A URL of another place: its start, such as `http://127.0.0.1:5000`.
    Elsewhere(String),
}

/// Uploads that are going on, what came of them, and what the registry makes of them.
#[derive(Default)]
pub(super) struct Uploads {
    /// Digests that were pushed, by repository.
    kept: HashMap<(String, Digest), Bytes>,
    open: HashMap<String, Vec<u8>>,
    started: usize,
    location: Location,
    least: Option<u64>,
    docker_only: bool,
    /// Whether blobs, manifests by digest, and tags may be deleted.
    deletes: (bool, bool),
    /// Digests whose bytes stay as they are when they are pushed again, as docker-registry keeps them.
    sticky: std::collections::HashSet<Digest>,
    no_mounts: bool,
    said: Option<String>,
}

impl Registry {
    /// A blob as it is held, in one repository or in all.
    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        self.state().blob(repository, digest)
    }

    /// Holds these bytes under a digest, right or wrong.
    pub fn set_blob(&self, repository: &str, digest: Digest, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.state().uploads.kept.insert((repository.to_owned(), digest), bytes);
    }

    /// Loses a blob.
    pub fn remove_blob(&self, repository: &str, digest: Digest) {
        let mut state = self.state();
        state.uploads.kept.remove(&(repository.to_owned(), digest));
        state.blobs.remove(&digest);
    }

    /// Returns what was pushed to a repository, sorted.
    pub fn pushed(&self, repository: &str) -> Vec<Digest> {
        let state = self.state();
        let fits = |(key, _): (&(String, Digest), &Bytes)| (key.0 == repository).then_some(key.1);
        let mut digests: Vec<_> = state.uploads.kept.iter().filter_map(fits).collect();
        digests.sort();
        digests
    }

    /// A manifest as it is held under a tag or a digest: media type and bytes.
    pub fn manifest(&self, repository: &str, target: &str) -> Option<(String, Bytes)> {
        self.state().manifests.get(&(repository.to_owned(), target.to_owned())).cloned()
    }

    /// Holds a manifest under this one tag or digest, right or wrong.
    pub fn set_manifest(
        &self,
        repository: &str,
        target: &str,
        media_type: &str,
        bytes: impl AsRef<[u8]>,
    ) {
        let held = (media_type.to_owned(), Bytes::copy_from_slice(bytes.as_ref()));
        self.state().manifests.insert((repository.to_owned(), target.to_owned()), held);
    }

    /// Loses a tag or a digest.
    pub fn remove_manifest(&self, repository: &str, target: &str) {
        self.state().manifests.remove(&(repository.to_owned(), target.to_owned()));
    }

    /// Uploads that were begun and neither ended nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.open.len()
    }

    /// Sets the form of locations of uploads from now on.
    pub fn set_locations(&self, location: Location) {
        self.state().uploads.location = location;
    }

    /// Asks for parts of at least so many bytes (`OCI-Chunk-Min-Length`), and refuses smaller ones
    /// but the last.
    pub fn set_least_chunk(&self, bytes: u64) {
        self.state().uploads.least = Some(bytes);
    }

    /// Takes Docker's media types (v2, schema 2) and no others.
    pub fn docker_only(&self) {
        self.state().uploads.docker_only = true;
    }

    /// Deletes blobs, and manifests by digest with their tags; tags alone where `tags` is set. It refuses both by
    /// default (405).
    pub fn allow_deletes(&self, tags: bool) {
        self.state().uploads.deletes = (true, tags);
    }

    /// Accepts a blob again, and keeps the bytes that it has, until they are deleted.
    pub fn keep_bytes(&self, digest: Digest) {
        self.state().uploads.sticky.insert(digest);
    }

    /// Answers a mount by starting an upload.
    pub fn refuse_mounts(&self) {
        self.state().uploads.no_mounts = true;
    }

    /// Says this digest of whatever it stores.
    pub fn say_digest(&self, digest: impl ToString) {
        self.state().uploads.said = Some(digest.to_string());
    }
}

impl State {
    pub(super) fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        let pushed = self.uploads.kept.get(&(repository.to_owned(), digest));
        pushed.or_else(|| self.blobs.get(&digest)).cloned()
    }

    /// A request below `/v2/NAME/blobs/uploads/`.
    pub(super) fn upload(
        &mut self,
        request: &Request,
        repository: &str,
        session: &str,
        query: &str,
    ) -> Plan {
        let field = |name: &str| {
            let mut fields = url::form_urlencoded::parse(query.as_bytes());
            fields.find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
        };
        if request.method == "POST" {
            return self.begin(repository, field("mount"), field("from"));
        }
        if let Location::Query = self.uploads.location
            && field("_state").as_deref() != Some("a/b+c")
        {
            return Plan::error(400, "BLOB_UPLOAD_INVALID");
        }
        let name = format!("{repository} {session}");
        if request.method == "DELETE" {
            return match self.uploads.open.remove(&name) {
                Some(_) => Plan::new(204, Vec::new(), ""),
                None => Plan::error(404, "BLOB_UPLOAD_UNKNOWN"),
            };
        }
        let least = self.uploads.least.unwrap_or(0);
        let location = self.location(repository, session);
        let Some(held) = self.uploads.open.get_mut(&name) else {
            return Plan::error(404, "BLOB_UPLOAD_UNKNOWN");
        };
        let announced = request.header("content-length").parse().ok();
        if announced != Some(request.body.len()) {
            return Plan::error(400, "SIZE_INVALID");
        }
        if request.method == "PATCH" {
            let end = held.len() + request.body.len();
            let expected = format!("{}-{}", held.len(), end.saturating_sub(1));
            if request.header("content-range") != expected {
                return Plan::error(416, "BLOB_UPLOAD_INVALID");
            }
            held.extend_from_slice(&request.body);
            let range = ("range", format!("0-{}", end - 1));
            return Plan::new(202, vec![("location", location), range], "");
        }
        if request.method != "PUT" {
            return Plan::error(405, "UNSUPPORTED");
        }
        let parts = request_sizes(&self.log, &location);
        if parts.split_last().is_some_and(|(_, most)| most.iter().any(|size| *size < least)) {
            return Plan::error(416, "SIZE_INVALID");
        }
        let mut whole = self.uploads.open.remove(&name).unwrap_or_default();
        whole.extend_from_slice(&request.body);
        let digest = Digest::of(&whole);
        if field("digest") != Some(digest.to_string()) {
            return Plan::error(400, "DIGEST_INVALID");
        }
        let key = (repository.to_owned(), digest);
        let is_kept = self.uploads.sticky.contains(&digest) && self.uploads.kept.contains_key(&key);
        if !is_kept {
            self.uploads.kept.insert(key, whole.into());
        }
        self.stored(format!("/v2/{repository}/blobs/{digest}"), digest)
    }

    /// Something is deleted.
    pub(super) fn delete(&mut self, repository: &str, kind: &str, target: &str) -> Plan {
        let (deletes, tags) = self.uploads.deletes;
        let digest: Option<Digest> = target.parse().ok();
        if !deletes || (digest.is_none() && !tags) {
            return Plan::error(405, "UNSUPPORTED");
        }
        let is_gone = match (kind, digest) {
            ("blobs", Some(digest)) => {
                self.uploads.kept.remove(&(repository.to_owned(), digest)).is_some()
            }
            ("manifests", Some(digest)) => {
                let before = self.manifests.len();
                self.manifests.retain(|(name, one), (_, bytes)| {
                    name != repository || (Digest::of(bytes) != digest && *one != target)
                });
                self.manifests.len() < before
            }
            ("manifests", None) => {
                self.manifests.remove(&(repository.to_owned(), target.to_owned())).is_some()
            }
            _ => false,
        };
        match is_gone {
            true => Plan::new(202, Vec::new(), ""),
            false => Plan::error(404, "NOT_FOUND"),
        }
    }

    fn begin(&mut self, repository: &str, mount: Option<String>, from: Option<String>) -> Plan {
        let digest = mount.and_then(|digest| digest.parse().ok());
        if let (Some(digest), Some(from), false) = (digest, from, self.uploads.no_mounts)
            && let Some(bytes) = self.blob(&from, digest)
        {
            self.uploads.kept.insert((repository.to_owned(), digest), bytes);
            return self.stored(format!("/v2/{repository}/blobs/{digest}"), digest);
        }
        self.uploads.started += 1;
        let session = format!("upload-{}", self.uploads.started);
        self.uploads.open.insert(format!("{repository} {session}"), Vec::new());
        let mut plan = Plan::new(202, vec![("location", self.location(repository, &session))], "");
        let least = self.uploads.least;
        plan.headers.extend(least.map(|least| ("oci-chunk-min-length", least.to_string())));
        plan
    }

    fn location(&self, repository: &str, session: &str) -> String {
        let path = format!("/v2/{repository}/blobs/uploads/{session}");
        match &self.uploads.location {
            Location::Relative => path,
            Location::Absolute => format!("{}{path}", self.base),
            Location::Query => format!("{path}?_state=a%2Fb%2Bc&other="),
            Location::Elsewhere(base) => format!("{base}{path}?signature=s3cret"),
        }
    }

    /// A manifest is pushed.
    pub(super) fn keep(&mut self, request: &Request, repository: &str, target: &str) -> Plan {
        let media_type = request.header("content-type");
        if self.uploads.docker_only && !media_type.starts_with("application/vnd.docker.") {
            return Plan::error(415, "MANIFEST_INVALID");
        }
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&request.body) else {
            return Plan::error(400, "MANIFEST_INVALID");
        };
        let digest = Digest::of(&request.body);
        if target.contains(':') && target != digest.to_string() {
            return Plan::error(400, "DIGEST_INVALID");
        }
        let list = |name: &str| json[name].as_array().cloned().unwrap_or_default();
        let named = |one: &serde_json::Value| one["digest"].as_str().unwrap_or("").to_owned();
        let there = |digest: &str| {
            digest.parse().is_ok_and(|digest| self.blob(repository, digest).is_some())
        };
        let config = json["config"].get("digest").map(|_| json["config"].clone());
        // This is what docker-registry does with URLs.
        let is_elsewhere =
            |one: &serde_json::Value| one["urls"].as_array().is_some_and(|urls| !urls.is_empty());
        let blobs = config.into_iter().chain(list("layers"));
        if !blobs.filter(|one| !is_elsewhere(one)).all(|one| there(&named(&one))) {
            return Plan::error(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let known = |child: String| self.manifests.contains_key(&(repository.to_owned(), child));
        if !self.takes_sparse && !list("manifests").iter().all(|one| known(named(one))) {
            return Plan::error(400, "MANIFEST_UNKNOWN");
        }
        for name in [target.to_owned(), digest.to_string()] {
            let held = (media_type.to_owned(), request.body.clone());
            self.manifests.insert((repository.to_owned(), name), held);
        }
        self.stored(format!("/v2/{repository}/manifests/{digest}"), digest)
    }

    fn stored(&self, place: String, digest: Digest) -> Plan {
        let said = self.uploads.said.clone().unwrap_or_else(|| digest.to_string());
        Plan::new(201, vec![("location", place), ("docker-content-digest", said)], "")
    }
}

/// Sizes of the parts that were sent to a place.
fn request_sizes(log: &[Request], location: &str) -> Vec<u64> {
    let path = |text: &str| text.split('?').next().unwrap_or("").to_owned();
    let fits = |one: &&Request| one.method == "PATCH" && location.contains(&path(&one.path));
    log.iter().filter(fits).map(|one| one.body.len() as u64).collect()
}
