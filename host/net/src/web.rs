//! HTTP for output plugins, limited to the places that the user allowed. Layers that are stored at URLs of their
//! manifest are downloaded here as well ([`foreign_layer`]), from any host with a public address.
//!
//! A plugin states a request and its URL. This module decides whether the request is allowed, resolves names, connects
//! and logs in. What it refuses:
//! - a place that the user did not allow;
//! - an address that is not public, unless the user allowed the address itself. This is checked whenever a name is
//!   resolved;
//! - plain HTTP, unless the user allowed it for the place;
//! - URLs that two programs could read differently;
//! - redirects;
//! - headers that belong to the host;
//! - the proxies of the environment, because the addresses that a proxy connects to cannot be checked.

pub mod access;
pub mod address;
pub mod allow;
pub mod client;
pub mod download;
pub mod elsewhere;
pub mod folder;
pub mod foreign_layer;
pub mod header;
pub mod netrc;
pub mod resolver;

pub use access::Access;
pub use allow::Allow;
pub use client::WebClient;
pub use download::UrlDownload;
pub use elsewhere::{Elsewhere, ForeignLayers};
pub use folder::Folder;
pub use foreign_layer::ForeignLayerDownload;
pub use netrc::Logins;
