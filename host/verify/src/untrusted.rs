//! Receipts of users who are not trusted, verified with plugins that are not trusted, many side by side: for a machine
//! that several users share. The public API is `occystrap::VerifyBatch`.
//!
//! The verdict is the host's. What it has not seen itself is UNCONFIRMED; a plugin can raise a doubt
//! and settle none. What it refuses: destinations outside of what was [granted](Grants), receipts
//! that lead out of their destination, and work beyond its [`Bounds`]. Nothing that one receipt or
//! plugin does changes the verdict on another.

mod cost;
pub mod grants;
pub mod line;
mod look;
mod rules;
mod watch;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

pub use grants::Grants;
pub use line::{Line, Summary};

use self::cost::Purse;
use self::watch::Watch;
use crate::receipt::plugins::Plugins;
use crate::verdict::object::Outcomes;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::parallel::cores;
use occystrap_base::terminal::progress::Progress;
use occystrap_images::source::content_store::MOST_MANIFESTS;
use occystrap_net::context::Context;
use occystrap_net::registry::Client;
use occystrap_output::plugin::Catalog;
use occystrap_output::receipt::{Bundle, Receipt};

/// How much a batch may take. What a plugin may take in one session is the engine's
/// ([`limits::Allowance`]).
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Receipts that are looked at side by side. Each may take [`limits::MEMORY`] for its plugin, and
    /// some ten times [`limits::UNTRUSTED_RECEIPT`] for itself.
    pub workers: usize,
    /// Time for one receipt's file: [`limits::UNTRUSTED_TIME`].
    pub time: Duration,
    /// Time for all: [`limits::UNTRUSTED_BATCH_TIME`].
    pub batch_time: Duration,
    /// Bytes to read for one receipt: [`limits::UNTRUSTED_BYTES`].
    pub bytes: u64,
    /// Bytes to read for all: [`limits::UNTRUSTED_BATCH_BYTES`]. Each file has its share of one half,
    /// whatever the others take.
    pub batch_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            workers: cores(),
            time: limits::UNTRUSTED_TIME,
            batch_time: limits::UNTRUSTED_BATCH_TIME,
            bytes: limits::UNTRUSTED_BYTES,
            batch_bytes: limits::UNTRUSTED_BATCH_BYTES,
        }
    }
}

/// Why a receipt gets no verdict.
#[derive(Debug)]
pub enum Stop {
    /// It is none, or breaks a rule that no honest one breaks.
    Refused(Error),
    /// It may be right; nobody looked.
    Doubt(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.kind() {
            Kind::Usage | Kind::Source => Self::Refused(error),
            _ => Self::Doubt(error),
        }
    }
}

/// Verify receipts, and `tell` of each as soon as it is known: a line for each receipt, of which a file
/// may hold several. Errors when the user interrupts, or when `tell` does, which ends the batch.
/// What is wrong with a receipt, its destination or its plugin is in its line.
pub fn verify_batch(
    receipts: &[PathBuf],
    catalog: &Catalog,
    grants: &Grants,
    bounds: &Bounds,
    context: &Context,
    mut tell: impl FnMut(&Line) -> Result<()>,
) -> Result<Summary> {
    let started = Instant::now();
    let stop = context.cancel.child();
    let watch = Watch::new(stop.clone(), bounds);
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
    let mut summary = Summary::default();
    let told = std::thread::scope(|scope| {
        let (lines, known) = mpsc::sync_channel::<Line>(workers);
        let (done, wait) = mpsc::channel::<()>();
        let (watch, batch, next, stop) = (&watch, &batch, &next, &stop);
        scope.spawn(move || watch.keep(&wait));
        for _ in 0..workers {
            let lines = lines.clone();
            scope.spawn(move || {
                while let Some(path) = receipts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.check().is_err() {
                        break;
                    }
                    for line in batch.file(path) {
                        // Nobody listens any more when telling has failed.
                        let _ = lines.send(line);
                    }
                }
            });
        }
        drop(lines);
        let mut told = Ok(());
        for line in known {
            summary.count(&line);
            if told.is_ok() {
                told = tell(&line);
                if told.is_err() {
                    stop.cancel();
                }
            }
        }
        drop(done);
        told
    });
    told?;
    context.cancel.check()?;
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// What all receipts of one batch share.
struct Batch<'a> {
    grants: &'a Grants,
    context: &'a Context,
    watch: &'a Watch,
    plugins: Plugins<'a>,
    client: OnceLock<Result<Client>>,
    /// What may be read.
    purse: Purse,
}

impl Batch<'_> {
    /// Every receipt in a file. Nothing where the user interrupted.
    fn file(&self, path: &Path) -> Vec<Line> {
        let place = path.display().to_string();
        let watched = self.watch.begin();
        let mut lines = Vec::new();
        let spent = self.purse.file();
        // Manifests, which an index that comes later may list.
        let mut verified = Outcomes::new();
        // A mistake of ours must not take the other receipts with it.
        let all = catch_unwind(AssertUnwindSafe(|| match self.read(path, &place) {
            Ok(receipts) => {
                for receipt in &receipts {
                    let started = Instant::now();
                    let looked = self.watch.check().map_err(Stop::from);
                    spent.next();
                    let ask = look::Ask { receipt, spent: &spent, verified: &verified };
                    let looked = looked.and_then(|()| self.look(&ask, &watched));
                    // What was asked to stop may look like anything else.
                    let looked = match watched.cancel().check() {
                        Ok(()) => looked,
                        Err(stopped) => Err(Stop::Doubt(stopped)),
                    };
                    if let Ok(looked) = &looked {
                        verified.extend(looked.manifests(receipt));
                    }
                    lines.push(Line::of(&place, receipt, looked).after(started.elapsed()));
                }
            }
            Err(error) => lines.push(Line::unread(&place, Stop::Refused(error))),
        }));
        if all.is_err() {
            let message = "the host made a mistake with this receipt, and has no verdict on it";
            let error = Error::new(Kind::Plugin, message);
            lines.push(Line::unread(&place, Stop::Doubt(error)));
        }
        let Some(why) = self.watch.why(&watched) else { return Vec::new() };
        lines.iter_mut().for_each(|line| line.explain(&why));
        lines
    }

    /// A file of receipts. Neither waits for a pipe nor follows a link: who put it there may not be
    /// who names it.
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

    /// What one receipt needs of a run, with its own wish to stop. It shows nothing, and asks for one
    /// thing at a time: others are beside it.
    fn context_of(&self, watched: &watch::Watched) -> Context {
        (self.context.clone())
            .with_cancel(watched.cancel().clone())
            .with_progress(Progress::hidden())
            .with_own_counters()
            .with_parallel(1)
    }
}
