//! Exchanges with servers over HTTP, for registries and for plugins alike: when a request is sent, how long its answer
//! is waited for, where a redirect may lead, and when the request is made again.
//!
//! What it refuses: to hang on a server that is silent or sends next to nothing, to follow a redirect from https to
//! http, and to show a URL: messages name the host only.

pub(crate) mod certificates;
mod coding;
pub mod counters;
pub mod failure;
pub(crate) mod pace;
pub(crate) mod peer;
pub mod proxy;
pub(crate) mod redirect;
pub(crate) mod resumable;
pub(crate) mod resume_state;
pub(crate) mod retry;
pub mod settings;
pub(crate) mod tls;
pub mod traffic;
pub(crate) mod url_secrets;
pub mod wire;

pub use counters::Counters;
pub use proxy::Proxies;
pub use settings::Settings;
pub use traffic::Traffic;
