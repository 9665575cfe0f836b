//! Which referrers an item wants, and when they are asked for again.

use super::plan::host_and_repository;
use super::services::Services;
use occystrap_base::error::Result;
use occystrap_base::oci::Digest;
use occystrap_mirror::document::Referrers;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::Facts;
use occystrap_mirror::ledger::holding::HostNote;
use occystrap_mirror::ledger::record::{Ending, FinishedItem, LedgerItem};
use occystrap_net::registry::{ReferrerTypes, WantedReferrers};

/// Seconds after which the referrers of an unchanged image are asked for again. An image is often signed, and scanned,
/// after it was published.
const ASKED_EVERY: u64 = 24 * 60 * 60;

/// Returns the referrers that an item wants; `None` for none.
pub fn wanted(item: &MirrorItem<'_>, services: &Services<'_>) -> Option<WantedReferrers> {
    let types = match &item.entry.settings.referrers {
        Referrers::Without => return None,
        Referrers::All => ReferrerTypes::All,
        Referrers::OfTypes(types) => ReferrerTypes::Only(types.clone()),
    };
    let place = format!("{}/{}", item.source.host, item.source.repository);
    Some(WantedReferrers { types, tags: services.digest_tags(&place) })
}

/// Returns whether the referrers of an item that was proved must be asked for again.
pub fn are_due(item: &MirrorItem<'_>, known: &LedgerItem, facts: &impl Facts) -> Result<bool> {
    are_unknown_or(|age| age >= ASKED_EVERY, item, known, facts)
}

/// Returns whether the referrers of an item that was proved were never asked for.
pub fn are_unknown(item: &MirrorItem<'_>, known: &LedgerItem, facts: &impl Facts) -> Result<bool> {
    are_unknown_or(|_| false, item, known, facts)
}

/// Returns whether an item wants referrers that were never asked for, or that are old: `is_old` gets the seconds since
/// they were asked for.
fn are_unknown_or(
    is_old: impl FnOnce(u64) -> bool,
    item: &MirrorItem<'_>,
    known: &LedgerItem,
    facts: &impl Facts,
) -> Result<bool> {
    if item.entry.settings.referrers == Referrers::Without {
        return Ok(false);
    }
    let Some(subject) = known.want_digest.or(known.proof.map(|proof| proof.digest)) else {
        return Ok(true);
    };
    let (host, repo) = host_and_repository(&item.destination.uri);
    Ok(facts.referrers_age(&host, &repo, &subject)?.is_none_or(is_old))
}

/// Notes that the referrers of an item are at its destination.
pub fn note(item: &MirrorItem<'_>, record: &FinishedItem, facts: &impl Facts) -> Result<()> {
    let subject: Option<Digest> = record.want_digest;
    match (&item.entry.settings.referrers, record.ending, subject) {
        (Referrers::Without, _, _) => Ok(()),
        (_, Ending::Done(..), Some(subject)) => {
            let (host, repo) = host_and_repository(&item.destination.uri);
            facts.note_referrers(&host, &repo, &subject)
        }
        _ => Ok(()),
    }
}

/// Notes which registries have the API for referrers. A run asks each registry once, because it may have been upgraded.
pub fn note_hosts(services: &Services<'_>, facts: &impl Facts) -> Result<()> {
    for (host, has) in services.referrer_apis()? {
        if facts.host(&host)?.has_referrers != Some(has) {
            facts.note_host(&host, HostNote::HasReferrers(has))?;
        }
    }
    Ok(())
}
