//! The items of a run: what the rules of the file select, recorded in the ledger.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::file::MirrorFile;
use super::services::Services;
use super::tags;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;
use occystrap_mirror::document::{EntrySettings, IndexMode, Platforms, Referrers};
use occystrap_mirror::expand::{MirrorItem, distinct};
use occystrap_mirror::ledger::holding::ItemFilter;
use occystrap_mirror::ledger::record::{PlanChanges, PlanScope, PlannedItem, RunId, UnnamedItems};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{Ledger, each_item};
use occystrap_net::registry::Reference;
use occystrap_net::uri::Uri;

/// Items that the ledger gets in one transaction.
const BATCH: usize = 1_000;

/// What a file says should be where, now.
pub struct Plan<'f> {
    /// The items, in the order of the file.
    pub items: Vec<MirrorItem<'f>>,
    /// Sources that could not be listed, or of which the rules select nothing. The items of others are planned.
    pub failures: Vec<Error>,
}

/// Lists the tags of all repositories and applies the rules. Errors with everything that is wrong with the file.
pub fn plan<'f, L: Ledger>(
    file: &'f MirrorFile,
    services: &Services<'_>,
    ledger: Option<&L>,
) -> Result<Plan<'f>, Vec<Error>> {
    let one = |error: Error| vec![error];
    let sources = file.sources()?;
    let facts = ledger.map(|ledger| ledger as &(dyn occystrap_mirror::ledger::Facts + Sync));
    let selected = tags::select(&sources, services, facts).map_err(one)?;
    let (mut items, mut failures, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (source, tags) in sources.iter().zip(selected) {
        let made: Vec<Result<MirrorItem<'_>>> = match (source.rules, tags) {
            (_, Err(error)) => {
                failures.push(error);
                continue;
            }
            (None, Ok(_)) => vec![source.item(None)],
            (Some(_), Ok(selected)) => {
                failures.extend(selected.unread);
                selected.tags.iter().map(|tag| source.item(Some(tag))).collect()
            }
        };
        for item in made {
            match item {
                Ok(item) => items.push(item),
                Err(error) => errors.push(error),
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let items = distinct(items)?;
    check_fits(&items, services)?;
    Ok(Plan { items, failures })
}

/// Errors for each entry whose destination cannot hold what it wants.
fn check_fits(items: &[MirrorItem<'_>], services: &Services<'_>) -> Result<(), Vec<Error>> {
    let mut errors = Vec::new();
    let mut last = None;
    for item in items {
        let place = &item.entry.place;
        if last == Some(place) {
            continue;
        }
        last = Some(place);
        if item.destination.digest.is_some() && !item.destination.uri.starts_with("registry://") {
            let message = format!("'{}': an image without a tag needs a registry", item.source);
            errors.push(place.error(message).hint("write a tag in 'to'"));
        }
        let (settings, uri) = (&item.entry.settings, &item.destination.uri);
        if let Platforms::Listed(listed) = &settings.platforms
            && listed.len() > 1
            && !holds_indexes(uri, services).map_err(|error| vec![error])?
        {
            let message =
                format!("'{uri}' holds one platform of an image, and the entry lists several");
            let hint = "write one platform, or a destination at registry:// or oci-layout://";
            errors.push(place.error(message).hint(hint));
        }
        if settings.referrers == Referrers::Without {
            continue;
        }
        let hint = "write 'referrers: false' in the entry";
        if !uri.starts_with("registry://") {
            let message = format!("'{uri}' cannot hold referrers: only registries can");
            errors.push(place.error(message).hint(hint));
        } else if !settings.filters.is_empty() {
            let message =
                "'referrers' name an image by its digest, which the 'filters' of the entry change";
            errors.push(place.error(message).hint(hint));
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors),
    }
}

fn holds_indexes(uri: &str, services: &Services<'_>) -> Result<bool> {
    services.holds_indexes(&Uri::parse(uri)?)
}

/// Returns host and repository of a destination, for limits and for what the ledger knows of blobs. What is no registry
/// has its scheme as host.
pub fn host_and_repository(uri: &str) -> (String, String) {
    match Uri::parse(uri) {
        Ok(uri) if uri.scheme == "registry" => match Reference::parse(&uri.rest) {
            Ok(reference) => (reference.host, reference.repository),
            Err(_) => (uri.scheme, uri.rest),
        },
        Ok(uri) => (uri.scheme, uri.rest),
        Err(_) => (String::new(), uri.to_owned()),
    }
}

impl Plan<'_> {
    /// Keeps the items with one of these texts in the name of their source or destination; all where there are none.
    /// Errors for a text that no item has, unless a source could not be listed.
    pub fn keep_only(&mut self, only: &[String]) -> Result<()> {
        if only.is_empty() {
            return Ok(());
        }
        let mut is_found = vec![false; only.len()];
        self.items.retain(|item| {
            let (source, destination) = (item.source.to_string(), &item.destination.name);
            let mut is_kept = false;
            for (text, is_found) in only.iter().zip(&mut is_found) {
                let has = source.contains(text.as_str()) || destination.contains(text.as_str());
                *is_found |= has;
                is_kept |= has;
            }
            is_kept
        });
        let absent = only.iter().zip(is_found).find(|(_, is_found)| !is_found);
        match absent.filter(|_| self.failures.is_empty()) {
            None => Ok(()),
            Some((text, _)) => Err(Error::usage(format!(
                "--only: no image has '{text}' in its name"
            ))
            .hint(
                "it is a part of a name, without '*'; 'occystrap mirror plan FILE' prints names",
            )),
        }
    }

    /// Records again what failed in earlier runs, and nothing else, in a run that has begun.
    pub fn record_failures(
        &mut self,
        ledger: &impl Ledger,
        run: RunId,
    ) -> Result<(PlanChanges, UnnamedItems)> {
        let states = &[State::Failed, State::Blocked, State::Dead];
        let filter = ItemFilter { states, ..ItemFilter::default() };
        let mut failed = HashSet::new();
        each_item(ledger, &filter, |item| {
            failed.insert(item.destination);
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        self.items.retain(|item| failed.contains(&item.destination.name));
        self.record(ledger, run, true)
    }

    /// Records the items in a run of the ledger. Where a source could not be listed, or the run covers a part of the
    /// file, items that the plan does not name stay as they are.
    pub fn record(
        &self,
        ledger: &impl Ledger,
        run: RunId,
        is_part: bool,
    ) -> Result<(PlanChanges, UnnamedItems)> {
        let mut changes = PlanChanges::default();
        let mut batch = Vec::with_capacity(BATCH);
        for item in &self.items {
            batch.push(planned(item));
            if batch.len() == BATCH {
                changes += ledger.plan(run, &batch)?;
                batch.clear();
            }
        }
        changes += ledger.plan(run, &batch)?;
        let scope = match is_part || !self.failures.is_empty() {
            true => PlanScope::Part,
            false => PlanScope::Whole,
        };
        Ok((changes, ledger.end_plan(run, scope)?))
    }
}

fn planned(item: &MirrorItem<'_>) -> PlannedItem {
    let (dst_host, dst_repo) = host_and_repository(&item.destination.uri);
    PlannedItem {
        source: item.source.to_string(),
        destination: item.destination.name.clone(),
        src_host: item.source.host.clone(),
        dst_host,
        dst_repo,
        rule: item.entry.place.line(),
        content: content(&item.entry.settings),
        want_digest: item.source.digest,
    }
}

/// Returns what decides the content of a destination beside its source, in one spelling. Empty for an exact copy.
pub fn content(settings: &EntrySettings) -> String {
    let mut words = Vec::new();
    if let Platforms::Listed(listed) = &settings.platforms {
        words.extend(listed.iter().map(|one| format!("platform={}", one.platform())));
        words.extend((settings.index == IndexMode::Rewrite).then(|| "index=rewrite".to_owned()));
    }
    words.extend(settings.filters.iter().map(|filter| format!("filter={}", filter.text)));
    let text = words.join(" ");
    // Filters may be long, and the ledger has this text for every image.
    match text.len() > 64 {
        true => Digest::of(text.as_bytes()).to_string(),
        false => text,
    }
}
