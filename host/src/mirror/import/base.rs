//! Whether a destination has what an export builds on.
//!
//! The ledger of the imports says which exports are there. Where it knows none, or others were imported since, the
//! destination is asked for every image that is as an earlier export brought it. Layers that earlier exports carried are
//! asked for in any case: a registry can lose them.

use std::collections::{BTreeMap, HashMap};

use super::target::ImportTarget;
use crate::mirror::exported::check::CheckedExport;
use crate::mirror::exported::document::{Base, ExportDocument, KnownItem};
use crate::mirror::services::Services;
use crate::mirror::tags::AT_A_TIME;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;
use occystrap_layer::image::Content;
use occystrap_mirror::ledger::LONGEST_PAGE;
use occystrap_mirror::ledger::export::{Exports, ImportMark};

/// Errors where the ledger says that an export must not be imported now: the export that it builds on was not imported, or
/// a later one was. Returns whether the ledger says that the destination is as that export left it.
pub fn check_ledger(
    export: &CheckedExport,
    ledger: &impl Exports,
    target: &ImportTarget,
) -> Result<bool> {
    let ExportDocument { run, since, .. } = &export.document;
    let imports = ledger.imports(&target.name, LONGEST_PAGE)?;
    let newest = imports.iter().max_by_key(|mark| mark.run);
    if let Some(newest) = newest.filter(|newest| newest.run.0 > *run) {
        let message = format!(
            "the export of run {run} is older than that of run {}, which was imported into {}",
            newest.run.0, target.name
        );
        return Err(Error::usage(message).hint(
            "it would bring back older images; to go back on purpose, name another ledger: --ledger PATH",
        ));
    }
    let Some(Base { run: base, export: wanted }) = since else { return Ok(true) };
    let Some(newest) = newest else { return Ok(false) };
    if imports.iter().any(|mark: &ImportMark| mark.export == *wanted) {
        // An export between the two may have changed what this one takes as known.
        return Ok(newest.export == *wanted || newest.export == export.id);
    }
    let message = format!(
        "the export of run {run} builds on that of run {base} ({}), which was not imported into {}: the last one is that of run {}",
        wanted.short(),
        target.name,
        newest.run.0
    );
    Err(Error::usage(message)
        .hint(format!("import the export of run {base} first; one that failed is not complete")))
}

/// Asks the destination for every image that an earlier export brought. Errors with the first that is missing.
pub fn check_images(
    document: &ExportDocument,
    target: &ImportTarget,
    services: &Services<'_>,
) -> Result<()> {
    let Some(base) = &document.since else { return Ok(()) };
    if !target.is_registry() {
        return Ok(());
    }
    let questions = document.as_before.iter();
    let questions = questions
        .map(|known| Ok((known, services.repository(&target.repository(&known.repository)?)?)));
    let questions: Vec<_> = questions.collect::<Result<_>>()?;
    let asked =
        questions.iter().map(|(known, repository)| (known.target.clone(), repository.clone()));
    let found = services.each(asked, AT_A_TIME, |(name, repository)| async move {
        repository.digest_of(&name).await
    })?;
    for ((known, _), found) in questions.iter().zip(found) {
        let KnownItem { repository, target: name, digest } = known;
        let found = found?;
        if found == Some(*digest) {
            continue;
        }
        let separator = if name.parse::<Digest>().is_ok() { '@' } else { ':' };
        let (run, base_run, id) = (document.run, base.run, base.export.short());
        let image = format!("{}/{repository}{separator}{name}", target.name);
        let Some(found) = found else {
            let message = format!(
                "the export of run {run} builds on that of run {base_run} ({id}), which is not there: {image} is missing"
            );
            return Err(Error::destination(message)
                .hint(format!("import the export of run {base_run} first")));
        };
        let what = format!(
            "the export of run {run} builds on that of run {base_run} ({id}), and {image} has changed since"
        );
        return Err(Error::mismatch(what, digest, found).hint(
            "make the export with --since and the run of the last one that was imported, or without --since",
        ));
    }
    Ok(())
}

/// Asks the destination for every layer that an earlier export carried. Returns where they are. Errors with the first that
/// is missing.
pub fn find_layers(
    export: &CheckedExport,
    target: &ImportTarget,
    services: &Services<'_>,
) -> Result<HashMap<Digest, Content>> {
    let mut wanted: BTreeMap<Digest, (u64, String)> = BTreeMap::new();
    for number in 0..export.receipts.len() {
        for object in export.receipts.get(number)?.objects {
            if let Some(repository) = object.carried_to {
                wanted.entry(object.digest).or_insert((object.size, repository));
            }
        }
    }
    let found = match target.is_registry() {
        true => at_registry(&wanted, target, services)?,
        false => wanted
            .iter()
            .map(|(digest, (size, repository))| target.layer(repository, *digest, *size))
            .collect::<Result<_>>()?,
    };
    let base = export.document.since.as_ref().map_or(0, |base| base.run);
    let mut layers = HashMap::with_capacity(wanted.len());
    for ((digest, (size, repository)), content) in wanted.into_iter().zip(found) {
        let Some(content) = content else {
            let message = format!(
                "{}/{repository} has not the layer {digest} ({size} bytes), which an earlier export brought",
                target.name
            );
            return Err(Error::destination(message).hint(format!(
                "import the export of run {base} again, and those that it builds on; or export without --since"
            )));
        };
        layers.insert(digest, content);
    }
    Ok(layers)
}

fn at_registry(
    wanted: &BTreeMap<Digest, (u64, String)>,
    target: &ImportTarget,
    services: &Services<'_>,
) -> Result<Vec<Option<Content>>> {
    let mut repositories = HashMap::new();
    let mut asked = Vec::with_capacity(wanted.len());
    for (digest, (size, name)) in wanted {
        let repository = match repositories.get(name) {
            Some(known) => known,
            None => {
                let repository = services.repository(&target.repository(name)?)?;
                repositories.entry(name.clone()).or_insert(repository)
            }
        };
        asked.push((*digest, *size, repository.clone()));
    }
    let found = services.each(asked, AT_A_TIME, |(digest, size, repository)| async move {
        let found = repository.find_blob(digest, Some(size)).await?;
        Ok::<_, Error>((found == Some(size)).then_some(Content::Registry(repository)))
    })?;
    found.into_iter().collect()
}
