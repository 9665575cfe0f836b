//! Images with all their platforms, and with what refers to them: referrers, then platforms, then the index or the image
//! with its tag.
//!
//! Registries accept a referrer before the manifest that it names (distribution specification, "Pushing Manifests with
//! Subject"). So a tag never stands for an image whose signatures are not there yet.

use super::family::{move_family, move_part};
use super::fit;
use super::referrers::{self, MovedReferrers};
use super::request::Request;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Digest, PlatformPart};
use occystrap_layer::image::{Family, Image, Whole};
use occystrap_net::context::Context;
use occystrap_output::receipt::Receipt;
use occystrap_verify::report::ImageReport;

/// Moves every image of a source with its platforms and its referrers, as the request says. Errors when the source
/// cannot be read or its images do not fit the destination.
pub fn move_wholes(request: &Request, context: &Context) -> Result<Vec<ImageReport>> {
    let wholes = match request.all_platforms {
        true => fit::wholes(request, context)?,
        false => {
            let images = fit::images(request, context)?.into_iter();
            images.map(|image| Whole::Image(Box::new(image))).collect()
        }
    };
    if wholes.iter().flat_map(Whole::images).nth(1).is_some() {
        request.target.for_many_images();
    }
    let (mut reports, mut receipts) = (Vec::new(), Vec::new());
    for whole in &wholes {
        let (moved, kept) = move_whole(request, whole, context)?;
        receipts.extend(kept);
        reports.extend(moved);
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

/// Moves one image with its referrers. Returns the reports, that of the image last, and the receipts.
fn move_whole(
    request: &Request,
    whole: &Whole,
    context: &Context,
) -> Result<(Vec<ImageReport>, Vec<Receipt>)> {
    let subjects = subjects(request, whole);
    let repeat = request.repeat_command(match whole {
        Whole::Image(image) => digest(image),
        Whole::Family(family) => family.indexes.last().map(|index| index.manifest.digest),
    });
    let MovedReferrers { mut reports, mut receipts, tagless, failed } =
        referrers::move_all(request, whole.name(), &subjects, &repeat, context)?;
    if failed > 0 {
        let mut report = request.report(whole.name(), PlatformPart::Whole, None);
        report.fail(unwritten(failed, context));
        reports.push(report);
        return Ok((reports, receipts));
    }
    let (mut moved, kept) = match whole {
        Whole::Image(image) => {
            fit::check_artifact(request, image)?;
            // An image without a tag is known by its digest, as one that an index lists.
            let part = match request.is_untagged {
                true => PlatformPart::Platform(image.platform.to_string()),
                false => PlatformPart::Whole,
            };
            let (report, receipt) = move_part(request, image, &image.name, &part, repeat, context);
            (vec![report], receipt.into_iter().collect())
        }
        Whole::Family(family) => move_family(request, family, true, &repeat, context),
    };
    if let Some(last) = moved.last_mut().filter(|last| last.error.is_none())
        && let Err(error) = referrers::check_listed(request, &tagless, context)
    {
        last.fail_verification(error);
    }
    reports.extend(moved);
    receipts.extend(kept);
    Ok((reports, receipts))
}

/// Returns the manifests whose referrers are moved: all that land as they are at the source.
fn subjects(request: &Request, whole: &Whole) -> Vec<Digest> {
    let rewrites = request.platforms.as_ref().is_some_and(|platforms| platforms.rewrites_index);
    match whole {
        Whole::Image(image) => digest(image).into_iter().collect(),
        Whole::Family(Family { members, indexes, left_out, .. }) => {
            let members = members.iter().filter_map(|member| digest(&member.image));
            // An index that is written anew has another digest.
            let stays = |children: &[Digest]| {
                !rewrites || !children.iter().any(|child| left_out.contains(child))
            };
            let indexes = indexes.iter().filter(|index| stays(&index.children));
            members.chain(indexes.map(|index| index.manifest.digest)).collect()
        }
    }
}

fn digest(image: &Image) -> Option<Digest> {
    image.manifest.as_ref().map(|manifest| manifest.digest)
}

/// Returns the error for an image that was not written, because `failed` of its referrers did not land.
fn unwritten(failed: usize, context: &Context) -> Error {
    match context.cancel.check() {
        Err(stopped) => stopped,
        Ok(()) => Error::destination(format!(
            "the image was not written: {failed} of its referrers did not land"
        )),
    }
}
