//! The flow: the images of a source go through an output plugin to a verdict each.
//!
//! ```text
//! process: source -> images -> (filter -> write -> receipt -> verify -> report), each -> run
//! verify:  receipt or destination -> (look -> verdict -> report), each image
//! ```
//!
//! | module | step |
//! | --- | --- |
//! | [`request`] | what is moved to where, parsed and checked |
//! | `fit` | whether the images fit the destination |
//! | `images`, `family` | images one by one; every platform of an image, and then its index |
//! | [`referrers`] | what refers to an image, before its tag |
//! | `wholes` | images with all their platforms and their referrers |
//! | `rewritten` | the index of an image of which filters changed a platform |
//! | `attempt` | one image or index: write, keep the receipt, verify |
//! | [`mod@verify`] | what was written earlier |

mod attempt;
mod dry_run;
mod family;
mod fit;
mod images;
pub mod referrers;
pub mod request;
mod rewritten;
pub mod verify;
mod wholes;

use std::time::Instant;

use occystrap_base::error::{Error, FaultOrigin, Result};
use occystrap_net::context::Context;
use occystrap_output::write::occupied;
use occystrap_verify::report::{ImageReport, Run};

pub use dry_run::{DryRun, dry_run};
pub use request::{ReceiptStore, Request};
pub use verify::{verify_each, verify_subjects};

/// Moves every image of a source and verifies that each landed. Errors are in the report.
pub fn process(request: &Request, context: &Context) -> Run {
    let started = Instant::now();
    let mut reports =
        move_all(request, context).unwrap_or_else(|error| vec![request.failed(error, context)]);
    say_that_nothing_was_written(&mut reports);
    Run::new(reports, started.elapsed())
}

/// Moves every image of a source as [`process`] does, and once more if the destination stored other bytes than were written,
/// or lacks what was known to be there. `forget` makes the next run ask the destination for each blob. Errors as `forget`.
pub fn process_anew_if_wrong<E>(
    request: &Request,
    context: &Context,
    forget: impl FnOnce() -> Result<(), E>,
) -> Result<Run, E> {
    let run = process(request, context);
    let is_wrong = |error: &Error| error.origin() == Some(FaultOrigin::WrongAtDestination);
    if !run.images().iter().filter_map(|image| image.error.as_ref()).any(is_wrong) {
        return Ok(run);
    }
    forget()?;
    Ok(process(request, context))
}

fn move_all(request: &Request, context: &Context) -> Result<Vec<ImageReport>> {
    // Checked before anything is fetched, and again before an image becomes visible.
    occupied::check(&request.target)?;
    occupied::check_list(&request.target)?;
    tracing::info!("reading {}", request.source.display);
    match request.all_platforms || request.referrers.is_some() {
        true => wholes::move_wholes(request, context),
        false => images::move_images(request, context),
    }
}

/// Says of an interruption that nothing was written, if none of the images had begun to be written.
fn say_that_nothing_was_written(reports: &mut [ImageReport]) {
    let early =
        |report: &ImageReport| report.error.as_ref().is_some_and(Error::is_bare_interruption);
    if reports.iter().all(early) {
        for error in reports.iter_mut().filter_map(|report| report.error.as_mut()) {
            *error = error.clone().with_effect("the destination was left as it was");
        }
    }
}
