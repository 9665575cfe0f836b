//! `occystrap verify`, of what the user trusts.

use std::io::Write;
use std::time::Instant;

use super::clients::Clients;
use super::web::{self, Trust};
use super::{Host, printed};
use crate::cli::{OutputFormat, Verify};
use crate::pipeline;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_images::level::Level;
use occystrap_net::uri::Uri;
use occystrap_verify::receipt::plugins::Plugins;
use occystrap_verify::report::Stream;
use occystrap_verify::subject::Subject;

/// What the user named.
enum Target<'a> {
    /// A place, understood before anything is looked at: a wrong command line is no verdict.
    Place(Box<Result<Subject, (String, Error)>>),
    /// A file of receipts, which is read when its turn comes: there may be ten thousand.
    Receipts(&'a str),
}

/// A subject that is known, or that was read just now.
enum Opened<'a> {
    Known(&'a Subject),
    Read(Box<Subject>),
}

impl std::borrow::Borrow<Subject> for Opened<'_> {
    fn borrow(&self) -> &Subject {
        match self {
            Self::Known(subject) => subject,
            Self::Read(subject) => subject,
        }
    }
}

/// Verify what a receipt says, or what a destination says of itself.
pub fn run(
    asked: &Verify,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let started = Instant::now();
    let mut context = host.context()?;
    context.web = web::access(&asked.allow_net, host.global, Trust::Own)?;
    let clients = Clients::new(host.global, host.cancel);
    let catalog = host.catalog()?;
    let plugins = Plugins::new(&catalog);
    let parse =
        |text: &str| Subject::with_plugins(text, &plugins, |uri| clients.of(uri), host.cancel);
    let is_alone = asked.targets.len() == 1;
    let mut targets = Vec::with_capacity(asked.targets.len());
    for text in &asked.targets {
        if !is_alone && Subject::is_receipt(text) {
            targets.push(Target::Receipts(text));
            continue;
        }
        let subject = parse(text);
        // What is wrong with one receipt is no reason to leave the others, and one alone is reported as one of
        // several is. A wrong command line is no verdict.
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
    let mut stream = match host.global.output_format {
        OutputFormat::Text => Stream::text(err, host.progress, host.global.quiet),
        OutputFormat::Json => Stream::json(out),
    };
    let level = if asked.fast { Level::Fast } else { Level::Full };
    let (all, side_by_side) = ((0..targets.len()).collect::<Vec<_>>(), host.global.image_parallel);
    pipeline::verify_each(&all, open, level, side_by_side.into(), &context, |report, several| {
        stream.image(&report, several).map_err(printed)
    })?;
    let tally = stream.end(started.elapsed()).map_err(printed)?;
    Ok(tally.exit_code(true))
}
