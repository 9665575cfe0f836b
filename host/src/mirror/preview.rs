//! What a run would do with each image. Nothing is written, neither at a destination nor in the ledger.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::by_receipt;
use super::file::MirrorFile;
use super::item;
use super::look::Question;
use super::pending_questions::ASKED;
use super::plan::{self, Plan};
use super::referrers;
use super::services::Services;
use occystrap_base::error::Error;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table::write_json;
use occystrap_mirror::document::OnConflict;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::Ledger;
use occystrap_mirror::ledger::record::LedgerItem;
use occystrap_verify::receipt::plugins::Plugins;

/// Images whose answers are in memory at a time.
const CLAIMED: usize = 1_000;

/// What a run would do with an image, in the order of the last line.
const KINDS: [&str; 6] = ["new", "changed", "verify", "referrers", "kept", "blocked"];

/// What a run would do.
#[derive(Default)]
pub struct Preview {
    /// Images with something to do: what would be done, and the image.
    pub changes: Vec<(&'static str, PlannedChange)>,
    /// Images that are as they should be.
    pub unchanged: usize,
    /// Sources and destinations that could not be asked.
    pub failures: Vec<Error>,
}

/// An image with something to do.
pub struct PlannedChange {
    /// The source.
    pub source: String,
    /// The name of the destination.
    pub destination: String,
}

impl Preview {
    /// Returns whether a run would do something. What it keeps at the destination is none of it.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.changes.iter().any(|(what, _)| *what != "kept")
    }

    /// Returns the last line.
    #[must_use]
    pub fn line(&self) -> String {
        let all = self.changes.len() + self.unchanged;
        let mut parts = vec![format!("{all} images")];
        for (what, count) in self.counts() {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.push(format!("{} unchanged", self.unchanged));
        if !self.failures.is_empty() {
            parts.push(format!("{} could not be asked", self.failures.len()));
        }
        format!("Plan: {}", parts.join(", "))
    }

    /// Returns the number of images with each thing to do.
    fn counts(&self) -> [(&'static str, usize); KINDS.len()] {
        KINDS.map(|what| (what, self.changes.iter().filter(|(known, _)| *known == what).count()))
    }

    /// Writes the same as a JSON document (docs/mirroring.md). `file` is the digest of the file; `error` is why there is no
    /// plan.
    pub fn write_json(
        &self,
        mirror: &str,
        file: Option<&Digest>,
        error: Option<&Error>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        #[derive(Serialize)]
        struct Document<'a> {
            occystrap_mirror_plan: u32,
            mirror: &'a str,
            file: Option<&'a Digest>,
            summary: Option<BTreeMap<&'a str, usize>>,
            changes: Vec<Line<'a>>,
            failures: &'a [Error],
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a Error>,
        }
        #[derive(Serialize)]
        struct Line<'a> {
            what: &'a str,
            source: &'a str,
            destination: &'a str,
        }
        let mut counts = BTreeMap::from(self.counts());
        counts.extend([("unchanged", self.unchanged), ("not_asked", self.failures.len())]);
        let changes = self.changes.iter().map(|(what, change)| Line {
            what,
            source: &change.source,
            destination: &change.destination,
        });
        let document = Document {
            occystrap_mirror_plan: 1,
            mirror,
            file,
            summary: error.is_none().then_some(counts),
            changes: changes.collect(),
            failures: &self.failures,
            error,
        };
        write_json(to, &document)
    }
}

/// Asks what a run would do. Errors with everything that is wrong with the file.
pub fn preview<L: Ledger>(
    file: &MirrorFile,
    services: &Services<'_>,
    ledger: Option<&L>,
    only: &[String],
) -> Result<Preview, Vec<Error>> {
    let one = |error: Error| vec![error];
    let mut plan: Plan<'_> = plan::plan(file, services, ledger)?;
    plan.keep_only(only).map_err(one)?;
    item::check_each(&plan.items, services)?;
    let (mut changes, mut unchanged, mut failures) = (Vec::new(), 0, plan.failures);
    let is_whole = failures.is_empty() && only.is_empty() && !plan.items.is_empty();
    let mut is_known = false;
    let plugins = Plugins::new(&services.catalog);
    for items in plan.items.chunks(CLAIMED) {
        let mut asked = Vec::new();
        let names: Vec<&str> = items.iter().map(|item| &*item.destination.name).collect();
        let known = match ledger {
            Some(ledger) => ledger.known(&names).map_err(one)?,
            None => vec![None; items.len()],
        };
        is_known |= known.iter().any(Option::is_some);
        for (item, known) in items.iter().zip(known) {
            let is_same = |known: &LedgerItem| {
                known.proof.is_some() && known.content == plan::content(&item.entry.settings)
            };
            if item.is_immutable() && known.as_ref().is_some_and(is_same) {
                unchanged += 1;
                continue;
            }
            match Question::about(item, false, services) {
                Ok(question) => asked.push((item, known, question)),
                Err(error) => failures.push(error),
            }
        }
        let (asked, questions): (Vec<_>, Vec<_>) =
            asked.into_iter().map(|(item, known, question)| ((item, known), question)).unzip();
        let seen = services.each(questions, ASKED, Question::ask).map_err(one)?;
        for ((item, known), seen) in asked.into_iter().zip(seen) {
            let mut seen = match seen {
                Ok(seen) => seen,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            if let (Some(ledger), Some(known), None) = (ledger, &known, seen.destination) {
                seen.destination =
                    by_receipt::still_there(known, seen.source, ledger, &plugins, services)
                        .map_err(one)?;
            }
            let what =
                match (&known, seen.destination) {
                    (Some(known), found)
                        if known.content != plan::content(&item.entry.settings) =>
                    {
                        if found.is_some() { "changed" } else { "new" }
                    }
                    (Some(known), _) if item::is_unchanged(known, &seen) => {
                        let is_unknown = |ledger| referrers::are_unknown(item, known, ledger);
                        if !ledger.map_or(Ok(false), is_unknown).map_err(one)? {
                            unchanged += 1;
                            continue;
                        }
                        "referrers"
                    }
                    (_, None) => "new",
                    (_, found) if found == seen.source => "verify",
                    _ => match item.entry.settings.on_conflict {
                        OnConflict::Replace => "changed",
                        OnConflict::Keep => "kept",
                        OnConflict::Error => "blocked",
                    },
                };
            changes.push((what, change(item)));
        }
    }
    if let Some(ledger) = ledger
        && is_whole
        && !is_known
    {
        let all = ledger.totals_of_all().map_err(one)?.items();
        if all > 0 {
            let named = plan.items.len();
            let message = format!(
                "the ledger is of another mirror: none of its {all} destinations is among the {named} of the file"
            );
            return Err(one(
                Error::usage(message).hint("name a ledger of its own with --ledger PATH")
            ));
        }
    }
    Ok(Preview { changes, unchanged, failures })
}

fn change(item: &MirrorItem<'_>) -> PlannedChange {
    PlannedChange { source: item.source.to_string(), destination: item.destination.name.clone() }
}
