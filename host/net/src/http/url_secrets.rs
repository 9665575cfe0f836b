//! Secrets in URLs that come from the environment, from a manifest or from a server.
//!
//! What it refuses: to guess from the name of an option; `uri/hide.rs` does that for what users type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::uri;
use occystrap_base::secret;

/// Bytes of the shortest part of a URL that is taken for a signature or a token. Shorter parts are names of directories
/// and options.
pub(crate) const SHORTEST_SIGNATURE: usize = 20;

/// Remembers the password in a URL as a secret: as it is spelled there, decoded, and as an `Authorization` header has
/// it.
pub(crate) fn keep_login(url: &Url) {
    let Some(password) = url.password() else { return };
    secret::keep(password);
    let (username, password) = (uri::decode(url.username()), uri::decode(password));
    secret::keep(&password);
    secret::keep(&STANDARD.encode(format!("{username}:{password}")));
}
