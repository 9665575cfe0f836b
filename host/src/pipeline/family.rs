//! Multi-platform images: every image that an index lists is moved and verified, and then the index.
//!
//! It refuses to write an index of which a listed image did not land: a name never stands for something incomplete.

use std::collections::BTreeSet;
use std::time::Instant;

use super::attempt::{Job, attempt, identity};
use super::fit;
use super::request::Request;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{ImageName, Part};
use occystrap_base::parallel::in_parallel;
use occystrap_layer::image::{Family, Whole};
use occystrap_net::context::Context;
use occystrap_output::receipt::{ImageIdentity, Receipt};
use occystrap_output::write::item::Item;
use occystrap_verify::report::{ImageReport, ImageStatus};
use occystrap_verify::verdict::outcome::Outcomes;

/// Moves every image of a source with all its platforms. Errors when the source cannot be read or its images do not fit
/// the destination.
pub fn move_families(request: &Request, context: &Context) -> Result<Vec<ImageReport>> {
    let wholes = fit::wholes(request, context)?;
    let (mut reports, mut receipts) = (Vec::new(), Vec::new());
    for whole in &wholes {
        match whole {
            Whole::Image(image) => {
                fit::check_artifact(request, image)?;
                let identity = identity(image, &image.name, Part::Whole);
                let digest = image.manifest.as_ref().map(|manifest| manifest.digest);
                let repeat = request.repeat_command(digest);
                let job = Job::image(Item::Image(image), identity, repeat);
                let (report, receipt) = attempt(request, job, Instant::now(), later, context);
                receipts.extend(receipt);
                reports.push(report);
            }
            Whole::Family(family) => {
                let (moved, kept) = move_family(request, family, context);
                receipts.extend(kept);
                reports.extend(moved);
            }
        }
    }
    // With a receipt of only a part, a later verification would not miss the rest.
    let all = reports.iter().all(|report| report.error.is_none());
    if all
        && let Err(error) = request.write_receipts(receipts)
        && let Some(last) = reports.last_mut()
    {
        last.without_receipt(error);
    }
    Ok(reports)
}

/// Keeps no receipt yet: one file covers all platforms and is written at the end.
fn later(_receipt: &Receipt) -> Result<()> {
    Ok(())
}

/// Moves the images that an index lists, several in parallel, and then the index; nested indexes before the one that
/// lists them. Returns a report for each, and the receipts of those that landed.
fn move_family(
    request: &Request,
    family: &Family,
    context: &Context,
) -> (Vec<ImageReport>, Vec<Receipt>) {
    // Each receipt repeats the move of the whole family.
    let repeat = request.repeat_command(family.indexes.last().map(|index| index.manifest.digest));
    let moved = in_parallel(&family.members, request.image_parallel, |member| {
        let part = Part::Platform(member.platform.clone());
        let identity = identity(&member.image, &family.name, part);
        let job = Job::image(Item::Listed(&member.image), identity, repeat.clone());
        let context = &context.about(&format!("{}{}", family.name, job.identity.part));
        attempt(request, job, Instant::now(), later, context)
    });
    let (mut landed, mut outcomes) = (BTreeSet::new(), Outcomes::new());
    for (member, (report, _)) in family.members.iter().zip(&moved) {
        let manifest = member.image.manifest.as_ref().filter(|_| has_landed(report));
        landed.extend(manifest.map(|manifest| manifest.digest));
        outcomes.extend(manifest.map(|manifest| manifest.digest).zip(report.outcome()));
    }
    let (mut reports, receipts): (Vec<_>, Vec<_>) = moved.into_iter().unzip();
    let mut receipts: Vec<Receipt> = receipts.into_iter().flatten().collect();
    for (position, index) in family.indexes.iter().enumerate() {
        let named = position + 1 == family.indexes.len();
        let ImageName { repository, tag } = family.name.clone();
        let id = index.manifest.digest;
        let part = Part::index(named, id);
        let identity =
            ImageIdentity { name: repository, tag, id, part: part.clone(), artifact: false };
        let missing = index.children.iter().filter(|child| !landed.contains(child)).count();
        if missing > 0 {
            let report =
                unwritten(request, &family.name, part, (missing, index.children.len()), context);
            reports.push(report);
            continue;
        }
        let item = Item::Index { index, named, landed: &landed };
        let job = Job { item, identity, repeat: repeat.clone(), outcomes: outcomes.clone() };
        let (report, receipt) = attempt(request, job, Instant::now(), later, context);
        if has_landed(&report) {
            landed.insert(id);
            outcomes.extend(report.outcome().map(|outcome| (id, outcome)));
        }
        receipts.extend(receipt);
        reports.push(report);
    }
    (reports, receipts)
}

/// Returns the report of an index that was not written: of the images that it lists, `missing` did not land.
fn unwritten(
    request: &Request,
    name: &ImageName,
    part: Part,
    (missing, listed): (usize, usize),
    context: &Context,
) -> ImageReport {
    let mut report = request.report(name, part, None);
    report.fail(match context.cancel.check() {
        Err(stopped) => stopped,
        Ok(()) => Error::destination(format!(
            "the index was not written: {missing} of the {listed} manifests that it lists did not land"
        )),
    });
    report
}

/// Returns whether an image counts as landed. An image that failed verification does not; an image that could not be
/// checked does, because nothing says otherwise.
fn has_landed(report: &ImageReport) -> bool {
    !matches!(report.status, ImageStatus::Error | ImageStatus::Failed)
}
