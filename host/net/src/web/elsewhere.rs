//! Layers that are stored elsewhere: a descriptor may name URLs at which its blob can be downloaded
//! (OCI image specification, "Content Descriptors", `urls`). The base layers of Windows images are the
//! common case: registries do not keep them.
//!
//! What it refuses: URLs that are not HTTP, and more or longer ones than a manifest has a reason for.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use crate::http::redirect::authority;
use crate::http::url_secrets::{SHORTEST_SIGNATURE, keep_login};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::json;
use occystrap_base::secret;

/// URLs of one descriptor that are read. Microsoft's manifests have one or two.
const MOST_URLS: usize = 16;

/// Bytes of the longest URL that is read: servers and proxies take no longer ones (RFC 9110, 4.1).
const LONGEST_URL: usize = 8000;

/// The URLs of a layer that need not be where its manifest is. Media types do not count: a layer of a
/// foreign or non-distributable type that the source has is a layer like any other, and one without
/// URLs cannot be found anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere(Arc<[Url]>);

impl Elsewhere {
    /// Returns where the blob of a descriptor is besides the place of its manifest; `None` where the
    /// descriptor names no URL of HTTP. This is the only reader of `urls`.
    #[must_use]
    pub fn of(descriptor: &RawDescriptor) -> Option<Self> {
        Self::at(descriptor.urls())
    }

    /// Reads the same from a descriptor that is still JSON.
    #[must_use]
    pub fn of_json(descriptor: &Value) -> Option<Self> {
        Self::at(descriptor["urls"].as_array()?.iter().filter_map(Value::as_str))
    }

    /// Returns whether a manifest names URLs for one of its layers. What is no manifest names none.
    #[must_use]
    pub fn is_in(manifest: &[u8]) -> bool {
        let manifest: Value = json::parse(manifest).unwrap_or_default();
        let layers = manifest["layers"].as_array();
        layers.is_some_and(|layers| layers.iter().any(|layer| Self::of_json(layer).is_some()))
    }

    fn at<'a>(urls: impl Iterator<Item = &'a str>) -> Option<Self> {
        let parse = |text: &str| {
            let url = Url::parse(text).ok()?;
            let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
            is_web.then_some(url)
        };
        let urls: Arc<[Url]> = urls
            .filter(|text| text.len() <= LONGEST_URL)
            .filter_map(parse)
            .take(MOST_URLS)
            .collect();
        urls.iter().for_each(keep_secrets);
        (!urls.is_empty()).then_some(Self(urls))
    }

    /// The URLs, in the order in which they are tried; never none.
    #[must_use]
    pub fn urls(&self) -> &[Url] {
        &self.0
    }

    /// The host of the first URL: the part of it that may be shown.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.first().map_or_else(String::new, authority)
    }
}

/// Remembers the login and the signatures in a URL, so that no output shows them.
fn keep_secrets(url: &Url) {
    keep_login(url);
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    values
        .filter(|value| value.len() >= SHORTEST_SIGNATURE)
        .for_each(|value| secret::keep_signature(&value));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_urls_of_http_say_where_a_layer_is() {
        for (urls, host) in [
            (json!(["https://a.example/x"]), Some("a.example")),
            (json!(["http://a.example:81/x", "https://b.example/"]), Some("a.example:81")),
            (json!(["ftp://a.example/x", "https://b.example/"]), Some("b.example")),
            (json!([5, null, "https://b.example/"]), Some("b.example")),
            (json!(["https://me:pw@a.example/x?sig=y"]), Some("a.example")),
            (json!([format!("https://a.example/{}", "x".repeat(LONGEST_URL))]), None),
            (json!(["file:///etc/passwd"]), None),
            (json!(["/v2/x/blobs/y", "", "https://"]), None),
            (json!([]), None),
            (json!("https://a.example/x"), None),
            (Value::Null, None),
        ] {
            let found = Elsewhere::of_json(&json!({ "urls": urls }));
            assert_eq!(found.map(|found| found.host()).as_deref(), host, "{urls}");
        }
    }

    #[test]
    fn a_login_and_a_signature_in_a_url_are_secrets() {
        let urls =
            json!(["https://me:foreign-password%2F1@a.example/x?sig=foreign-signature-of-url"]);
        assert!(Elsewhere::of_json(&json!({ "urls": urls })).is_some());
        assert!(secret::is_in(b"foreign-password%2F1") && secret::is_in(b"foreign-password/1"));
        assert!(secret::is_in(b"foreign-signature-of-url"));
    }
}
