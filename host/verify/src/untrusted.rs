//! Verification of receipts and plugins of unknown origin, many in parallel: for a machine that several
//! users share. The public API is `occystrap::VerifyBatch`.
//!
//! The host decides the verdict. What the host has not checked itself is UNCONFIRMED. A problem that only the plugin
//! reports makes an image UNCONFIRMED; its approval never counts. This module refuses destinations that were not
//! [granted](Grants), receipts that lead out of their destination, and work beyond its [`BatchLimits`]. No receipt and no
//! plugin can change the verdict on another receipt.

pub mod batch_limits;
mod check;
mod cost;
pub mod grants;
pub mod receipt_report;
mod rules;
mod watch;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Instant;

pub use batch_limits::{BatchLimits, Stop};
pub use grants::Grants;
pub use receipt_report::{ReceiptReport, ReceiptSummary};

use self::check::{Ask, Batch};
use self::cost::Purse;
use self::watch::TimeWatch;
use crate::receipt::plugins::Plugins;
use crate::verdict::outcome::Outcomes;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_images::source::content_store::MOST_MANIFESTS;
use occystrap_net::context::Context;
use occystrap_output::plugin::Catalog;
use occystrap_output::receipt::{Bundle, Receipt};

/// Verifies receipts, and calls `each` with the report of every receipt as soon as it is known; a file may hold several
/// receipts. A flaw of a receipt, its destination or its plugin is in its report. Errors when the user interrupts, or when
/// `each` errors, which ends the batch.
pub fn verify_batch(
    receipts: &[PathBuf],
    catalog: &Catalog,
    grants: &Grants,
    bounds: &BatchLimits,
    context: &Context,
    mut each: impl FnMut(&ReceiptReport) -> Result<()>,
) -> Result<ReceiptSummary> {
    let started = Instant::now();
    let stop = context.cancel.child();
    let watch = TimeWatch::new(stop.clone(), bounds);
    let batch = Batch {
        grants,
        context,
        watch: &watch,
        plugins: Plugins::new(catalog),
        client: OnceLock::new(),
        purse: Purse::new(bounds, receipts.len()),
    };
    let workers = bounds.workers.clamp(1, receipts.len().max(1));
    let next = AtomicUsize::new(0);
    let mut summary = ReceiptSummary::default();
    let ended = std::thread::scope(|scope| {
        let (reports, known) = mpsc::sync_channel::<ReceiptReport>(workers);
        let (done, wait) = mpsc::channel::<()>();
        let (watch, batch, next, stop) = (&watch, &batch, &next, &stop);
        scope.spawn(move || watch.keep(&wait));
        for _ in 0..workers {
            let reports = reports.clone();
            scope.spawn(move || {
                while let Some(path) = receipts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.check().is_err() {
                        break;
                    }
                    for report in batch.file(path) {
                        // The receiver is gone after `each` has failed.
                        let _ = reports.send(report);
                    }
                }
            });
        }
        drop(reports);
        let mut ended = Ok(());
        for report in known {
            summary.count(&report);
            if ended.is_ok() {
                ended = each(&report);
                if ended.is_err() {
                    stop.cancel();
                }
            }
        }
        drop(done);
        ended
    });
    ended?;
    context.cancel.check()?;
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

impl Batch<'_> {
    /// Returns the reports of every receipt in a file. Empty where the user interrupted.
    fn file(&self, path: &Path) -> Vec<ReceiptReport> {
        let place = path.display().to_string();
        let watched = self.watch.begin();
        let mut reports = Vec::new();
        let spent = self.purse.file();
        // Verified manifests, which an index later in the file may list.
        let mut verified = Outcomes::new();
        // A panic of the host must not end the other receipts.
        let all = catch_unwind(AssertUnwindSafe(|| match self.read(path, &place) {
            Ok(receipts) => {
                for receipt in &receipts {
                    let started = Instant::now();
                    let in_time = self.watch.check().map_err(Stop::from);
                    spent.next();
                    let ask = Ask { receipt, spent: &spent, verified: &verified };
                    let checked = in_time.and_then(|()| self.check(&ask, &watched));
                    // An interruption may show as any other error.
                    let checked = match watched.cancel().check() {
                        Ok(()) => checked,
                        Err(stopped) => Err(Stop::Unchecked(stopped)),
                    };
                    if let Ok(checked) = &checked {
                        verified.extend(checked.manifests(receipt));
                    }
                    let (verdict, took) = (checked.map(Into::into), started.elapsed());
                    reports.push(ReceiptReport::of(&place, receipt, verdict).after(took));
                }
            }
            Err(error) => reports.push(ReceiptReport::unread(&place, Stop::Refused(error))),
        }));
        if all.is_err() {
            let message = "occystrap failed on this receipt, and has no verdict on it";
            let error = Error::new(Kind::Plugin, message);
            reports.push(ReceiptReport::unread(&place, Stop::Unchecked(error)));
        }
        let Some(why) = self.watch.why(&watched) else { return Vec::new() };
        reports.iter_mut().for_each(|report| report.explain(&why));
        reports
    }

    /// Reads a file of receipts. It neither waits for a pipe nor follows a link: the user who made the file may not be the
    /// user who names it.
    fn read(&self, path: &Path, place: &str) -> Result<Vec<Receipt>> {
        let fail = |cause: std::io::Error| {
            let error = Error::io(Kind::Source, "read the receipt", place, &cause);
            match cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                true => error.hint("a link to a receipt is not followed: name the receipt itself"),
                false => error,
            }
        };
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        let opened = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let file = opened.map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(Error::source(format!("'{place}' is not a regular file")));
        }
        let mut bytes = Vec::new();
        let limit = limits::UNTRUSTED_RECEIPT;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > limit {
            return Err(Error::source(format!(
                "'{place}': size of the receipt: expected at most {limit} bytes, found more"
            )));
        }
        let receipts = Bundle::parse(&bytes, place)?;
        match receipts.len() > MOST_MANIFESTS {
            true => {
                Err(Error::source(format!("'{place}' has more than {MOST_MANIFESTS} receipts")))
            }
            false => Ok(receipts),
        }
    }
}
