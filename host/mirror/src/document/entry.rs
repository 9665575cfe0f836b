//! Entries of `images`, and `defaults`.

use std::sync::Arc;

use occystrap_base::oci::PlatformRequest;
use occystrap_layer::glob::Globs;
use occystrap_net::registry::Reference;

use super::pattern::{self, MOST_ALTERNATIVES};
use super::read::{Reader, shortened};
use super::yaml::{Mark, Node};
use super::{
    Entry, EntrySettings, FilePosition, FilterText, IndexMode, OnConflict, Origin, Platforms,
    Referrers, TagPatterns, Template, VerifyMode, tags,
};
use crate::reference;
use crate::rules::Rules;

/// Keys of an entry. Those after the first [`OWN_KEYS`] are keys of `defaults` too.
pub const KEYS: [&str; 11] = [
    "from",
    "list",
    "to",
    "tags",
    "platforms",
    "index",
    "filters",
    "referrers",
    "verify",
    "immutable",
    "on-conflict",
];

/// Number of the keys that only entries have: where the images come from.
const OWN_KEYS: usize = 2;

/// Values of `defaults` or of one entry; `None` where they are not given.
#[derive(Debug, Clone, Default)]
pub struct Values {
    to: Option<(Template, FilePosition)>,
    /// A `to` that is wrong counts as given, so that one mistake is one error.
    has_to: bool,
    tags: Option<Arc<Rules>>,
    has_tags: bool,
    platforms: Option<Platforms>,
    index: Option<IndexMode>,
    filters: Option<Vec<FilterText>>,
    referrers: Option<Referrers>,
    verify: Option<VerifyMode>,
    immutable: Option<TagPatterns>,
    on_conflict: Option<OnConflict>,
}

/// Reads `defaults`.
pub fn defaults(reader: &mut Reader, node: &Node) -> Values {
    if !reader.keys(node, "'defaults'", &KEYS[OWN_KEYS..]) {
        return Values::default();
    }
    if node.pairs().is_some_and(<[_]>::is_empty) {
        reader.report(node.mark, "'defaults' is empty", "remove it");
    }
    values(reader, node)
}

/// Reads one entry; `None` where it is wrong. `alternatives` counts the names of the whole file.
pub fn read(
    reader: &mut Reader,
    node: &Node,
    defaults: &Values,
    alternatives: &mut usize,
) -> Option<Entry> {
    if !reader.keys(node, "an entry of 'images'", &KEYS) {
        return None;
    }
    let own = values(reader, node);
    let origin = origin(reader, node, &own, defaults, alternatives);
    if !own.has_to && !defaults.has_to {
        let hint = "add 'to: HOST/REPOSITORY', or a URI as `occystrap process` takes it";
        reader.report(node.mark, "an entry has no 'to'", hint);
    }
    let (to, to_place) = own.to.or_else(|| defaults.to.clone())?;
    let origin = origin?;
    let several = match &origin {
        Origin::Repositories { repositories, .. } => repositories.len(),
        Origin::Images { images, .. } => images.len(),
        Origin::List { .. } => 0,
    };
    if several > 1 && to.ignores_repository() && to.ignores_tag() {
        let message = format!("'to' is one destination for {several} images of 'from'");
        reader.report(
            node.get("to").unwrap_or(node).mark,
            message,
            "add {repository} or {name} to it",
        );
        return None;
    }
    let settings = EntrySettings {
        platforms: own.platforms.or_else(|| defaults.platforms.clone()).unwrap_or_default(),
        index: own.index.or(defaults.index).unwrap_or_default(),
        filters: own.filters.or_else(|| defaults.filters.clone()).unwrap_or_default(),
        referrers: own.referrers.or_else(|| defaults.referrers.clone()).unwrap_or_default(),
        verify: own.verify.or(defaults.verify).unwrap_or_default(),
        immutable: own.immutable.or_else(|| defaults.immutable.clone()).unwrap_or_default(),
        on_conflict: own.on_conflict.or(defaults.on_conflict).unwrap_or_default(),
    };
    Some(Entry { place: reader.place(node.mark), origin, to, to_place, settings })
}

/// Reads `from` or `list`, and decides whether rules select the tags.
fn origin(
    reader: &mut Reader,
    node: &Node,
    own: &Values,
    defaults: &Values,
    alternatives: &mut usize,
) -> Option<Origin> {
    let from = match (node.get("from"), node.get("list")) {
        (Some(from), None) => from,
        (None, Some(list)) => {
            if let Some(tags) = node.get("tags") {
                let hint = "remove 'tags': each line of a list names one image";
                reader.report(tags.mark, "'tags' means nothing beside 'list'", hint);
            }
            let path = reader.text(list, "'list'")?.to_owned();
            return Some(Origin::List { path, place: reader.place(list.mark) });
        }
        (Some(_), Some(list)) => {
            reader.report(list.mark, "an entry has 'from' and 'list'", "make two entries");
            return None;
        }
        (None, None) => {
            let hint = "add 'from: HOST/REPOSITORY', or 'list: FILE' with a reference a line";
            reader.report(node.mark, "an entry has no 'from'", hint);
            return None;
        }
    };
    let text = reader.text(from, "'from'")?;
    let most = MOST_ALTERNATIVES.saturating_sub(*alternatives);
    let names = pattern::names(text, most.max(1))
        .map_err(|(message, hint)| reader.report(from.mark, format!("'from': {message}"), &hint))
        .ok()?;
    *alternatives += if names.len() > 1 { names.len() } else { 0 };
    let mut references = Vec::with_capacity(names.len());
    for name in &names {
        match reference::parse(name) {
            Ok(reference) => references.push(reference),
            Err(error) => {
                reader.report_error(from.mark, &error);
                return None;
            }
        }
    }
    pinned_or_ruled(reader, (node, from), references, own, defaults)
}

/// Decides whether the references name images or repositories.
fn pinned_or_ruled(
    reader: &mut Reader,
    (node, from): (&Node, &Node),
    references: Vec<Reference>,
    own: &Values,
    defaults: &Values,
) -> Option<Origin> {
    let place = reader.place(from.mark);
    let pinned = references.iter().filter(|of| of.tag.is_some() || of.digest.is_some()).count();
    if pinned > 0 && pinned < references.len() {
        let message = "'from' names repositories and images at once";
        reader.report(
            from.mark,
            message,
            "make two entries: one with tags in 'from', one with 'tags'",
        );
        return None;
    }
    match (pinned > 0, node.get("tags")) {
        (true, Some(tags)) => {
            let hint = "remove the tag from 'from', or remove 'tags'";
            reader.report(
                tags.mark,
                "'tags' means nothing where 'from' has a tag or a digest",
                hint,
            );
            None
        }
        (true, None) => Some(Origin::Images { images: references, place }),
        (false, _) => {
            let given = if own.has_tags { &own.tags } else { &defaults.tags };
            if !own.has_tags && !defaults.has_tags {
                let hint = format!(
                    "add a tag, 'from: {}:latest', or rules, \"tags: {{semver: '>=1', latest: 5}}\"; for all tags, \"tags: {{regex: '.*'}}\"",
                    shortened(from.text().unwrap_or_default())
                );
                reader.report(from.mark, "'from' has no tag, and the entry has no 'tags'", &hint);
            }
            Some(Origin::Repositories { repositories: references, rules: given.clone()?, place })
        }
    }
}

/// Reads the keys that `defaults` and entries share.
fn values(reader: &mut Reader, node: &Node) -> Values {
    let indexes = [("keep", IndexMode::Keep), ("rewrite", IndexMode::Rewrite)];
    let levels =
        [VerifyMode::Fast, VerifyMode::Full, VerifyMode::None].map(|level| (level.word(), level));
    let conflicts = [OnConflict::Replace, OnConflict::Keep, OnConflict::Error]
        .map(|conflict| (conflict.word(), conflict));
    let to = node.get("to");
    let rules = node.get("tags");
    Values {
        has_to: to.is_some(),
        to: to.and_then(|node| template(reader, node)),
        has_tags: rules.is_some(),
        tags: rules.and_then(|node| tags::read(reader, node)).map(Arc::new),
        platforms: node.get("platforms").and_then(|node| platforms(reader, node)),
        index: node.get("index").and_then(|node| reader.word(node, "'index'", &indexes)),
        filters: node.get("filters").and_then(|node| filters(reader, node)),
        referrers: node.get("referrers").and_then(|node| referrers(reader, node)),
        verify: node.get("verify").and_then(|node| reader.word(node, "'verify'", &levels)),
        immutable: node.get("immutable").and_then(|node| immutable(reader, node)),
        on_conflict: node
            .get("on-conflict")
            .and_then(|node| reader.word(node, "'on-conflict'", &conflicts)),
    }
}

fn template(reader: &mut Reader, node: &Node) -> Option<(Template, FilePosition)> {
    let text = reader.text(node, "'to'")?;
    match Template::parse(text) {
        Ok(template) => Some((template, reader.place(node.mark))),
        Err(error) => {
            reader.report_error(node.mark, &error);
            None
        }
    }
}

fn platforms(reader: &mut Reader, node: &Node) -> Option<Platforms> {
    if node.text() == Some("all") {
        return Some(Platforms::All);
    }
    let hint = "write 'all', or a list: [linux/amd64, linux/arm64]";
    let items = reader.items(node, "'platforms'", hint)?;
    let mut listed: Vec<PlatformRequest> = Vec::new();
    for item in items {
        let text = reader.text(item, "'platforms'")?;
        match PlatformRequest::parse(text) {
            Ok(platform) if listed.contains(&platform) => {
                reader.report(
                    item.mark,
                    format!("the platform '{text}' is given twice"),
                    "remove one of the two",
                );
            }
            Ok(platform) => listed.push(platform),
            Err(fault) => reader.report(
                item.mark,
                format!("'{}' is not a platform: {fault}", shortened(text)),
                hint,
            ),
        }
    }
    Some(Platforms::Listed(listed))
}

/// Reads `filters`. An empty list is allowed: it takes back the filters of `defaults`.
fn filters(reader: &mut Reader, node: &Node) -> Option<Vec<FilterText>> {
    if node.items().is_some_and(<[_]>::is_empty) {
        return Some(Vec::new());
    }
    let items = reader.items(
        node,
        "'filters'",
        "a list, as --filter takes them: [normalize-timestamps]",
    )?;
    let mut filters = Vec::new();
    for item in items {
        let text = reader.text(item, "'filters'")?.to_owned();
        filters.push(FilterText { text, place: reader.place(item.mark) });
    }
    Some(filters)
}

fn referrers(reader: &mut Reader, node: &Node) -> Option<Referrers> {
    match Reader::truth(node) {
        Some(true) => return Some(Referrers::All),
        Some(false) => return Some(Referrers::Without),
        None => {}
    }
    let hint = "write true, false, or a list of artifact types: [application/spdx+json]";
    if node.items().is_none_or(<[_]>::is_empty) {
        reader.unexpected(node, "'referrers'", "true, false or a list of at least one", hint);
        return None;
    }
    let mut types = Vec::new();
    for (mark, text) in reader.texts(node, "'referrers'") {
        if is_media_type(text) {
            types.push(text.to_owned());
        } else {
            reader.report(mark, format!("'{}' is not an artifact type", shortened(text)), hint);
        }
    }
    Some(Referrers::OfTypes(types))
}

/// Returns whether a text is a media type (RFC 6838, 4.2: names of up to 127 letters, digits and `!#$&-^_.+`).
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.len() <= 127
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    text.split_once('/').is_some_and(|(kind, name)| is_name(kind) && is_name(name))
}

/// Reads `immutable`. An empty list is allowed: it takes back that of `defaults`.
fn immutable(reader: &mut Reader, node: &Node) -> Option<TagPatterns> {
    if node.items().is_some_and(<[_]>::is_empty) {
        return Some(TagPatterns::default());
    }
    let hint = "patterns for whole tags, in quotes: ['[0-9]*', 'v*']";
    let compile = |text: &str| Globs::new([text]).map(|_| ());
    let mut patterns: Vec<String> = Vec::new();
    let texts: Vec<(Mark, &str)> = reader.texts(node, "'immutable'");
    for (mark, text) in texts {
        if reader.compiles(mark, ("'immutable'", text), compile, hint) {
            patterns.push(text.to_owned());
        }
    }
    Some(TagPatterns::new(patterns))
}
