//! A folder on a web server, as a destination names it: `HOST[:PORT]/PATH`.

use reqwest::header::HeaderValue;
use url::Url;

use super::allow::{Allow, has_login};
use super::client::is_plain_form;
use super::netrc::basic;
use occystrap_base::error::{Error, Result};
use occystrap_base::secret::Secret;

/// A folder. The allowed places decide whether it is reached by HTTPS or plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    https: Url,
    http: Url,
}

impl Folder {
    /// Parses the text after `scheme://` in a URI, decoded. Errors when it is not a folder, or could be read in two
    /// ways.
    pub fn parse(rest: &str) -> Result<Self> {
        let malformed =
            |why: &str| Error::usage(format!("'{rest}' {why}")).hint("expected HOST[:PORT]/PATH");
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.split('/').any(|name| matches!(name, "." | "..")) {
            return Err(malformed("has '.' or '..' in its path"));
        }
        if path.contains(['?', '#', '%', '\\']) || path.contains(char::is_control) {
            return Err(malformed("has a character in its path that is special in a URL"));
        }
        let build = |scheme: &str| -> Option<Url> {
            let mut url = Url::parse(&format!("{scheme}://{authority}/")).ok()?;
            if has_login(&url) || url.path() != "/" || url.query().is_some() {
                return None;
            }
            let names = path.split('/').filter(|name| !name.is_empty());
            url.path_segments_mut().ok()?.pop_if_empty().extend(names).push("");
            is_plain_form(&url).then_some(url)
        };
        match (build("https"), build("http")) {
            (Some(https), Some(http)) if !authority.is_empty() => Ok(Self { https, http }),
            _ => Err(malformed("is not on a web server")),
        }
    }

    /// Returns the URL: with plain HTTP where that is allowed, else with HTTPS. It ends with `/`.
    #[must_use]
    pub fn url(&self, allow: &Allow) -> &Url {
        if allow.is_plain(&self.http) { &self.http } else { &self.https }
    }

    /// Returns the URL with HTTPS, for messages where the allowed places are not known.
    #[must_use]
    pub fn plain(&self) -> &Url {
        &self.https
    }

    /// Returns the header for the login in a URI; `None` when it has none.
    #[must_use]
    pub fn login(credentials: Option<&(String, Secret)>) -> Option<HeaderValue> {
        let (name, password) = credentials?;
        basic(name, password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_as_they_are_typed() {
        let allow = |names: &[&str]| {
            let mut allow = Allow::default();
            names.iter().for_each(|name| allow.name(name).unwrap());
            allow
        };
        let plain = allow(&["http://a.example", "http://[::1]:8080"]);
        for (rest, https, http) in [
            ("a.example", "https://a.example/", "http://a.example/"),
            ("a.example:80/x", "https://a.example:80/x/", "http://a.example/x/"),
            ("A.example//x/y z/", "https://a.example/x/y%20z/", "http://a.example/x/y%20z/"),
            ("[::1]:8080/x", "https://[::1]:8080/x/", "http://[::1]:8080/x/"),
        ] {
            let folder = Folder::parse(rest).unwrap();
            assert_eq!(folder.url(&Allow::default()).as_str(), https, "{rest}");
            assert_eq!(folder.url(&plain).as_str(), http, "{rest}");
        }
        let other = Folder::parse("a.example:81/x").unwrap();
        assert_eq!(other.url(&plain).scheme(), "https");
    }

    #[test]
    fn an_ambiguous_path_is_refused() {
        for bad in [
            "",
            "/x",
            "a/../b",
            "a/./b",
            "a/x?y",
            "a/x#y",
            "a/%2e%2e/b",
            "a/x\\y",
            "u@a/x",
            "u:p@a/x",
            "a b/x",
            "a?x",
            "a#x",
            "a:99999/x",
            "a./x",
            "a\\b/x",
            "a/..;/b",
            "a/x\n",
        ] {
            assert!(Folder::parse(bad).is_err(), "{bad:?}");
        }
        // An unusual spelling of an address is normalised.
        let folder = Folder::parse("0x7f.1/x").unwrap();
        assert_eq!(folder.url(&Allow::default()).as_str(), "https://127.0.0.1/x/");
    }
}
