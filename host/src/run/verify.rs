//! `occystrap verify`, of what the user trusts.

use std::io::Write;

use super::clients::Clients;
use super::web::{self, Trust};
use super::{Host, printed, report};
use crate::cli::Verify;
use crate::error::{Kind, Result};
use crate::pipeline;
use crate::uri::Uri;
use crate::verify::{Level, Subject};

/// Verify what a receipt says, or what a destination says of itself.
pub fn run(
    asked: &Verify,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let mut context = host.context()?;
    context.web = web::access(&asked.allow_net, host.global, Trust::Own)?;
    let clients = Clients::new(host.global, host.cancel);
    let catalog = host.catalog()?;
    let mut subjects = Vec::with_capacity(asked.targets.len());
    for text in &asked.targets {
        let subject = Subject::parse(text, &catalog, |uri| clients.of(uri), host.cancel);
        // What is wrong with one receipt is no reason to leave the others; a wrong command line is.
        if let Err(error) = &subject
            && (asked.targets.len() == 1 || error.kind() == Kind::Usage)
        {
            return Err(error.clone());
        }
        subjects.push(subject.map_err(|error| (Uri::hide(text), error)));
    }
    let level = if asked.fast { Level::Fast } else { Level::Full };
    let run =
        pipeline::verify_subjects(&subjects, level, host.global.image_parallel.into(), &context);
    report(&run, host.global, out, err).map_err(printed)?;
    Ok(run.exit_code(true))
}
