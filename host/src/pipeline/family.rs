//! Whole multi-platform images: every image that an index lists, each proved by itself, and then the
//! index, so that a name never stands for something that is not all there.

use std::time::Instant;

use std::collections::BTreeSet;

use super::{Job, Process, again, attempt, fit, identity, keep_receipts};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{ImageName, Part};
use occystrap_base::parallel::in_parallel;
use occystrap_layer::image::{Family, Whole};
use occystrap_net::context::Context;
use occystrap_output::receipt::{ImageIdentity, Receipt};
use occystrap_output::write::foreign_layers;
use occystrap_output::write::item::Item;
use occystrap_verify::report::{ImageReport, ImageStatus};
use occystrap_verify::verdict::object::Outcomes;

/// Move every image of a source with all its platforms.
pub fn process(request: &Process, context: &Context) -> Result<Vec<ImageReport>> {
    let wholes = fit::check(request, request.source.open_wholes(context)?)?;
    foreign_layers::check(wholes.iter().flat_map(Whole::images), context.web.foreign_layers())?;
    let (mut reports, mut receipts) = (Vec::new(), Vec::new());
    for whole in &wholes {
        match whole {
            Whole::Image(image) => {
                fit::check_artifact(request, image)?;
                let identity = identity(image, &image.name, Part::Whole);
                let again = again(request, image.manifest.as_ref().map(|manifest| manifest.digest));
                let item = Job::image(Item::Image(image), identity, again);
                let (report, receipt) = attempt(request, item, Instant::now(), later, context);
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
    // A receipt of a part would let the rest go unmissed.
    let all = reports.iter().all(|report| report.error.is_none());
    if all
        && let Err(error) = keep_receipts(request, receipts)
        && let Some(last) = reports.last_mut()
    {
        last.without_receipt(error);
    }
    Ok(reports)
}

/// One file covers all of it, and is written at the end.
fn later(_receipt: &Receipt) -> Result<()> {
    Ok(())
}

fn move_family(
    request: &Process,
    family: &Family,
    context: &Context,
) -> (Vec<ImageReport>, Vec<Receipt>) {
    // Who does it again takes all of it.
    let again = again(request, family.indexes.last().map(|index| index.manifest.digest));
    let moved = in_parallel(&family.members, request.image_parallel, |member| {
        let part = Part::Platform(member.platform.clone());
        let identity = identity(&member.image, &family.name, part);
        let item = Job::image(Item::Listed(&member.image), identity, again.clone());
        let context = &context.about(&format!("{}{}", family.name, item.identity.part));
        attempt(request, item, Instant::now(), later, context)
    });
    let (mut landed, mut looked) = (BTreeSet::new(), Outcomes::new());
    for (member, (report, _)) in family.members.iter().zip(&moved) {
        let manifest = member.image.manifest.as_ref().filter(|_| has_landed(report));
        landed.extend(manifest.map(|manifest| manifest.digest));
        looked.extend(manifest.map(|manifest| manifest.digest).zip(report.outcome()));
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
        let lost = index.children.iter().filter(|child| !landed.contains(child)).count();
        if lost > 0 {
            let report =
                unwritten(request, &family.name, part, (lost, index.children.len()), context);
            reports.push(report);
            continue;
        }
        let handed = Item::Index { index, named, landed: &landed };
        let item = Job { handed, identity, again: again.clone(), looked: looked.clone() };
        let (report, receipt) = attempt(request, item, Instant::now(), later, context);
        if has_landed(&report) {
            landed.insert(id);
            looked.extend(report.outcome().map(|outcome| (id, outcome)));
        }
        receipts.extend(receipt);
        reports.push(report);
    }
    (reports, receipts)
}

/// An index that lists so many of so many that did not land.
fn unwritten(
    request: &Process,
    name: &ImageName,
    part: Part,
    (lost, listed): (usize, usize),
    context: &Context,
) -> ImageReport {
    let (source, target) = (&request.source.display, &request.target.display);
    let mut report = ImageReport::started(source, target, name).about(part, None);
    report.fail(match context.cancel.check() {
        Err(stopped) => stopped,
        Ok(()) => Error::destination(format!(
            "the index was not written: {lost} of the {listed} that it lists did not land"
        )),
    });
    report
}

/// What was found to be wrong has not landed. What could not be looked at has, as far as anybody
/// knows.
fn has_landed(report: &ImageReport) -> bool {
    !matches!(report.status, ImageStatus::Error | ImageStatus::Failed)
}
