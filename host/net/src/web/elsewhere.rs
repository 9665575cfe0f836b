//! Layers that are stored elsewhere: a descriptor may name URLs at which its blob can be downloaded
//! (OCI image specification, "Content Descriptors", `urls`). The base layers of Windows images are the
//! common case: registries do not keep them.
//!
//! What this module refuses: URLs that are not HTTP or HTTPS, and more or longer URLs than a manifest needs.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use crate::http::redirect::authority;
use crate::http::url_secrets::{SHORTEST_SIGNATURE, keep_login};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::json;
use occystrap_base::secret;

/// The most URLs of one descriptor that are read. Microsoft's manifests have one or two.
const MOST_URLS: usize = 16;

/// The longest URL that is read, in bytes: servers and proxies need not accept longer ones (RFC 9110, 4.1).
const LONGEST_URL: usize = 8000;

/// The URLs of a layer that may be missing at the place of its manifest. The media type does not matter: a layer of a
/// foreign or non-distributable type that the source has is a layer like any other, and without URLs it cannot be found
/// elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere(Arc<[Url]>);

impl Elsewhere {
    /// Returns the URLs of a descriptor; `None` when it has no URL of HTTP or HTTPS. This is the only reader of `urls`.
    #[must_use]
    pub fn of(descriptor: &RawDescriptor) -> Option<Self> {
        Self::at(descriptor.urls())
    }

    /// Returns the same from a descriptor as JSON.
    #[must_use]
    pub fn of_json(descriptor: &Value) -> Option<Self> {
        Self::at(descriptor["urls"].as_array()?.iter().filter_map(Value::as_str))
    }

    /// Returns whether a manifest has URLs for one of its layers. A text that is not a manifest has none.
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

    /// Returns the URLs, in the order in which they are tried. There is at least one.
    #[must_use]
    pub fn urls(&self) -> &[Url] {
        &self.0
    }

    /// Returns the host of the first URL, which may be shown.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.first().map_or_else(String::new, authority)
    }
}

/// The treatment of layers that are stored elsewhere (`--foreign-layers`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForeignLayers {
    /// They are not copied when the output keeps the image's manifest, and are downloaded when it does not.
    #[default]
    KeepOrFetch,
    /// They are not copied. Outputs that cannot refer to them refuse the image.
    Keep,
    /// They are downloaded.
    Fetch,
    /// An image with such a layer is refused.
    Fail,
}

/// Registers the login and the signatures in a URL as secrets, so that no output shows them.
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
