//! The reactions of registry clients to answers, as data: a model with which verdicts are compared.
//!
//! The rows of [`CLIENTS`] were observed with Docker 20.10.24, containerd 1.6.20, Podman 4.3.1 and skopeo
//! 1.9.3 at a registry whose answers the test sets, and agree with their sources:
//! distribution's `registry/client/repository.go` (`tags.Get`, `descriptorFromResponse`) and moby's
//! `distribution/pull_v2.go` (`pullTag`); containerd's `remotes/docker/resolver.go` (`Resolve`);
//! containers/image's `docker/docker_image_src.go` (`fetchManifest`) and `manifest/manifest.go`
//! (`NormalizedMIMEType`). `real_registry_clients.rs` compares rows with the programs themselves.

use occystrap_base::oci::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

/// One of two images: the one that was pushed, or the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    New,
    Old,
}

/// The length that an answer announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Right,
    Wrong,
    Absent,
}

/// An answer about a manifest, as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Length of the body; for HEAD, of the body that GET would have.
    pub body: Which,
    /// `Docker-Content-Digest`, which is that of the body.
    pub digest: bool,
    pub content_type: Option<&'static str>,
    pub length: Length,
}

/// The answers of a registry for one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    pub head_tag: Answer,
    pub get_tag: Answer,
    pub get_digest: Answer,
    /// Whether a GET of each blob returns all of it.
    pub blobs: bool,
}

/// The way in which a client resolves a tag.
pub enum Resolve {
    /// One GET by tag, whose body it uses.
    GetTag,
    /// HEAD by tag, and a GET by the digest that this names.
    Head {
        /// A GET by tag makes up for each HEAD that fails; otherwise for 405 alone.
        any_status: bool,
        /// It refuses an answer without `Content-Type`, and one with a digest and without
        /// `Content-Length`. Otherwise a GET by tag makes up for the length.
        needs_headers: bool,
        /// It compares `Content-Length` with what it downloads.
        compares_length: bool,
    },
}

/// Whose `Content-Type` a client acts on.
#[derive(PartialEq, Eq)]
pub enum TypeOf {
    /// The answer that names the digest.
    Name,
    /// The answer whose body it takes.
    Body,
}

/// A client.
pub struct Client {
    pub name: &'static str,
    pub resolve: Resolve,
    pub type_of: TypeOf,
    /// It takes a media type in any case.
    pub any_case: bool,
    /// It takes OCI's name for a manifest whose own `mediaType` is Docker's.
    pub any_family: bool,
    /// It takes any body under a digest.
    pub any_body: bool,
}

pub const CLIENTS: [Client; 4] = [
    Client {
        name: "docker",
        resolve: Resolve::Head { any_status: true, needs_headers: true, compares_length: false },
        // "mediaType in manifest should be '...' not '...'"
        type_of: TypeOf::Body,
        any_case: true,
        any_family: false,
        // The digest of HEAD is not compared with what comes: a stale cache gives the old image.
        any_body: true,
    },
    Client {
        name: "containerd",
        resolve: Resolve::Head { any_status: false, needs_headers: false, compares_length: true },
        type_of: TypeOf::Name,
        any_case: false,
        any_family: true,
        any_body: false,
    },
    Client {
        name: "podman",
        resolve: Resolve::GetTag,
        type_of: TypeOf::Body,
        any_case: true,
        any_family: false,
        any_body: true,
    },
    Client {
        name: "skopeo",
        resolve: Resolve::GetTag,
        type_of: TypeOf::Body,
        any_case: true,
        any_family: true,
        any_body: true,
    },
];

impl Client {
    /// The image that a pull of the tag gives; `None` where it fails. `own` is the `mediaType` that the
    /// manifests say themselves.
    pub fn pulls(&self, from: &Answers, own: &str) -> Option<Which> {
        if !from.blobs {
            return None;
        }
        let is_good = |answer: &Answer| (200..300).contains(&answer.status);
        let (name, body) = match &self.resolve {
            Resolve::GetTag => {
                let answer = is_good(&from.get_tag).then_some(from.get_tag)?;
                (answer, answer)
            }
            Resolve::Head { any_status, needs_headers, compares_length } => {
                let head = from.head_tag;
                let name = match is_good(&head) {
                    true if head.digest && head.length == Length::Absent && !needs_headers => {
                        from.get_tag
                    }
                    true if head.digest => head,
                    true => from.get_tag,
                    false if head.status == 405 || *any_status => from.get_tag,
                    false => return None,
                };
                if !is_good(&name) {
                    return None;
                }
                // Also of the GET that stands for a HEAD.
                if *needs_headers {
                    name.content_type?;
                    if name.digest && name.length == Length::Absent {
                        return None;
                    }
                }
                if *compares_length && name.length == Length::Wrong {
                    return None;
                }
                let by_digest = match name.body {
                    Which::New => from.get_digest,
                    // It is there as well, and right.
                    Which::Old => Answer { status: 200, body: Which::Old, ..from.get_digest },
                };
                // Docker makes up for a 404 that says MANIFEST_UNKNOWN by a GET of the tag, and warns
                // that a later version will not: that counts as a failure.
                let body = is_good(&by_digest).then_some(by_digest)?;
                if body.body != name.body && !self.any_body {
                    return None;
                }
                (name, body)
            }
        };
        let said = if self.type_of == TypeOf::Name { name.content_type } else { body.content_type };
        self.takes(said?, own).then_some(body.body)
    }

    /// Returns whether it accepts a body of type `own` as a manifest of this type.
    fn takes(&self, said: &str, own: &str) -> bool {
        // Parameters are read over by all.
        let bare = said.split(';').next().unwrap_or_default().trim();
        let bare = if self.any_case { bare.to_ascii_lowercase() } else { bare.to_owned() };
        let kin = [(DOCKER_MANIFEST, OCI_MANIFEST), (DOCKER_LIST, OCI_INDEX)];
        bare == own
            || (self.any_family && kin.iter().any(|(docker, oci)| own == *docker && bare == *oci))
    }
}
