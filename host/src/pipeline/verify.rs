//! The flow of `occystrap verify`: a verdict for each image that was written earlier.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::parallel::in_order;
use occystrap_images::level::Level;
use occystrap_images::steady::{self, Watch};
use occystrap_net::context::Context;
use occystrap_output::destination::engine_image::EngineReader;
use occystrap_output::destination::remote::RepositoryReader;
use occystrap_verify::derive::{directory, layout, registry};
use occystrap_verify::report::{ImageReport, Run};
use occystrap_verify::subject::Subject;
use occystrap_verify::verdict::found::Found;
use occystrap_verify::verdict::outcome::Outcomes;
use occystrap_verify::verify;

/// Verifies what was written earlier, `parallel` subjects at a time. Errors are in the report, also those of a subject
/// that could not be parsed, under what the user typed.
pub fn verify_subjects(
    subjects: &[Result<Subject, (String, Error)>],
    level: Level,
    parallel: usize,
    context: &Context,
) -> Run {
    let started = Instant::now();
    let all: Vec<usize> = (0..subjects.len()).collect();
    let open = |at: &usize| subjects[*at].as_ref().map_err(Clone::clone);
    let mut reports = Vec::new();
    let each = |report, _| {
        reports.push(report);
        Ok(())
    };
    match verify_each(&all, open, level, parallel, context, each) {
        Ok(()) => {}
        // `each` cannot fail, so this is an interruption.
        Err(error) => reports.push(ImageReport::unopened("", error, context)),
    }
    Run::new(reports, started.elapsed())
}

/// Verifies what was written earlier, `parallel` targets at a time, without keeping any of it in memory.
///
/// A target is opened when it is verified. `each` gets the reports in the order of the targets, and whether there are
/// several. Errors of a target are in its report; if the target cannot be opened, under what the user typed. An
/// interruption ends the run: one report says so, and targets that were not verified until then have no report. Errors
/// when `each` errors, which ends the run as well.
pub fn verify_each<T: Sync, S: Borrow<Subject>>(
    targets: &[T],
    open: impl Fn(&T) -> Result<S, (String, Error)> + Sync,
    level: Level,
    parallel: usize,
    context: &Context,
    mut each: impl FnMut(ImageReport, bool) -> Result<()>,
) -> Result<()> {
    let several = targets.len() > 1;
    let stop = context.cancel.child();
    let outer = context;
    let context = &context.clone().with_cancel(stop.clone());
    // If several targets are interrupted in parallel, only one report says so.
    let (begun, is_reported) = (AtomicUsize::new(0), AtomicBool::new(false));
    let verify = |target: &T, send: &mut dyn FnMut((ImageReport, bool))| {
        // Opening a target may take long: a receipt has megabytes.
        if context.cancel.check().is_err() {
            return;
        }
        begun.fetch_add(1, Ordering::Relaxed);
        let mut send = |report: ImageReport, more: bool| {
            report.log();
            send((report, several || more));
        };
        let (display, verified) = match open(target) {
            Ok(subject) => {
                let subject = subject.borrow();
                let display = subject.display().to_owned();
                let context = &context.about_one_of(several, &display);
                let verified = verify_subject(subject, level, context, &mut send);
                (display, verified)
            }
            Err((typed, error)) => (typed, Err(error)),
        };
        match verified {
            Err(error)
                if error.kind() == Kind::Interrupted
                    && is_reported.swap(true, Ordering::Relaxed) => {}
            Err(error) => send(ImageReport::unopened(&display, error, context), false),
            Ok(()) => {}
        }
    };
    let mut reported = Ok(());
    in_order(targets, parallel, verify, |(report, several)| {
        if reported.is_ok() {
            reported = each(report, several);
            if reported.is_err() {
                stop.cancel();
            }
        }
    });
    reported?;
    // The interruption came between two targets.
    match outer.cancel.check() {
        Err(error) if begun.into_inner() < targets.len() && !is_reported.into_inner() => {
            each(ImageReport::unopened("", error, context), false)
        }
        _ => Ok(()),
    }
}

/// Verifies one subject, and calls `each` with the report of each of its images, and with whether there are several.
/// Errors when the subject cannot be read.
fn verify_subject(
    subject: &Subject,
    level: Level,
    context: &Context,
    each: &mut dyn FnMut(ImageReport, bool),
) -> Result<()> {
    let started = Instant::now();
    let (display, found) = match subject {
        Subject::Receipts(receipts, target) => {
            // A bundle has an index after the images that it lists.
            let mut outcomes = Outcomes::new();
            for receipt in receipts {
                let started = Instant::now();
                let repair = occystrap_output::write::repair_command::command(receipt, target);
                let repair = repair.as_deref();
                let proof =
                    verify::verify(receipt, target, level, &outcomes, repair, None, context)?;
                let outcome = proof.outcome();
                outcomes.extend(receipt.listed_manifests().map(|manifest| (manifest, outcome)));
                let mut report = ImageReport::of_receipt(receipt);
                report.landed(receipt, Some(proof), None);
                each(report.finish(started.elapsed(), context), receipts.len() > 1);
            }
            return Ok(());
        }
        Subject::WithoutPlugin(receipts, why) => {
            for receipt in receipts {
                let report = ImageReport::without_plugin(receipt, why.clone());
                each(report.finish(started.elapsed(), context), receipts.len() > 1);
            }
            return Ok(());
        }
        Subject::Directory(path, display) => (
            display,
            steady::check(Some(&Watch::directory(path)), &context.cancel, || {
                directory::directory(path, level, context)
            })?,
        ),
        Subject::Tar(path, display) => (
            display,
            steady::check(Some(&Watch::file(path)), &context.cancel, || {
                directory::tar(path, level, context)
            })?,
        ),
        Subject::Layout(path, tag, display) => (
            display,
            steady::check(Some(&Watch::layout(path)), &context.cancel, || {
                layout::images(path, tag.as_deref(), level, context)
            })?,
        ),
        Subject::Registry(reference, client, display) => {
            let repository = client.repository(reference, context.counters.clone())?;
            let remote = RepositoryReader::new(repository, context);
            (display, registry::images(&remote, reference, level, context)?)
        }
        Subject::Engine(image, engine, display) => {
            let named = EngineReader::new(engine.clone(), image.clone(), context);
            (display, occystrap_verify::look::engine_image::held(&named, level)?)
        }
    };
    let several = found.len() > 1;
    let report =
        |image: Found| ImageReport::found(display, image).finish(started.elapsed(), context);
    found.into_iter().for_each(|image| each(report(image), several));
    Ok(())
}
