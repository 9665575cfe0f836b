//! HTTP for output plugins: to the places that the user named, and nowhere else. Layers that are stored
//! elsewhere are fetched here as well (`outside.rs`), from any place whose address is public.
//!
//! A plugin says what it wants of which URL; this room decides whether it may, resolves names,
//! connects and logs in. What it refuses: a place that nobody named, an address that is not public
//! unless it was named itself - whatever a name resolves to, whenever it is asked -, plain HTTP unless it
//! was named so, URLs with two readings, redirects, headers that belong to the host, and the proxies
//! of the environment, behind which no address could be looked at.

pub mod access;
pub mod address;
pub mod allow;
pub mod client;
pub mod elsewhere;
pub mod fetch;
pub mod folder;
pub mod header;
pub mod netrc;
pub mod outside;
pub mod resolver;

pub use access::Access;
pub use allow::Allow;
pub use client::Client;
pub use elsewhere::Elsewhere;
pub use folder::Folder;
pub use netrc::Logins;
pub use outside::{ForeignLayers, Outside};
