//! A client for the OCI distribution API.
//!
//! A [`Client`] is one run's connection pool, token cache and per-host rate limit; a [`Repository`]
//! is one repository seen through it, to pull from or to push to as well. Everything that a server says is hostile until checked:
//! sizes, digests, redirects, realms, waits and challenges are clamped or refused here, so that
//! callers see verified bytes or an error.
//!
//! What it refuses to do: send a credential to a place that was not asked for one or over plain
//! HTTP unless told to, follow a redirect or an upload's place from https to http, show a secret (or a URL that may
//! carry one) in an error or a log, hold a layer in memory, and guess at manifests it cannot check.

mod auth_file;
mod auth_places;
pub mod body;
mod challenge;
pub mod client;
mod credential;
pub(crate) mod deliver;
pub mod download;
#[doc(hidden)]
pub mod fuzzed;
mod greeting;
mod helper;
mod presence;
mod push;
pub mod reference;
mod refusal;
pub mod repository;
mod resolve;
mod scope;
mod served;
mod session;
mod token;
pub mod upload;

pub use body::Body;
pub use client::Client;
pub use download::Download;
pub use presence::DELETE_FIRST;
pub use reference::Reference;
pub use repository::Repository;
pub use resolve::CHANGED_ANSWER;
pub use served::Fetched;
pub use upload::PushOptions;
