//! The flow of `occystrap verify`: what was written earlier, to a verdict for each image.

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
use occystrap_output::receipt::repeat_command;
use occystrap_verify::derive::{directory, layout, registry};
use occystrap_verify::report::{ImageReport, Run};
use occystrap_verify::subject::Subject;
use occystrap_verify::verdict::found::Found;
use occystrap_verify::verdict::object::Outcomes;
pub use occystrap_verify::verify;

/// Verify what was written earlier, so many side by side. What goes wrong is in the report, and what is
/// no subject as well, by what the user typed.
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
        // Nothing is written here that could fail.
        Err(error) => reports.push(ImageReport::unopened("", error, context)),
    }
    Run::new(reports, started.elapsed())
}

/// Verifies what was written earlier, so many side by side, and keeps none of it: a target is opened when
/// its turn comes, and `each` gets the reports in the order of the targets, with whether there are several.
/// What goes wrong is in the reports; for a target that cannot be opened, by what the user typed. An
/// interruption ends the run: one report says so, and what was not looked at until then has none. Errors
/// when `each` does, which ends the run as well.
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
    let context = &Context { cancel: stop.clone(), ..context.clone() };
    // Of several targets that are interrupted side by side, one says so.
    let (begun, is_said) = (AtomicUsize::new(0), AtomicBool::new(false));
    let verify = |target: &T, tell: &mut dyn FnMut((ImageReport, bool))| {
        // Also to open a target may take long: a receipt has megabytes.
        if context.cancel.check().is_err() {
            return;
        }
        begun.fetch_add(1, Ordering::Relaxed);
        let mut tell = |report: ImageReport, more: bool| {
            report.log();
            tell((report, several || more));
        };
        let (display, looked) = match open(target) {
            Ok(subject) => {
                let subject = subject.borrow();
                let display = subject.display().to_owned();
                let context = &context.about_one_of(several, &display);
                let looked = look(subject, level, context, &mut tell);
                (display, looked)
            }
            Err((typed, error)) => (typed, Err(error)),
        };
        match looked {
            Err(error)
                if error.kind() == Kind::Interrupted && is_said.swap(true, Ordering::Relaxed) => {}
            Err(error) => tell(ImageReport::unopened(&display, error, context), false),
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
    // The signal came between two targets.
    match outer.cancel.check() {
        Err(error) if begun.into_inner() < targets.len() && !is_said.into_inner() => {
            each(ImageReport::unopened("", error, context), false)
        }
        _ => Ok(()),
    }
}

/// Verifies one subject, and tells `each` of its images, with whether there are several. Errors when it
/// cannot be looked at.
fn look(
    subject: &Subject,
    level: Level,
    context: &Context,
    each: &mut dyn FnMut(ImageReport, bool),
) -> Result<()> {
    let started = Instant::now();
    let (display, found) = match subject {
        Subject::Receipts(receipts, target) => {
            // An index stands after what it lists.
            let mut looked = Outcomes::new();
            for receipt in receipts {
                let started = Instant::now();
                let repair = repeat_command::command(receipt, target);
                let proof =
                    verify::verify(receipt, target, level, &looked, Some(&repair), context)?;
                let outcome = proof.outcome();
                looked.extend(receipt.listed_manifests().map(|manifest| (manifest, outcome)));
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
            steady::look(Some(&Watch::directory(path)), &context.cancel, || {
                directory::directory(path, level, context)
            })?,
        ),
        Subject::Tar(path, display) => (
            display,
            steady::look(Some(&Watch::file(path)), &context.cancel, || {
                directory::tar(path, level, context)
            })?,
        ),
        Subject::Layout(path, tag, display) => (
            display,
            steady::look(Some(&Watch::layout(path)), &context.cancel, || {
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
    let report = |one: Found| ImageReport::found(display, one).finish(started.elapsed(), context);
    found.into_iter().for_each(|one| each(report(one), several));
    Ok(())
}
