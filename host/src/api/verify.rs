//! Verifying what was written earlier: the builder, and opening each target when it is needed.

use std::borrow::Borrow;

use super::session::{Session, Trust};
use crate::pipeline;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_images::level::Level;
use occystrap_net::uri::Uri;
use occystrap_verify::receipt::plugins::Plugins;
use occystrap_verify::report::{ImageReport, Run};
use occystrap_verify::subject::Subject;

/// Verification of what was written earlier, by receipts or by what a destination says of itself.
///
/// ```no_run
/// use occystrap::{Level, Session, Verify};
/// # fn main() -> occystrap::Result<()> {
/// let run = Verify::new(["/srv/receipts/busybox.json", "dir:///srv/images"])
///     .level(Level::Fast)
///     .run(&Session::new()?)?;
/// assert_eq!(run.exit_code(true), 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Verify {
    targets: Vec<String>,
    level: Level,
    allow_net: Vec<String>,
}

impl Verify {
    /// Verifies these targets, which are paths of receipts or URIs, and reads every byte ([`Level::Full`]). Receipts
    /// and their plugins are trusted; for those of other users see [`VerifyBatch`](super::VerifyBatch).
    #[must_use]
    pub fn new<T: Into<String>>(targets: impl IntoIterator<Item = T>) -> Self {
        let targets = targets.into_iter().map(Into::into).collect();
        Self { targets, level: Level::Full, allow_net: Vec::new() }
    }

    /// Sets how much is read.
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Lets receipts be about this web server: `HOST[:PORT]`, or `http://HOST:PORT` for plain HTTP.
    #[must_use]
    pub fn allow_net(mut self, server: impl Into<String>) -> Self {
        self.allow_net.push(server.into());
        self
    }

    /// Verifies all targets. Errors when the request itself is wrong; problems of single images are in the report.
    pub fn run(&self, session: &Session) -> Result<Run> {
        let (started, mut reports) = (std::time::Instant::now(), Vec::new());
        self.each(session, |report, _| {
            reports.push(report);
            Ok(())
        })?;
        Ok(Run::new(reports, started.elapsed()))
    }

    /// Verifies all targets, and calls `each` with the report of each image in the order of the targets, and with
    /// whether there are several. Reports are not kept: there may be ten thousand. Errors when the request itself is
    /// wrong or `each` errors, which ends the run.
    pub fn each(
        &self,
        session: &Session,
        each: impl FnMut(ImageReport, bool) -> Result<()>,
    ) -> Result<()> {
        let mut context = session.context()?;
        context.web = session.web(&self.allow_net, Trust::User)?;
        let (clients, catalog) = (session.clients(), session.catalog()?);
        let plugins = Plugins::new(&catalog);
        let parse = |text: &str| {
            Subject::with_plugins(text, &plugins, |uri| clients.of(uri), session.stop())
        };
        let is_alone = self.targets.len() == 1;
        let mut targets = Vec::with_capacity(self.targets.len());
        for text in &self.targets {
            if !is_alone && Subject::is_receipt(text) {
                targets.push(Target::Receipts(text));
                continue;
            }
            let subject = parse(text);
            // A problem of one receipt does not stop the others, and a single receipt is reported like one of several.
            // A wrong command line is no verdict.
            if let Err(error) = &subject
                && error.kind() == Kind::Usage
            {
                return Err(error.clone());
            }
            let subject = subject.map_err(|error| (Uri::hide(text), error));
            targets.push(Target::Place(Box::new(subject)));
        }
        let open = |target: &usize| match &targets[*target] {
            Target::Place(place) => match &**place {
                Ok(subject) => Ok(Opened::Known(subject)),
                Err((typed, error)) => Err((typed.clone(), error.clone())),
            },
            Target::Receipts(text) => {
                let subject = parse(text).map_err(|error| (Uri::hide(text), error))?;
                Ok(Opened::Read(Box::new(subject)))
            }
        };
        let (all, parallel) = ((0..targets.len()).collect::<Vec<_>>(), session.images_at_once());
        pipeline::verify_each(&all, open, self.level, parallel, &context, each)
    }
}

/// What the user named.
enum Target<'a> {
    /// A place, parsed before anything is verified: a wrong command line is no verdict.
    Place(Box<Result<Subject, (String, Error)>>),
    /// A file of receipts, which is read when it is needed: there may be ten thousand.
    Receipts(&'a str),
}

/// A subject that was parsed at the start, or that was read just now.
enum Opened<'a> {
    Known(&'a Subject),
    Read(Box<Subject>),
}

impl Borrow<Subject> for Opened<'_> {
    fn borrow(&self) -> &Subject {
        match self {
            Self::Known(subject) => subject,
            Self::Read(subject) => subject,
        }
    }
}
