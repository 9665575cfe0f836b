//! A client for registries (OCI distribution specification).
//!
//! A [`RegistryClient`] holds the connections, the tokens and the rate limits of one run. A [`Repository`] is one repository
//! that is reached through it, to pull from or also to push to. Nothing that a server sends is trusted: sizes,
//! digests, redirects, realms, waits and challenges are limited or checked here, so that callers get verified bytes
//! or an error.
//!
//! | files | what they do |
//! | --- | --- |
//! | `auth_places`, `auth_file`, `helper`, `credential` | find the login of the user |
//! | `challenge`, `scope`, `token`, `version_check`, `session` | decide which login or token a request carries |
//! | `repository`, `tags`, `manifest_headers`, `download` | list and pull manifests and blobs |
//! | `referrers`, `referrers_tag` | find what refers to a manifest, and list it under a tag |
//! | `resolve`, `blob_existence`, `blob_part` | check that clients can pull what is there |
//! | `push`, `upload`, `body`, `streamed_request` | push manifests and blobs |
//! | `known_blobs`, `repository_blobs` | what this run has learned of blobs |
//!
//! What this module refuses: to send a credential to a host that it is not for, or over plain HTTP unless the user
//! allows that; to follow a redirect or an upload location from https to http; to show a secret, or a URL that may
//! contain one, in an error or a log; to hold a layer in memory; and to accept a manifest that it cannot check.

mod auth_file;
mod auth_places;
mod blob_existence;
mod blob_part;
pub mod body;
mod challenge;
pub mod client;
mod credential;
pub mod download;
mod error_body;
#[doc(hidden)]
pub mod fuzzed;
mod helper;
mod known_blobs;
mod login;
mod manifest_headers;
mod push;
pub mod reference;
mod referrers;
mod referrers_tag;
mod removal;
pub mod repository;
mod repository_blobs;
mod resolve;
mod scope;
mod session;
pub(crate) mod streamed_request;
mod tags;
mod token;
pub mod upload;
mod version_check;

pub use blob_existence::DELETE_FIRST;
pub use body::Body;
pub use client::RegistryClient;
pub use download::Download;
pub use known_blobs::{BlobProof, BlobRecord, KnownBlob, SendTurn};
pub use manifest_headers::FetchedManifest;
pub use reference::Reference;
pub use referrers::{
    COSIGN_TAGS, FoundBy, MOST_REFERRERS, Referrer, ReferrerTypes, WantedReferrers, fallback_tag,
};
pub use removal::Removal;
pub use repository::Repository;
pub use resolve::CHANGED_ANSWER;
pub use upload::PushOptions;
