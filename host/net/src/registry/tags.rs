//! The tags of a repository, and the digest that a tag has now.
//!
//! What this module refuses: to follow a link to another server, and to read a list without end.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue, LINK};
use serde::Deserialize;
use url::Url;

use super::manifest_headers;
use super::repository::{Repository, named, unexpected};
use crate::http::retry::RetryBudget;
use crate::http::wire::{Answer, Call};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_base::oci::name::is_tag;

/// Largest page, in bytes. The longest tag has 128 characters, and registries send at most 10,000 tags in one page; some
/// ignore the requested number and send all.
const LARGEST_PAGE: usize = 32 * 1024 * 1024;

/// Most tags that are kept of one repository. The largest known repositories have some 100,000.
const MOST_TAGS: usize = 1_000_000;

/// Pages in a row that bring no new tag before the list counts as endless.
const MOST_EMPTY_PAGES: usize = 3;

/// Tags that are requested for each page. docker-registry sends at most 1,000 in one page, and others less.
const PAGE: &str = "1000";

#[derive(Deserialize)]
struct Page {
    /// `null` where the repository has no tag.
    tags: Option<Vec<String>>,
}

/// The answer to the request for a page.
enum TagPage {
    /// The page.
    Sent(Box<Answer>),
    /// The registry does not know the repository.
    Absent,
    /// The registry does not send so many tags at a time: some answer 400 or 413 for more than 100. It is asked again without
    /// a number.
    TooMany,
}

impl Repository {
    /// Returns the tags of this repository, in the order of their names (distribution specification, "Listing Tags").
    /// Returns `None` when the registry does not know the repository. Names that are no tags are left out. Errors:
    /// [`Kind::Auth`], [`Kind::Network`] after all retries, and [`Kind::Source`] when the list has no end, is too
    /// large or is not a list.
    pub async fn tags(&self) -> Result<Option<Vec<String>>> {
        let place = self.place();
        let mut found = BTreeSet::new();
        let mut url = self.url("tags/list");
        url.query_pairs_mut().append_pair("n", PAGE);
        let mut empty = 0;
        loop {
            let mut answer = match self.page(url, &place).await? {
                TagPage::Sent(answer) => answer,
                TagPage::TooMany => {
                    url = self.url("tags/list");
                    continue;
                }
                TagPage::Absent if found.is_empty() => return Ok(None),
                TagPage::Absent => {
                    let message = format!("{place}: a page of the list of tags is missing");
                    return Err(Error::source(message));
                }
            };
            let next = self.next_page(&answer, &place, "the list of tags")?;
            let bytes = answer
                .read(LARGEST_PAGE, "a list of tags")
                .await
                .map_err(|failure| named(failure.into_error(), &place))?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|_| {
                let host = &answer.host;
                Error::source(format!("{place}: {host} sent a list of tags that is no such list"))
            })?;
            let before = found.len();
            found.extend(page.tags.unwrap_or_default().into_iter().filter(|tag| is_tag(tag)));
            if found.len() > MOST_TAGS {
                let message = format!("{place}: the repository has more than {MOST_TAGS} tags");
                return Err(Error::source(message));
            }
            let Some(next) = next else { return Ok(Some(found.into_iter().collect())) };
            empty = if found.len() == before { empty + 1 } else { 0 };
            if empty == MOST_EMPTY_PAGES {
                let message = format!(
                    "{place}: the list of tags has no end: {MOST_EMPTY_PAGES} pages in a row bring no new tag"
                );
                return Err(Error::source(message));
            }
            url = next;
        }
    }

    /// Requests a page.
    async fn page(&self, url: Url, place: &str) -> Result<TagPage> {
        // The links of a registry have its own number.
        let is_own = url.query() == Some(&format!("n={PAGE}"));
        let mut call = Call::get(url);
        call.foreign = true;
        let mut budget = RetryBudget::new(&self.wire().settings);
        let answer = self
            .send(&call, &mut budget)
            .await
            .map_err(|error| self.named_or_auth(error, place))?;
        match answer.status() {
            StatusCode::OK => Ok(TagPage::Sent(Box::new(answer))),
            StatusCode::NOT_FOUND => Ok(TagPage::Absent),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE if is_own => {
                Ok(TagPage::TooMany)
            }
            status => Err(unexpected(place, &answer, status)),
        }
    }

    /// Returns the URL of the next page of a list, from the header `Link` (RFC 8288). `list` names the list in errors.
    /// Errors when the page is at another server.
    pub(super) fn next_page(
        &self,
        answer: &Answer,
        place: &str,
        list: &str,
    ) -> Result<Option<Url>> {
        let mut target = None;
        for header in answer.headers().get_all(LINK) {
            // A list whose end is not known may lack tags, which would count as removed.
            let found = next_target(header).ok_or_else(|| {
                let host = &answer.host;
                let message = format!("{place}: {host} sent a header 'Link' that is no link");
                Error::source(format!("{message}: the rest of {list} is not known"))
            })?;
            target = target.or(found);
        }
        let Some(target) = target else { return Ok(None) };
        let next = answer.url().join(&target).map_err(|_| {
            Error::source(format!("{place}: {} names a next page that is no URL", answer.host))
        })?;
        let endpoint = self.endpoint();
        // A proxy that ends TLS often leaves http in the link: path and query are what counts.
        match next.host_str() == endpoint.host_str() {
            true => {
                let mut url = endpoint.clone();
                url.set_path(next.path());
                url.set_query(next.query());
                Ok(Some(url))
            }
            false => {
                let host = next.host_str().unwrap_or_default();
                let what = format!("{place}: the next page of {list} is at another host");
                let own = endpoint.host_str().unwrap_or_default();
                Err(Error::mismatch(what, own.to_owned(), host.to_owned()))
            }
        }
    }

    /// Returns the digest that the registry has for a tag or a digest, from a HEAD request. Some registries send no digest
    /// with HEAD: then the manifest is fetched. Returns `None` when it is not there. Errors: [`Kind::Auth`],
    /// [`Kind::Network`] after all retries, and those of [`Self::manifest`].
    pub async fn digest_of(&self, target: &str) -> Result<Option<Digest>> {
        let place = self.place_of(target);
        let mut call = Call::get(self.url(&format!("manifests/{target}")));
        call.method = reqwest::Method::HEAD;
        call.headers.insert(ACCEPT, HeaderValue::from_static(manifest_headers::ACCEPT));
        let mut budget = RetryBudget::new(&self.wire().settings);
        let answer = self
            .send(&call, &mut budget)
            .await
            .map_err(|error| self.named_or_auth(error, &place))?;
        let named = answer.header("docker-content-digest").and_then(|said| said.parse().ok());
        match (answer.status(), named) {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::OK, Some(digest)) => Ok(Some(digest)),
            (status, _) if status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED => {
                match self.manifest(target).await {
                    Ok(manifest) => Ok(Some(manifest.digest)),
                    Err(error) if error.kind() == Kind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
            (status, _) => Err(unexpected(&place, &answer, status)),
        }
    }
}

/// Returns the target of a link with the relation `next` (RFC 8288, 3), if there is one; `None` for a header that is no list
/// of links. Relations are compared without case. Some registries write a link without a relation, without brackets or
/// with single quotes: their clients read it as the next page.
fn next_target(header: &HeaderValue) -> Option<Option<String>> {
    let mut rest = header.to_str().ok()?.trim_start();
    let mut next = None;
    while !rest.is_empty() {
        let (target, parameters) = match rest.strip_prefix('<') {
            Some(bracketed) => bracketed.split_once('>')?,
            None => rest.split_at(rest.find([';', ',']).unwrap_or(rest.len())),
        };
        let (relation, after) = relation(parameters)?;
        let is_next = match relation {
            Some(relation) => {
                relation.split_whitespace().any(|one| one.eq_ignore_ascii_case("next"))
            }
            None => true,
        };
        let target = target.trim();
        if target.is_empty() {
            return None;
        }
        if is_next {
            next.get_or_insert(target.to_owned());
        }
        rest = after;
    }
    Some(next)
}

/// Reads the parameters of a link. Returns the value of the first `rel`, and what follows the link; `None` for what is no
/// list of parameters.
fn relation(parameters: &str) -> Option<(Option<&str>, &str)> {
    let (mut relation, mut rest) = (None, parameters.trim_start());
    loop {
        rest = match rest.chars().next() {
            None => return Some((relation, rest)),
            Some(',') => return Some((relation, rest[1..].trim_start_matches([' ', '\t', ',']))),
            Some(';') => rest[1..].trim_start(),
            Some(_) => return None,
        };
        let end = rest.find(['=', ';', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inner = &value[1..];
                let mut before = ' ';
                let end = inner.find(|c| {
                    let is_end = c == quote && before != '\\';
                    before = if before == '\\' { ' ' } else { c };
                    is_end
                })?;
                (&inner[..end], &inner[end + 1..])
            }
            _ => value.split_at(value.find([';', ',']).unwrap_or(value.len())),
        };
        if name.trim().eq_ignore_ascii_case("rel") && relation.is_none() {
            relation = Some(value.trim());
        }
        rest = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        let target = |text: &'static str| next_target(&HeaderValue::from_static(text));
        let is = |text, expected: Option<&str>| {
            assert_eq!(target(text).unwrap().as_deref(), expected, "{text}");
        };
        is("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2"));
        is("<x>; rel=prev, <y>;rel=next", Some("y"));
        is("<x>; title=\"a\"; REL=\"last next\"", Some("x"));
        is("<x>; rel=\"last\"", None);
        is("<x>; rel=\"Next\"", Some("x"));
        is("<x>; title=\"a, \\\"b; rel=last\"; rel=\"next\"", Some("x"));
        is("<x?p=1,2>; rel=\"next\"", Some("x?p=1,2"));
        is("<a>; rel=first; rel=next, , <x>; rel='next'", Some("x"));
        is("<x>", Some("x"));
        is("x; rel=next", Some("x"));
        is("<x> ; rel = next ;", Some("x"));
        is("", None);
        for wrong in ["<x", "<x>y; rel=next", "<x>; rel=\"next", "<>; rel=next", ";"] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }
}
