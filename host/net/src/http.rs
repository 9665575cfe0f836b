//! One exchange with a server over HTTP, for registries and for plugins alike: when it may go, how long
//! it is waited for, where a redirect may lead, and when it is made again.
//!
//! What it refuses: to hang on a server that is silent or sends next to nothing, to follow a redirect from
//! https to http, and to show a URL: a host is enough.

pub(crate) mod certificates;
mod coding;
pub mod counters;
pub mod failure;
mod minimum_rate;
pub(crate) mod pace;
pub(crate) mod peer;
pub mod proxy;
pub(crate) mod redirect;
pub(crate) mod resume_state;
pub(crate) mod retry;
pub mod settings;
pub(crate) mod tls;
pub(crate) mod url_secrets;
pub mod wire;

pub use counters::Counters;
pub use proxy::Proxies;
pub use settings::Settings;
