//! The flow of `occystrap verify`: what was written earlier, to a verdict for each image.

use std::time::Instant;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::engine::Named;
use crate::output::remote::Remote;
use crate::parallel::in_parallel;
use crate::receipt::{Receipt, again};
use crate::report::{ImageReport, Run};
use crate::verify::found::Found;
use crate::verify::{self, Level, Outcomes, Subject, derive, layout, published};

/// Verify what was written earlier, so many side by side. What goes wrong is in the report, and what is
/// no subject as well, by what the user typed.
pub fn verify_subjects(
    subjects: &[Result<Subject, (String, Error)>],
    level: Level,
    parallel: usize,
    context: &Context,
) -> Run {
    let started = Instant::now();
    let several = subjects.len() > 1;
    let reports = in_parallel(subjects, parallel, |subject| {
        let (display, looked) = match subject {
            Ok(subject) => {
                let display = subject.display();
                let context = &context.about_one_of(several, display);
                (display, look(subject, level, context))
            }
            Err((typed, error)) => (typed.as_str(), Err(error.clone())),
        };
        let reports =
            looked.unwrap_or_else(|error| vec![ImageReport::unopened(display, error, context)]);
        reports.iter().for_each(ImageReport::tell);
        reports
    });
    Run::new(reports.into_iter().flatten().collect(), started.elapsed())
}

fn look(subject: &Subject, level: Level, context: &Context) -> Result<Vec<ImageReport>> {
    let started = Instant::now();
    let reports = |display: &str, found: Vec<Found>| {
        let report = |found| ImageReport::found(display, found).finish(started.elapsed(), context);
        found.into_iter().map(report).collect()
    };
    match subject {
        Subject::Receipts(receipts, target) => {
            let mut reports = Vec::with_capacity(receipts.len());
            // An index stands after what it lists.
            let mut looked = Outcomes::new();
            for receipt in receipts {
                let started = Instant::now();
                let repair = again::command(receipt, target);
                let proof =
                    verify::verify(receipt, target, level, &looked, Some(&repair), context)?;
                let outcome = proof.outcome();
                looked.extend(receipt.listed_manifests().map(|manifest| (manifest, outcome)));
                let mut report = ImageReport::of_receipt(receipt);
                report.landed(receipt, Some(proof), None);
                reports.push(report.finish(started.elapsed(), context));
            }
            Ok(reports)
        }
        Subject::WithoutPlugin(receipts, why) => {
            let report = |receipt: &Receipt| {
                let report = ImageReport::without_plugin(receipt, why.clone());
                report.finish(started.elapsed(), context)
            };
            Ok(receipts.iter().map(report).collect())
        }
        Subject::Directory(path, display) => {
            let found = derive::directory(path, level, context)?;
            Ok(reports(display, found))
        }
        Subject::Tar(path, display) => {
            let found = derive::tar(path, level, context)?;
            Ok(reports(display, found))
        }
        Subject::Layout(path, tag, display) => {
            let found = layout::images(path, tag.as_deref(), level, context)?;
            Ok(reports(display, found))
        }
        Subject::Registry(reference, client, display) => {
            let repository = client.repository(reference, context.counters.clone())?;
            let remote = Remote::new(repository, context);
            let found = published::images(&remote, reference, level, context)?;
            Ok(reports(display, found))
        }
        Subject::Engine(image, engine, display) => {
            let named = Named::new(engine.clone(), image.clone(), context);
            let found = verify::engine::held(&named, level)?;
            Ok(reports(display, found))
        }
    }
}
