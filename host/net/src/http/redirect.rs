//! Targets of redirects and uploads, and their limits.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::url_secrets::SHORTEST_SIGNATURE;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::secret;

/// Redirects that are followed for one answer: as many as by Go's HTTP client, which Docker, containerd, Podman and
/// skopeo use. Registries use one, to a storage host; a company's network may need several.
pub(crate) const MOST_REDIRECTS: usize = 9;

/// Returns whether an answer is a redirect that may be followed for GET and HEAD (RFC 9110, 15.4).
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns the URL that an answer of `from` redirects to. Errors when there is none, or one that must not be followed:
/// other schemes than HTTP, or plain HTTP after HTTPS unless `insecure`. `asked` is the URL of the first request, where
/// occystrap made it: its parts are not secret.
pub(crate) fn follow(
    from: &Url,
    asked: Option<&Url>,
    headers: &HeaderMap,
    insecure: bool,
) -> Result<Url> {
    resolve(from, asked, headers, insecure, "redirects")
}

/// Returns the URL to which an answer of `from` directs an upload. Errors as [`follow`].
pub(crate) fn upload(from: &Url, asked: &Url, headers: &HeaderMap, insecure: bool) -> Result<Url> {
    resolve(from, Some(asked), headers, insecure, "directs the upload")
}

/// Hint for a redirect from HTTPS to plain HTTP at the same host: its cause, and what to do about it.
const BEHIND_TLS: &str = "the registry does not know that a proxy in front of it speaks TLS: let the proxy send 'X-Forwarded-Proto: https', or set the registry's own external URL; --insecure allows plain HTTP";

/// Returns the error for a redirect of a push to another host.
pub(crate) fn not_followed(host: &str, to: &Url, status: StatusCode) -> Error {
    let to = authority(to);
    Error::new(
        Kind::Network,
        format!("{host} redirects to {to} ({status}), which is not followed when pushing"),
    )
}

fn resolve(
    from: &Url,
    asked: Option<&Url>,
    headers: &HeaderMap,
    insecure: bool,
    does: &str,
) -> Result<Url> {
    let host = authority(from);
    let refuse = |why: &str| Error::new(Kind::Network, format!("{host} {does} {why}"));
    let location = headers.get(LOCATION).ok_or_else(|| refuse("without saying where to"))?;
    let mut to = from
        .join(&ascii(location.as_bytes()))
        .map_err(|_| refuse("to a place that is not a URL"))?;
    match to.scheme() {
        "https" => {}
        "http" if from.scheme() == "http" || insecure => {}
        "http" => {
            let place = authority(&to);
            return Err(refuse(&format!("from HTTPS to plain HTTP at {place}; that is refused"))
                .hint(match to.host_str() == from.host_str() {
                    true => BEHIND_TLS,
                    false => "--insecure allows plain HTTP",
                }));
        }
        _ => return Err(refuse(&format!("to a URL of {}", other_scheme(&to)))),
    }
    // Otherwise they would be sent as Basic credentials.
    let _ = to.set_username("");
    let _ = to.set_password(None);
    to.set_fragment(None);
    keep_signatures(&to, from, asked);
    // The URL may have the same signature already, from the redirect before.
    if secret::is_sent_in(location.as_bytes()) && to.host_str() != from.host_str() {
        // The host is then a part of the secret, or of the text that the server was sent with it.
        to.host_str().into_iter().for_each(secret::keep_signature);
    }
    Ok(to)
}

/// Returns a URL in ASCII. Some servers send the name of a file as it is; a URL has such bytes percent-encoded.
fn ascii(location: &[u8]) -> String {
    let mut text = String::with_capacity(location.len());
    for byte in location {
        match byte.is_ascii() {
            true => text.push(char::from(*byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Returns the name of a scheme that is not followed, for messages. An unknown scheme is not repeated: it may be a part
/// of what the server was sent.
pub(crate) fn other_scheme(url: &Url) -> String {
    const KNOWN: [&str; 8] = ["data", "file", "ftp", "ftps", "javascript", "s3", "ws", "wss"];
    match KNOWN.contains(&url.scheme()) {
        true => format!("the scheme '{}'", url.scheme()),
        false => "a scheme other than http and https".to_owned(),
    }
}

/// Remembers the parts of the URL `to` that may grant access: values of its query, and parts of its path. The server
/// chose the URL. Three kinds of text are public, and errors name them: digests, parts of the URL that was `asked` (the
/// names of the repository and of the image), and the hosts of both URLs, which DNS and TLS send openly.
fn keep_signatures(to: &Url, from: &Url, asked: Option<&Url>) {
    let is_asked = |text: &str| asked.is_some_and(|asked| asked.path().contains(text));
    let hosts = [to, from].map(|url| url.host_str().unwrap_or_default().to_owned());
    let is_of_host =
        |text: &str| hosts.iter().any(|host| host.contains(&text.to_ascii_lowercase()));
    let values = to.query_pairs().map(|(_, value)| value.into_owned());
    let parts = to.path_segments().into_iter().flatten().map(str::to_owned);
    let is_digest = |text: &str| {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    values
        .chain(parts)
        .filter(|text| text.len() >= SHORTEST_SIGNATURE && !is_digest(text))
        .filter(|text| !is_asked(text) && !is_of_host(text))
        .for_each(|text| secret::keep_signature(&text));
}

/// Returns the host, with the port where it is not the scheme's own: the part of a URL that may be shown.
pub(crate) fn authority(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "a URL without a host".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(from: &str, location: &str, insecure: bool) -> Result<String> {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        let from = from.parse().unwrap();
        follow(&from, Some(&from), &headers, insecure).map(Into::into)
    }

    #[test]
    fn places_are_relative_or_whole_and_carry_no_credentials() {
        let from = "https://r.example/v2/x/blobs/y?z";
        assert_eq!(to(from, "/there?sig=1#part", false).unwrap(), "https://r.example/there?sig=1");
        assert_eq!(to(from, "//cdn.example/a", false).unwrap(), "https://cdn.example/a");
        assert_eq!(
            to(from, "https://me:pw@cdn.example:444/a", false).unwrap(),
            "https://cdn.example:444/a"
        );
        assert_eq!(
            to("http://r.example/", "http://b.example/", false).unwrap(),
            "http://b.example/"
        );
    }

    #[test]
    fn names_that_were_asked_for_and_the_storage_host_are_no_secrets() {
        let from = "https://r.example/v2/team/node-feature-discovery-c1/blobs/x";
        let location = "https://storage-c2.example/team/node-feature-discovery-c1/x?sig=\
            0123456789-signature-of-c1-and-c2";
        to(from, location, false).unwrap();
        let shown = "team/node-feature-discovery-c1 at storage-c2.example";
        assert_eq!(secret::mask(shown), shown);
        assert!(secret::is_in(b"0123456789-signature-of-c1-and-c2"));
        // A known signature within a host is hidden.
        let again = "https://0123456789-signature-of-c1-and-c2.example/";
        to(from, again, false).unwrap();
        assert_eq!(secret::mask("0123456789-signature-of-c1-and-c2.example"), "***.example");
    }

    #[test]
    fn a_signature_that_a_second_redirect_repeats_does_not_hide_its_host() {
        let signature = "9f8e7d-signature-of-e1-and-e2-and-e3";
        let from = "https://r.example/v2/x/blobs/y";
        for (from, location) in [
            (from, format!("https://storage-e1.example/x?sig={signature}")),
            (
                "https://storage-e1.example/x",
                format!("https://storage-e2.example/x?sig={signature}"),
            ),
            ("https://storage-e2.example/x", format!("https://storage-e3.example/{signature}/x")),
            // A host as the name of a bucket, or as a value.
            ("https://r.example/x", "https://e4.example/storage-region-e3.example/x".to_owned()),
            (
                "https://e4.example/x",
                "https://storage-region-e3.example/?host=storage-region-e3.example".to_owned(),
            ),
        ] {
            to(from, &location, false).unwrap();
        }
        for host in ["storage-e1.example", "storage-e2.example", "storage-e3.example", "e4.example"]
        {
            assert_eq!(secret::mask(host), host);
        }
        assert_eq!(secret::mask(&format!("of {signature}!")), "of ***!");
    }

    #[test]
    fn a_host_of_a_redirect_that_repeats_a_login_is_hidden() {
        secret::keep("Hunter2-of-f1/and-more");
        to("https://r.example/x", "https://hunter2-of-f1/and-more", false).unwrap();
        assert_eq!(secret::mask("cannot connect to hunter2-of-f1"), "cannot connect to ***");
    }

    #[test]
    fn bytes_beyond_ascii_are_encoded() {
        let from: Url = "https://r.example/x".parse().unwrap();
        for (location, expected) in [
            (&b"/a?name=caf\xe9"[..], "https://r.example/a?name=caf%E9"),
            ("/a/café".as_bytes(), "https://r.example/a/caf%C3%A9"),
        ] {
            let value = reqwest::header::HeaderValue::from_bytes(location).unwrap();
            let headers = HeaderMap::from_iter([(LOCATION, value)]);
            assert_eq!(follow(&from, None, &headers, false).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn leaving_tls_or_http_is_refused() {
        let from = "https://r.example/";
        let error = to(from, "http://cdn.example/a?sig=secret", false).unwrap_err();
        assert!(
            error.to_string().contains("plain HTTP at cdn.example") && error.hint_text().is_some()
        );
        assert!(!error.to_string().contains("secret"));
        assert!(to(from, "http://cdn.example/a", true).is_ok());
        for bad in ["ftp://x/", "file:///etc/passwd", "data:,x", "https://", "http://[::1"] {
            assert!(to(from, bad, true).is_err(), "{bad}");
        }
        assert!(follow(&from.parse().unwrap(), None, &HeaderMap::new(), true).is_err());
    }
}
