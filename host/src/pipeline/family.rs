//! Multi-platform images: every image that an index lists is moved and verified, and then the index.
//!
//! Where filters change an image, the index is written anew (`rewritten`). It refuses to write an index of which a listed
//! image did not land: a name never stands for something incomplete.

use std::time::Instant;

use super::attempt::{Job, attempt, identity};
use super::images::move_filtered;
use super::request::Request;
use super::rewritten::{Rewritten, has_landed};
use occystrap_base::error::{Error, FaultOrigin, Result};
use occystrap_base::oci::{ImageName, PlatformPart};
use occystrap_base::parallel::in_parallel;
use occystrap_layer::image::{Family, Image, ListedImage};
use occystrap_net::context::Context;
use occystrap_output::receipt::{ImageIdentity, Receipt, RepeatCommand};
use occystrap_output::write::item::Item;
use occystrap_verify::report::ImageReport;
use occystrap_verify::verdict::outcome::Outcomes;

/// Moves an image, or one that an index lists. `name` is the name of the image or of the index. Artifacts are not filtered.
pub(super) fn move_part(
    request: &Request,
    image: &Image,
    name: &ImageName,
    part: &PlatformPart,
    repeat: Option<RepeatCommand>,
    context: &Context,
) -> (ImageReport, Option<Receipt>) {
    if !request.filters.is_empty() && image.artifact.is_none() {
        return move_filtered(request, image, part, repeat, later, context);
    }
    let item = match part.is_whole() {
        true => Item::Image(image),
        false => Item::Listed(image),
    };
    let job = Job::image(item, identity(image, name, part.clone()), repeat);
    attempt(request, job, Instant::now(), later, context)
}

/// Keeps no receipt yet: one file covers all platforms and is written at the end.
fn later(_receipt: &Receipt) -> Result<()> {
    Ok(())
}

/// Moves the images that an index lists, several in parallel, and then the index; nested indexes before the one that
/// lists them. Where it is not `is_named`, the last index is known by its digest. Returns a report for each, and the receipts of those that landed.
pub(super) fn move_family(
    request: &Request,
    family: &Family,
    is_named: bool,
    repeat: &Option<RepeatCommand>,
    context: &Context,
) -> (Vec<ImageReport>, Vec<Receipt>) {
    let name = &family.name;
    let move_member = |member: &&ListedImage| {
        let part = PlatformPart::Platform(member.platform.clone());
        let context = &context.about(&format!("{name}{part}")).with_part(&part);
        move_part(request, &member.image, name, &part, repeat.clone(), context)
    };
    let (artifacts, images): (Vec<&ListedImage>, Vec<&ListedImage>) = family
        .members
        .iter()
        .partition(|member| !request.filters.is_empty() && member.image.artifact.is_some());
    let rewrites = request.platforms.as_ref().is_some_and(|platforms| platforms.rewrites_index);
    let mut family_now = Rewritten::without(&family.left_out, rewrites);
    let (mut reports, mut receipts, mut outcomes) = (Vec::new(), Vec::new(), Outcomes::new());
    let moved = in_parallel(&images, request.image_parallel, move_member);
    let mut moved: Vec<_> = images.into_iter().zip(moved).collect();
    moved.iter().for_each(|(member, landed)| family_now.take(member, landed));
    // Only now it is known which images have changed.
    let dropped = family_now.drop_outdated(family, &artifacts);
    let kept: Vec<&ListedImage> =
        artifacts.into_iter().filter(|one| !family_now.is_dropped(one)).collect();
    let late = in_parallel(&kept, request.image_parallel, move_member);
    let late: Vec<_> = kept.into_iter().zip(late).collect();
    late.iter().for_each(|(member, landed)| family_now.take(member, landed));
    moved.extend(late);
    for (_, (report, receipt)) in moved {
        let digest = receipt.as_ref().and_then(|receipt| receipt.listed_manifests().next());
        let digest = digest.filter(|_| has_landed(&report));
        outcomes.extend(digest.zip(report.outcome()));
        reports.push(report);
        receipts.extend(receipt);
    }
    for (position, index) in family.indexes.iter().enumerate() {
        let last = position + 1 == family.indexes.len();
        let named = is_named && last && !request.is_untagged;
        let rewritten = match family_now.missing(index) {
            0 => family_now.index(index, name),
            missing => Err(unwritten(missing, index.children.len(), context)),
        };
        let id = rewritten.as_ref().map_or(index.manifest.digest, |now| now.manifest.digest);
        let part = PlatformPart::index(named, id);
        let index_now = match rewritten {
            Ok(now) => now,
            Err(error) => {
                let mut report = request.report(name, part, None);
                report.fail(error);
                reports.push(report);
                continue;
            }
        };
        let ImageName { repository, tag } = name.clone();
        let absent = family_now.absent(&index_now);
        let left_out = absent.clone();
        let identity = ImageIdentity { name: repository, tag, id, part, artifact: false, left_out };
        let mut landed = family_now.landed();
        landed.extend(&absent);
        let item = Item::Index { index: &index_now, named, landed: &landed };
        let warnings = if last { dropped.clone() } else { Vec::new() };
        let job = Job::index(item, identity, repeat.clone(), outcomes.clone(), warnings);
        let (mut report, receipt) = attempt(request, job, Instant::now(), later, context);
        if !absent.is_empty() {
            report.error = report.error.map(|error| refused_as_sparse(error, absent.len()));
        }
        if has_landed(&report) {
            outcomes.extend(report.outcome().map(|outcome| (id, outcome)));
            family_now.add(index.manifest.digest, index_now.manifest.clone());
        }
        receipts.extend(receipt);
        reports.push(report);
    }
    (reports, receipts)
}

/// Returns the error of a registry that refuses an index of which images are absent, with what helps.
fn refused_as_sparse(error: Error, absent: usize) -> Error {
    match error.origin() {
        Some(FaultOrigin::LostBlob) => error.within(format!(
            "{absent} manifests that the index lists are not moved, and the registry refuses such an index"
        ))
        .hint("write 'index: rewrite' in the entry: a new index then names what is there"),
        _ => error,
    }
}

/// Returns the error for an index that was not written: of the `listed` manifests, `missing` did not land.
fn unwritten(missing: usize, listed: usize, context: &Context) -> Error {
    match context.cancel.check() {
        Err(stopped) => stopped,
        Ok(()) => Error::destination(format!(
            "the index was not written: {missing} of the {listed} manifests that it lists did not land"
        )),
    }
}
